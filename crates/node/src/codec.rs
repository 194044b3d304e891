//! The codecs as a library: one crossing for a batch. Messages cross as numbers, and packets of MQTT that
//! have more in them as JSON; a field is its place in the buffer beside them, so that payloads are never copied
//! on the way to JavaScript.

use crate::codec_mqtt::{Packets, Wire};
use crate::codec_plain::{next_packet, put_packet};
use crate::gateway::json;
use crate::memory::coded;
use napi::bindgen_prelude::{Buffer, BufferSlice, Either, Result};
use napi_derive::napi;
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

/// Hands numbers over, as the machine has them: how many there are, and none of them where they do not fit.
pub(crate) fn given(found: &[u32], numbers: &mut [u8]) -> u32 {
    let (places, _) = numbers.as_chunks_mut::<4>();
    if found.len() <= places.len() {
        places.iter_mut().zip(found).for_each(|(place, number)| *place = number.to_ne_bytes());
    }
    found.len() as u32
}

/// Hands bytes over: how many there are.
pub(crate) fn put(bytes: &[u8], out: &mut [u8]) -> Result<u32> {
    let place =
        out.get_mut(..bytes.len()).ok_or_else(|| coded("INTERNAL", "what is written is longer than its place"))?;
    place.copy_from_slice(bytes);
    Ok(bytes.len() as u32)
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

/// All whole packets at the front of `input`. `number`: 3, 4 or 5; 0: a CONNECT says it. Where all of them are plain
/// ([`crate::codec_plain`]): how many bytes they are, the version, and their numbers; else JSON.
#[napi(catch_unwind)]
pub fn mqtt_decode(
    input: &[u8],
    number: u32,
    max_packet: u32,
    mut numbers: BufferSlice<'_>,
) -> Result<Either<u32, String>> {
    let limits = limits(max_packet);
    let codec = || -> Result<MqttCodec> {
        Ok(match version(number)? {
            Some(version) => MqttCodec::with_version(&limits, version),
            None => MqttCodec::new(&limits),
        })
    };
    if let Some(found) = plain(input, codec()?) {
        return Ok(Either::A(given(&found, &mut numbers)));
    }
    let mut codec = codec()?;
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
    json(&found).map(Either::B)
}

/// `None`: not all of them are plain.
fn plain(input: &[u8], mut codec: MqttCodec) -> Option<Vec<u32>> {
    let mut used = 0;
    let mut numbers = vec![0, codec.version().map_or(0, |version| version as u32)];
    while let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) {
        let Some((packet, length)) = codec.decode(rest).ok()? else { break };
        put_packet(&mut numbers, input, &packet)?;
        used += length;
    }
    numbers[0] = u32::try_from(used).ok()?;
    Some(numbers)
}

/// Writes packets that are plain, out of their numbers, one behind the other.
#[napi(catch_unwind)]
pub fn mqtt_encode_plain(packets: &[u32], fields: &[u8], number: u32, mut out: BufferSlice<'_>) -> Result<u32> {
    let given = version(number)?.unwrap_or(Version::V5);
    let mut rest = packets;
    let mut written = Written::new(out.len());
    while !rest.is_empty() {
        let packet = next_packet(&mut rest, fields)?;
        packet.encode(given, &mut written.bytes);
        written.check(given)?;
    }
    put(&written.bytes, &mut out)
}

/// Writes packets one behind the other.
#[napi(catch_unwind)]
pub fn mqtt_encode(packets: String, fields: Buffer, number: u32) -> Result<Buffer> {
    let packets: Vec<Wire<'_>> = serde_json::from_str(&packets).map_err(invalid)?;
    let given = version(number)?.unwrap_or(Version::V5);
    let mut out = Written::new(fields.len() + 64 * packets.len());
    for packet in &packets {
        packet.write(&fields, given, &mut out.bytes)?;
        out.check(packet.version()?.unwrap_or(given))?;
    }
    Ok(out.bytes.into())
}

/// Packets that are written; each is read again, so that nothing leaves that the decoder would refuse.
struct Written {
    bytes: Vec<u8>,
    checked: usize,
    limits: Limits,
}

impl Written {
    fn new(capacity: usize) -> Self {
        Written { bytes: Vec::with_capacity(capacity), checked: 0, limits: limits(u32::MAX) }
    }

    /// Reads the last one.
    fn check(&mut self, version: Version) -> Result<()> {
        let written = self.bytes.get(self.checked..).unwrap_or_default();
        match MqttCodec::with_version(&self.limits, version).decode(written) {
            Ok(Some((_, used))) if used == written.len() => self.checked = self.bytes.len(),
            Ok(_) => return Err(invalid("the packet cannot be written in this version")),
            Err(error) => return Err(invalid(error)),
        }
        Ok(())
    }
}

