//! The two messages before there is state: ClientHello, as far as its cookie, and the
//! HelloVerifyRequest that asks for one (RFC 6347 section 4.2.1).

use crate::cookie::LEN as COOKIE_LEN;
use crate::record::HEAD;

/// Message type, length, sequence, fragment offset and length.
const MESSAGE_HEAD: usize = 12;
const HELLO_VERIFY_REQUEST: u8 = 3;
/// DTLS 1.0, which all clients take here, whichever version follows.
const VERSION: [u8; 2] = [254, 255];

/// What of a ClientHello says who opens a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ClientHello<'a> {
    /// 32 bytes that are the same in the second one.
    pub(crate) random: &'a [u8; 32],
    pub(crate) cookie: &'a [u8],
}

impl<'a> ClientHello<'a> {
    /// Reads a handshake message. `None`: it is none, or comes in fragments, which would
    /// have to be kept before there is a proof.
    pub(crate) fn of(message: &'a [u8]) -> Option<ClientHello<'a>> {
        let (head, body) = message.split_at_checked(MESSAGE_HEAD)?;
        let (length, offset, fragment) = (&head[1..4], &head[6..9], &head[9..12]);
        if offset != [0, 0, 0] || fragment != length || u24(length) != body.len() {
            return None;
        }
        let (_version, rest) = body.split_at_checked(2)?;
        let (random, rest) = rest.split_first_chunk::<32>()?;
        let (_session, rest) = vector(rest)?;
        let (cookie, _) = vector(rest)?;
        Some(ClientHello { random, cookie })
    }
}

fn u24(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

/// A field with a length of one byte before it.
fn vector(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*len))
}

/// Appends the datagram that asks for `cookie`. It repeats the sequence of the hello's
/// record, so that nothing has to be remembered.
pub(crate) fn write_verify_request(out: &mut Vec<u8>, sequence: [u8; 6], cookie: &[u8; COOKIE_LEN]) {
    let body = 2 + 1 + COOKIE_LEN;
    let length = [0, 0, body as u8];
    out.reserve(HEAD + MESSAGE_HEAD + body);
    out.push(22);
    out.extend_from_slice(&VERSION);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&sequence);
    out.extend_from_slice(&((MESSAGE_HEAD + body) as u16).to_be_bytes());
    out.push(HELLO_VERIFY_REQUEST);
    out.extend_from_slice(&length);
    out.extend_from_slice(&[0, 0, 0, 0, 0]);
    out.extend_from_slice(&length);
    out.extend_from_slice(&VERSION);
    out.push(COOKIE_LEN as u8);
    out.extend_from_slice(cookie);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Record;
    use proptest::prelude::*;

    fn hello(cookie: &[u8]) -> Vec<u8> {
        let mut body = vec![254, 253];
        body.extend_from_slice(&[7; 32]);
        body.push(0);
        body.push(cookie.len() as u8);
        body.extend_from_slice(cookie);
        body.extend_from_slice(&[0, 2, 0xc0, 0xa8, 1, 0]);
        let length = [0, 0, body.len() as u8];
        let mut message = vec![1];
        message.extend_from_slice(&length);
        message.extend_from_slice(&[0, 0, 0, 0, 0]);
        message.extend_from_slice(&length);
        message.extend_from_slice(&body);
        message
    }

    #[test]
    fn reads_random_and_cookie() {
        let message = hello(b"cookie");
        assert_eq!(ClientHello::of(&message), Some(ClientHello { random: &[7; 32], cookie: b"cookie" }));
    }

    #[test]
    fn a_hello_that_is_cut_or_in_fragments_is_none() {
        let message = hello(b"cookie");
        for len in 0..message.len() {
            assert_eq!(ClientHello::of(&message[..len]), None);
        }
        let mut fragment = message;
        fragment[11] -= 1;
        assert_eq!(ClientHello::of(&fragment), None);
    }

    #[test]
    fn a_verify_request_is_a_whole_record_that_is_shorter_than_any_hello() {
        let mut out = Vec::new();
        write_verify_request(&mut out, [0, 0, 0, 0, 0, 3], &[9; COOKIE_LEN]);
        assert_eq!(Record::of(&out), Some(Record::Plain));
        assert_eq!(usize::from(u16::from_be_bytes([out[11], out[12]])), out.len() - HEAD);
        assert!(out[10] == 3 && out.ends_with(&[9; COOKIE_LEN]));
        assert!(out.len() <= HEAD + hello(b"").len());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (ClientHello::of(&bytes), Record::of(&bytes));
        }
    }
}
