//! The property table of MQTT 5 (section 2.2.2.2): every property typed, which packet
//! may carry it, and how often. A packet keeps its properties as the bytes that were
//! validated, and reads them again when somebody asks.

use crate::fixed::{put_len, put_varint, varint};
use crate::reason;
use crate::rules::{coded, ensure, malformed, protocol, short};
use crate::text::string;
use tidegate_kit::{DecodeError, Reader, put_prefixed, put_u16, put_u32};
use tidegate_message::Qos;

/// A packet that carries properties; the will's are apart from the CONNECT's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
#[allow(missing_docs, reason = "the names are the packets'")]
pub enum Context {
    Connect = 1,
    Connack = 2,
    Publish = 4,
    /// PUBACK, PUBREC, PUBREL, PUBCOMP.
    Ack = 8,
    Subscribe = 16,
    Suback = 32,
    Unsubscribe = 64,
    Unsuback = 128,
    Disconnect = 256,
    Auth = 512,
    Will = 1024,
}

const CONNECT: u16 = Context::Connect as u16;
const CONNACK: u16 = Context::Connack as u16;
const PUBLISH: u16 = Context::Publish as u16;
const SUBSCRIBE: u16 = Context::Subscribe as u16;
const DISCONNECT: u16 = Context::Disconnect as u16;
const AUTH: u16 = Context::Auth as u16;
const WILL: u16 = Context::Will as u16;
const ACKS: u16 = Context::Ack as u16 | Context::Suback as u16 | Context::Unsuback as u16;
const EVERYWHERE: u16 = u16::MAX;

/// The packets that may carry a property, by its identifier; 0: there is no such property.
const fn carriers(id: u8) -> u16 {
    match id {
        1 | 2 | 3 | 8 | 9 => PUBLISH | WILL,
        11 => PUBLISH | SUBSCRIBE,
        17 => CONNECT | CONNACK | DISCONNECT,
        18 | 19 | 26 | 36 | 37 | 40 | 41 | 42 => CONNACK,
        21 | 22 => CONNECT | CONNACK | AUTH,
        23 | 25 => CONNECT,
        24 => WILL,
        28 => CONNACK | DISCONNECT,
        31 => CONNACK | ACKS | DISCONNECT | AUTH,
        33 | 34 | 39 => CONNECT | CONNACK,
        35 => PUBLISH,
        38 => EVERYWHERE,
        _ => 0,
    }
}

