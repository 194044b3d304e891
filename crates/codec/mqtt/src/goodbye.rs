//! How the server ends a connection: what it may still say, by version and state.

use crate::connack::Connack;
use crate::connect::Version;
use crate::disconnect::Disconnect;
use crate::properties::{Properties, PropertiesBuf, Property};
use crate::reason;

/// A CONNACK that refuses.
pub(crate) fn refuse(version: Option<Version>, code: u8, out: &mut Vec<u8>) {
    // Without a version the level was unknown: MQTT-3.1.2-2 of 3.1.1 wants return code 1,
    // which clients of every version read.
    let version = version.unwrap_or(Version::V311);
    let code = if version.is_v5() { code } else { reason::to_return_code(code) };
    Connack { session_present: false, code, properties: Properties::NONE }.encode(version, out);
}

/// A DISCONNECT of the server, which only version 5 has. `why` is the diagnostic; it is
/// left out where the packet would be larger than the client takes (MQTT-3.14.2-3).
pub(crate) fn disconnect(code: u8, why: Option<&str>, room: u32, out: &mut Vec<u8>) {
    let mut properties = PropertiesBuf::new();
    if let Some(why) = why.filter(|why| why.len() + 16 <= room as usize) {
        properties.push(Property::ReasonString(why));
    }
    if room >= 4 {
        Disconnect { reason: code, properties: properties.properties() }.encode(Version::V5, out);
    }
}
