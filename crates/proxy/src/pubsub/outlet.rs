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

/// A place for one, with the generation of who is in it: in the gap of an `Outlet`, since there is one of each client.
#[derive(Default)]
enum Place {
    #[default]
    Free,
    Mqtt(u32, Rc<MqttLink>),
    Stream(u32, Rc<StreamQueue>),
    Coap(u32, u32),
    Api(u32, u32),
}

impl Place {
    fn of(generation: u32, outlet: Outlet) -> Self {
        match outlet {
            Outlet::Mqtt(link) => Place::Mqtt(generation, link),
            Outlet::Stream(queue) => Place::Stream(generation, queue),
            Outlet::Coap(observer) => Place::Coap(generation, observer),
            Outlet::Api(subscription) => Place::Api(generation, subscription),
        }
    }

    /// The way out, of that generation.
    fn outlet(&self, wanted: u32) -> Option<Outlet> {
        let (generation, outlet) = match self {
            Place::Free => return None,
            Place::Mqtt(generation, link) => (generation, Outlet::Mqtt(Rc::clone(link))),
            Place::Stream(generation, queue) => (generation, Outlet::Stream(Rc::clone(queue))),
            Place::Coap(generation, observer) => (generation, Outlet::Coap(*observer)),
            Place::Api(generation, subscription) => (generation, Outlet::Api(*subscription)),
        };
        (*generation == wanted).then_some(outlet)
    }
}

/// All ways out of one worker.
#[derive(Default)]
pub(crate) struct Outlets {
    slots: Vec<Place>,
}

impl Outlets {
    pub(crate) fn insert(&mut self, id: SubscriberId, outlet: Outlet) {
        let slot = id.slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, Place::default);
        }
        self.slots[slot] = Place::of(id.generation, outlet);
    }

    pub(crate) fn get(&self, id: SubscriberId) -> Option<Outlet> {
        self.slots.get(id.slot as usize)?.outlet(id.generation)
    }

    pub(crate) fn remove(&mut self, id: SubscriberId) -> Option<Outlet> {
        let outlet = self.get(id)?;
        self.slots[id.slot as usize] = Place::Free;
        Some(outlet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_no_more_than_two_words() {
        assert!(size_of::<Place>() <= 16, "{}", size_of::<Place>());
    }
}
