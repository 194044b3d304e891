//! DISCONNECT: the goodbye, from either side since version 5.

use crate::connect::Version;
use crate::fixed::framed;
use crate::properties::{Context, Properties, Property};
use crate::reason;
use crate::rules::{ensure, malformed, protocol, short};
use tidegate_kit::{DecodeError, Reader};
use tidegate_message::Limits;

/// The last packet of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disconnect<'a> {
    /// Why; 0 before version 5.
    pub reason: u8,
    /// Session expiry, reason string and so on (version 5).
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    pub(crate) fn read(version: Version, reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let mut packet = Disconnect { reason: reason::SUCCESS, properties: Properties::NONE };
        if reader.is_empty() {
            return Ok(packet);
        }
        ensure(version.is_v5(), malformed("MQTT section 3.14", "a DISCONNECT is not empty"))?;
        packet.reason = reader.u8().map_err(short)?;
        let known = reason::in_disconnect(packet.reason);
        ensure(known, protocol("MQTT-3.14.2-1", "the reason code of a DISCONNECT is not defined"))?;
        if !reader.is_empty() {
            packet.properties = Properties::read(reader, Context::Disconnect, limits.mqtt_user_properties)?;
        }
        ensure(reader.is_empty(), malformed("MQTT5 section 3.14", "bytes follow a DISCONNECT"))?;
        Ok(packet)
    }

    /// Whether a client may send it: reasons and properties that the specification has for servers only are a
    /// protocol error (MQTT5 sections 3.14.2.1, 3.14.2.2.5).
    pub(crate) fn check_client(&self) -> Result<(), DecodeError> {
        let may = reason::in_clients_disconnect(self.reason);
        ensure(may, protocol("MQTT-3.14.2-1", "the reason code of a DISCONNECT is one of servers"))?;
        let refers = self.properties.find(|property| matches!(property, Property::ServerReference(_)).then_some(()));
        ensure(refers.is_none(), protocol("MQTT5 section 3.14.2.2.5", "a client names another server"))
    }

    /// Appends the packet in its shortest form.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        framed(out, 0xe0, |out| {
            let bare = self.properties.is_empty();
            if !version.is_v5() || (bare && self.reason == reason::SUCCESS) {
                return;
            }
            out.push(self.reason);
            if !bare {
                self.properties.put(out);
            }
        });
    }

    /// The session expiry that replaces the CONNECT's, seconds.
    pub fn session_expiry(&self) -> Option<u32> {
        self.properties
            .find(|property| if let Property::SessionExpiry(expiry) = property { Some(expiry) } else { None })
    }
}
