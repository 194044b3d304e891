//! What a hook asks about, as filters, keys and records see it. Made only where the
//! hook has a policy.

use std::borrow::Cow;
use tidegate_message::{FieldId, Message, MessageBuilder, Peer, Properties, Protocol, View};

/// A client, a publish, a subscription or a delivery.
pub(crate) struct HookView<'v> {
    pub(crate) protocol: Protocol,
    pub(crate) peer: &'v Peer,
    pub(crate) client_id: Option<&'v str>,
    pub(crate) topic: Option<&'v str>,
    pub(crate) payload: &'v [u8],
    pub(crate) properties: Option<&'v Properties>,
    /// Attributes by their names.
    pub(crate) attributes: Vec<(&'static str, Cow<'v, [u8]>)>,
}

impl<'v> HookView<'v> {
    /// Of a client.
    pub(crate) fn new(protocol: Protocol, peer: &'v Peer, client_id: Option<&'v str>) -> Self {
        let attributes = Vec::new();
        HookView { protocol, peer, client_id, topic: None, payload: &[], properties: None, attributes }
    }

    /// Of a message that comes or goes.
    pub(crate) fn with_message(mut self, message: &'v MessageBuilder<'_>) -> Self {
        (self.topic, self.payload, self.properties) =
            (Some(message.topic), message.payload, message.properties.as_deref());
        self.with("qos", digit(message.qos as u8)).with("retain", flag(message.retain))
    }

    /// Of a message on its way to a subscriber.
    pub(crate) fn with_delivery(mut self, message: &'v Message, (qos, retain): (u8, bool)) -> Self {
        (self.topic, self.payload, self.properties) =
            (Some(message.topic()), message.payload(), message.properties.as_deref());
        self.with("qos", digit(qos)).with("retain", flag(retain))
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Cow<'v, [u8]>>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }
}

/// A promise as an attribute.
pub(crate) fn digit(qos: u8) -> &'static [u8] {
    [&b"0"[..], b"1", b"2"].get(usize::from(qos)).copied().unwrap_or(b"2")
}

/// A flag as an attribute.
pub(crate) const fn flag(is_set: bool) -> &'static [u8] {
    if is_set { b"true" } else { b"false" }
}

impl View for HookView<'_> {
    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn peer(&self) -> &Peer {
        self.peer
    }

    fn field(&self, id: FieldId<'_>) -> Option<&[u8]> {
        match id {
            FieldId::Topic => self.topic.map(str::as_bytes),
            FieldId::ClientId => self.client_id.map(str::as_bytes),
            FieldId::ContentType => self.properties?.content_type.as_deref().map(str::as_bytes),
            FieldId::Header(name) => self.properties?.user(name).map(str::as_bytes),
            FieldId::Attribute(name) => {
                self.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value)
            }
            _ => None,
        }
    }

    fn payload(&self) -> &[u8] {
        self.payload
    }
}
