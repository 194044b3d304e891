//! Certificates for development: an authority of one's own, and what it signs. Never
//! for anybody else than its maker: its key lies beside it.

use crate::TlsError;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use std::time::{Duration, SystemTime};

/// A certificate and its key, PEM.
pub struct DevPair {
    /// The certificate.
    pub cert: String,
    /// Its private key (PKCS #8).
    pub key: String,
}

const DAY: Duration = Duration::from_secs(86_400);
/// What a browser still believes of a leaf (825 days is the limit of some).
const LEAF_DAYS: u32 = 397;
const AUTHORITY_DAYS: u32 = 3_650;

fn fault(cause: impl std::fmt::Display) -> TlsError {
    TlsError::new("development certificate", cause)
}

fn params(name: &str, names: Vec<String>, days: u32) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(names).map_err(fault)?;
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    // A clock that is a little behind may use it too.
    params.not_before = (now - DAY).into();
    params.not_after = (now + DAY * days).into();
    Ok(params)
}

/// A new authority.
///
/// # Errors
/// The system gives no randomness.
pub fn dev_authority(name: &str) -> Result<DevPair, TlsError> {
    let mut params = params(name, Vec::new(), AUTHORITY_DAYS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(fault)?;
    let cert = params.self_signed(&key).map_err(fault)?;
    Ok(DevPair { cert: cert.pem(), key: key.serialize_pem() })
}

/// A certificate for `names` (DNS names and addresses), signed by `authority`; for servers and clients.
///
/// # Errors
/// The authority is none, or a name is none.
pub fn dev_certificate(authority: &DevPair, names: &[String]) -> Result<DevPair, TlsError> {
    let issuer_key = KeyPair::from_pem(&authority.key).map_err(fault)?;
    let issuer = Issuer::from_ca_cert_pem(&authority.cert, issuer_key).map_err(fault)?;
    let common = names.first().map_or("localhost", String::as_str);
    let mut params = params(common, names.to_vec(), LEAF_DAYS)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(fault)?;
    let cert = params.signed_by(&key, &issuer).map_err(fault)?;
    Ok(DevPair { cert: cert.pem(), key: key.serialize_pem() })
}
