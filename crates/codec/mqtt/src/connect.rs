//! CONNECT: the first packet of a connection, and the versions it may ask for.

use crate::fixed::framed;
use crate::properties::{Context, Properties, Property};
use crate::reason;
use crate::rules::{coded, ensure, malformed, short};
use crate::text::{check_topic, string};
use tidegate_kit::{DecodeError, Reader, put_prefixed, put_u16};
use tidegate_message::{Limits, Qos};

/// A protocol version that the gateway speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Version {
    /// MQTT 3.1, `MQIsdp`.
    V31 = 3,
    /// MQTT 3.1.1.
    V311 = 4,
    /// MQTT 5.
    V5 = 5,
}

impl Version {
    /// Every version, oldest first.
    pub const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];

    /// Whether packets carry properties and reason codes.
    pub const fn is_v5(self) -> bool {
        matches!(self, Version::V5)
    }

    const fn name(self) -> &'static str {
        match self {
            Version::V31 => "MQIsdp",
            Version::V311 | Version::V5 => "MQTT",
        }
    }
}

/// What the server publishes when the client is gone without a goodbye.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Will<'a> {
    /// The promise it is published with.
    pub qos: Qos,
    /// Whether it is retained.
    pub retain: bool,
    /// Topic name.
    pub topic: &'a str,
    /// Payload, at most 65,535 bytes.
    pub payload: &'a [u8],
    /// Delay, expiry, content type and so on (version 5).
    pub properties: Properties<'a>,
}

impl Will<'_> {
    /// How long after the connection's end it is published, seconds; default 0.
    pub fn delay(&self) -> u32 {
        let pick = |property| if let Property::WillDelay(delay) = property { Some(delay) } else { None };
        self.properties.find(pick).unwrap_or(0)
    }
}

/// The client asks to be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connect<'a> {
    /// Version of everything that follows.
    pub version: Version,
    /// The client is a broker's bridge: it wants nothing back that it published, and RETAIN as it was. Mosquitto and others
    /// say so by the highest bit of the level, before version 5 only, whose subscription options say the same.
    pub is_bridge: bool,
    /// Clean Start, and Clean Session before version 5.
    pub clean_start: bool,
    /// Longest silence the client promises, seconds; 0: none promised.
    pub keep_alive: u16,
    /// Client identifier; empty: the server gives one.
    pub client_id: &'a str,
    /// The will, where there is one.
    pub will: Option<Will<'a>>,
    /// User name.
    pub user_name: Option<&'a str>,
    /// Password.
    pub password: Option<&'a [u8]>,
    /// Session expiry, receive maximum and so on (version 5).
    pub properties: Properties<'a>,
}

const WILL_FLAG: u8 = 0x04;

/// Of a level: the client is a bridge.
const BRIDGE: u8 = 0x80;

impl<'a> Connect<'a> {
    /// Protocol name and level, which decide how the rest is read; whether it is a bridge that asks.
    pub(crate) fn read_version(reader: &mut Reader<'_>) -> Result<(Version, bool), DecodeError> {
        let name = reader.prefixed().map_err(short)?;
        let level = reader.u8().map_err(short)?;
        match (name, level) {
            (b"MQIsdp", 3 | 0x83) => Ok((Version::V31, level & BRIDGE != 0)),
            (b"MQTT", 4 | 0x84) => Ok((Version::V311, level & BRIDGE != 0)),
            (b"MQTT", 5) => Ok((Version::V5, false)),
            // MQTT-3.1.2-1, MQTT-3.1.2-2
            (b"MQTT" | b"MQIsdp", _) => {
                Err(coded(reason::UNSUPPORTED_VERSION, "MQTT-3.1.2-2", "the protocol version is not supported"))
            }
            _ => Err(coded(reason::UNSUPPORTED_VERSION, "MQTT-3.1.2-1", "the protocol name is not MQTT")),
        }
    }

