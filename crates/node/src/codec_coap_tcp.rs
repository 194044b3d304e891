//! The framing of CoAP over TCP (RFC 8323 section 3.2) as a library: frames of a stream
//! in one crossing. Messages cross as those of datagrams do; type and id mean nothing.

use crate::codec::{Datagram, OPTIONS_MAX, invalid, options_of, span, token_of};
use crate::gateway::json;
use napi::bindgen_prelude::{Buffer, Result};
use napi_derive::napi;
use serde::Serialize;
use tidegate_coap::{Code, Message, OptionList, Transport, encode_frame, frame_len};

#[derive(Serialize, Default)]
struct Frames {
    messages: Vec<Datagram>,
    /// Bytes of whole frames; behind them the next one begins.
    used: usize,
    problem: Option<String>,
}

/// All whole frames at the front of `input`; one longer than `max_frame` is a problem
/// before it is there.
#[napi(catch_unwind)]
pub fn coap_tcp_decode(input: Buffer, max_frame: u32) -> Result<String> {
    let input: &[u8] = &input;
    let mut found = Frames::default();
    while let Some(len) = input.get(found.used..).and_then(frame_len) {
        if len > max_frame as usize {
            found.problem =
                Some(format!("a frame of {len} bytes, which is more than {max_frame} (RFC 8323 section 5.3.1)"));
            break;
        }
        let Some(frame) = input.get(found.used..found.used + len) else { break };
        match Message::decode_as(Transport::Tcp, frame, OPTIONS_MAX) {
            Ok(message) => found.messages.push(read_frame(input, frame, &message)),
            Err(error) => {
                found.problem = Some(format!("{} ({})", error.what, error.rule));
                break;
            }
        }
        found.used += len;
    }
    json(&found)
}

fn read_frame(input: &[u8], frame: &[u8], message: &Message<'_>) -> Datagram {
    // The token stands behind the length and the code.
    let extended = match frame.first().map(|first| first >> 4) {
        Some(13) => 1,
        Some(14) => 2,
        Some(15) => 4,
        _ => 0,
    };
    let at = 2 + extended;
    Datagram {
        kind: 0,
        code: message.code.0,
        message_id: 0,
        token: span(input, frame.get(at..at + message.token.as_bytes().len()).unwrap_or_default()),
        options: message.options().map(|option| (option.number, span(input, option.value))).collect(),
        payload: span(input, message.payload),
    }
}

/// Writes frames one behind the other; each is read again, so that nothing leaves that
/// the decoder would refuse.
#[napi(catch_unwind)]
pub fn coap_tcp_encode(messages: String, fields: Buffer) -> Result<Buffer> {
    let messages: Vec<Datagram> = serde_json::from_str(&messages).map_err(invalid)?;
    let mut out = Vec::with_capacity(fields.len() + 32 * messages.len());
    for message in &messages {
        let start = out.len();
        let options = options_of(message, &fields)?;
        let head = (Transport::Tcp, Code(message.code), token_of(message, &fields)?);
        let payload = crate::codec::bytes(&fields, message.payload)?;
        encode_frame(&mut out, head, [&options, &OptionList::new()], payload);
        let written = out.get(start..).unwrap_or_default();
        if let Err(error) = Message::decode_as(Transport::Tcp, written, OPTIONS_MAX) {
            return Err(invalid(format!("{} ({})", error.what, error.rule)));
        }
    }
    Ok(out.into())
}
