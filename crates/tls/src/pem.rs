//! PEM files, with errors that say what stands in the file instead.

use crate::TlsError;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// A file that was read once, so that what is checked is what is used.
#[derive(Hash)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
}

impl File {
    pub(crate) fn read(path: &str) -> Result<File, TlsError> {
        let bytes = std::fs::read(path).map_err(|cause| TlsError::new(path, format!("cannot be read: {cause}")))?;
        Ok(File { path: path.to_owned(), bytes })
    }

    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        self.all("a certificate (BEGIN CERTIFICATE)")
    }

    pub(crate) fn crls(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
        self.all("a revocation list (BEGIN X509 CRL)")
    }

    pub(crate) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|cause| match cause {
            pem::Error::NoItemsFound if memmem(&self.bytes, b"ENCRYPTED PRIVATE KEY") => {
                self.error("the private key is encrypted; decrypt it, for example with openssl pkey")
            }
            pem::Error::NoItemsFound => self.error("holds no private key (BEGIN PRIVATE KEY)"),
            cause => self.error(format!("is no valid PEM: {cause}")),
        })
    }

    pub(crate) fn error(&self, what: impl std::fmt::Display) -> TlsError {
        TlsError::new(&self.path, what)
    }

    fn all<T: PemObject>(&self, wanted: &str) -> Result<Vec<T>, TlsError> {
        let items: Result<Vec<T>, _> = T::pem_slice_iter(&self.bytes).collect();
        let items = items.map_err(|cause| self.error(format!("is no valid PEM: {cause}")))?;
        if items.is_empty() { Err(self.error(format!("holds no {}", &wanted[2..]))) } else { Ok(items) }
    }
}

fn memmem(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
