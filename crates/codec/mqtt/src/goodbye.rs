//! How the server ends a connection: what it may still say, by version and state.

use crate::connack::Connack;
use crate::connect::Version;
use crate::disconnect::Disconnect;
use crate::properties::{PropertiesBuf, Property};
use crate::reason;

/// A CONNACK that refuses.
pub(crate) fn refuse(version: Version, code: u8, reference: Option<&str>, out: &mut Vec<u8>) {
    let mut properties = PropertiesBuf::new();
    if let Some(reference) = reference {
        properties.push(Property::ServerReference(reference));
    }
    let code = if version.is_v5() { code } else { reason::to_return_code(code) };
    Connack { session_present: false, code, properties: properties.properties() }.encode(version, out);
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
