//! Who is at the other end of a connection.

use std::net::SocketAddr;

/// The other end: its address as believed after PROXY protocol, and what it
/// proved about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Source address and port.
    pub address: SocketAddr,
    /// The server name of the TLS ClientHello, once there is TLS.
    pub sni: Option<Box<str>>,
    /// The user that authenticated, if one did.
    pub user: Option<Box<str>>,
}

impl Peer {
    /// A peer of which only the address is known.
    pub const fn new(address: SocketAddr) -> Self {
        Peer { address, sni: None, user: None }
    }
}
