//! MQTT packets as JSON carries them: the packets of the codec with every field
//! named, both ways. Binary fields are spans of the buffer beside it.

use crate::codec::{Span, bytes, invalid, span};
use napi::bindgen_prelude::Result;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tidegate_message::Qos;
use tidegate_mqtt::{
    Ack, AckKind, Auth, Connack, Connect, Disconnect, FilterList, Options, Packet, Properties, PropertiesBuf, Property,
    Publish, RetainHandling, Suback, Subscribe, Unsuback, Unsubscribe, Version, Will,
};

/// What decoding came to.
#[derive(Serialize, Default)]
pub(crate) struct Packets<'a> {
    pub(crate) packets: Vec<Wire<'a>>,
    /// Bytes of whole packets.
    pub(crate) used: usize,
    /// 0: not known yet.
    pub(crate) version: u8,
    /// What is wrong with the bytes behind them.
    pub(crate) problem: Option<String>,
}

type Text<'a> = Cow<'a, str>;

/// One property: its identifier and its value.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Value<'a> {
    Flag(bool),
    Number(u32),
    Bytes(Span),
    Pair(#[serde(borrow)] Text<'a>, #[serde(borrow)] Text<'a>),
    Text(#[serde(borrow)] Text<'a>),
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Entry<'a>(u8, #[serde(borrow)] Value<'a>);

type Entries<'a> = Vec<Entry<'a>>;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WireWill<'a> {
    qos: u8,
    retain: bool,
    #[serde(borrow)]
    topic: Text<'a>,
    payload: Span,
    #[serde(borrow)]
    properties: Entries<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WireFilter<'a> {
    #[serde(borrow)]
    filter: Text<'a>,
    qos: u8,
    no_local: bool,
    retain_as_published: bool,
    retain_handling: u8,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub(crate) enum Wire<'a> {
    Connect {
        version: u8,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_bridge: bool,
        clean_start: bool,
        keep_alive: u16,
        #[serde(borrow)]
        client_id: Text<'a>,
        will: Option<WireWill<'a>>,
        user_name: Option<Text<'a>>,
        password: Option<Span>,
        properties: Entries<'a>,
    },
    Connack {
        session_present: bool,
        code: u8,
        properties: Entries<'a>,
    },
    Publish {
        dup: bool,
        qos: u8,
        retain: bool,
        topic: Text<'a>,
        packet_id: u16,
        properties: Entries<'a>,
        payload: Span,
    },
    Puback {
        packet_id: u16,
        reason: u8,
        properties: Entries<'a>,
    },
    Pubrec {
        packet_id: u16,
        reason: u8,
        properties: Entries<'a>,
    },
    Pubrel {
        packet_id: u16,
        reason: u8,
        properties: Entries<'a>,
    },
    Pubcomp {
        packet_id: u16,
        reason: u8,
        properties: Entries<'a>,
    },
    Subscribe {
        packet_id: u16,
        properties: Entries<'a>,
        filters: Vec<WireFilter<'a>>,
    },
    Suback {
        packet_id: u16,
        properties: Entries<'a>,
        codes: Vec<u8>,
    },
    Unsubscribe {
        packet_id: u16,
        properties: Entries<'a>,
        filters: Vec<Text<'a>>,
    },
    Unsuback {
        packet_id: u16,
        properties: Entries<'a>,
        codes: Vec<u8>,
    },
    Pingreq {},
    Pingresp {},
    Disconnect {
        reason: u8,
        properties: Entries<'a>,
    },
    Auth {
        reason: u8,
        properties: Entries<'a>,
    },
}

