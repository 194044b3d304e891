//! The head of a record: what can be said of a datagram before any cryptography.

/// Bytes of a connection id of ours.
pub(crate) const CID_LEN: usize = 8;
/// Type, version, epoch and sequence.
const NUMBERED: usize = 11;
/// The same and the length.
pub(crate) const HEAD: usize = 13;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// RFC 9146 section 10: `tls12_cid`.
const TLS12_CID: u8 = 25;

/// What the first record of a datagram is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record<'a> {
    /// The opening of a handshake: the record's sequence, and the handshake message.
    ClientHello {
        /// 48 bits; the answer carries them (RFC 6347 section 4.2.1).
        sequence: [u8; 6],
        /// From the message type on.
        message: &'a [u8],
    },
    /// A record that says whose it is.
    Connected {
        /// The connection id.
        cid: [u8; CID_LEN],
        /// Epoch and sequence as one number.
        number: u64,
    },
    /// A record that only its address tells.
    Plain,
}

/// Whether a datagram can be DTLS at all (RFC 7983 section 7): CoAP begins at 0x40.
pub fn looks_like_dtls(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(20..=63))
}

impl<'a> Record<'a> {
    /// Reads the first record's head. `None`: it is no record of DTLS 1.0 or 1.2.
    pub fn of(datagram: &'a [u8]) -> Option<Record<'a>> {
        let (head, _) = datagram.split_at_checked(NUMBERED)?;
        // 254.255 and 254.253; a first ClientHello may say either (RFC 6347 section 4.2.1).
        if !matches!(head[1..3], [254, 255 | 253]) {
            return None;
        }
        match head[0] {
            TLS12_CID => {
                let cid = *datagram[NUMBERED..].first_chunk::<CID_LEN>()?;
                let number = u64::from_be_bytes(*head[3..].first_chunk::<8>()?);
                Some(Record::Connected { cid, number })
            }
            HANDSHAKE if head[3..5] == [0, 0] => {
                let len = usize::from(u16::from_be_bytes(*datagram[NUMBERED..].first_chunk::<2>()?));
                let message = datagram.get(HEAD..HEAD + len)?;
                if message.first() != Some(&CLIENT_HELLO) {
                    return Some(Record::Plain);
                }
                Some(Record::ClientHello { sequence: *head[5..].first_chunk::<6>()?, message })
            }
            20..=24 | 26 => Some(Record::Plain),
            _ => None,
        }
    }
}

/// The whole records of a datagram, the last of which may be cut: the library takes fewer bytes than a
/// head for a fault of its own, and would end the session. And whether one of them begins as the hello of
/// a client does: in an open session the library takes such a client for one that has begun anew, which
/// has to be said alone, and with a cookie.
pub(crate) fn examine(datagram: &[u8]) -> (&[u8], bool) {
    let (mut end, mut has_hello) = (0, false);
    loop {
        let rest = &datagram[end..];
        let numbered = if rest.first() == Some(&TLS12_CID) { NUMBERED + CID_LEN } else { NUMBERED };
        let len = rest.get(numbered..).and_then(<[u8]>::first_chunk::<2>);
        let Some(len) = len.map(|len| usize::from(u16::from_be_bytes(*len))) else { break };
        has_hello |= rest[0] == HANDSHAKE && rest[3..5] == [0, 0] && rest.get(HEAD) == Some(&CLIENT_HELLO);
        end = (end + numbered + 2 + len).min(datagram.len());
    }
    (&datagram[..end], has_hello)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 9];
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn tells_hellos_connected_and_plain_records_apart() {
        let hello = record(HANDSHAKE, 0, &[0, 3, CLIENT_HELLO, 7, 7]);
        let expected = Record::ClientHello { sequence: [0, 0, 0, 0, 0, 9], message: &[CLIENT_HELLO, 7, 7] };
        assert_eq!(Record::of(&hello), Some(expected));
        let connected = record(TLS12_CID, 1, &[1, 2, 3, 4, 5, 6, 7, 8, 0, 0]);
        assert_eq!(
            Record::of(&connected),
            Some(Record::Connected { cid: [1, 2, 3, 4, 5, 6, 7, 8], number: 1 << 48 | 9 })
        );
        assert_eq!(Record::of(&record(HANDSHAKE, 0, &[0, 1, 16])), Some(Record::Plain));
        assert_eq!(Record::of(&record(HANDSHAKE, 1, &[0, 1, CLIENT_HELLO])), Some(Record::Plain));
        assert_eq!(Record::of(&record(23, 1, &[0, 0])), Some(Record::Plain));
    }

    #[test]
    fn what_is_cut_or_of_another_version_is_no_record() {
        let hello = record(HANDSHAKE, 0, &[0, 3, CLIENT_HELLO, 7, 7]);
        for len in 0..hello.len() {
            assert_eq!(Record::of(&hello[..len]), None, "{len} bytes");
        }
        let connected = record(TLS12_CID, 1, &[1; CID_LEN]);
        assert_eq!(Record::of(&connected[..connected.len() - 1]), None);
        let mut tls = hello.clone();
        tls[1] = 3;
        assert_eq!(Record::of(&tls), None);
        assert_eq!(Record::of(&record(27, 1, &[0, 0])), None);
    }

    #[test]
    fn whole_records_are_kept_and_a_hello_is_found_wherever_it_stands() {
        let hello = record(HANDSHAKE, 0, &[0, 3, CLIENT_HELLO, 7, 7]);
        let data = record(23, 1, &[0, 2, 9, 9]);
        let connected = record(TLS12_CID, 1, &[1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 9]);
        for before in [&[][..], &data, &connected, &[&data[..], &connected, &data].concat()] {
            let whole = [before, &hello].concat();
            assert_eq!(examine(&whole), (&whole[..], true));
            let whole = [before, &data].concat();
            assert_eq!(examine(&whole), (&whole[..], false));
            for tail in 1..HEAD {
                assert_eq!(examine(&[&whole[..], &data[..tail]].concat()), (&whole[..], false));
            }
            let cut = [before, &data[..HEAD + 1]].concat();
            assert_eq!(examine(&cut), (&cut[..], false));
        }
        // The byte behind an empty record is what the library looks at.
        assert!(examine(&[&record(HANDSHAKE, 0, &[0, 0])[..], &[CLIENT_HELLO]].concat()).1);
        // The end of a handshake that is sent again is no hello.
        let again = [record(HANDSHAKE, 0, &[0, 1, 16]), record(20, 0, &[0, 1, 1]), record(HANDSHAKE, 1, &[0, 1, 1])];
        assert!(!examine(&again.concat()).1);
    }

    #[test]
    fn coap_is_not_taken_for_dtls() {
        assert!(looks_like_dtls(&[22]) && looks_like_dtls(&[25]));
        assert!(!looks_like_dtls(&[0x40]) && !looks_like_dtls(&[0x7f]) && !looks_like_dtls(&[]));
    }
}
