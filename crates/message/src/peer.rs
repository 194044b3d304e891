//! Who is at the other end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

/// A client certificate that was verified. No text of it has control characters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientCertificate {
    /// `CN=device-1, O=Plant`.
    pub subject: Box<str>,
    /// The subject's common name, where it has one and no more.
    pub common_name: Option<Box<str>>,
    /// Subject alternative names, in their order.
    pub names: Box<[AlternativeName]>,
    /// SHA-256 of the certificate, lower-case hex.
    pub fingerprint: Box<str>,
    /// The certificate itself, DER.
    pub der: Box<[u8]>,
}

/// A subject alternative name (RFC 5280 section 4.2.1.6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlternativeName {
    /// What it names.
    pub kind: NameKind,
    /// As the certificate has it; addresses in their usual form.
    pub text: Box<str>,
}

/// Kinds of alternative names; others are not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameKind {
    /// A host.
    Dns,
    /// A mailbox.
    Mail,
    /// A URI, such as a SPIFFE id.
    Uri,
    /// An IP address.
    Address,
}

impl NameKind {
    /// The kind in configuration, keys and records.
    pub const fn label(self) -> &'static str {
        match self {
            NameKind::Dns => "dns",
            NameKind::Mail => "mail",
            NameKind::Uri => "uri",
            NameKind::Address => "address",
        }
    }
}

/// The other end: its address as believed after PROXY protocol, and what is known of it. There is one of
/// each connection, and of most nothing but the address is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Source address and port.
    pub address: SocketAddr,
    known: Option<Box<Known>>,
}

/// What somebody proved about itself, or a policy said of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Known {
    /// The server name of the TLS ClientHello, once there is TLS.
    pub sni: Option<Box<str>>,
    /// The certificate that it showed, where one was asked for.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// The user that authenticated, if one did.
    pub user: Option<Arc<str>>,
    /// Whose it is, where a policy said so.
    pub tenant: Option<Box<str>>,
}

impl Peer {
    /// A peer of which only the address is known.
    pub const fn new(address: SocketAddr) -> Self {
        Peer { address, known: None }
    }

    /// The same somewhere else.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Self {
        Peer { address, known: self.known.clone() }
    }

    /// The server name of the TLS ClientHello.
    pub fn sni(&self) -> Option<&str> {
        self.known.as_ref()?.sni.as_deref()
    }

    /// The certificate that it showed.
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.known.as_ref()?.certificate.as_deref()
    }

    /// The user that authenticated.
    pub fn user(&self) -> Option<&Arc<str>> {
        self.known.as_ref()?.user.as_ref()
    }

    /// Whose it is.
    pub fn tenant(&self) -> Option<&str> {
        self.known.as_ref()?.tenant.as_deref()
    }

    /// What is known, to change it.
    pub fn known_mut(&mut self) -> &mut Known {
        self.known.get_or_insert_default()
    }
}