impl<'a> Wire<'a> {
    /// A packet that was decoded from `input`.
    pub(crate) fn read(input: &'a [u8], packet: &Packet<'a>) -> Wire<'a> {
        let list = |properties: Properties<'a>| properties.iter().map(|property| entry(input, property)).collect();
        match *packet {
            Packet::Connect(packet) => Wire::Connect {
                version: packet.version as u8,
                is_bridge: packet.is_bridge,
                clean_start: packet.clean_start,
                keep_alive: packet.keep_alive,
                client_id: packet.client_id.into(),
                will: packet.will.map(|will| WireWill {
                    qos: will.qos as u8,
                    retain: will.retain,
                    topic: will.topic.into(),
                    payload: span(input, will.payload),
                    properties: list(will.properties),
                }),
                user_name: packet.user_name.map(Cow::from),
                password: packet.password.map(|password| span(input, password)),
                properties: list(packet.properties),
            },
            Packet::Connack(Connack { session_present, code, properties }) => {
                Wire::Connack { session_present, code, properties: list(properties) }
            }
            Packet::Publish(packet) => Wire::Publish {
                dup: packet.dup,
                qos: packet.qos as u8,
                retain: packet.retain,
                topic: packet.topic.into(),
                packet_id: packet.packet_id,
                properties: list(packet.properties),
                payload: span(input, packet.payload),
            },
            Packet::Ack(Ack { kind, packet_id, reason, properties }) => {
                let properties = list(properties);
                match kind {
                    AckKind::PubAck => Wire::Puback { packet_id, reason, properties },
                    AckKind::PubRec => Wire::Pubrec { packet_id, reason, properties },
                    AckKind::PubRel => Wire::Pubrel { packet_id, reason, properties },
                    AckKind::PubComp => Wire::Pubcomp { packet_id, reason, properties },
                }
            }
            Packet::Subscribe(Subscribe { packet_id, properties, filters }) => Wire::Subscribe {
                packet_id,
                properties: list(properties),
                filters: filters
                    .iter()
                    .map(|wanted| WireFilter {
                        filter: wanted.filter.into(),
                        qos: wanted.options.qos as u8,
                        no_local: wanted.options.no_local,
                        retain_as_published: wanted.options.retain_as_published,
                        retain_handling: wanted.options.retain_handling as u8,
                    })
                    .collect(),
            },
            Packet::Suback(Suback { packet_id, properties, codes }) => {
                Wire::Suback { packet_id, properties: list(properties), codes: codes.to_vec() }
            }
            Packet::Unsubscribe(Unsubscribe { packet_id, properties, filters }) => {
                let filters = filters.iter().map(|wanted| wanted.filter.into()).collect();
                Wire::Unsubscribe { packet_id, properties: list(properties), filters }
            }
            Packet::Unsuback(Unsuback { packet_id, properties, codes }) => {
                Wire::Unsuback { packet_id, properties: list(properties), codes: codes.to_vec() }
            }
            Packet::PingReq => Wire::Pingreq {},
            Packet::PingResp => Wire::Pingresp {},
            Packet::Disconnect(Disconnect { reason, properties }) => {
                Wire::Disconnect { reason, properties: list(properties) }
            }
            Packet::Auth(Auth { reason, properties }) => Wire::Auth { reason, properties: list(properties) },
        }
    }

    /// The version that a CONNECT names.
    pub(crate) fn version(&self) -> Result<Option<Version>> {
        match self {
            Wire::Connect { version, .. } => {
                let found = Version::ALL.into_iter().find(|known| *known as u8 == *version);
                found.map(Some).ok_or_else(|| invalid("the version of a CONNECT is 3, 4 or 5"))
            }
            _ => Ok(None),
        }
    }

    /// Appends the packet; its binary fields stand in `fields`.
    pub(crate) fn write(&self, fields: &[u8], version: Version, out: &mut Vec<u8>) -> Result<()> {
        let held = held(fields, self.entries())?;
        let properties = held.properties();
        let ack = |kind, &packet_id: &u16, &reason: &u8| Packet::Ack(Ack { kind, packet_id, reason, properties });
        let packet = match self {
            Wire::Connect { .. } => return self.write_connect(fields, properties, out),
            Wire::Subscribe { packet_id, filters, .. } => {
                let mut list = FilterList::default();
                for wanted in filters {
                    list.push(short(&wanted.filter)?, options(wanted)?);
                }
                let filters = list.subscriptions();
                Packet::Subscribe(Subscribe { packet_id: *packet_id, properties, filters }).encode(version, out);
                return Ok(());
            }
            Wire::Unsubscribe { packet_id, filters, .. } => {
                let mut list = FilterList::default();
                for name in filters {
                    list.push_name(short(name)?);
                }
                let filters = list.names();
                Packet::Unsubscribe(Unsubscribe { packet_id: *packet_id, properties, filters }).encode(version, out);
                return Ok(());
            }
            Wire::Publish { dup, qos: promise, retain, topic, packet_id, payload, .. } => Packet::Publish(Publish {
                dup: *dup,
                qos: qos(*promise)?,
                retain: *retain,
                topic: short(topic)?,
                packet_id: *packet_id,
                properties,
                payload: bytes(fields, *payload)?,
            }),
            Wire::Connack { session_present, code, .. } => {
                Packet::Connack(Connack { session_present: *session_present, code: *code, properties })
            }
            Wire::Puback { packet_id, reason, .. } => ack(AckKind::PubAck, packet_id, reason),
            Wire::Pubrec { packet_id, reason, .. } => ack(AckKind::PubRec, packet_id, reason),
            Wire::Pubrel { packet_id, reason, .. } => ack(AckKind::PubRel, packet_id, reason),
            Wire::Pubcomp { packet_id, reason, .. } => ack(AckKind::PubComp, packet_id, reason),
            Wire::Suback { packet_id, codes, .. } => {
                Packet::Suback(Suback { packet_id: *packet_id, properties, codes })
            }
            Wire::Unsuback { packet_id, codes, .. } => {
                Packet::Unsuback(Unsuback { packet_id: *packet_id, properties, codes })
            }
            Wire::Pingreq {} => Packet::PingReq,
            Wire::Pingresp {} => Packet::PingResp,
            Wire::Disconnect { reason, .. } => Packet::Disconnect(Disconnect { reason: *reason, properties }),
            Wire::Auth { reason, .. } => Packet::Auth(Auth { reason: *reason, properties }),
        };
        packet.encode(version, out);
        Ok(())
    }

    fn entries(&self) -> &[Entry<'a>] {
        match self {
            Wire::Connect { properties, .. }
            | Wire::Connack { properties, .. }
            | Wire::Publish { properties, .. }
            | Wire::Puback { properties, .. }
            | Wire::Pubrec { properties, .. }
            | Wire::Pubrel { properties, .. }
            | Wire::Pubcomp { properties, .. }
            | Wire::Subscribe { properties, .. }
            | Wire::Suback { properties, .. }
            | Wire::Unsubscribe { properties, .. }
            | Wire::Unsuback { properties, .. }
            | Wire::Disconnect { properties, .. }
            | Wire::Auth { properties, .. } => properties,
            Wire::Pingreq {} | Wire::Pingresp {} => &[],
        }
    }

    fn write_connect(&self, fields: &[u8], properties: Properties<'_>, out: &mut Vec<u8>) -> Result<()> {
        let Some(version) = self.version()? else { return Ok(()) };
        let Wire::Connect { is_bridge, clean_start, keep_alive, client_id, will, user_name, password, .. } = self
        else {
            return Ok(());
        };
        let of_will = held(fields, will.as_ref().map_or(&[][..], |will| &will.properties))?;
        let will = match will {
            Some(will) => Some(Will {
                qos: qos(will.qos)?,
                retain: will.retain,
                topic: short(&will.topic)?,
                payload: field(fields, will.payload)?,
                properties: of_will.properties(),
            }),
            None => None,
        };
        let packet = Connect {
            version,
            is_bridge: *is_bridge,
            clean_start: *clean_start,
            keep_alive: *keep_alive,
            client_id: short(client_id)?,
            will,
            user_name: user_name.as_deref().map(short).transpose()?,
            password: password.map(|password| field(fields, password)).transpose()?,
            properties,
        };
        packet.encode(out);
        Ok(())
    }
}

