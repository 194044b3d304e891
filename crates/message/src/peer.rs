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

/// The other end: its address as believed after PROXY protocol, and what it
/// proved about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Source address and port.
    pub address: SocketAddr,
    /// The server name of the TLS ClientHello, once there is TLS.
    pub sni: Option<Box<str>>,
    /// The certificate that it showed, where one was asked for.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// The user that authenticated, if one did.
    pub user: Option<Box<str>>,
    /// Whose it is, where a policy said so.
    pub tenant: Option<Box<str>>,
}

impl Peer {
    /// A peer of which only the address is known.
    pub const fn new(address: SocketAddr) -> Self {
        Peer { address, sni: None, certificate: None, user: None, tenant: None }
    }
}
