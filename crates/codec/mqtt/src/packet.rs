//! All 15 packets, and the codec that finds where one ends. Bytes in, a borrowed
//! packet out; a length over the limit is refused before the body arrives.

use crate::ack::{Ack, AckKind};
use crate::auth::Auth;
use crate::connack::Connack;
use crate::connect::{Connect, Version};
use crate::disconnect::Disconnect;
use crate::fixed::remaining_length;
use crate::publish::Publish;
use crate::reason;
use crate::rules::{coded, ensure, malformed, protocol};
use crate::suback::{Suback, Unsuback};
use crate::subscribe::Subscribe;
use crate::unsubscribe::Unsubscribe;
use tidegate_kit::{Codec, DecodeError, Reader};
use tidegate_message::Limits;

/// A packet, borrowed from the bytes it was read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "each variant is the packet of its name")]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    Connack(Connack<'a>),
    Publish(Publish<'a>),
    /// PUBACK, PUBREC, PUBREL, PUBCOMP.
    Ack(Ack<'a>),
    Subscribe(Subscribe<'a>),
    Suback(Suback<'a>),
    Unsubscribe(Unsubscribe<'a>),
    Unsuback(Unsuback<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

impl Packet<'_> {
    /// Appends the packet as `version` writes it; a CONNECT knows its own. AUTH exists
    /// in version 5 only and appends nothing before it.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        match self {
            Packet::Connect(packet) => packet.encode(out),
            Packet::Connack(packet) => packet.encode(version, out),
            Packet::Publish(packet) => packet.encode(version, out),
            Packet::Ack(packet) => packet.encode(version, out),
            Packet::Subscribe(packet) => packet.encode(version, out),
            Packet::Suback(packet) => packet.encode(version, out),
            Packet::Unsubscribe(packet) => packet.encode(version, out),
            Packet::Unsuback(packet) => packet.encode(version, out),
            Packet::PingReq => out.extend_from_slice(&[0xc0, 0]),
            Packet::PingResp => out.extend_from_slice(&[0xd0, 0]),
            Packet::Disconnect(packet) => packet.encode(version, out),
            Packet::Auth(packet) if version.is_v5() => packet.encode(out),
            Packet::Auth(_) => {}
        }
    }
}

/// Reads packets of one connection. Until a CONNECT set the version, nothing but a
/// CONNECT is read (MQTT-3.1.0-1).
#[derive(Clone, Copy, Debug)]
pub struct MqttCodec {
    packet: u32,
    user_properties: u16,
    topic_levels: u16,
    version: Option<Version>,
    is_bridge: bool,
    /// How a CONNECT of an unknown version is refused.
    refusal: Version,
}

fn clamp(limit: usize) -> u16 {
    u16::try_from(limit).unwrap_or(u16::MAX)
}

impl MqttCodec {
    /// Of a connection that has not begun.
    pub fn new(limits: &Limits) -> Self {
        MqttCodec {
            packet: u32::try_from(limits.mqtt_packet).unwrap_or(u32::MAX),
            user_properties: clamp(limits.mqtt_user_properties),
            topic_levels: clamp(limits.topic_levels),
            version: None,
            is_bridge: false,
            refusal: Version::V311,
        }
    }

    /// Of a connection whose version is known: a client's, or a library's.
    pub fn with_version(limits: &Limits, version: Version) -> Self {
        MqttCodec { version: Some(version), ..MqttCodec::new(limits) }
    }

    /// Of a connection that began with `connect`.
    pub(crate) fn of(connect: &Connect<'_>, limits: &Limits) -> Self {
        MqttCodec { is_bridge: connect.is_bridge, ..MqttCodec::with_version(limits, connect.version) }
    }

    /// The version, once a CONNECT or the caller set it. It is set by a CONNECT whose
    /// later fields are wrong too, so that the refusal can be written.
    pub const fn version(&self) -> Option<Version> {
        self.version
    }

    /// Whether a CONNECT said that it is a bridge's.
    pub const fn is_bridge(&self) -> bool {
        self.is_bridge
    }

    /// The version that a refusal is written in: where the level was unknown, the closest
    /// one (MQTT-3.1.2-2 of both specifications).
    pub(crate) const fn refusal(&self) -> Version {
        match self.version {
            Some(version) => version,
            None => self.refusal,
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            mqtt_user_properties: self.user_properties.into(),
            topic_levels: self.topic_levels.into(),
            ..Limits::default()
        }
    }

    fn connect<'a>(&mut self, reader: &mut Reader<'a>) -> Result<Packet<'a>, DecodeError> {
        let mut ahead = *reader;
        let level = ahead.prefixed().and_then(|_| ahead.u8()).unwrap_or(0);
        if level > Version::V5 as u8 {
            self.refusal = Version::V5;
        }
        let (version, is_bridge) = Connect::read_version(reader)?;
        // A second CONNECT changes nothing; the session refuses it (MQTT-3.1.0-2).
        if self.version.is_none() {
            (self.version, self.is_bridge) = (Some(version), is_bridge);
        }
        Connect::read((version, is_bridge), reader, &self.limits()).map(Packet::Connect)
    }

    fn body<'a>(&mut self, first: u8, body: &'a [u8]) -> Result<Packet<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        let reader = &mut reader;
        if first == 0x10 {
            return self.connect(reader);
        }
        let version = self.version.ok_or(NOT_CONNECT)?;
        let limits = self.limits();
        match first {
            0x30..=0x3f => Publish::read((version, first & 0x0f), reader, &limits).map(Packet::Publish),
            0x40 => Ack::read((version, AckKind::PubAck), reader, &limits).map(Packet::Ack),
            0x50 => Ack::read((version, AckKind::PubRec), reader, &limits).map(Packet::Ack),
            0x62 => Ack::read((version, AckKind::PubRel), reader, &limits).map(Packet::Ack),
            0x70 => Ack::read((version, AckKind::PubComp), reader, &limits).map(Packet::Ack),
            0x82 => Subscribe::read(version, reader, &limits).map(Packet::Subscribe),
            0xa2 => Unsubscribe::read(version, reader, &limits).map(Packet::Unsubscribe),
            0xc0 => empty(body, Packet::PingReq),
            0xd0 => empty(body, Packet::PingResp),
            0xe0 => Disconnect::read(version, reader, &limits).map(Packet::Disconnect),
            0xf0 => Auth::read(version, reader, &limits).map(Packet::Auth),
            0x20 => Connack::read(version, reader, &limits).map(Packet::Connack),
            0x90 => Suback::read(version, reader, &limits).map(Packet::Suback),
            0xb0 => Unsuback::read(version, reader, &limits).map(Packet::Unsuback),
            _ => Err(RESERVED_FLAGS),
        }
    }
}