fn short(text: &str) -> Result<&str> {
    if text.len() > usize::from(u16::MAX) { Err(invalid("a text is over 65,535 bytes")) } else { Ok(text) }
}

fn field(fields: &[u8], span: Span) -> Result<&[u8]> {
    let field = bytes(fields, span)?;
    if field.len() > usize::from(u16::MAX) { Err(invalid("a field is over 65,535 bytes")) } else { Ok(field) }
}

fn qos(bits: u8) -> Result<Qos> {
    Qos::from_bits(bits).ok_or_else(|| invalid("a QoS is 0, 1 or 2"))
}

fn options(wanted: &WireFilter<'_>) -> Result<Options> {
    Ok(Options {
        qos: qos(wanted.qos)?,
        no_local: wanted.no_local,
        retain_as_published: wanted.retain_as_published,
        retain_handling: match wanted.retain_handling {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(invalid("a retain handling is 0, 1 or 2")),
        },
    })
}

/// MQTT 5 section 2.2.2.2.
fn entry<'a>(input: &[u8], property: Property<'a>) -> Entry<'a> {
    use Value::{Bytes, Flag, Number, Pair, Text};
    let text = |text: &'a str| Text(text.into());
    match property {
        Property::PayloadFormat(value) => Entry(1, Flag(value)),
        Property::MessageExpiry(value) => Entry(2, Number(value)),
        Property::ContentType(value) => Entry(3, text(value)),
        Property::ResponseTopic(value) => Entry(8, text(value)),
        Property::CorrelationData(value) => Entry(9, Bytes(span(input, value))),
        Property::SubscriptionId(value) => Entry(11, Number(value)),
        Property::SessionExpiry(value) => Entry(17, Number(value)),
        Property::AssignedClientId(value) => Entry(18, text(value)),
        Property::ServerKeepAlive(value) => Entry(19, Number(value.into())),
        Property::AuthMethod(value) => Entry(21, text(value)),
        Property::AuthData(value) => Entry(22, Bytes(span(input, value))),
        Property::RequestProblemInfo(value) => Entry(23, Flag(value)),
        Property::WillDelay(value) => Entry(24, Number(value)),
        Property::RequestResponseInfo(value) => Entry(25, Flag(value)),
        Property::ResponseInfo(value) => Entry(26, text(value)),
        Property::ServerReference(value) => Entry(28, text(value)),
        Property::ReasonString(value) => Entry(31, text(value)),
        Property::ReceiveMaximum(value) => Entry(33, Number(value.into())),
        Property::TopicAliasMaximum(value) => Entry(34, Number(value.into())),
        Property::TopicAlias(value) => Entry(35, Number(value.into())),
        Property::MaximumQos(value) => Entry(36, Number(value as u32)),
        Property::RetainAvailable(value) => Entry(37, Flag(value)),
        Property::User(name, value) => Entry(38, Pair(name.into(), value.into())),
        Property::MaximumPacketSize(value) => Entry(39, Number(value)),
        Property::WildcardAvailable(value) => Entry(40, Flag(value)),
        Property::SubscriptionIdsAvailable(value) => Entry(41, Flag(value)),
        Property::SharedAvailable(value) => Entry(42, Flag(value)),
    }
}

