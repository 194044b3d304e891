//! The PROXY protocol header, versions 1 and 2 (haproxy.org, proxy-protocol.txt):
//! who the client behind a balancer is. Believed only from trusted networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A parsed header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProxyHeader {
    /// Bytes it took; the client's own opening follows.
    pub len: usize,
    /// The client's address, and the one that it came to; `None` for `UNKNOWN` and `LOCAL`: the balancer itself.
    pub ends: Option<(SocketAddr, SocketAddr)>,
}

/// Version 1 is at most 107 bytes, its CR LF included.
const V1_MAX: usize = 107;
/// What a line of version 1 begins with.
const V1_WORD: &[u8; 6] = b"PROXY ";
/// Version 2: addresses and TLVs, a client's certificate among them; more is refused.
const V2_MAX: usize = 16 + 4_096;
/// What version 2 begins with.
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads a header from the front of `bytes`. `Ok(None)`: it has not ended yet.
///
/// # Errors
/// `Err(())`-like text naming what is wrong; the connection closes.
pub fn parse_proxy_header(bytes: &[u8]) -> Result<Option<ProxyHeader>, &'static str> {
    match bytes.first() {
        None => Ok(None),
        // Whoever is believed says so first: another protocol's opening is none.
        Some(b'P') if begins(bytes, V1_WORD) => version_1(bytes),
        Some(b'\r') if begins(bytes, V2_SIGNATURE) => version_2(bytes),
        Some(_) => Err("no PROXY header"),
    }
}

/// Whether the bytes begin so, as far as they go.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    let both = bytes.len().min(with.len());
    bytes[..both] == with[..both]
}

fn version_1(bytes: &[u8]) -> Result<Option<ProxyHeader>, &'static str> {
    let Some(end) = memchr::memmem::find(&bytes[..bytes.len().min(V1_MAX)], b"\r\n") else {
        return if bytes.len() >= V1_MAX { Err("a PROXY v1 header without an end") } else { Ok(None) };
    };
    let line = std::str::from_utf8(&bytes[..end]).map_err(|_| "a PROXY v1 header that is not text")?;
    let mut words = line.split(' ').skip(1);
    let ends = match words.next() {
        Some("UNKNOWN") => None,
        Some(family @ ("TCP4" | "TCP6")) => {
            let fields: Vec<&str> = words.collect();
            let [source, destination, port, destination_port] = fields[..] else {
                return Err("a PROXY v1 header without its four fields");
            };
            let parse = |address: &str| address.parse::<IpAddr>().map_err(|_| "a PROXY v1 address that is none");
            let number = |port: &str| {
                let digits = port.bytes().all(|byte| byte.is_ascii_digit());
                port.parse::<u16>().ok().filter(|_| digits).ok_or("a PROXY v1 port that is none")
            };
            let (source, destination) = (parse(source)?, parse(destination)?);
            if source.is_ipv4() != (family == "TCP4") || destination.is_ipv4() != source.is_ipv4() {
                return Err("a PROXY v1 address of the wrong family");
            }
            let destination = SocketAddr::new(destination, number(destination_port)?);
            Some((SocketAddr::new(source, number(port)?), destination))
        }
        _ => return Err("a PROXY v1 header of an unknown family"),
    };
    Ok(Some(ProxyHeader { len: end + 2, ends }))
}

fn version_2(bytes: &[u8]) -> Result<Option<ProxyHeader>, &'static str> {
    let Some(&[command, family, high, low]) = bytes.get(12..16) else { return Ok(None) };
    let len = 16 + (usize::from(high) << 8 | usize::from(low));
    if len > V2_MAX {
        return Err("a PROXY v2 header that is too long");
    }
    if command >> 4 != 2 || command & 0x0f > 1 {
        return Err("a PROXY v2 header of an unknown version or command");
    }
    let Some(body) = bytes.get(16..len) else { return Ok(None) };
    let ends = match (command & 0x0f, family >> 4) {
        (0, _) | (_, 0 | 3) => None,
        (_, 1) => Some(ends_of::<4>(body)?),
        (_, 2) => Some(ends_of::<16>(body)?),
        _ => return Err("a PROXY v2 header of an unknown family"),
    };
    Ok(Some(ProxyHeader { len, ends }))
}

fn ends_of<const N: usize>(body: &[u8]) -> Result<(SocketAddr, SocketAddr), &'static str> {
    const SHORT: &str = "a PROXY v2 header without its addresses";
    let end = |address: usize, port: usize| {
        let (address, port) = (body.get(address..address + N)?, body.get(port..port + 2)?);
        let ip = match <[u8; 4]>::try_from(address) {
            Ok(v4) => IpAddr::V4(Ipv4Addr::from(v4)),
            Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?)),
        };
        Some(SocketAddr::new(ip, u16::from_be_bytes([port[0], port[1]])))
    };
    end(0, 2 * N).zip(end(N, 2 * N + 2)).ok_or(SHORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x01\x7f\0\0\x01\x10\x00\x1b\x58";

    fn ends(from: &str, to: &str) -> Option<(SocketAddr, SocketAddr)> {
        Some((from.parse().ok()?, to.parse().ok()?))
    }

    #[test]
    fn reads_both_versions_whole_and_asks_for_more_before() {
        let v1 = b"PROXY TCP6 2001:db8::1 ::1 4096 7000\r\nGET";
        for cut in 0..38 {
            assert_eq!(parse_proxy_header(&v1[..cut]), Ok(None), "v1 cut at {cut}");
        }
        let found = parse_proxy_header(v1).expect("valid").expect("whole");
        assert_eq!((found.len, found.ends), (38, ends("[2001:db8::1]:4096", "[::1]:7000")));
        for cut in 0..V2.len() {
            assert_eq!(parse_proxy_header(&V2[..cut]), Ok(None), "v2 cut at {cut}");
        }
        let found = parse_proxy_header(V2).expect("valid").expect("whole");
        assert_eq!((found.len, found.ends), (28, ends("10.0.0.1:4096", "127.0.0.1:7000")));
    }

    #[test]
    fn a_local_or_unknown_sender_is_the_balancer_itself() {
        let mut local = V2.to_vec();
        local[12] = 0x20;
        assert_eq!(parse_proxy_header(&local), Ok(Some(ProxyHeader { len: 28, ends: None })));
        assert_eq!(parse_proxy_header(b"PROXY UNKNOWN\r\n"), Ok(Some(ProxyHeader { len: 15, ends: None })));
    }

    #[test]
    fn refuses_what_is_malformed() {
        let long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 120]].concat();
        let mut version = V2.to_vec();
        version[12] = 0x31;
        let mut unsigned = V2.to_vec();
        unsigned[11] = b'A';
        for bad in [
            &long[..],
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP9 a b 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 99999 2\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
            b"PUT TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
            b"POST UNKNOWN HTTP/1.1\r\n",
            b"G",
            &version,
            &unsigned,
        ] {
            assert!(parse_proxy_header(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }
}