// MQTT-3.1.0-1
const NOT_CONNECT: DecodeError = protocol("MQTT-3.1.0-1", "the first packet is not a CONNECT");
// MQTT-2.1.3-1
const RESERVED_FLAGS: DecodeError = malformed("MQTT-2.1.3-1", "a packet type or its flags are reserved");

fn empty<'a>(body: &[u8], packet: Packet<'a>) -> Result<Packet<'a>, DecodeError> {
    ensure(body.is_empty(), malformed("MQTT section 3.12", "a ping is not empty"))?;
    Ok(packet)
}

const fn is_known(first: u8) -> bool {
    matches!(
        first,
        0x30..=0x3f | 0x10 | 0x20 | 0x40 | 0x50 | 0x62 | 0x70 | 0x82 | 0x90 | 0xa2 | 0xb0 | 0xc0 | 0xd0 | 0xe0 | 0xf0
    )
}

impl Codec for MqttCodec {
    type Frame<'a> = Packet<'a>;

    fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(Packet<'a>, usize)>, DecodeError> {
        let Some((&first, rest)) = input.split_first() else { return Ok(None) };
        ensure(is_known(first), RESERVED_FLAGS)?;
        ensure(self.version.is_some() || first == 0x10, NOT_CONNECT)?;
        let Some((len, width)) = remaining_length(rest)? else { return Ok(None) };
        let total = 1 + width + len;
        // MQTT5 section 3.2.2.3.6
        let fits = total <= self.packet as usize;
        ensure(fits, coded(reason::PACKET_TOO_LARGE, "limits.mqttPacket", "a packet is larger than the limit"))?;
        let Some(body) = rest.get(width..width + len) else { return Ok(None) };
        let packet = self.body(first, body)?;
        // MQTT-1.5.5-1: the minimum number of bytes, which no version before 5 asks for.
        let padded = width > 1 && rest[width - 1] == 0 && self.version.is_some_and(Version::is_v5);
        ensure(!padded, malformed("MQTT-1.5.5-1", "the remaining length is padded"))?;
        Ok(Some((packet, total)))
    }
}
