//! Openings of TCP connections.

/// What a client opened with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    /// PROXY protocol v1 or v2; the client's own opening stands behind it.
    Proxy,
    /// A TLS ClientHello.
    Tls,
    /// The HTTP/2 connection preface.
    Http2,
    /// An HTTP/1 request line.
    Http1,
    /// An MQTT CONNECT.
    Mqtt,
    /// CoAP over TCP: a CSM (RFC 8323 section 5.3).
    CoapTcp,
}

/// The answer to the bytes so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detection {
    /// It can be nothing else.
    Known(Opening),
    /// A prefix of at least one opening.
    NeedMore,
    /// No opening begins like this.
    Unknown,
}

/// Longest method that a request line may begin with.
const METHOD_MAX: usize = 32;

/// The code 7.01.
const CSM: u8 = 0xe1;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PROXY_V1: &[u8] = b"PROXY ";
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What `bytes`, the first of a connection, open.
pub fn detect(bytes: &[u8]) -> Detection {
    // The first byte of CoAP is a length: it may be that of any other opening.
    match by_first_byte(bytes) {
        Detection::Unknown => coap_tcp(bytes),
        detection => detection,
    }
}

fn by_first_byte(bytes: &[u8]) -> Detection {
    match bytes {
        [] => Detection::NeedMore,
        [0x16, ..] => tls(bytes),
        [0x10, ..] => mqtt(bytes),
        [b'P', ..] if shares_prefix(bytes, PREFACE) => literal(bytes, PREFACE, Opening::Http2),
        [b'P', ..] if shares_prefix(bytes, PROXY_V1) => literal(bytes, PROXY_V1, Opening::Proxy),
        [b'\r', ..] if shares_prefix(bytes, PROXY_V2) && bytes.get(2) != Some(&b'G') => {
            literal(bytes, PROXY_V2, Opening::Proxy)
        }
        // RFC 9112 section 2.2: one empty line before the request line is passed over.
        [b'\r', b'\n', rest @ ..] => http1(rest),
        [b'A'..=b'Z', ..] => http1(bytes),
        _ => Detection::Unknown,
    }
}

/// Whether bytes that open nothing were meant as an HTTP/1 request: its parser then
/// says what is wrong, in words that the client understands.
pub fn resembles_http1(bytes: &[u8]) -> bool {
    let is_method = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_uppercase);
    bytes.get(..=METHOD_MAX).is_some_and(is_method) || bytes.windows(7).any(|window| window == b"HTTP/1.")
}

fn shares_prefix(bytes: &[u8], literal: &[u8]) -> bool {
    let len = bytes.len().min(literal.len());
    bytes[..len] == literal[..len]
}

fn literal(bytes: &[u8], literal: &[u8], opening: Opening) -> Detection {
    if bytes.len() >= literal.len() {
        return Detection::Known(opening);
    }
    // "P", "PR" open several things; "PRI " and "PROXY" fall back to HTTP/1 methods.
    Detection::NeedMore
}

/// RFC 8446 section 5.1: handshake record, version 3.x, a length, a ClientHello.
fn tls(bytes: &[u8]) -> Detection {
    let fits = match bytes {
        [_] => true,
        [_, 3] => true,
        [_, 3, minor] | [_, 3, minor, _] => *minor <= 4,
        [_, 3, minor, high, low, rest @ ..] => {
            let len = usize::from(*high) << 8 | usize::from(*low);
            let hello = rest.first().is_none_or(|kind| *kind == 1);
            if *minor <= 4 && (4..=1 << 14).contains(&len) && hello && !rest.is_empty() {
                return Detection::Known(Opening::Tls);
            }
            *minor <= 4 && (4..=1 << 14).contains(&len) && hello
        }
        _ => false,
    };
    if fits { Detection::NeedMore } else { Detection::Unknown }
}

/// MQTT-3.1.0-1: CONNECT comes first; its protocol name tells it from anything else.
fn mqtt(bytes: &[u8]) -> Detection {
    let mut at = 1;
    loop {
        match bytes.get(at) {
            None => return Detection::NeedMore,
            Some(byte) if byte & 0x80 == 0 => break,
            // MQTT-1.5.5: at most four bytes of length.
            Some(_) if at == 4 => return Detection::Unknown,
            Some(_) => at += 1,
        }
    }
    let name = &bytes[at + 1..];
    for known in [&b"\0\x04MQTT"[..], b"\0\x06MQIsdp"] {
        if shares_prefix(name, known) {
            return if name.len() >= known.len() { Detection::Known(Opening::Mqtt) } else { Detection::NeedMore };
        }
    }
    Detection::Unknown
}