/// One property.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names and values are those of section 2.2.2.2")]
pub enum Property<'a> {
    /// `true`: the payload is UTF-8.
    PayloadFormat(bool),
    /// Seconds.
    MessageExpiry(u32),
    ContentType(&'a str),
    ResponseTopic(&'a str),
    CorrelationData(&'a [u8]),
    /// 1 to 268,435,455.
    SubscriptionId(u32),
    /// Seconds; `u32::MAX`: never.
    SessionExpiry(u32),
    AssignedClientId(&'a str),
    /// Seconds.
    ServerKeepAlive(u16),
    AuthMethod(&'a str),
    AuthData(&'a [u8]),
    RequestProblemInfo(bool),
    /// Seconds.
    WillDelay(u32),
    RequestResponseInfo(bool),
    ResponseInfo(&'a str),
    ServerReference(&'a str),
    ReasonString(&'a str),
    /// 1 to 65,535.
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    /// 1 to 65,535.
    TopicAlias(u16),
    /// QoS 0 or 1; without it 2.
    MaximumQos(Qos),
    RetainAvailable(bool),
    User(&'a str, &'a str),
    /// Bytes, 1 and up.
    MaximumPacketSize(u32),
    WildcardAvailable(bool),
    SubscriptionIdsAvailable(bool),
    SharedAvailable(bool),
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8().map_err(short)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(protocol("MQTT5 section 2.2.2.2", "a flag property is neither 0 nor 1")),
    }
}

fn two(reader: &mut Reader<'_>) -> Result<u16, DecodeError> {
    reader.u16().map_err(short)
}

fn four(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    reader.u32().map_err(short)
}

fn positive<T: PartialEq + From<u8>>(value: T) -> Result<T, DecodeError> {
    ensure(value != T::from(0), protocol("MQTT5 section 2.2.2.2", "a property is 0 that must not be"))?;
    Ok(value)
}

fn maximum_qos(reader: &mut Reader<'_>) -> Result<Qos, DecodeError> {
    Ok(if flag(reader)? { Qos::AtLeastOnce } else { Qos::AtMostOnce })
}

fn topic_alias(reader: &mut Reader<'_>) -> Result<u16, DecodeError> {
    let alias = two(reader)?;
    // MQTT-3.3.2-8
    ensure(alias != 0, coded(reason::TOPIC_ALIAS_INVALID, "MQTT-3.3.2-8", "a topic alias is 0"))?;
    Ok(alias)
}

fn response_topic<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    let topic = string(reader)?;
    // MQTT-3.3.2-14
    let plain = !topic.is_empty() && !topic.contains(['+', '#']);
    ensure(plain, protocol("MQTT-3.3.2-14", "a response topic is empty or holds a wildcard"))?;
    Ok(topic)
}

fn property<'a>(id: u8, reader: &mut Reader<'a>) -> Result<Property<'a>, DecodeError> {
    Ok(match id {
        1 => Property::PayloadFormat(flag(reader)?),
        2 => Property::MessageExpiry(four(reader)?),
        3 => Property::ContentType(string(reader)?),
        8 => Property::ResponseTopic(response_topic(reader)?),
        9 => Property::CorrelationData(reader.prefixed().map_err(short)?),
        11 => Property::SubscriptionId(positive(varint(reader)?)?),
        17 => Property::SessionExpiry(four(reader)?),
        18 => Property::AssignedClientId(string(reader)?),
        19 => Property::ServerKeepAlive(two(reader)?),
        21 => Property::AuthMethod(string(reader)?),
        22 => Property::AuthData(reader.prefixed().map_err(short)?),
        23 => Property::RequestProblemInfo(flag(reader)?),
        24 => Property::WillDelay(four(reader)?),
        25 => Property::RequestResponseInfo(flag(reader)?),
        26 => Property::ResponseInfo(string(reader)?),
        28 => Property::ServerReference(string(reader)?),
        31 => Property::ReasonString(string(reader)?),
        33 => Property::ReceiveMaximum(positive(two(reader)?)?),
        34 => Property::TopicAliasMaximum(two(reader)?),
        35 => Property::TopicAlias(topic_alias(reader)?),
        36 => Property::MaximumQos(maximum_qos(reader)?),
        37 => Property::RetainAvailable(flag(reader)?),
        38 => Property::User(string(reader)?, string(reader)?),
        39 => Property::MaximumPacketSize(positive(four(reader)?)?),
        40 => Property::WildcardAvailable(flag(reader)?),
        41 => Property::SubscriptionIdsAvailable(flag(reader)?),
        42 => Property::SharedAvailable(flag(reader)?),
        _ => return Err(malformed("MQTT5 section 2.2.2.2", "there is no such property")),
    })
}

/// The properties of one packet: bytes that were validated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Properties<'a> {
    bytes: &'a [u8],
}

impl<'a> Properties<'a> {
    /// No properties.
    pub const NONE: Properties<'static> = Properties { bytes: &[] };

    /// Reads length and properties of `context`; at most `user` user properties.
    pub(crate) fn read(reader: &mut Reader<'a>, context: Context, user: usize) -> Result<Self, DecodeError> {
        let len = varint(reader)?;
        let bytes = reader.take(len as usize).map_err(short)?;
        if !bytes.is_empty() {
            validate(bytes, context, user)?;
        }
        Ok(Properties { bytes })
    }

    /// Appends length and properties.
    pub(crate) fn put(self, out: &mut Vec<u8>) {
        put_len(out, self.bytes.len());
        out.extend_from_slice(self.bytes);
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes they take, without their length.
    pub const fn len(self) -> usize {
        self.bytes.len()
    }

    /// All of them in the order they came.
    pub fn iter(self) -> impl Iterator<Item = Property<'a>> {
        let mut reader = Reader::new(self.bytes);
        std::iter::from_fn(move || {
            let id = reader.u8().ok()?;
            property(id, &mut reader).ok()
        })
    }

    /// The first that `pick` takes.
    pub fn find<T>(self, pick: impl FnMut(Property<'a>) -> Option<T>) -> Option<T> {
        self.iter().find_map(pick)
    }
}

fn validate(bytes: &[u8], context: Context, user: usize) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes);
    let (mut seen, mut users) = (0_u64, 0_usize);
    while let Ok(id) = reader.u8() {
        let allowed = carriers(id) & context as u16 != 0;
        ensure(allowed, malformed("MQTT5 section 2.2.2.2", "a property does not belong to its packet"))?;
        property(id, &mut reader)?;
        users += usize::from(id == 38);
        // A subscription identifier may repeat in a PUBLISH only (section 3.3.2.3.8).
        let repeats = id == 38 || (id == 11 && context == Context::Publish);
        ensure(repeats || seen & (1 << id) == 0, protocol("MQTT5 section 2.2.2.2", "a property comes twice"))?;
        seen |= 1 << id;
        ensure(users <= user, coded(reason::QUOTA_EXCEEDED, "limits.mqttUserProperties", "too many user properties"))?;
    }
    // MQTT5 section 3.1.2.11.10
    ensure(
        seen & (1 << 22) == 0 || seen & (1 << 21) != 0,
        protocol("MQTT5 section 3.1.2.11.10", "authentication data without a method"),
    )
}

/// Properties in the making.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PropertiesBuf {
    bytes: Vec<u8>,
}

impl PropertiesBuf {
    /// Nothing yet.
    pub const fn new() -> Self {
        PropertiesBuf { bytes: Vec::new() }
    }

    /// Appends one. What fits its packet is the caller's duty.
    pub fn push(&mut self, property: Property<'_>) -> &mut Self {
        put_property(&mut self.bytes, property);
        self
    }

    /// For a packet to carry.
    pub fn properties(&self) -> Properties<'_> {
        Properties { bytes: &self.bytes }
    }
}

