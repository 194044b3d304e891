//! AUTH: steps of enhanced authentication (version 5, section 4.12).

use crate::connect::Version;
use crate::fixed::framed;
use crate::properties::{Context, Properties, Property};
use crate::reason;
use crate::rules::{ensure, malformed, protocol, short};
use tidegate_kit::{DecodeError, Reader};
use tidegate_message::Limits;

/// One step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Auth<'a> {
    /// Success, continue or re-authenticate.
    pub reason: u8,
    /// Method and data.
    pub properties: Properties<'a>,
}

impl<'a> Auth<'a> {
    pub(crate) fn read(version: Version, reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        ensure(version.is_v5(), malformed("MQTT section 2.2.1", "packet type 15 is forbidden"))?;
        let mut packet = Auth { reason: reason::SUCCESS, properties: Properties::NONE };
        if reader.is_empty() {
            return Ok(packet);
        }
        packet.reason = reader.u8().map_err(short)?;
        let known = reason::in_auth(packet.reason);
        ensure(known, protocol("MQTT-3.15.2-1", "the reason code of an AUTH is not defined"))?;
        packet.properties = Properties::read(reader, Context::Auth, limits.mqtt_user_properties)?;
        ensure(reader.is_empty(), malformed("MQTT5 section 3.15", "bytes follow an AUTH"))?;
        Ok(packet)
    }

    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        framed(out, 0xf0, |out| {
            if self.reason != reason::SUCCESS || !self.properties.is_empty() {
                out.push(self.reason);
                self.properties.put(out);
            }
        });
    }

    /// The method, which every step repeats.
    pub fn method(&self) -> Option<&'a str> {
        self.properties.find(|property| if let Property::AuthMethod(name) = property { Some(name) } else { None })
    }

    /// The step's data.
    pub fn data(&self) -> Option<&'a [u8]> {
        self.properties.find(|property| if let Property::AuthData(data) = property { Some(data) } else { None })
    }
}