/// Options of a message at most.
pub(crate) const OPTIONS_MAX: usize = 1_024;
/// In the place of a message that is none.
const PROBLEM: u32 = u32::MAX;

/// Datagrams that stand one behind the other in `input`, each up to its end: a message as
/// numbers for each (see [`put_message`]), or `0xffffffff` for what is none.
#[napi(catch_unwind)]
pub fn coap_decode(input: &[u8], ends: &[u32], mut numbers: BufferSlice<'_>) -> Result<u32> {
    let mut start = 0;
    let mut found = Vec::with_capacity(12 * ends.len());
    for &end in ends {
        let datagram = input.get(start..end as usize).ok_or_else(|| invalid("the ends do not ascend"))?;
        start = end as usize;
        match Message::decode(datagram, OPTIONS_MAX) {
            // RFC 7252 section 3: the token follows the four bytes of the header.
            Ok(message) => put_message(&mut found, input, (&message, datagram.get(4..).unwrap_or_default())),
            Err(_) => found.push(PROBLEM),
        }
    }
    Ok(given(&found, &mut numbers))
}

/// What is wrong with a datagram; nothing: it is a message.
#[napi(catch_unwind)]
pub fn coap_problem(datagram: &[u8]) -> String {
    match Message::decode(datagram, OPTIONS_MAX) {
        Ok(_) => String::new(),
        Err(error) => format!("{} ({})", error.what, error.rule),
    }
}

/// A message as numbers: type, code and message id in one (bits 0, 8 and 16); where the token and the payload
/// stand and how long they are; how many options there are, and of each the number, its place and its length.
pub(crate) fn put_message(numbers: &mut Vec<u32>, input: &[u8], (message, behind): (&Message<'_>, &[u8])) {
    let head = message.kind as u32 | u32::from(message.code.0) << 8 | u32::from(message.message_id) << 16;
    let token = behind.get(..message.token.as_bytes().len()).unwrap_or_default();
    numbers.push(head);
    numbers.extend(span(input, token));
    numbers.extend(span(input, message.payload));
    let at = numbers.len();
    numbers.push(0);
    for option in message.options() {
        numbers[at] += 1;
        numbers.push(option.number.into());
        numbers.extend(span(input, option.value));
    }
}

/// A message that is written, out of such numbers.
pub(crate) struct Given<'f> {
    pub(crate) head: Head,
    pub(crate) options: OptionList,
    pub(crate) payload: &'f [u8],
}

/// Takes the next message off the numbers.
pub(crate) fn next_message<'f>(numbers: &mut &[u32], fields: &'f [u8]) -> Result<Given<'f>> {
    let cut = || invalid("the numbers end within a message");
    let (&[head, token_at, token, payload_at, payload, count], mut rest) =
        numbers.split_first_chunk().ok_or_else(cut)?;
    let mut options = OptionList::new();
    for _ in 0..count {
        let (&[number, at, length], behind) = rest.split_first_chunk().ok_or_else(cut)?;
        rest = behind;
        let value = bytes(fields, [at, length])?;
        if value.len() > usize::from(u16::MAX) {
            return Err(invalid("an option is over 65,535 bytes"));
        }
        options.push(number as u16, value);
    }
    *numbers = rest;
    let kind = match head & 0xff {
        0 => Type::Confirmable,
        1 => Type::NonConfirmable,
        2 => Type::Acknowledgement,
        _ => Type::Reset,
    };
    let token = Token::new(bytes(fields, [token_at, token])?);
    let head = Head {
        kind,
        code: Code((head >> 8) as u8),
        message_id: (head >> 16) as u16,
        token: token.ok_or_else(|| invalid("the token is over eight bytes"))?,
    };
    Ok(Given { head, options, payload: bytes(fields, [payload_at, payload])? })
}

/// Writes messages, each behind its length (u32, little-endian); each is read again, so that
/// nothing leaves that the decoder would refuse.
#[napi(catch_unwind)]
pub fn coap_encode(messages: &[u32], fields: &[u8], mut out: BufferSlice<'_>) -> Result<u32> {
    let mut rest = messages;
    let mut bytes = Vec::with_capacity(out.len());
    while !rest.is_empty() {
        let Given { head, options, payload } = next_message(&mut rest, fields)?;
        let start = bytes.len();
        bytes.extend_from_slice(&[0; 4]);
        encode(&mut bytes, &head, [&options, &OptionList::new()], payload);
        let written = bytes.get(start + 4..).unwrap_or_default();
        if let Err(error) = Message::decode(written, OPTIONS_MAX) {
            return Err(invalid(format!("{} ({})", error.what, error.rule)));
        }
        let length = written.len() as u32;
        bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }
    put(&bytes, &mut out)
}
