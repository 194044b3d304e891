//! The header by which a service hears whose connection it is: PROXY protocol 1 and 2
//! (haproxy.org, proxy-protocol.txt). It goes first on a new connection, before TLS.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// Its version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

impl ProxyVersion {
    /// The header for a client at the first address that came to the second one; without
    /// a client the connection is the gateway's own.
    pub fn header(self, ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        let ends = ends.map(|(from, to)| same_family(from, to));
        // Writing to a Vec cannot fail.
        match (self, ends) {
            (ProxyVersion::V1, None) => out.extend_from_slice(b"PROXY UNKNOWN\r\n"),
            (ProxyVersion::V1, Some((from, to))) => {
                let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
                let _ = write!(out, "PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port());
            }
            (ProxyVersion::V2, None) => {
                out.extend_from_slice(SIGNATURE);
                // LOCAL, unspecified, no addresses.
                out.extend_from_slice(&[0x20, 0, 0, 0]);
            }
            (ProxyVersion::V2, Some((from, to))) => {
                let (family, length) = if from.is_ipv4() { (0x11, 12) } else { (0x21, 36) };
                out.extend_from_slice(SIGNATURE);
                out.extend_from_slice(&[0x21, family, 0, length]);
                put_address(&mut out, from.ip());
                put_address(&mut out, to.ip());
                out.extend_from_slice(&from.port().to_be_bytes());
                out.extend_from_slice(&to.port().to_be_bytes());
            }
        }
        out
    }
}

/// Both ends in one family: an IPv4 address on a dual-stack socket is one, and where they
/// differ (the client was believed from a header) both are IPv6.
fn same_family(from: SocketAddr, to: SocketAddr) -> (SocketAddr, SocketAddr) {
    let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    let mapped = |end: SocketAddr| match end.ip() {
        IpAddr::V4(v4) => SocketAddr::new(IpAddr::V6(v4.to_ipv6_mapped()), end.port()),
        IpAddr::V6(_) => end,
    };
    let (from, to) = (plain(from), plain(to));
    if from.is_ipv4() == to.is_ipv4() { (from, to) } else { (mapped(from), mapped(to)) }
}

fn put_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => out.extend_from_slice(&v4.octets()),
        IpAddr::V6(v6) => out.extend_from_slice(&v6.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(from: &str, to: &str) -> Option<(SocketAddr, SocketAddr)> {
        Some((from.parse().expect("an address"), to.parse().expect("an address")))
    }

    #[test]
    fn lines_of_the_first_version() {
        let line = |ends| String::from_utf8(ProxyVersion::V1.header(ends)).expect("text");
        assert_eq!(line(ends("1.2.3.4:5", "6.7.8.9:443")), "PROXY TCP4 1.2.3.4 6.7.8.9 5 443\r\n");
        assert_eq!(line(ends("[::ffff:1.2.3.4]:5", "6.7.8.9:443")), "PROXY TCP4 1.2.3.4 6.7.8.9 5 443\r\n");
        assert_eq!(line(ends("[2001:db8::1]:5", "[::1]:6")), "PROXY TCP6 2001:db8::1 ::1 5 6\r\n");
        assert_eq!(line(ends("[2001:db8::1]:5", "6.7.8.9:6")), "PROXY TCP6 2001:db8::1 ::ffff:6.7.8.9 5 6\r\n");
        assert_eq!(line(None), "PROXY UNKNOWN\r\n");
    }

    #[test]
    fn bytes_of_the_second_version() {
        let header = ProxyVersion::V2.header(ends("1.2.3.4:258", "6.7.8.9:443"));
        assert_eq!(&header[..12], SIGNATURE);
        assert_eq!(&header[12..], [0x21, 0x11, 0, 12, 1, 2, 3, 4, 6, 7, 8, 9, 1, 2, 1, 187]);
        let header = ProxyVersion::V2.header(ends("[2001:db8::1]:5", "[::1]:6"));
        assert_eq!((header.len(), &header[12..16]), (16 + 36, &[0x21, 0x21, 0, 36][..]));
        assert_eq!(&ProxyVersion::V2.header(None)[12..], [0x20, 0, 0, 0]);
    }
}
