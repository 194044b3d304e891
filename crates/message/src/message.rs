//! `Message`: the owned form of a publish, made once per message and shared by
//! every subscriber as `Arc<Message>`.

use crate::{Kind, Protocol};

/// Longest topic in bytes (MQTT-1.5.4: a UTF-8 string has a two-byte length).
pub const TOPIC_MAX: usize = 65_535;

/// Delivery promise, as MQTT numbers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum Qos {
    /// At most once. CoAP NON.
    #[default]
    AtMostOnce = 0,
    /// At least once. CoAP CON, HTTP.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

impl Qos {
    /// The promise a number stands for; 3 and above stand for none (MQTT-3.3.1-4).
    pub const fn from_bits(bits: u8) -> Option<Qos> {
        match bits {
            0 => Some(Qos::AtMostOnce),
            1 => Some(Qos::AtLeastOnce),
            2 => Some(Qos::ExactlyOnce),
            _ => None,
        }
    }
}

/// What most messages do not have; kept apart so that they do not pay for it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Properties {
    /// Media type: MQTT Content Type, CoAP Content-Format, HTTP Content-Type.
    pub content_type: Option<Box<str>>,
    /// MQTT payload format indicator: `Some(true)` says UTF-8 text.
    pub utf8_payload: Option<bool>,
    /// Where a reply is expected.
    pub response_topic: Option<Box<str>>,
    /// What ties a reply to its request.
    pub correlation: Option<Box<[u8]>>,
    /// User properties in the order they came; names may repeat.
    pub user: Vec<(Box<str>, Box<str>)>,
}

impl Properties {
    /// The first user property of that name; case counts, as in MQTT.
    pub fn user(&self, name: &str) -> Option<&str> {
        self.user.iter().find(|(key, _)| &**key == name).map(|(_, value)| &**value)
    }
}

/// A publish on its way to its subscribers. Topic and payload share one allocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    bytes: Box<[u8]>,
    topic_len: u16,
    /// What it asks for; `Publish` unless something says otherwise.
    pub kind: Kind,
    /// The protocol it came by.
    pub protocol: Protocol,
    /// The promise it was published with.
    pub qos: Qos,
    /// Whether it is to be kept as its topic's last value.
    pub retain: bool,
    /// How often a topic route has published it again (bound: 8).
    pub hops: u8,
    /// When it stops being of use, in milliseconds of the gateway's clock; `None`: never.
    pub expires_at: Option<u64>,
    /// Content type, reply address, user properties.
    pub properties: Option<Box<Properties>>,
}

/// The parts of a [`Message`] before it is owned.
#[derive(Clone, Debug)]
pub struct MessageBuilder<'a> {
    /// Topic, valid UTF-8 of at most [`TOPIC_MAX`] bytes.
    pub topic: &'a str,
    /// Payload.
    pub payload: &'a [u8],
    /// The protocol it came by.
    pub protocol: Protocol,
    /// The promise it was published with.
    pub qos: Qos,
    /// Whether it is to be kept as its topic's last value.
    pub retain: bool,
    /// When it stops being of use, in milliseconds of the gateway's clock.
    pub expires_at: Option<u64>,
    /// Content type, reply address, user properties.
    pub properties: Option<Box<Properties>>,
}

impl<'a> MessageBuilder<'a> {
    /// A QoS 0 publish that is not retained, has no properties and never expires.
    pub const fn new(protocol: Protocol, topic: &'a str, payload: &'a [u8]) -> Self {
        MessageBuilder {
            topic,
            payload,
            protocol,
            qos: Qos::AtMostOnce,
            retain: false,
            expires_at: None,
            properties: None,
        }
    }

    /// The owned message, or `None` where the topic is longer than [`TOPIC_MAX`].
    pub fn build(self) -> Option<Message> {
        let topic_len = u16::try_from(self.topic.len()).ok()?;
        let mut bytes = Vec::with_capacity(self.topic.len() + self.payload.len());
        bytes.extend_from_slice(self.topic.as_bytes());
        bytes.extend_from_slice(self.payload);
        Some(Message {
            bytes: bytes.into_boxed_slice(),
            topic_len,
            kind: Kind::Publish,
            protocol: self.protocol,
            qos: self.qos,
            retain: self.retain,
            hops: 0,
            expires_at: self.expires_at,
            properties: self.properties,
        })
    }
}

impl Message {
    /// The same message once more, to be changed or published; `hops` begins anew.
    pub fn builder(&self) -> MessageBuilder<'_> {
        MessageBuilder {
            topic: self.topic(),
            payload: self.payload(),
            protocol: self.protocol,
            qos: self.qos,
            retain: self.retain,
            expires_at: self.expires_at,
            properties: self.properties.clone(),
        }
    }

    /// The topic it was published to.
    pub fn topic(&self) -> &str {
        // The first `topic_len` bytes were copied from a `str` by `build`.
        std::str::from_utf8(&self.bytes[..usize::from(self.topic_len)]).unwrap_or_default()
    }

    /// The topic's bytes, without the check that `topic` repeats.
    pub fn topic_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.topic_len)]
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[usize::from(self.topic_len)..]
    }

    /// Whether it is past its time at `now` (milliseconds of the gateway's clock).
    pub fn is_expired(&self, now: u64) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Whole seconds it may still live at `now`, rounded up, as MQTT and CoAP send it.
    pub fn remaining_seconds(&self, now: u64) -> Option<u32> {
        let left = self.expires_at?.saturating_sub(now).div_ceil(1_000);
        Some(u32::try_from(left).unwrap_or(u32::MAX))
    }

    /// The content type, where one was given.
    pub fn content_type(&self) -> Option<&str> {
        self.properties.as_ref()?.content_type.as_deref()
    }

    /// Bytes it takes in a queue: what quotas count.
    pub fn cost(&self) -> usize {
        self.bytes.len() + std::mem::size_of::<Message>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_and_payload_come_back_as_given() {
        let message = MessageBuilder::new(Protocol::Mqtt, "a/b", b"21.5").build().expect("short topic");
        assert_eq!((message.topic(), message.payload()), ("a/b", &b"21.5"[..]));
    }

    #[test]
    fn refuses_a_topic_longer_than_a_two_byte_length() {
        let topic = "x".repeat(TOPIC_MAX + 1);
        assert!(MessageBuilder::new(Protocol::Mqtt, &topic, b"").build().is_none());
    }

    #[test]
    fn remaining_time_is_rounded_up_and_never_negative() {
        let mut message = MessageBuilder::new(Protocol::Coap, "a", b"").build().expect("short topic");
        message.expires_at = Some(10_001);
        assert_eq!(message.remaining_seconds(9_000), Some(2));
        assert_eq!(message.remaining_seconds(20_000), Some(0));
        assert!(message.is_expired(10_001) && !message.is_expired(10_000));
    }
}
