//! SUBACK and UNSUBACK: one code for each filter that was asked for.

use crate::connect::Version;
use crate::fixed::framed;
use crate::properties::{Context, Properties};
use crate::publish::packet_id;
use crate::reason;
use crate::rules::{ensure, malformed, protocol};
use tidegate_kit::{DecodeError, Reader, put_u16};
use tidegate_message::Limits;

/// The answer to a SUBSCRIBE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Suback<'a> {
    /// Of the SUBSCRIBE.
    pub packet_id: u16,
    /// Reason string and user properties (version 5).
    pub properties: Properties<'a>,
    /// The granted QoS or a reason code of 0x80 and up, in the order of the filters.
    pub codes: &'a [u8],
}

impl<'a> Suback<'a> {
    pub(crate) fn read(version: Version, reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let packet_id = packet_id(reader)?;
        let properties = match version {
            Version::V5 => Properties::read(reader, Context::Suback, limits.mqtt_user_properties)?,
            _ => Properties::NONE,
        };
        let codes = reader.all();
        let known = |code: &u8| if version.is_v5() { reason::in_suback(*code) } else { matches!(code, 0..=2 | 0x80) };
        // MQTT-3.9.3-2
        let sound = !codes.is_empty() && codes.iter().all(known);
        ensure(sound, protocol("MQTT-3.9.3-2", "a code of a SUBACK is missing or not defined"))?;
        Ok(Suback { packet_id, properties, codes })
    }

    /// Appends the packet; before version 5 every refusal is 0x80.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        framed(out, 0x90, |out| {
            put_u16(out, self.packet_id);
            if version.is_v5() {
                self.properties.put(out);
                out.extend_from_slice(self.codes);
            } else {
                out.extend(self.codes.iter().map(|&code| code.min(reason::UNSPECIFIED)));
            }
        });
    }
}

/// The answer to an UNSUBSCRIBE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsuback<'a> {
    /// Of the UNSUBSCRIBE.
    pub packet_id: u16,
    /// Reason string and user properties (version 5).
    pub properties: Properties<'a>,
    /// One reason code for each filter; none before version 5.
    pub codes: &'a [u8],
}

impl<'a> Unsuback<'a> {
    pub(crate) fn read(version: Version, reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let packet_id = packet_id(reader)?;
        if !version.is_v5() {
            ensure(reader.is_empty(), malformed("MQTT section 3.11", "an UNSUBACK is longer than two bytes"))?;
            return Ok(Unsuback { packet_id, properties: Properties::NONE, codes: &[] });
        }
        let properties = Properties::read(reader, Context::Unsuback, limits.mqtt_user_properties)?;
        let codes = reader.all();
        // MQTT-3.11.3-2
        let sound = !codes.is_empty() && codes.iter().all(|&code| reason::in_unsuback(code));
        ensure(sound, protocol("MQTT-3.11.3-2", "a code of an UNSUBACK is missing or not defined"))?;
        Ok(Unsuback { packet_id, properties, codes })
    }

    /// Appends the packet.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        framed(out, 0xb0, |out| {
            put_u16(out, self.packet_id);
            if version.is_v5() {
                self.properties.put(out);
                out.extend_from_slice(self.codes);
            }
        });
    }
}
