//! The framing of CoAP over TCP (RFC 8323 section 3.2) as a library: frames of a stream
//! in one crossing. Messages cross as those of datagrams do; type and id mean nothing.

use crate::codec::{Given, OPTIONS_MAX, given, invalid, next_message, put, put_message};
use napi::bindgen_prelude::{BufferSlice, Either, Result};
use napi_derive::napi;
use tidegate_coap::{Message, OptionList, Transport, encode_frame, frame_len};

/// All whole frames at the front of `input`: how many bytes they are, and the numbers of each message; or what is
/// wrong. A frame longer than `max_frame` is a problem before it is there.
#[napi(catch_unwind)]
pub fn coap_tcp_decode(input: &[u8], max_frame: u32, mut numbers: BufferSlice<'_>) -> Either<u32, String> {
    let (mut found, mut used) = (vec![0], 0);
    while let Some(len) = input.get(used..).and_then(frame_len) {
        if len > max_frame as usize {
            let rule = "RFC 8323 section 5.3.1";
            return Either::B(format!("a frame of {len} bytes, which is more than {max_frame} ({rule})"));
        }
        let Some(frame) = input.get(used..used + len) else { break };
        match Message::decode_as(Transport::Tcp, frame, OPTIONS_MAX) {
            Ok(message) => put_message(&mut found, input, (&message, behind_code(frame))),
            Err(error) => return Either::B(format!("{} ({})", error.what, error.rule)),
        }
        used += len;
    }
    found[0] = used as u32;
    Either::A(given(&found, &mut numbers))
}

/// The token stands behind the length and the code.
fn behind_code(frame: &[u8]) -> &[u8] {
    let extended = match frame.first().map(|first| first >> 4) {
        Some(13) => 1,
        Some(14) => 2,
        Some(15) => 4,
        _ => 0,
    };
    frame.get(2 + extended..).unwrap_or_default()
}

/// Writes frames one behind the other; each is read again, so that nothing leaves that
/// the decoder would refuse.
#[napi(catch_unwind)]
pub fn coap_tcp_encode(messages: &[u32], fields: &[u8], mut out: BufferSlice<'_>) -> Result<u32> {
    let mut rest = messages;
    let mut bytes = Vec::with_capacity(out.len());
    while !rest.is_empty() {
        let Given { head, options, payload } = next_message(&mut rest, fields)?;
        let start = bytes.len();
        encode_frame(&mut bytes, (Transport::Tcp, head.code, head.token), [&options, &OptionList::new()], payload);
        let written = bytes.get(start..).unwrap_or_default();
        if let Err(error) = Message::decode_as(Transport::Tcp, written, OPTIONS_MAX) {
            return Err(invalid(format!("{} ({})", error.what, error.rule)));
        }
    }
    put(&bytes, &mut out)
}