impl<'a> FromIterator<Property<'a>> for PropertiesBuf {
    fn from_iter<I: IntoIterator<Item = Property<'a>>>(properties: I) -> Self {
        let mut buf = PropertiesBuf::new();
        properties.into_iter().for_each(|property| {
            buf.push(property);
        });
        buf
    }
}

fn put_flag(out: &mut Vec<u8>, id: u8, value: bool) {
    out.extend_from_slice(&[id, u8::from(value)]);
}

fn put_two(out: &mut Vec<u8>, id: u8, value: u16) {
    out.push(id);
    put_u16(out, value);
}

fn put_four(out: &mut Vec<u8>, id: u8, value: u32) {
    out.push(id);
    put_u32(out, value);
}

fn put_field(out: &mut Vec<u8>, id: u8, value: &[u8]) {
    out.push(id);
    put_prefixed(out, value);
}

/// Appends one property, without the length in front of all of them.
pub(crate) fn put_property(out: &mut Vec<u8>, property: Property<'_>) {
    match property {
        Property::PayloadFormat(value) => put_flag(out, 1, value),
        Property::MessageExpiry(value) => put_four(out, 2, value),
        Property::ContentType(value) => put_field(out, 3, value.as_bytes()),
        Property::ResponseTopic(value) => put_field(out, 8, value.as_bytes()),
        Property::CorrelationData(value) => put_field(out, 9, value),
        Property::SubscriptionId(value) => {
            out.push(11);
            put_varint(out, value);
        }
        Property::SessionExpiry(value) => put_four(out, 17, value),
        Property::AssignedClientId(value) => put_field(out, 18, value.as_bytes()),
        Property::ServerKeepAlive(value) => put_two(out, 19, value),
        Property::AuthMethod(value) => put_field(out, 21, value.as_bytes()),
        Property::AuthData(value) => put_field(out, 22, value),
        Property::RequestProblemInfo(value) => put_flag(out, 23, value),
        Property::WillDelay(value) => put_four(out, 24, value),
        Property::RequestResponseInfo(value) => put_flag(out, 25, value),
        Property::ResponseInfo(value) => put_field(out, 26, value.as_bytes()),
        Property::ServerReference(value) => put_field(out, 28, value.as_bytes()),
        Property::ReasonString(value) => put_field(out, 31, value.as_bytes()),
        Property::ReceiveMaximum(value) => put_two(out, 33, value),
        Property::TopicAliasMaximum(value) => put_two(out, 34, value),
        Property::TopicAlias(value) => put_two(out, 35, value),
        Property::MaximumQos(value) => put_flag(out, 36, value != Qos::AtMostOnce),
        Property::RetainAvailable(value) => put_flag(out, 37, value),
        Property::User(name, value) => {
            put_field(out, 38, name.as_bytes());
            put_prefixed(out, value.as_bytes());
        }
        Property::MaximumPacketSize(value) => put_four(out, 39, value),
        Property::WildcardAvailable(value) => put_flag(out, 40, value),
        Property::SubscriptionIdsAvailable(value) => put_flag(out, 41, value),
        Property::SharedAvailable(value) => put_flag(out, 42, value),
    }
}
