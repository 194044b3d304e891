//! A certificate with its key, checked to belong together.

use crate::names::Names;
use crate::pem::File;
use crate::provider::provider;
use crate::{Expiry, TlsError};
use rustls::sign::CertifiedKey;
use std::net::IpAddr;
use std::sync::Arc;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What a server may show.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) names: Arc<Names>,
    pub(crate) expiry: Expiry,
}

impl Certificate {
    pub(crate) fn new(cert: &File, key: &File) -> Result<Certificate, TlsError> {
        let chain = cert.certificates()?;
        let signing = provider().key_provider.load_private_key(key.key()?);
        let signing = signing.map_err(|cause| key.error(format!("is no usable private key: {cause}")))?;
        let (names, not_after) = {
            let (_, parsed) = X509Certificate::from_der(&chain[0])
                .map_err(|cause| cert.error(format!("its first certificate is malformed: {cause}")))?;
            // rustls would compare them, but only in certificates of version 3.
            if signing.public_key().is_some_and(|public| *public != *parsed.public_key().raw) {
                return Err(key.error(format!("is not the private key of the certificate in {}", cert.path)));
            }
            (names(&parsed), parsed.validity().not_after.timestamp())
        };
        let label = names.exact.first().cloned();
        let label = label.or_else(|| names.wildcards.first().map(|parent| format!("*.{parent}").into()));
        let expiry = Expiry { name: label.unwrap_or_else(|| cert.path.as_str().into()), not_after };
        let key = CertifiedKey::new(chain, signing);
        Ok(Certificate { key: Arc::new(key), names: Arc::new(names), expiry })
    }
}

fn names(parsed: &X509Certificate<'_>) -> Names {
    let mut names = Names::default();
    let Ok(Some(alternatives)) = parsed.subject_alternative_name() else { return names };
    for name in &alternatives.value.general_names {
        match name {
            GeneralName::DNSName(name) => names.add_dns(name),
            GeneralName::IPAddress(bytes) => names.addresses.extend(address(bytes)),
            _ => {}
        }
    }
    names
}

pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}
