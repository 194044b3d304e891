//! One worker's broker. Single-threaded, without I/O: calls come in with the time,
//! everything that leaves goes to the `Sink` before the call returns.

use crate::access::Acl;
use crate::delayed::DelayedQueue;
use crate::groups::Groups;
use crate::interest::Interest;
use crate::limits::BrokerLimits;
use crate::replay::{Recent, Replays};
use crate::routes::Routes;
use crate::shared::Shared;
use crate::sink::Sink;
use crate::stats::{ClientInfo, Stats};
use crate::subscribers::{Slot, Subscribers};
use crate::takeover::{Moves, Pending};
use crate::timers::Timers;
use crate::tree::Tree;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Most workers that can share sessions and subscriptions.
pub const MAX_WORKERS: u16 = 64;

/// Topic tree, sessions and routes of one worker.
pub struct Broker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) acl: Arc<Acl>,
    acl_version: u64,
    pub(crate) tree: Tree,
    pub(crate) routes: Routes,
    pub(crate) groups: Groups,
    pub(crate) subscribers: Subscribers,
    /// Slots of sessions by the client identifier, which stands in the slot.
    by_client: HashTable<u32>,
    seed: RandomState,
    pub(crate) pending: HashMap<u64, Pending, RandomState>,
    pub(crate) moves: Moves,
    pub(crate) timers: Timers,
    pub(crate) delayed: DelayedQueue,
    pub(crate) interest: Interest,
    pub(crate) replays: Replays,
    pub(crate) recent: Vec<Recent>,
    pub(crate) worker: u16,
}

impl Broker {
    /// The broker of `worker`, one of `workers` (at most [`MAX_WORKERS`]).
    pub fn new(shared: Arc<Shared>, (worker, workers): (u16, u16), limits: BrokerLimits) -> Self {
        Broker {
            acl: shared.acl(),
            acl_version: shared.acl_version(),
            shared,
            tree: Tree::new(),
            routes: Routes::new(),
            groups: Groups::default(),
            subscribers: Subscribers::new(worker, limits),
            by_client: HashTable::new(),
            seed: RandomState::default(),
            pending: HashMap::default(),
            moves: Moves::default(),
            timers: Timers::default(),
            delayed: DelayedQueue::default(),
            interest: Interest::new(worker, workers.min(MAX_WORKERS)),
            replays: Replays::default(),
            recent: Vec::new(),
            worker,
        }
    }

    /// New bounds, from a new plan; what is queued already stays.
    pub fn set_limits(&mut self, limits: BrokerLimits) {
        self.subscribers.limits = limits;
    }

    /// Counters and gauges.
    pub const fn stats(&self) -> &Stats {
        &self.subscribers.stats
    }

    /// Makes `most` deliveries of publishes for many subscribers: whether more are due. Call it until none
    /// are, letting others have their turn in between.
    pub fn spread_on<S: Sink>(&mut self, most: usize, sink: &mut S) -> bool {
        self.subscribers.spread_on(most, sink)
    }

    /// Deliveries of publishes for many subscribers that are still due.
    pub fn pending_deliveries(&self) -> usize {
        self.subscribers.fan_outs.waiting()
    }

    /// Whether so many are due that publishers should wait; who does not makes room in its own turn.
    pub fn is_congested(&self) -> bool {
        self.subscribers.is_congested()
    }

    /// What the workers share.
    pub const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The slot of a client's session.
    pub(crate) fn slot_of(&self, client_id: &str) -> Option<u32> {
        let is_it = |slot: &u32| named_in(&self.subscribers, *slot) == client_id;
        self.by_client.find(self.seed.hash_one(client_id), is_it).copied()
    }

    /// Lets the session in `slot` be found by its client's identifier.
    pub(crate) fn enter(&mut self, slot: u32) {
        let Broker { by_client, seed, subscribers, .. } = self;
        let hash = |slot: &u32| seed.hash_one(named_in(subscribers, *slot));
        let client_id = named_in(subscribers, slot);
        match by_client.entry(hash(&slot), |other| named_in(subscribers, *other) == client_id, hash) {
            Place::Occupied(mut known) => *known.get_mut() = slot,
            Place::Vacant(place) => {
                place.insert(slot);
            }
        }
    }

    /// The session in `slot` goes.
    pub(crate) fn leave(&mut self, slot: u32) {
        let hash = self.seed.hash_one(named_in(&self.subscribers, slot));
        if let Ok(known) = self.by_client.find_entry(hash, |known| *known == slot) {
            known.remove();
        }
    }

    /// Every session of this worker.
    pub fn clients(&self) -> Vec<ClientInfo> {
        self.subscribers.slots.iter().filter_map(|(_, slot)| client_info(slot)).collect()
    }

    /// One client's session.
    pub fn client(&self, client_id: &str) -> Option<ClientInfo> {
        client_info(self.subscribers.slots.get(self.slot_of(client_id)? as usize)?)
    }

    /// Takes new access rules up; routes know them, so that they are found anew.
    pub(crate) fn refresh_acl(&mut self) {
        let version = self.shared.acl_version();
        if version != self.acl_version {
            self.acl = self.shared.acl();
            self.acl_version = version;
            self.tree.generation += 1;
        }
    }

    /// The access rules as they are.
    pub fn rules(&mut self) -> &Arc<Acl> {
        self.refresh_acl();
        &self.acl
    }
}

fn named_in(subscribers: &Subscribers, slot: u32) -> &str {
    subscribers.slots.get(slot as usize).map_or("", Slot::client_id)
}

fn client_info(slot: &Slot) -> Option<ClientInfo> {
    let session = slot.session.as_ref()?;
    Some(ClientInfo {
        id: slot.id,
        client_id: slot.access.client_id.clone().unwrap_or_default(),
        user: slot.access.user.clone(),
        connected: session.connected,
        expiry: session.expiry,
        queued: session.backlog().queued(),
        queued_bytes: session.backlog().queued_bytes(),
        inflight: session.backlog().inflight(),
        dropped: session.backlog().dropped,
        inbound: session.backlog().inbound(),
        has_will: session.will.is_some(),
        subscriptions: slot.filters.iter().map(|(filter, options)| (filter.clone(), options.qos)).collect(),
    })
}
