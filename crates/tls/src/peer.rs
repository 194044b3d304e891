//! What a verified client certificate says.

use crate::certificate::address;
use rustls_pki_types::CertificateDer;
use tidegate_message::ClientCertificate;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Subject, names and fingerprint; `None` where it cannot be read.
pub(crate) fn client_certificate(der: &CertificateDer<'_>, fingerprint: &[u8]) -> Option<ClientCertificate> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let mut names = Vec::new();
    if let Ok(Some(alternatives)) = parsed.subject_alternative_name() {
        for name in &alternatives.value.general_names {
            match name {
                GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
                    names.push(Box::from(*text));
                }
                GeneralName::IPAddress(bytes) => names.extend(address(bytes).map(|ip| ip.to_string().into())),
                _ => {}
            }
        }
    }
    let mut hex = String::with_capacity(64);
    for byte in fingerprint {
        hex.push(char::from_digit(u32::from(byte >> 4), 16)?);
        hex.push(char::from_digit(u32::from(byte & 15), 16)?);
    }
    Some(ClientCertificate {
        subject: parsed.subject().to_string().into(),
        names: names.into(),
        fingerprint: hex.into(),
    })
}
