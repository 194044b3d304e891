//! Where a subscriber's deliveries go, by the slot that the broker gave it.

use super::{MqttLink, StreamQueue};
use std::rc::Rc;
use tidegate_broker::SubscriberId;

/// The way out to one subscriber.
#[derive(Clone)]
pub(crate) enum Outlet {
    /// An MQTT connection.
    Mqtt(Rc<MqttLink>),
    /// An event stream or a JSON WebSocket.
    Stream(Rc<StreamQueue>),
    /// A CoAP observer, by its place in the observers' table.
    Coap(u32),
    /// A subscription of the TypeScript API.
    Api(u32),
}

/// All ways out of one worker.
#[derive(Default)]
pub(crate) struct Outlets {
    slots: Vec<Option<(u32, Outlet)>>,
}

impl Outlets {
    pub(crate) fn insert(&mut self, id: SubscriberId, outlet: Outlet) {
        let slot = id.slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot] = Some((id.generation, outlet));
    }

    pub(crate) fn get(&self, id: SubscriberId) -> Option<&Outlet> {
        match self.slots.get(id.slot as usize)? {
            Some((generation, outlet)) if *generation == id.generation => Some(outlet),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, id: SubscriberId) -> Option<Outlet> {
        self.get(id)?;
        self.slots[id.slot as usize].take().map(|(_, outlet)| outlet)
    }
}
