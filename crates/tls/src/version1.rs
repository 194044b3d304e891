//! Certificates of X.509 version 1, which rustls does not read: `openssl x509 -req` makes them
//! unless it is told of an extension, and devices have theirs for years. One that a trust anchor itself has issued
//! is checked here (RFC 5280 section 6.1, as far as there are no extensions); of those between, version 3 stays a must.

use crate::provider::provider;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

/// Of clients: version 1 here, everything else by rustls.
#[derive(Debug)]
pub(crate) struct AnyVersion {
    pub(crate) inner: Arc<dyn ClientCertVerifier>,
    pub(crate) roots: Arc<RootCertStore>,
    /// Whether revocation lists are asked, which only rustls can.
    pub(crate) has_lists: bool,
}

impl ClientCertVerifier for AnyVersion {
    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let Some(old) = Old::of(own) else { return self.inner.verify_client_cert(own, others, now) };
        if self.has_lists {
            return Err(CertificateError::UnknownRevocationStatus.into());
        }
        old.check(&self.roots, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signed_by_12(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signed_by_13(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// A handshake's signature in TLS 1.2, by the key of a certificate of any version.
pub(crate) fn signed_by_12(
    message: &[u8],
    cert: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = algorithms();
    let Some(old) = Old::of(cert) else { return verify_tls12_signature(message, cert, signed, algorithms) };
    let of_scheme = algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
    let (_, of_scheme) = of_scheme.ok_or(CertificateError::BadSignature)?;
    let key = key(old.parsed.public_key().raw).ok_or(CertificateError::BadEncoding)?;
    let fits = |algorithm: &&dyn SignatureVerificationAlgorithm| key.verifies(*algorithm, message, signed.signature());
    if of_scheme.iter().any(fits) {
        return Ok(HandshakeSignatureValid::assertion());
    }
    Err(CertificateError::BadSignature.into())
}

/// The same in TLS 1.3.
pub(crate) fn signed_by_13(
    message: &[u8],
    cert: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let Some(old) = Old::of(cert) else { return verify_tls13_signature(message, cert, signed, algorithms()) };
    let key = SubjectPublicKeyInfoDer::from(old.parsed.public_key().raw);
    rustls::crypto::verify_tls13_signature_with_raw_key(message, &key, signed, algorithms())
}

fn algorithms() -> &'static WebPkiSupportedAlgorithms {
    &provider().signature_verification_algorithms
}

/// A certificate of version 1.
struct Old<'a> {
    parsed: X509Certificate<'a>,
    der: &'a [u8],
}

impl<'a> Old<'a> {
    /// `None`: of another version, or none at all.
    fn of(der: &'a CertificateDer<'_>) -> Option<Old<'a>> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        (parsed.version() == X509Version::V1).then_some(Old { parsed, der })
    }

    /// Whether an anchor has issued it, and for this time.
    fn check(&self, roots: &RootCertStore, now: UnixTime) -> Result<(), CertificateError> {
        if !self.parsed.extensions().is_empty() {
            return Err(CertificateError::BadEncoding);
        }
        let (validity, now) = (self.parsed.validity(), i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        if now < validity.not_before.timestamp() {
            return Err(CertificateError::NotValidYet);
        }
        if now > validity.not_after.timestamp() {
            return Err(CertificateError::Expired);
        }
        // The names of an anchor with constraints would have to be looked at as well.
        let mut issuers = roots.roots.iter().filter(|anchor| anchor.name_constraints.is_none());
        if issuers.any(|anchor| self.is_issued_by(anchor).unwrap_or(false)) {
            Ok(())
        } else {
            Err(CertificateError::UnknownIssuer)
        }
    }

    /// `None`: something of it is not as it has to be.
    fn is_issued_by(&self, anchor: &TrustAnchor<'_>) -> Option<bool> {
        let issuer = element(self.parsed.issuer().as_raw())?;
        if issuer.content != anchor.subject.as_ref() || self.parsed.signature_algorithm != self.parsed.signature {
            return Some(false);
        }
        let signed = element(element(self.der)?.content)?;
        let algorithm = element(signed.rest)?;
        let signature = element(algorithm.rest)?.content.strip_prefix(&[0])?;
        let key = key_of(anchor.subject_public_key_info.as_ref())?;
        let named = |found: &&&dyn SignatureVerificationAlgorithm| is(found.signature_alg_id(), algorithm.content);
        let mut fitting = algorithms().all.iter().filter(named);
        Some(fitting.any(|algorithm| key.verifies(*algorithm, signed.whole, signature)))
    }
}

/// A public key and what kind it is.
struct Key<'a> {
    kind: &'a [u8],
    bits: &'a [u8],
}

impl Key<'_> {
    fn verifies(&self, algorithm: &dyn SignatureVerificationAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        is(algorithm.public_key_alg_id(), self.kind)
            && algorithm.verify_signature(self.bits, message, signature).is_ok()
    }
}

fn is(id: AlgorithmIdentifier, content: &[u8]) -> bool {
    id.as_ref() == content
}

/// Of a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
fn key(info: &[u8]) -> Option<Key<'_>> {
    key_of(element(info)?.content)
}

fn key_of(content: &[u8]) -> Option<Key<'_>> {
    let kind = element(content)?;
    Some(Key { kind: kind.content, bits: element(kind.rest)?.content.strip_prefix(&[0])? })
}

/// One element of DER and what stands behind it.
struct Element<'a> {
    whole: &'a [u8],
    content: &'a [u8],
    rest: &'a [u8],
}

fn element(der: &[u8]) -> Option<Element<'_>> {
    let (len, start) = match *der.get(1)? {
        len @ 0..=0x7f => (usize::from(len), 2),
        0x81 => (usize::from(*der.get(2)?), 3),
        0x82 => (usize::from(u16::from_be_bytes([*der.get(2)?, *der.get(3)?])), 4),
        _ => return None,
    };
    let (whole, rest) = der.split_at_checked(start + len)?;
    Some(Element { whole, content: &whole[start..], rest })
}
