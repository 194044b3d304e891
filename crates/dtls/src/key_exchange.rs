//! The identity that a client claims in its ClientKeyExchange, read ahead of the library:
//! it wants the key at once, and whoever is asked for it takes time. One that comes in
//! fragments is put together here as it is there; what is none of a pre-shared key claims
//! nothing.

use crate::psk::IDENTITY_MAX;
use crate::record::HEAD;

const HANDSHAKE: u8 = 22;
const CLIENT_KEY_EXCHANGE: u8 = 16;
/// Type, length, sequence, and the place of a fragment (RFC 6347 section 4.2.2).
const MESSAGE_HEAD: usize = 12;
/// Longest message that is put together: a longer one names nobody.
const MESSAGE_MAX: usize = 2 + IDENTITY_MAX;

/// What has come of a ClientKeyExchange that is in fragments.
#[derive(Debug)]
pub(crate) struct Claim {
    sequence: [u8; 2],
    message: Vec<u8>,
    /// Which of its bytes are there.
    come: Vec<bool>,
}

/// A part of a ClientKeyExchange, or all of it.
struct Fragment<'a> {
    sequence: [u8; 2],
    whole: usize,
    from: usize,
    bytes: &'a [u8],
}

/// The identity that a datagram of an unencrypted flight claims (RFC 4279 section 2), once all
/// of it has come. `claim`: what has come before.
pub(crate) fn claimed_identity(claim: &mut Option<Claim>, datagram: &[u8]) -> Option<Box<[u8]>> {
    let mut identity = None;
    each_fragment(datagram, |fragment| {
        if identity.is_none() {
            identity = match fragment.bytes.len() == fragment.whole {
                true => identity_of(fragment.bytes).map(Box::from),
                false => joined(claim, fragment),
            };
        }
    });
    identity
}

/// A later message takes the place of what has come of an earlier one.
fn joined(claim: &mut Option<Claim>, fragment: &Fragment<'_>) -> Option<Box<[u8]>> {
    let Fragment { sequence, whole, from, bytes } = *fragment;
    if whole > MESSAGE_MAX {
        return None;
    }
    let fits = |claim: &Claim| claim.sequence == sequence && claim.message.len() == whole;
    let claim = match claim {
        Some(own) if fits(own) => own,
        other => other.insert(Claim { sequence, message: vec![0; whole], come: vec![false; whole] }),
    };
    let place = from..from.checked_add(bytes.len())?;
    claim.message.get_mut(place.clone())?.copy_from_slice(bytes);
    claim.come.get_mut(place)?.fill(true);
    claim.come.iter().all(|come| *come).then(|| identity_of(&claim.message).map(Box::from)).flatten()
}

/// The identity that a whole ClientKeyExchange has. A point of a curve has its length in one
/// byte, so the two are never mixed up.
fn identity_of(message: &[u8]) -> Option<&[u8]> {
    let (len, identity) = message.split_first_chunk::<2>()?;
    let is_whole = usize::from(u16::from_be_bytes(*len)) == identity.len();
    Some(identity).filter(|_| is_whole && (1..=IDENTITY_MAX).contains(&identity.len()))
}

fn each_fragment(datagram: &[u8], mut take: impl FnMut(&Fragment<'_>)) {
    let mut rest = datagram;
    while let Some((head, behind)) = rest.split_at_checked(HEAD) {
        let len = usize::from(u16::from_be_bytes([head[11], head[12]]));
        let Some((body, next)) = behind.split_at_checked(len) else { return };
        // From its second epoch on a flight says nothing to us.
        if head[3..5] != [0, 0] {
            return;
        }
        if head[0] == HANDSHAKE {
            each_message(body, &mut take);
        }
        rest = next;
    }
}

fn each_message(mut messages: &[u8], take: &mut impl FnMut(&Fragment<'_>)) {
    while let Some((head, behind)) = messages.split_at_checked(MESSAGE_HEAD) {
        let number = |at: usize| u32::from_be_bytes([0, head[at], head[at + 1], head[at + 2]]) as usize;
        let Some((bytes, next)) = behind.split_at_checked(number(9)) else { return };
        if head[0] == CLIENT_KEY_EXCHANGE {
            take(&Fragment { sequence: [head[4], head[5]], whole: number(1), from: number(6), bytes });
        }
        messages = next;
    }
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

    fn claimed_identity(datagram: &[u8]) -> Option<Box<[u8]>> {
        super::claimed_identity(&mut None, datagram)
    }

    #[test]
    fn an_identity_is_found_wherever_in_the_flight_it_stands() {
        let exchange = message(16, (4, 0), b"\x00\x02ab");
        let alone = record(22, 0, &exchange);
        assert_eq!(claimed_identity(&alone), Some(b"ab"[..].into()));
        let behind = [record(22, 0, &message(11, (3, 0), b"\0\0\0")), alone.clone(), record(20, 0, &[1])].concat();
        assert_eq!(claimed_identity(&behind), Some(b"ab"[..].into()));
        let same_record = record(22, 0, &[message(11, (3, 0), b"\0\0\0"), exchange].concat());
        assert_eq!(claimed_identity(&same_record), Some(b"ab"[..].into()));
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

    #[test]
    fn an_identity_in_fragments_is_put_together_in_any_order_and_up_to_a_bound() {
        let part = |from: u8, body: &[u8]| record(22, 0, &message(16, (6, from), body));
        let parts = [part(0, b"\x00\x04"), part(2, b"ab"), part(3, b"bcd")];
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut claim = None;
            let come = order.map(|at| super::claimed_identity(&mut claim, &parts[at]));
            assert_eq!(come, [None, None, Some(b"abcd"[..].into())], "{order:?}");
        }
        let mut claim = None;
        assert_eq!(super::claimed_identity(&mut claim, &parts.concat()), Some(b"abcd"[..].into()));
        // Behind its end, and of a message that is longer than any identity.
        let mut claim = None;
        assert_eq!(super::claimed_identity(&mut claim, &part(5, b"xyz")), None);
        let mut long = part(0, b"\x00\x04");
        long[HEAD + 2..HEAD + 4].copy_from_slice(&[2, 0]);
        let mut claim = None;
        assert_eq!(super::claimed_identity(&mut claim, &long), None);
        assert!(claim.is_none());
    }

    #[test]
    fn fragments_of_two_messages_are_not_joined() {
        let mut other = record(22, 0, &message(16, (4, 2), b"ab"));
        other[HEAD + 5] = 3;
        let mut claim = None;
        let first = record(22, 0, &message(16, (4, 0), b"\x00\x02"));
        assert_eq!(super::claimed_identity(&mut claim, &first), None);
        assert_eq!(super::claimed_identity(&mut claim, &other), None);
        assert_eq!(super::claimed_identity(&mut claim, &first), None);
    }
}