/// A method and a space, then a target. The parser judges the rest.
fn http1(bytes: &[u8]) -> Detection {
    let method = bytes
        .iter()
        .take(METHOD_MAX + 1)
        .take_while(|byte| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_'))
        .count();
    if method > METHOD_MAX {
        return Detection::Unknown;
    }
    match bytes.get(method) {
        None => Detection::NeedMore,
        Some(b' ') if method > 0 => match bytes.get(method + 1) {
            None => Detection::NeedMore,
            Some(byte) if byte.is_ascii_graphic() || *byte == b' ' => Detection::Known(Opening::Http1),
            Some(_) => Detection::Unknown,
        },
        // A lower-case or odd method still deserves a 400 in its own language.
        Some(byte) if byte.is_ascii_graphic() && method > 0 => Detection::Known(Opening::Http1),
        _ => Detection::Unknown,
    }
}

/// RFC 8323 section 3.2: Len and TKL, extended length, then code 7.01 (CSM).
fn coap_tcp(bytes: &[u8]) -> Detection {
    let Some(first) = bytes.first() else { return Detection::NeedMore };
    let extended = match first >> 4 {
        0..=12 => 0,
        13 => 1,
        14 => 2,
        _ => return Detection::Unknown,
    };
    if first & 0x0f > 8 {
        return Detection::Unknown;
    }
    match bytes.get(1 + extended) {
        None => Detection::NeedMore,
        Some(&CSM) => Detection::Known(Opening::CoapTcp),
        Some(_) => Detection::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &[u8] = &[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
    const CONNECT: &[u8] = b"\x10\x10\0\x04MQTT\x05\x02\0\x3c\0\0\x03abc";
    const CONNECT_31: &[u8] = b"\x10\x8e\x01\0\x06MQIsdp\x03\x02\0\x3c";

    fn known_from(opening: &[u8], least: usize, expected: Opening) {
        for len in 0..=opening.len() {
            let wanted = if len < least { Detection::NeedMore } else { Detection::Known(expected) };
            assert_eq!(detect(&opening[..len]), wanted, "{expected:?}, first {len} bytes");
        }
    }

    #[test]
    fn each_prefix_of_each_opening_is_judged_the_same_way() {
        known_from(HELLO, 6, Opening::Tls);
        known_from(PREFACE, PREFACE.len(), Opening::Http2);
        known_from(b"GET / HTTP/1.1\r\n", 5, Opening::Http1);
        known_from(b"PROPFIND / HTTP/1.1\r\n", 10, Opening::Http1);
        known_from(b"PUT / HTTP/1.1\r\n", 5, Opening::Http1);
        known_from(b"\r\nGET / HTTP/1.1\r\n", 7, Opening::Http1);
        known_from(CONNECT, 8, Opening::Mqtt);
        known_from(CONNECT_31, 11, Opening::Mqtt);
        known_from(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", 6, Opening::Proxy);
        known_from(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", 12, Opening::Proxy);
        known_from(&[0x00, 0xe1], 2, Opening::CoapTcp);
        known_from(&[0x20, 0xe1, 0x22, 0x01], 2, Opening::CoapTcp);
        known_from(&[0xd0, 0x00, 0xe1], 3, Opening::CoapTcp);
    }

    #[test]
    fn a_csm_is_told_from_what_has_the_same_first_byte() {
        // Of libcoap, of aiocoap, and of one option without a value; then HTTP's letters.
        known_from(b"\x50\xe1\x23\x80\x01\x00\x20", 2, Opening::CoapTcp);
        known_from(b"\x40\xe1\x23\x80\x01\x00", 2, Opening::CoapTcp);
        // One option without a value: as a CONNECT it would be one of more than 2 KB, so the
        // next message has to tell.
        known_from(b"\x10\xe1\x40\x01\x01", 4, Opening::CoapTcp);
        known_from(b"\x10\xe1\x40\x00\xe2", 5, Opening::CoapTcp);
        assert_eq!(detect(b"\x10\xe1\x01\x00\x04MQTT"), Detection::Known(Opening::Mqtt));
        for first in b'A'..=b'Z' {
            let expected = if first & 15 <= 8 { Detection::Known(Opening::CoapTcp) } else { Detection::Unknown };
            assert_eq!(detect(&[first, CSM]), expected, "{first:#x}");
        }
    }

    #[test]
    fn what_nothing_opens_with_is_unknown_at_once() {
        for bytes in [
            &b"\0\0\0"[..],
            b"\xff",
            b"\x16\x05",
            b"\x16\x03\x09",
            b"\x10\xff\xff\xff\xff",
            b"\x10\x0c\0\x04HTTP",
            b"SSH\x01",
            b"hello",
            b"\x01\x01",
            b"\r\n\x01",
            b"\x20\x02\0\0",
        ] {
            assert_eq!(detect(bytes), Detection::Unknown, "{bytes:?}");
        }
    }

    #[test]
    fn a_method_that_is_too_long_stays_unknown_however_much_of_it_comes() {
        assert_eq!(detect(&[b'U'; METHOD_MAX]), Detection::NeedMore);
        for len in METHOD_MAX + 1..100 {
            assert_eq!(detect(&vec![b'U'; len]), Detection::Unknown, "{len} bytes");
        }
        let line = [&[b'U'; METHOD_MAX + 1][..], b" / HTTP/1.1\r\n"].concat();
        assert_eq!(detect(&line), Detection::Unknown);
    }

    #[test]
    fn a_request_line_with_a_fault_is_still_answered_as_http() {
        assert_eq!(detect(b"GEt / HTTP/1.1"), Detection::Known(Opening::Http1));
        assert_eq!(detect(b"GET  / HTTP/1.1"), Detection::Known(Opening::Http1));
    }
}
