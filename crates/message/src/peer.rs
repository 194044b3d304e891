//! Who is at the other end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

/// A client certificate that was verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientCertificate {
    /// `CN=device-1, O=Plant`.
    pub subject: Box<str>,
    /// Alternative names: DNS, mail, URI, address.
    pub names: Box<[Box<str>]>,
    /// SHA-256 of the certificate, lower-case hex.
    pub fingerprint: Box<str>,
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