fn held(fields: &[u8], entries: &[Entry<'_>]) -> Result<PropertiesBuf> {
    let mut held = PropertiesBuf::new();
    for Entry(id, value) in entries {
        held.push(property(fields, *id, value)?);
    }
    Ok(held)
}

fn property<'v>(fields: &'v [u8], id: u8, value: &'v Value<'_>) -> Result<Property<'v>> {
    let two = |value: u32| u16::try_from(value).map_err(|_| invalid(format!("property {id} is over 65,535")));
    Ok(match (id, value) {
        (1, Value::Flag(value)) => Property::PayloadFormat(*value),
        (2, Value::Number(value)) => Property::MessageExpiry(*value),
        (3, Value::Text(value)) => Property::ContentType(short(value)?),
        (8, Value::Text(value)) => Property::ResponseTopic(short(value)?),
        (9, Value::Bytes(value)) => Property::CorrelationData(field(fields, *value)?),
        (11, Value::Number(value)) if *value <= tidegate_mqtt::VARINT_MAX => Property::SubscriptionId(*value),
        (17, Value::Number(value)) => Property::SessionExpiry(*value),
        (18, Value::Text(value)) => Property::AssignedClientId(short(value)?),
        (19, Value::Number(value)) => Property::ServerKeepAlive(two(*value)?),
        (21, Value::Text(value)) => Property::AuthMethod(short(value)?),
        (22, Value::Bytes(value)) => Property::AuthData(field(fields, *value)?),
        (23, Value::Flag(value)) => Property::RequestProblemInfo(*value),
        (24, Value::Number(value)) => Property::WillDelay(*value),
        (25, Value::Flag(value)) => Property::RequestResponseInfo(*value),
        (26, Value::Text(value)) => Property::ResponseInfo(short(value)?),
        (28, Value::Text(value)) => Property::ServerReference(short(value)?),
        (31, Value::Text(value)) => Property::ReasonString(short(value)?),
        (33, Value::Number(value)) => Property::ReceiveMaximum(two(*value)?),
        (34, Value::Number(value)) => Property::TopicAliasMaximum(two(*value)?),
        (35, Value::Number(value)) => Property::TopicAlias(two(*value)?),
        (36, Value::Number(value)) => Property::MaximumQos(qos((*value).min(3) as u8)?),
        (37, Value::Flag(value)) => Property::RetainAvailable(*value),
        (38, Value::Pair(name, value)) => Property::User(short(name)?, short(value)?),
        (39, Value::Number(value)) => Property::MaximumPacketSize(*value),
        (40, Value::Flag(value)) => Property::WildcardAvailable(*value),
        (41, Value::Flag(value)) => Property::SubscriptionIdsAvailable(*value),
        (42, Value::Flag(value)) => Property::SharedAvailable(*value),
        _ => return Err(invalid(format!("property {id} does not exist or has another type"))),
    })
}
