//! Messages on a stream (RFC 8323): over TCP a length stands in front of each (section
//! 3.2), over WebSocket the frame is the length (section 4.2). There are no types and no
//! message ids: the transport delivers.

use crate::encode::put_body;
use crate::message::Parts;
use crate::{Code, Malformed, Message, OptionList, Token, Type};

/// How messages stand on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// One a datagram, with the reliability of RFC 7252.
    Datagram,
    /// One after the other on TCP or TLS.
    Tcp,
    /// One a binary WebSocket message.
    WebSocket,
}

/// Longest header: length, code, token.
const HEADER_MAX: usize = 1 + 4 + 1 + 8;

/// Bytes of the frame that begins with `bytes`; `None`: its length has not come whole.
pub fn frame_len(bytes: &[u8]) -> Option<usize> {
    let (extended, base) = match bytes.first()? >> 4 {
        13 => (1, 13),
        14 => (2, 269),
        15 => (4, 65_805),
        len => (0, usize::from(len)),
    };
    let fold = |sum: usize, byte: &u8| sum << 8 | usize::from(*byte);
    let len = bytes.get(1..1 + extended)?.iter().fold(0, fold) + base;
    Some(1 + extended + 1 + usize::from(bytes[0] & 15) + len)
}

impl<'a> Message<'a> {
    /// Reads a message as `transport` carries it, whole. One from a stream counts as
    /// confirmable, with the id 0.
    ///
    /// # Errors
    /// The broken rule.
    pub fn decode_as(transport: Transport, bytes: &'a [u8], max_options: usize) -> Result<Self, Malformed> {
        let broken = |(rule, what)| Malformed { rule, what, header: None };
        let extended = match (transport, bytes.first().map(|first| first >> 4)) {
            (Transport::Datagram, _) => return Message::decode(bytes, max_options),
            (Transport::WebSocket, Some(1..)) => {
                return Err(broken(("RFC 8323 section 4.2", "a length in a WebSocket message")));
            }
            (_, Some(13)) => 1,
            (_, Some(14)) => 2,
            (_, Some(15)) => 4,
            _ => 0,
        };
        let (Some(first), Some((&code, rest))) =
            (bytes.first(), bytes.get(1 + extended..).and_then(<[u8]>::split_first))
        else {
            return Err(broken(("RFC 8323 section 3.2", "shorter than a header")));
        };
        let parts = Parts { code: Code(code), token_len: first & 15, max_options };
        let (token, options, payload) = parts.decode(rest).map_err(broken)?;
        Ok(Message::new((Type::Confirmable, Code(code), 0), token, (options, payload)))
    }
}

/// Appends a message as a stream carries it. `options` as for [`crate::encode`].
pub fn encode_frame(
    out: &mut Vec<u8>,
    (transport, code, token): (Transport, Code, Token),
    options: [&OptionList; 2],
    payload: &[u8],
) {
    let start = out.len();
    put_body(out, options, payload);
    let len = if transport == Transport::WebSocket { 0 } else { out.len() - start };
    let token = token.as_bytes();
    let mut header = [0; HEADER_MAX];
    let (nibble, extended) = match len {
        0..=12 => (len as u8, 0),
        13..=268 => (13, 1),
        269..=65_804 => (14, 2),
        _ => (15, 4),
    };
    let rest = (len - [0, 13, 269, 0, 65_805][extended]) as u32;
    header[0] = nibble << 4 | token.len() as u8;
    header[1..=extended].copy_from_slice(&rest.to_be_bytes()[4 - extended..]);
    header[1 + extended] = code.0;
    header[2 + extended..2 + extended + token.len()].copy_from_slice(token);
    out.splice(start..start, header[..2 + extended + token.len()].iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OptionNumber;
    use proptest::prelude::*;

    fn framed(transport: Transport, token: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut options = OptionList::new();
        options.push(OptionNumber::URI_PATH, b"t");
        let head = (transport, Code::PUT, Token::new(token).expect("short"));
        let mut out = vec![0xaa];
        encode_frame(&mut out, head, [&options, &OptionList::new()], payload);
        out.split_off(1)
    }

    #[test]
    fn a_frame_without_anything_is_the_two_bytes_of_the_specification() {
        let mut out = Vec::new();
        encode_frame(&mut out, (Transport::Tcp, Code::CSM, Token::default()), [&OptionList::new(); 2], b"");
        assert_eq!(out, [0x00, 0xe1]);
    }

    #[test]
    fn lengths_are_as_short_as_they_can_be() {
        for (payload, first) in [(9, 0xc0), (10, 0xd0), (265, 0xd0), (266, 0xe0), (65_801, 0xe0), (65_802, 0xf0)] {
            let frame = framed(Transport::Tcp, b"", &vec![7; payload]);
            assert_eq!((frame[0], frame_len(&frame)), (first, Some(frame.len())), "{payload}");
        }
    }

    #[test]
    fn a_length_has_no_place_in_a_websocket_message() {
        assert!(Message::decode_as(Transport::WebSocket, &[0x10, 0x01, 0xff, 0x00], 64).is_err());
        assert!(Message::decode_as(Transport::Tcp, &[0xd0], 64).is_err());
        assert!(Message::decode_as(Transport::Tcp, &[0x09, 0x01], 64).is_err());
    }

    proptest! {
        #[test]
        fn what_was_framed_is_read(
            token in prop::collection::vec(any::<u8>(), 0..=8),
            payload in prop::collection::vec(any::<u8>(), 0..400),
            is_tcp: bool,
        ) {
            let transport = if is_tcp { Transport::Tcp } else { Transport::WebSocket };
            let frame = framed(transport, &token, &payload);
            if is_tcp {
                prop_assert_eq!(frame_len(&frame), Some(frame.len()));
            }
            let message = Message::decode_as(transport, &frame, 64).expect("valid");
            prop_assert_eq!((message.code, message.token.as_bytes(), message.payload), (Code::PUT, &token[..], &payload[..]));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = frame_len(&bytes);
            for transport in [Transport::Datagram, Transport::Tcp, Transport::WebSocket] {
                let _ = Message::decode_as(transport, &bytes, 64);
            }
        }
    }
}
