//! PUBLISH, the packet that must be cheap: topic, payload and properties stay where
//! they were read.

use crate::connect::Version;
use crate::fixed::put_len;
use crate::properties::{Context, Properties, Property};
use crate::reason;
use crate::rules::{coded, ensure, malformed, protocol, short};
use crate::text::topic_name;
use tidegate_kit::{DecodeError, Reader, put_prefixed, put_u16};
use tidegate_message::{Limits, MessageBuilder, Protocol, Qos};

/// A message on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Publish<'a> {
    /// Whether it may have been sent before.
    pub dup: bool,
    /// The promise.
    pub qos: Qos,
    /// To be kept (from a client); was kept (to a client).
    pub retain: bool,
    /// Topic name; empty where a topic alias stands for it.
    pub topic: &'a str,
    /// Packet identifier; 0 at QoS 0.
    pub packet_id: u16,
    /// Expiry, content type and so on (version 5).
    pub properties: Properties<'a>,
    /// Payload.
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    pub(crate) fn read(
        (version, flags): (Version, u8),
        reader: &mut Reader<'a>,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        // MQTT-3.3.1-4
        let qos = Qos::from_bits(flags >> 1 & 3).ok_or(malformed("MQTT-3.3.1-4", "the QoS is 3"))?;
        let dup = flags & 8 != 0;
        // MQTT-3.3.1-2
        ensure(!dup || qos != Qos::AtMostOnce, malformed("MQTT-3.3.1-2", "DUP is set at QoS 0"))?;
        let topic = topic_name(reader.prefixed().map_err(short)?, limits.topic_levels)?;
        let packet_id = if qos == Qos::AtMostOnce { 0 } else { packet_id(reader)? };
        let properties = match version {
            Version::V5 => Properties::read(reader, Context::Publish, limits.mqtt_user_properties)?,
            _ => Properties::NONE,
        };
        let publish = Publish { dup, qos, retain: flags & 1 != 0, topic, packet_id, properties, payload: reader.all() };
        let named = !topic.is_empty() || (!properties.is_empty() && publish.topic_alias().is_some());
        let nameless = if version.is_v5() {
            protocol("MQTT5 section 3.3.2.1", "a PUBLISH has neither topic nor alias")
        } else {
            coded(reason::TOPIC_NAME_INVALID, "MQTT-4.7.3-1", "a topic is empty")
        };
        ensure(named, nameless)?;
        Ok(publish)
    }

    /// Whether a client may send it (MQTT-3.3.4-6).
    pub(crate) fn check_client(&self) -> Result<(), DecodeError> {
        let marks = self.properties.find(|property| matches!(property, Property::SubscriptionId(_)).then_some(()));
        ensure(marks.is_none(), protocol("MQTT-3.3.4-6", "a client's PUBLISH holds a subscription identifier"))
    }

    /// Appends the packet.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let id = if self.qos == Qos::AtMostOnce { 0 } else { 2 };
        let properties = if version.is_v5() { properties_len(self.properties.len()) } else { 0 };
        out.push(0x30 | u8::from(self.dup) << 3 | (self.qos as u8) << 1 | u8::from(self.retain));
        put_len(out, 2 + self.topic.len() + id + properties + self.payload.len());
        put_prefixed(out, self.topic.as_bytes());
        if self.qos != Qos::AtMostOnce {
            put_u16(out, self.packet_id);
        }
        if version.is_v5() {
            self.properties.put(out);
        }
        out.extend_from_slice(self.payload);
    }

    /// As a message under `topic`, the one that its alias stands for.
    pub fn message<'m>(&'m self, topic: &'m str, now: u64) -> MessageBuilder<'m> {
        let mut message = MessageBuilder::new(Protocol::Mqtt, topic, self.payload);
        (message.qos, message.retain) = (self.qos, self.retain);
        (message.expires_at, message.properties) = (expires_at(self.properties, now), kept(self.properties));
        message
    }

    /// The topic alias, where there is one.
    pub fn topic_alias(&self) -> Option<u16> {
        self.properties.find(|property| if let Property::TopicAlias(alias) = property { Some(alias) } else { None })
    }
}

/// Bytes of `len` bytes of properties with their length in front.
pub(crate) const fn properties_len(len: usize) -> usize {
    crate::fixed::varint_len(len) + len
}

/// A packet identifier, which is never 0.
pub(crate) fn packet_id(reader: &mut Reader<'_>) -> Result<u16, DecodeError> {
    let id = reader.u16().map_err(short)?;
    // MQTT-2.2.1-3
    ensure(id != 0, protocol("MQTT-2.2.1-3", "a packet identifier is 0"))?;
    Ok(id)
}

/// What a message keeps of the properties of a PUBLISH or a will; `None` where it
/// keeps nothing, which costs nothing. Expiry is apart: it becomes a point in time.
pub(crate) fn kept(properties: Properties<'_>) -> Option<Box<tidegate_message::Properties>> {
    let mut kept = None;
    for property in properties.iter() {
        keep(&mut kept, property);
    }
    kept
}

fn keep(kept: &mut Option<Box<tidegate_message::Properties>>, property: Property<'_>) {
    match property {
        Property::PayloadFormat(text) => kept.get_or_insert_default().utf8_payload = Some(text),
        Property::ContentType(name) => kept.get_or_insert_default().content_type = Some(name.into()),
        Property::ResponseTopic(topic) => kept.get_or_insert_default().response_topic = Some(topic.into()),
        Property::CorrelationData(data) => kept.get_or_insert_default().correlation = Some(data.into()),
        Property::User(name, value) => kept.get_or_insert_default().user.push((name.into(), value.into())),
        _ => {}
    }
}

/// The point in time when a message expires.
pub(crate) fn expires_at(properties: Properties<'_>, now: u64) -> Option<u64> {
    let pick = |property| if let Property::MessageExpiry(seconds) = property { Some(seconds) } else { None };
    properties.find(pick).map(|seconds| now.saturating_add(u64::from(seconds) * 1_000))
}
