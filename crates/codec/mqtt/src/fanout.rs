//! From a `Message` to PUBLISH packets, for one subscriber or for hundreds: encode
//! once per version and QoS, then copy and patch the identifier and the flags.

use crate::aliases::TopicAlias;
use crate::connect::Version;
use crate::fixed::{put_len, varint_len};
use crate::properties::{Property, put_property};
use crate::publish::properties_len;
use tidegate_kit::{put_prefixed, put_u16};
use tidegate_message::{Message, Qos};

/// What differs between the deliveries of one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeliveryHead<'a> {
    /// Whether it was sent before (MQTT-3.3.1-1).
    pub dup: bool,
    /// The promise of this delivery.
    pub qos: Qos,
    /// Whether it is a retained message, or RETAIN is kept as published.
    pub retain: bool,
    /// Packet identifier; not 0 above QoS 0.
    pub packet_id: u16,
    /// Identifiers of the subscriptions it matched (version 5).
    pub subscription_ids: &'a [u32],
    /// Stands for the topic, or goes with it the first time (version 5).
    pub topic_alias: Option<TopicAlias>,
}

const fn first_byte(dup: bool, qos: Qos, retain: bool) -> u8 {
    0x30 | (dup as u8) << 3 | (qos as u8) << 1 | retain as u8
}

fn field(len: Option<usize>) -> usize {
    len.map_or(0, |len| 3 + len)
}

fn message_properties_len(message: &Message) -> usize {
    let expiry = if message.expires_at.is_some() { 5 } else { 0 };
    let Some(properties) = &message.properties else { return expiry };
    let user: usize = properties.user.iter().map(|(name, value)| 5 + name.len() + value.len()).sum();
    expiry
        + user
        + if properties.utf8_payload.is_some() { 2 } else { 0 }
        + field(properties.content_type.as_ref().map(|text| text.len()))
        + field(properties.response_topic.as_ref().map(|text| text.len()))
        + field(properties.correlation.as_ref().map(|data| data.len()))
}

fn topic<'m>(head: &DeliveryHead<'_>, message: &'m Message) -> &'m [u8] {
    let is_known = head.topic_alias.is_some_and(|alias| alias.is_known);
    if is_known { &[] } else { message.topic_bytes() }
}

fn head_properties_len(head: &DeliveryHead<'_>) -> usize {
    let ids: usize = head.subscription_ids.iter().map(|&id| 1 + varint_len(id as usize)).sum();
    ids + if head.topic_alias.is_some() { 3 } else { 0 }
}

fn remaining_len(version: Version, head: &DeliveryHead<'_>, message: &Message) -> usize {
    let id = if head.qos == Qos::AtMostOnce { 0 } else { 2 };
    let properties = match version {
        Version::V5 => properties_len(message_properties_len(message) + head_properties_len(head)),
        _ => 0,
    };
    2 + topic(head, message).len() + id + properties + message.payload().len()
}

/// Bytes that [`encode_publish`] appends: to compare with the client's maximum first.
pub fn encoded_len(version: Version, head: &DeliveryHead<'_>, message: &Message) -> usize {
    let len = remaining_len(version, head, message);
    1 + varint_len(len) + len
}

/// Appends the PUBLISH of one delivery. `now` turns the expiry into what is left of it.
pub fn encode_publish(out: &mut Vec<u8>, version: Version, (head, now): (&DeliveryHead<'_>, u64), message: &Message) {
    out.push(first_byte(head.dup, head.qos, head.retain));
    put_len(out, remaining_len(version, head, message));
    put_prefixed(out, topic(head, message));
    if head.qos != Qos::AtMostOnce {
        put_u16(out, head.packet_id);
    }
    if version.is_v5() {
        put_len(out, message_properties_len(message) + head_properties_len(head));
        put_properties(out, (head, now), message);
    }
    out.extend_from_slice(message.payload());
}

fn put_properties(out: &mut Vec<u8>, (head, now): (&DeliveryHead<'_>, u64), message: &Message) {
    for &id in head.subscription_ids {
        put_property(out, Property::SubscriptionId(id));
    }
    if let Some(alias) = head.topic_alias {
        put_property(out, Property::TopicAlias(alias.number));
    }
    if let Some(seconds) = message.remaining_seconds(now) {
        put_property(out, Property::MessageExpiry(seconds));
    }
    let Some(properties) = &message.properties else { return };
    let text = [
        properties.content_type.as_deref().map(Property::ContentType),
        properties.response_topic.as_deref().map(Property::ResponseTopic),
        properties.correlation.as_deref().map(Property::CorrelationData),
        properties.utf8_payload.map(Property::PayloadFormat),
    ];
    let user = properties.user.iter().map(|(name, value)| Property::User(name, value));
    text.into_iter().flatten().chain(user).for_each(|property| put_property(out, property));
}

/// A PUBLISH without subscription identifiers that waits to be copied and patched.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Encoded {
    bytes: Vec<u8>,
    /// Where the packet identifier stands; 0: there is none.
    packet_id_at: usize,
}

impl Encoded {
    /// Bytes of the packet.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Encodes `message` into `into`, whose buffer is used again.
pub fn prepare(into: &mut Encoded, (version, qos): (Version, Qos), message: &Message, now: u64) {
    into.bytes.clear();
    let head = DeliveryHead { qos, ..DeliveryHead::default() };
    encode_publish(&mut into.bytes, version, (&head, now), message);
    let fixed = 1 + varint_len(remaining_len(version, &head, message));
    into.packet_id_at = if qos == Qos::AtMostOnce { 0 } else { fixed + 2 + message.topic_bytes().len() };
}

/// Appends a prepared PUBLISH with its own identifier and flags.
pub fn append_patched(out: &mut Vec<u8>, encoded: &Encoded, packet_id: u16, (dup, retain): (bool, bool)) {
    let start = out.len();
    out.extend_from_slice(&encoded.bytes);
    let Some(first) = out.get_mut(start) else { return };
    *first = *first & 0xf6 | u8::from(dup) << 3 | u8::from(retain);
    let at = start + encoded.packet_id_at;
    if encoded.packet_id_at != 0 && at + 2 <= out.len() {
        out[at..at + 2].copy_from_slice(&packet_id.to_be_bytes());
    }
}
