//! The identity that a client claims in its ClientKeyExchange, read ahead of the library:
//! it wants the key at once, and whoever is asked for it takes time. What is cut into
//! fragments or none of a pre-shared key claims nothing here.

use crate::psk::IDENTITY_MAX;
use crate::record::HEAD;

const HANDSHAKE: u8 = 22;
const CLIENT_KEY_EXCHANGE: u8 = 16;
/// Type, length, sequence, and the place of a fragment (RFC 6347 section 4.2.2).
const MESSAGE_HEAD: usize = 12;

/// The identity in a datagram of an unencrypted flight (RFC 4279 section 2).
pub(crate) fn claimed_identity(datagram: &[u8]) -> Option<&[u8]> {
    let mut rest = datagram;
    while let Some((head, behind)) = rest.split_at_checked(HEAD) {
        let (body, next) = behind.split_at_checked(usize::from(u16::from_be_bytes([head[11], head[12]])))?;
        // From its second epoch on a flight says nothing to us.
        if head[3..5] != [0, 0] {
            return None;
        }
        if head[0] == HANDSHAKE
            && let Some(identity) = identity_in(body)
        {
            return Some(identity);
        }
        rest = next;
    }
    None
}

fn identity_in(mut messages: &[u8]) -> Option<&[u8]> {
    while let Some((head, behind)) = messages.split_at_checked(MESSAGE_HEAD) {
        let number = |at: usize| u32::from_be_bytes([0, head[at], head[at + 1], head[at + 2]]) as usize;
        let (whole, from, len) = (number(1), number(6), number(9));
        let (body, next) = behind.split_at_checked(len)?;
        if head[0] == CLIENT_KEY_EXCHANGE {
            let ([high, low], identity) = body.split_first_chunk::<2>()?;
            // A point of a curve has its length in one byte, so the two are never mixed up.
            let is_whole =
                from == 0 && whole == len && usize::from(u16::from_be_bytes([*high, *low])) == identity.len();
            return Some(identity).filter(|_| is_whole && (1..=IDENTITY_MAX).contains(&identity.len()));
        }
        messages = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, (whole, from): (u8, u8), body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind, 0, 0, whole, 0, 2, 0, 0, from, 0, 0, body.len() as u8];
        bytes.extend_from_slice(body);
        bytes
    }

    fn record(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 3, 0, body.len() as u8];
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn an_identity_is_found_wherever_in_the_flight_it_stands() {
        let exchange = message(16, (4, 0), b"\x00\x02ab");
        let alone = record(22, 0, &exchange);
        assert_eq!(claimed_identity(&alone), Some(&b"ab"[..]));
        let behind = [record(22, 0, &message(11, (3, 0), b"\0\0\0")), alone.clone(), record(20, 0, &[1])].concat();
        assert_eq!(claimed_identity(&behind), Some(&b"ab"[..]));
        let same_record = record(22, 0, &[message(11, (3, 0), b"\0\0\0"), exchange].concat());
        assert_eq!(claimed_identity(&same_record), Some(&b"ab"[..]));
    }

    #[test]
    fn what_is_cut_encrypted_or_of_a_curve_claims_nothing() {
        let whole = record(22, 0, &message(16, (4, 0), b"\x00\x02ab"));
        for len in 0..whole.len() {
            assert_eq!(claimed_identity(&whole[..len]), None, "{len} bytes");
        }
        let exchange = |body: &[u8]| message(16, (body.len() as u8, 0), body);
        for record in [
            record(22, 1, &exchange(b"\x00\x02ab")),
            record(22, 0, &exchange(b"\x00\x00")),
            record(22, 0, &exchange(b"\x00\x03ab")),
            record(22, 0, &exchange(b"\x02\x04a")),
            record(22, 0, &message(16, (9, 0), b"\x00\x02ab")),
            record(22, 0, &message(16, (9, 5), b"\x00\x02ab")),
            record(20, 0, &[1]),
        ] {
            assert_eq!(claimed_identity(&record), None, "{record:?}");
        }
    }
}
