//! A client's certificate as a header for the upstream.

use base64::{Engine, engine::general_purpose::STANDARD};
use tidegate_message::{ClientCertificate, NameKind};

/// How the upstream is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CertificateHeader {
    /// `X-Forwarded-Client-Cert`, as Envoy writes it: hash, subject, URI and DNS names.
    Xfcc,
    /// `Client-Cert` (RFC 9440): the certificate itself.
    Rfc9440,
}

impl CertificateHeader {
    /// Appends the whole line.
    pub fn put(self, certificate: &ClientCertificate, out: &mut Vec<u8>) {
        match self {
            CertificateHeader::Xfcc => put_xfcc(certificate, out),
            CertificateHeader::Rfc9440 => {
                // A byte sequence of RFC 8941.
                out.extend_from_slice(b"Client-Cert: :");
                out.extend_from_slice(STANDARD.encode(&certificate.der).as_bytes());
                out.extend_from_slice(b":\r\n");
            }
        }
    }
}

fn put_xfcc(certificate: &ClientCertificate, out: &mut Vec<u8>) {
    out.extend_from_slice(b"X-Forwarded-Client-Cert: Hash=");
    out.extend_from_slice(certificate.fingerprint.as_bytes());
    put_pair(("Subject", &certificate.subject), out);
    for name in &certificate.names {
        match name.kind {
            NameKind::Uri => put_pair(("URI", &name.text), out),
            NameKind::Dns => put_pair(("DNS", &name.text), out),
            NameKind::Mail | NameKind::Address => {}
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// In quotes: a name may hold what separates pairs and elements.
fn put_pair((key, value): (&str, &str), out: &mut Vec<u8>) {
    out.push(b';');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"=\"");
    for byte in value.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_message::AlternativeName;

    #[test]
    fn names_cannot_break_out_of_their_quotes() {
        let name = |kind, text: &str| AlternativeName { kind, text: text.into() };
        let certificate = ClientCertificate {
            subject: r#"CN=a", Subject="CN=admin\"#.into(),
            common_name: None,
            names: [name(NameKind::Uri, "spiffe://x/y;URI=z"), name(NameKind::Mail, "a@b")].into(),
            fingerprint: "00ff".into(),
            der: [1, 2, 3].into(),
        };
        let mut out = Vec::new();
        CertificateHeader::Xfcc.put(&certificate, &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "X-Forwarded-Client-Cert: Hash=00ff;Subject=\"CN=a\\\", Subject=\\\"CN=admin\\\\\";URI=\"spiffe://x/y;URI=z\"\r\n"
        );
        out.clear();
        CertificateHeader::Rfc9440.put(&certificate, &mut out);
        assert_eq!(out, b"Client-Cert: :AQID:\r\n");
    }
}
