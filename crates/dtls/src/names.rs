//! The name of a session: an address that stays the same when the peer's changes. It
//! has the peer's address and port of the handshake, and in the flow label, which
//! addresses of datagrams do not carry here, its place; so two sessions never share one.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// The name of the session at `slot` whose handshake came from `peer`. `generation`
/// tells it from those that had the place before.
pub(crate) fn name(peer: SocketAddr, slot: usize, generation: u32) -> SocketAddr {
    let ip = match peer.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddr::V6(SocketAddrV6::new(ip, peer.port(), slot as u32 + 1, generation))
}

/// Whether an address is the name of a session.
pub fn is_name(address: &SocketAddr) -> bool {
    // The upper half of the flow labels names others.
    matches!(address, SocketAddr::V6(v6) if v6.flowinfo() != 0 && v6.flowinfo() >> 31 == 0)
}

/// The place that a name says.
pub(crate) fn slot(name: &SocketAddr) -> Option<usize> {
    match name {
        SocketAddr::V6(v6) => (v6.flowinfo() as usize).checked_sub(1),
        SocketAddr::V4(_) => None,
    }
}
