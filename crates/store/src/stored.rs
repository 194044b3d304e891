//! A message as it stands on disk, its times on the wall clock.

use serde::{Deserialize, Serialize};
use tidegate_broker::Will;
use tidegate_message::{Message, MessageBuilder, Properties, Protocol, Qos};

/// A message, borrowed both ways.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct StoredMessage<'a> {
    topic: &'a str,
    #[serde(with = "serde_bytes")]
    payload: &'a [u8],
    protocol: u8,
    qos: u8,
    retain: bool,
    hops: u8,
    /// Milliseconds since 1970.
    expires_at: Option<u64>,
    #[serde(borrow)]
    properties: Option<StoredProperties<'a>>,
}

#[derive(Serialize, Deserialize, Debug)]
struct StoredProperties<'a> {
    content_type: Option<&'a str>,
    utf8_payload: Option<bool>,
    response_topic: Option<&'a str>,
    correlation: Option<&'a serde_bytes::Bytes>,
    user: Vec<(&'a str, &'a str)>,
}

impl<'a> StoredMessage<'a> {
    /// `epoch_ms`: the wall clock at the gateway's time 0.
    pub(crate) fn new(message: &'a Message, epoch_ms: u64) -> Self {
        StoredMessage {
            topic: message.topic(),
            payload: message.payload(),
            protocol: message.protocol as u8,
            qos: message.qos as u8,
            retain: message.retain,
            hops: message.hops,
            expires_at: message.expires_at.map(|at| at.saturating_add(epoch_ms)),
            properties: message.properties.as_deref().map(|properties| StoredProperties {
                content_type: properties.content_type.as_deref(),
                utf8_payload: properties.utf8_payload,
                response_topic: properties.response_topic.as_deref(),
                correlation: properties.correlation.as_deref().map(serde_bytes::Bytes::new),
                user: properties.user.iter().map(|(name, value)| (&**name, &**value)).collect(),
            }),
        }
    }

    /// The message; `None`: this is none.
    pub(crate) fn message(self, epoch_ms: u64) -> Option<Message> {
        let own = |text: Option<&str>| text.map(Box::from);
        let mut message = MessageBuilder {
            topic: self.topic,
            payload: self.payload,
            protocol: *Protocol::ALL.get(usize::from(self.protocol))?,
            qos: qos(self.qos)?,
            retain: self.retain,
            expires_at: self.expires_at.map(|at| since(at, epoch_ms)),
            properties: self.properties.map(|properties| {
                Box::new(Properties {
                    content_type: own(properties.content_type),
                    utf8_payload: properties.utf8_payload,
                    response_topic: own(properties.response_topic),
                    correlation: properties.correlation.map(|bytes| Box::from(&bytes[..])),
                    user: properties.user.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
                })
            }),
        }
        .build()?;
        message.hops = self.hops;
        Some(message)
    }
}

/// A will.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct StoredWill<'a> {
    #[serde(borrow)]
    message: StoredMessage<'a>,
    expiry: Option<u32>,
    delay: u32,
}

impl<'a> StoredWill<'a> {
    pub(crate) fn new(will: &'a Will) -> Self {
        StoredWill { message: StoredMessage::new(&will.message, 0), expiry: will.expiry, delay: will.delay }
    }

    pub(crate) fn will(self) -> Option<Will> {
        Some(Will { message: self.message.message(0)?, expiry: self.expiry, delay: self.delay })
    }
}

/// A number as a promise.
pub(crate) const fn qos(bits: u8) -> Option<Qos> {
    Qos::from_bits(bits)
}

/// A time of the wall clock on the gateway's, which starts at 1.
pub(crate) const fn since(wall: u64, epoch_ms: u64) -> u64 {
    let since = wall.saturating_sub(epoch_ms);
    if since == 0 { 1 } else { since }
}
