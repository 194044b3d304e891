//! How the server ends a connection: what it may still say, by version and state.

use crate::connack::Connack;
use crate::connect::Version;
use crate::disconnect::Disconnect;
use crate::fixed::varint_len;
use crate::properties::{Properties, PropertiesBuf, Property};
use crate::publish::properties_len;
use crate::reason;

/// Whether a client that takes packets of `room` bytes takes a CONNACK with these properties.
pub(crate) fn fits(room: u32, properties: &PropertiesBuf) -> bool {
    let body = 2 + properties_len(properties.properties().len());
    1 + varint_len(body) + body <= room as usize
}

/// A CONNACK that refuses; `more` where there is room for it. A client that takes no packet of that size
/// is told nothing (MQTT-3.1.2-24).
pub(crate) fn refuse((version, room): (Version, u32), code: u8, more: Option<Property<'_>>, out: &mut Vec<u8>) {
    if !version.is_v5() {
        let code = reason::to_return_code(code);
        return Connack { session_present: false, code, properties: Properties::NONE }.encode(version, out);
    }
    let properties = PropertiesBuf::from_iter(more);
    let found = [properties, PropertiesBuf::new()].into_iter().find(|properties| fits(room, properties));
    if let Some(properties) = found {
        Connack { session_present: false, code, properties: properties.properties() }.encode(version, out);
    }
}

/// A DISCONNECT of the server, which only version 5 has. `why` is the diagnostic; it is
/// left out where the packet would be larger than the client takes (MQTT-3.14.2-3).
/// `reference` is the server to use instead, for 0x9C and 0x9D.
pub(crate) fn disconnect(code: u8, (why, reference): (Option<&str>, Option<&str>), room: u32, out: &mut Vec<u8>) {
    let mut properties = PropertiesBuf::new();
    if let Some(reference) = reference.filter(|reference| reference.len() + 16 <= room as usize) {
        properties.push(Property::ServerReference(reference));
    }
    if let Some(why) = why.filter(|why| why.len() + 16 <= room as usize) {
        properties.push(Property::ReasonString(why));
    }
    if room >= 4 {
        Disconnect { reason: code, properties: properties.properties() }.encode(Version::V5, out);
    }
}
