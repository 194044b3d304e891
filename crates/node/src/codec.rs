//! The codecs as a library: one crossing for a batch. Packets cross as JSON without
//! their bytes: a binary field is `[at, length]` into the buffer beside it, so that
//! payloads are never copied on the way to JavaScript.

use crate::codec_mqtt::{Packets, Wire};
use crate::gateway::json;
use crate::memory::coded;
use napi::bindgen_prelude::{Buffer, Result, Uint32Array};
use napi_derive::napi;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use tidegate_coap::{Code, Head, Message, OptionList, Token, Type, encode};
use tidegate_kit::Codec;
use tidegate_message::Limits;
use tidegate_mqtt::{MqttCodec, Version};

/// Bytes in the buffer beside the JSON.
pub(crate) type Span = [u32; 2];

pub(crate) fn invalid(text: impl Display) -> napi::Error {
    coded("CODEC_INVALID", text)
}

/// Where `part`, which was borrowed from `whole`, stands in it.
pub(crate) fn span(whole: &[u8], part: &[u8]) -> Span {
    let at = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    if part.is_empty() { [0, 0] } else { [at as u32, part.len() as u32] }
}

/// The bytes of a span.
pub(crate) fn bytes(whole: &[u8], [at, len]: Span) -> Result<&[u8]> {
    let (at, len) = (at as usize, len as usize);
    whole.get(at..at + len).ok_or_else(|| invalid("a field lies outside of its buffer"))
}

fn limits(packet: u32) -> Limits {
    Limits {
        mqtt_packet: packet as usize,
        mqtt_user_properties: usize::from(u16::MAX),
        topic_levels: usize::from(u16::MAX),
        ..Limits::default()
    }
}

fn version(number: u32) -> Result<Option<Version>> {
    match number {
        0 => Ok(None),
        3 => Ok(Some(Version::V31)),
        4 => Ok(Some(Version::V311)),
        5 => Ok(Some(Version::V5)),
        other => Err(invalid(format!("there is no MQTT version {other}; it is 3, 4 or 5"))),
    }
}

/// All whole packets at the front of `input`. `number`: 3, 4 or 5; 0: a CONNECT says it.
#[napi(catch_unwind)]
pub fn mqtt_decode(input: Buffer, number: u32, max_packet: u32) -> Result<String> {
    let limits = limits(max_packet);
    let mut codec = match version(number)? {
        Some(version) => MqttCodec::with_version(&limits, version),
        None => MqttCodec::new(&limits),
    };
    let input: &[u8] = &input;
    let mut found = Packets::default();
    while let Some(rest) = input.get(found.used..).filter(|rest| !rest.is_empty()) {
        match codec.decode(rest) {
            Ok(Some((packet, used))) => {
                found.packets.push(Wire::read(input, &packet));
                found.used += used;
            }
            Ok(None) => break,
            Err(error) => {
                found.problem = Some(error.to_string());
                break;
            }
        }
    }
    found.version = codec.version().map_or(0, |version| version as u8);
    json(&found)
}

/// Writes packets one behind the other; each is read again, so that nothing leaves
/// that the decoder would refuse.
#[napi(catch_unwind)]
pub fn mqtt_encode(packets: String, fields: Buffer, number: u32) -> Result<Buffer> {
    let packets: Vec<Wire<'_>> = serde_json::from_str(&packets).map_err(invalid)?;
    let given = version(number)?.unwrap_or(Version::V5);
    let limits = limits(u32::MAX);
    let mut out = Vec::with_capacity(fields.len() + 64 * packets.len());
    for packet in &packets {
        let start = out.len();
        packet.write(&fields, given, &mut out)?;
        let mut codec = MqttCodec::with_version(&limits, packet.version()?.unwrap_or(given));
        let written = out.get(start..).unwrap_or_default();
        match codec.decode(written) {
            Ok(Some((_, used))) if used == written.len() => {}
            Ok(_) => return Err(invalid("the packet cannot be written in this version")),
            Err(error) => return Err(invalid(error)),
        }
    }
    Ok(out.into())
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Datagram {
    /// 0 CON, 1 NON, 2 ACK, 3 RST.
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) message_id: u16,
    pub(crate) token: Span,
    pub(crate) options: Vec<(u16, Span)>,
    pub(crate) payload: Span,
}

/// Options of a message at most.
pub(crate) const OPTIONS_MAX: usize = 1_024;

/// Datagrams that stand one behind the other in `input`, each up to its end: a
/// message, or the text of what is wrong with it.
#[napi(catch_unwind)]
pub fn coap_decode(input: Buffer, ends: Uint32Array) -> Result<String> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Read {
        Message(Datagram),
        Problem(String),
    }
    let input: &[u8] = &input;
    let mut start = 0;
    let mut found = Vec::with_capacity(ends.len());
    for &end in ends.iter() {
        let datagram = input.get(start..end as usize).ok_or_else(|| invalid("the ends do not ascend"))?;
        start = end as usize;
        found.push(match Message::decode(datagram, OPTIONS_MAX) {
            Ok(message) => Read::Message(read_datagram(input, datagram, &message)),
            Err(error) => Read::Problem(format!("{} ({})", error.what, error.rule)),
        });
    }
    json(&found)
}

fn read_datagram(input: &[u8], datagram: &[u8], message: &Message<'_>) -> Datagram {
    // RFC 7252 section 3: the token follows the four bytes of the header.
    let token = datagram.get(4..4 + message.token.as_bytes().len()).unwrap_or_default();
    Datagram {
        kind: message.kind as u8,
        code: message.code.0,
        message_id: message.message_id,
        token: span(input, token),
        options: message.options().map(|option| (option.number, span(input, option.value))).collect(),
        payload: span(input, message.payload),
    }
}

/// Writes messages, each behind its length (u32, little-endian).
#[napi(catch_unwind)]
pub fn coap_encode(messages: String, fields: Buffer) -> Result<Buffer> {
    let messages: Vec<Datagram> = serde_json::from_str(&messages).map_err(invalid)?;
    let mut out = Vec::with_capacity(fields.len() + 32 * messages.len());
    for message in &messages {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        write_datagram(message, &fields, &mut out)?;
        let written = out.get(start + 4..).unwrap_or_default();
        if let Err(error) = Message::decode(written, OPTIONS_MAX) {
            return Err(invalid(format!("{} ({})", error.what, error.rule)));
        }
        let length = written.len() as u32;
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }
    Ok(out.into())
}

fn write_datagram(message: &Datagram, fields: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let kind = match message.kind {
        0 => Type::Confirmable,
        1 => Type::NonConfirmable,
        2 => Type::Acknowledgement,
        3 => Type::Reset,
        _ => return Err(invalid("the type is none of con, non, ack and rst")),
    };
    let token = token_of(message, fields)?;
    let options = options_of(message, fields)?;
    let head = Head { kind, code: Code(message.code), message_id: message.message_id, token };
    encode(out, &head, [&options, &OptionList::new()], bytes(fields, message.payload)?);
    Ok(())
}

pub(crate) fn token_of(message: &Datagram, fields: &[u8]) -> Result<Token> {
    Token::new(bytes(fields, message.token)?).ok_or_else(|| invalid("the token is over eight bytes"))
}

pub(crate) fn options_of(message: &Datagram, fields: &[u8]) -> Result<OptionList> {
    let mut options = OptionList::new();
    for &(number, value) in &message.options {
        let value = bytes(fields, value)?;
        if value.len() > usize::from(u16::MAX) {
            return Err(invalid("an option is over 65,535 bytes"));
        }
        options.push(number, value);
    }
    Ok(options)
}
