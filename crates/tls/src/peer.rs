//! What a verified client certificate says, and who that makes its owner.

use crate::certificate::address;
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use tidegate_message::{AlternativeName, ClientCertificate, NameKind};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What of a certificate is the user's name.
#[derive(Deserialize, Debug, Clone, Copy, Hash, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum UserFrom {
    /// The subject's only common name.
    CommonName,
    /// The whole subject.
    Subject,
    /// The first alternative name of that kind.
    Dns,
    /// See `Dns`.
    Mail,
    /// See `Dns`.
    Uri,
    /// SHA-256 of the certificate.
    Fingerprint,
}

impl UserFrom {
    /// The user that a certificate stands for; `None`: it does not say.
    pub fn user(self, certificate: &ClientCertificate) -> Option<&str> {
        let named = |kind| certificate.names.iter().find(|name| name.kind == kind).map(|name| &*name.text);
        let user = match self {
            UserFrom::CommonName => certificate.common_name.as_deref(),
            UserFrom::Subject => Some(&*certificate.subject),
            UserFrom::Dns => named(NameKind::Dns),
            UserFrom::Mail => named(NameKind::Mail),
            UserFrom::Uri => named(NameKind::Uri),
            UserFrom::Fingerprint => Some(&*certificate.fingerprint),
        };
        user.filter(|user| !user.is_empty())
    }
}

/// Subject, names and fingerprint; `None` where it cannot be read.
pub(crate) fn client_certificate(der: &CertificateDer<'_>, fingerprint: &[u8]) -> Option<ClientCertificate> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let mut names = Vec::new();
    if let Ok(Some(alternatives)) = parsed.subject_alternative_name() {
        names.extend(alternatives.value.general_names.iter().filter_map(alternative));
    }
    let mut hex = String::with_capacity(64);
    for byte in fingerprint {
        hex.push(char::from_digit(u32::from(byte >> 4), 16)?);
        hex.push(char::from_digit(u32::from(byte & 15), 16)?);
    }
    let mut common = parsed.subject().iter_common_name().map(x509_parser::x509::AttributeTypeAndValue::as_str);
    let common_name = match (common.next(), common.next()) {
        (Some(Ok(name)), None) => Some(clean(name)),
        // Of two names nobody knows which is meant.
        _ => None,
    };
    Some(ClientCertificate {
        subject: clean(&parsed.subject().to_string()),
        common_name,
        names: names.into(),
        fingerprint: hex.into(),
        der: der.as_ref().into(),
    })
}

fn alternative(name: &GeneralName<'_>) -> Option<AlternativeName> {
    let (kind, text) = match name {
        GeneralName::DNSName(text) => (NameKind::Dns, clean(text)),
        GeneralName::RFC822Name(text) => (NameKind::Mail, clean(text)),
        GeneralName::URI(text) => (NameKind::Uri, clean(text)),
        GeneralName::IPAddress(bytes) => (NameKind::Address, address(bytes)?.to_string().into()),
        _ => return None,
    };
    Some(AlternativeName { kind, text })
}

/// What it says goes into headers, records and logs: a line must stay one.
fn clean(text: &str) -> Box<str> {
    text.chars().map(|found| if found.is_control() { '?' } else { found }).collect()
}
