//! Who observes what: the message layer's observers and the broker's subscribers,
//! tied together.

use super::directory::Looking;
use super::kept::Continuation;
use super::relay::Relay;
use foldhash::fast::RandomState;
use slab::Slab;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_broker::{Granted, SubscriberId};
use tidegate_coap::ObserverId;
use tidegate_message::Message;

/// Values that wait for the answer to a wildcard observation; beyond, they are dropped.
const COLLECTED_MAX: usize = 1_024;
/// Bits of an observation's place; above them stands the socket.
const PLACE_BITS: u32 = 24;

/// Where an observation stands: its socket and its slot there.
pub(crate) type Place = u32;

/// One observation.
pub(super) struct Observation {
    pub(super) id: ObserverId,
    /// Of the broker; `None`: a resource of an upstream is observed.
    pub(super) subscriber: Option<SubscriberId>,
    pub(super) relaying: Option<Relaying>,
    /// What is observed, as a hash: the same peer may register again under another token.
    pub(super) about: u64,
    /// It is about more than one topic: each notification says about which, and none
    /// takes the place of another.
    pub(super) is_wildcard: bool,
    /// It is about a lookup in the directory, and this was found last, as a hash.
    pub(super) looking: Option<Box<(Looking, u64)>>,
    /// Until its request is answered.
    pub(super) pending: Option<Pending>,
}

/// Where the states of an upstream's resource come from.
pub(super) struct Relaying {
    pub(super) relay: Rc<Relay>,
    pub(super) place: Place,
    /// Where the blocks behind the first of a state are found.
    pub(super) continuation: Option<Continuation>,
}

/// What comes before the answer.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) granted: Option<Granted>,
    pub(super) collected: Vec<Arc<Message>>,
}

impl Observation {
    /// Keeps a message for the answer. `false`: there is no room.
    pub(super) fn collect(&mut self, message: &Arc<Message>) -> bool {
        let Some(pending) = &mut self.pending else { return false };
        if !self.is_wildcard {
            pending.collected.clear();
        }
        let fits = pending.collected.len() < COLLECTED_MAX;
        if fits {
            pending.collected.push(Arc::clone(message));
        }
        fits
    }
}

/// All observations of one socket.
pub(super) struct Observations {
    table: Slab<Observation>,
    by_id: HashMap<ObserverId, u32, RandomState>,
    socket: u32,
}

impl Observations {
    /// Those of the worker's socket of that number.
    pub(super) fn new(socket: u32) -> Self {
        Observations { table: Slab::new(), by_id: HashMap::default(), socket }
    }

    /// Enters an observation: its place, as outlets name it. The bound is the message
    /// layer's. `None`: there are as many as places can tell apart.
    pub(super) fn insert(&mut self, observation: Observation) -> Option<Place> {
        let place = self.table.vacant_key() as u32;
        if place >> PLACE_BITS != 0 {
            return None;
        }
        self.by_id.insert(observation.id, place);
        self.table.insert(observation);
        Some(self.socket << PLACE_BITS | place)
    }

    /// Whether a place belongs to this socket.
    pub(super) fn owns(&self, place: Place) -> bool {
        place >> PLACE_BITS == self.socket
    }

    pub(super) fn get(&mut self, place: Place) -> Option<&mut Observation> {
        self.table.get_mut((place & ((1 << PLACE_BITS) - 1)) as usize)
    }

    /// What an observation is about.
    pub(super) fn about(&self, id: ObserverId) -> Option<u64> {
        let place = self.by_id.get(&id)?;
        Some(self.table.get(*place as usize)?.about)
    }

    pub(super) fn remove(&mut self, id: ObserverId) -> Option<Observation> {
        let place = self.by_id.remove(&id)?;
        self.table.try_remove(place as usize)
    }

    pub(super) fn ids(&self) -> Vec<ObserverId> {
        self.by_id.keys().copied().collect()
    }
}
