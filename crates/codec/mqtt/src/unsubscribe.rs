//! UNSUBSCRIBE.

use crate::connect::Version;
use crate::filters::Filters;
use crate::fixed::framed;
use crate::properties::{Context, Properties};
use crate::publish::packet_id;
use tidegate_kit::{DecodeError, Reader, put_u16};
use tidegate_message::Limits;

/// The client wants topics no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsubscribe<'a> {
    /// For the UNSUBACK.
    pub packet_id: u16,
    /// User properties (version 5).
    pub properties: Properties<'a>,
    /// One or more filters.
    pub filters: Filters<'a>,
}

impl<'a> Unsubscribe<'a> {
    pub(crate) fn read(version: Version, reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let packet_id = packet_id(reader)?;
        let properties = match version {
            Version::V5 => Properties::read(reader, Context::Unsubscribe, limits.mqtt_user_properties)?,
            _ => Properties::NONE,
        };
        let filters = Filters::read_names(reader, limits.topic_levels)?;
        Ok(Unsubscribe { packet_id, properties, filters })
    }

    /// Appends the packet.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        framed(out, 0xa2, |out| {
            put_u16(out, self.packet_id);
            if version.is_v5() {
                self.properties.put(out);
            }
            self.filters.put(out);
        });
    }
}
