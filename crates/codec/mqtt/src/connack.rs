//! CONNACK: whether the client is served, and under which terms.

use crate::connect::Version;
use crate::fixed::framed;
use crate::properties::{Context, Properties};
use crate::reason;
use crate::rules::{ensure, malformed, protocol, short};
use tidegate_kit::{DecodeError, Reader};
use tidegate_message::Limits;

/// The answer to a CONNECT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connack<'a> {
    /// Whether the server still had the client's session.
    pub session_present: bool,
    /// Reason code (version 5) or return code (before).
    pub code: u8,
    /// What the server grants (version 5).
    pub properties: Properties<'a>,
}

impl<'a> Connack<'a> {
    pub(crate) fn read(version: Version, reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let flags = reader.u8().map_err(short)?;
        // MQTT-3.2.2-1
        ensure(flags & 0xfe == 0, malformed("MQTT-3.2.2-1", "a reserved flag of a CONNACK is set"))?;
        let code = reader.u8().map_err(short)?;
        let known = if version.is_v5() { reason::in_connack(code) } else { code <= 5 };
        ensure(known, protocol("MQTT-3.2.2-8", "the code of a CONNACK is not defined"))?;
        let properties = match version {
            Version::V5 => Properties::read(reader, Context::Connack, limits.mqtt_user_properties)?,
            _ => Properties::NONE,
        };
        ensure(reader.is_empty(), malformed("MQTT5 section 3.2", "bytes follow a CONNACK"))?;
        Ok(Connack { session_present: flags == 1, code, properties })
    }

    /// Appends the packet.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        framed(out, 0x20, |out| {
            out.extend_from_slice(&[u8::from(self.session_present), self.code]);
            if version.is_v5() {
                self.properties.put(out);
            }
        });
    }
}