    /// Everything behind the level.
    pub(crate) fn read(
        (version, is_bridge): (Version, bool),
        reader: &mut Reader<'a>,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let flags = ConnectFlags::read(version, reader)?;
        let keep_alive = reader.u16().map_err(short)?;
        let properties = match version {
            Version::V5 => Properties::read(reader, Context::Connect, limits.mqtt_user_properties)?,
            _ => Properties::NONE,
        };
        let client_id = string(reader)?;
        let will = if flags.has(WILL_FLAG) { Some(read_will(version, flags, reader, limits)?) } else { None };
        let user_name = if flags.has(0x80) { Some(string(reader)?) } else { None };
        let password = if flags.has(0x40) { Some(reader.prefixed().map_err(short)?) } else { None };
        ensure(reader.is_empty(), malformed("MQTT-3.1.3-1", "bytes follow the last field of a CONNECT"))?;
        let clean_start = flags.has(0x02);
        // MQTT3-3.1.3-8: without an identifier there is nothing to find a kept session by.
        let named = !client_id.is_empty() || version.is_v5() || (version == Version::V311 && clean_start);
        ensure(named, coded(reason::CLIENT_ID_NOT_VALID, "MQTT3-3.1.3-8", "the client identifier is empty"))?;
        Ok(Connect { version, is_bridge, clean_start, keep_alive, client_id, will, user_name, password, properties })
    }

    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        framed(out, 0x10, |out| {
            put_prefixed(out, self.version.name().as_bytes());
            let bridge = if self.is_bridge && !self.version.is_v5() { BRIDGE } else { 0 };
            out.extend_from_slice(&[self.version as u8 | bridge, self.flags()]);
            put_u16(out, self.keep_alive);
            if self.version.is_v5() {
                self.properties.put(out);
            }
            put_prefixed(out, self.client_id.as_bytes());
            self.put_payload(out);
        });
    }

    fn put_payload(&self, out: &mut Vec<u8>) {
        if let Some(will) = &self.will {
            if self.version.is_v5() {
                will.properties.put(out);
            }
            put_prefixed(out, will.topic.as_bytes());
            put_prefixed(out, will.payload);
        }
        if let Some(user_name) = self.user_name {
            put_prefixed(out, user_name.as_bytes());
        }
        if let Some(password) = self.password {
            put_prefixed(out, password);
        }
    }

    fn flags(&self) -> u8 {
        let will = self.will.map_or(0, |will| WILL_FLAG | (will.qos as u8) << 3 | u8::from(will.retain) << 5);
        u8::from(self.user_name.is_some()) << 7
            | u8::from(self.password.is_some()) << 6
            | will
            | u8::from(self.clean_start) << 1
    }

    /// How long the session outlives its connection, seconds: the property in version 5
    /// (default 0), for ever before it unless Clean Session is set.
    pub fn session_expiry(&self) -> u32 {
        if !self.version.is_v5() {
            return if self.clean_start { 0 } else { u32::MAX };
        }
        let pick = |property| if let Property::SessionExpiry(expiry) = property { Some(expiry) } else { None };
        self.properties.find(pick).unwrap_or(0)
    }

    /// Publishes the client takes unacknowledged; default 65,535.
    pub fn receive_maximum(&self) -> u16 {
        let pick = |property| if let Property::ReceiveMaximum(maximum) = property { Some(maximum) } else { None };
        self.properties.find(pick).unwrap_or(u16::MAX)
    }

    /// Largest packet the client takes, bytes; default: any.
    pub fn maximum_packet_size(&self) -> u32 {
        let pick = |property| if let Property::MaximumPacketSize(size) = property { Some(size) } else { None };
        self.properties.find(pick).unwrap_or(u32::MAX)
    }

    /// Topic aliases that the client takes; default 0.
    pub fn topic_alias_maximum(&self) -> u16 {
        let pick = |property| if let Property::TopicAliasMaximum(maximum) = property { Some(maximum) } else { None };
        self.properties.find(pick).unwrap_or(0)
    }

    /// The first data of enhanced authentication.
    pub fn auth_data(&self) -> Option<&'a [u8]> {
        self.properties.find(|property| if let Property::AuthData(data) = property { Some(data) } else { None })
    }

    /// Whether the client asks what its response topics may begin with (MQTT-3.1.2-28).
    pub fn wants_response_information(&self) -> bool {
        let pick = |property| if let Property::RequestResponseInfo(wanted) = property { Some(wanted) } else { None };
        self.properties.find(pick).unwrap_or(false)
    }

    /// The enhanced authentication the client asks for (section 4.12).
    pub fn auth_method(&self) -> Option<&'a str> {
        self.properties.find(|property| if let Property::AuthMethod(name) = property { Some(name) } else { None })
    }
}

#[derive(Clone, Copy)]
struct ConnectFlags(u8);

impl ConnectFlags {
    fn read(version: Version, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = ConnectFlags(reader.u8().map_err(short)?);
        // MQTT-3.1.2-3
        ensure(!flags.has(0x01), malformed("MQTT-3.1.2-3", "the reserved flag of a CONNECT is set"))?;
        // MQTT-3.1.2-11, MQTT-3.1.2-13
        let quiet = flags.has(WILL_FLAG) || !flags.has(0x38);
        ensure(quiet, malformed("MQTT-3.1.2-11", "will flags without a will"))?;
        // MQTT3-3.1.2-22: of version 3.1.1.
        let named = version.is_v5() || flags.has(0x80) || !flags.has(0x40);
        ensure(named, malformed("MQTT3-3.1.2-22", "a password without a user name"))?;
        Ok(flags)
    }

    const fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }
}

fn read_will<'a>(
    version: Version,
    flags: ConnectFlags,
    reader: &mut Reader<'a>,
    limits: &Limits,
) -> Result<Will<'a>, DecodeError> {
    // MQTT-3.1.2-12
    let qos = Qos::from_bits(flags.0 >> 3 & 3).ok_or(malformed("MQTT-3.1.2-12", "the will's QoS is 3"))?;
    let properties = match version {
        Version::V5 => Properties::read(reader, Context::Will, limits.mqtt_user_properties)?,
        _ => Properties::NONE,
    };
    let topic = string(reader)?;
    check_topic(topic, limits.topic_levels)?;
    let payload = reader.prefixed().map_err(short)?;
    let text = properties.find(|property| if let Property::PayloadFormat(text) = property { Some(text) } else { None });
    let what = "the will's payload is not the UTF-8 it says";
    let invalid = coded(reason::PAYLOAD_FORMAT_INVALID, "MQTT5 section 3.1.3.2.3", what);
    ensure(text != Some(true) || std::str::from_utf8(payload).is_ok(), invalid)?;
    Ok(Will { qos, retain: flags.has(0x20), topic, payload, properties })
}
