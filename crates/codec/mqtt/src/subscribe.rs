//! SUBSCRIBE.

use crate::connect::Version;
use crate::filters::Filters;
use crate::fixed::framed;
use crate::properties::{Context, Properties, Property};
use crate::publish::packet_id;
use tidegate_kit::{DecodeError, Reader, put_u16};
use tidegate_message::Limits;

/// The client asks for topics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscribe<'a> {
    /// For the SUBACK.
    pub packet_id: u16,
    /// Subscription identifier and user properties (version 5).
    pub properties: Properties<'a>,
    /// One or more filters with their options.
    pub filters: Filters<'a>,
}

impl<'a> Subscribe<'a> {
    pub(crate) fn read(version: Version, reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let packet_id = packet_id(reader)?;
        let properties = match version {
            Version::V5 => Properties::read(reader, Context::Subscribe, limits.mqtt_user_properties)?,
            _ => Properties::NONE,
        };
        let filters = Filters::read_subscriptions(version, reader, limits.topic_levels)?;
        Ok(Subscribe { packet_id, properties, filters })
    }

    /// Appends the packet.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        framed(out, 0x82, |out| {
            put_u16(out, self.packet_id);
            if version.is_v5() {
                self.properties.put(out);
            }
            self.filters.put(out);
        });
    }

    /// The number that deliveries of these filters carry.
    pub fn subscription_id(&self) -> Option<u32> {
        self.properties.find(|property| if let Property::SubscriptionId(id) = property { Some(id) } else { None })
    }
}
