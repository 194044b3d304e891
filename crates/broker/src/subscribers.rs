//! The subscribers of one worker, whatever their protocol, and how a message reaches
//! them.

use crate::access::{Access, Acl};
use crate::fan_out::FanOuts;
use crate::filter::split_share;
use crate::limits::BrokerLimits;
use crate::outlet::{Ids, Offer, Outlet};
use crate::session::Session;
use crate::sink::{DropReason, Sink, SubscriberId};
use crate::stats::Stats;
use crate::tree::Entry;
use slab::Slab;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use tidegate_message::{Message, Protocol, Qos};

/// Whether a new subscription gets retained messages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Replay {
    /// Always.
    #[default]
    Always,
    /// Where the subscription did not exist.
    IfNew,
    /// Never.
    Never,
}

/// Options of a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Highest promise of its deliveries.
    pub qos: Qos,
    /// Not what the subscriber publishes itself.
    pub no_local: bool,
    /// Keep RETAIN as published.
    pub retain_as_published: bool,
    /// Retained messages.
    pub replay: Replay,
    /// Subscription identifier; 0: none.
    pub id: u32,
}

impl Options {
    pub(crate) const fn entry(&self, slot: u32, durable: bool) -> Entry {
        let Options { qos, no_local, retain_as_published, id, .. } = *self;
        Entry { slot, id, qos, no_local, retain_as_published, durable }
    }
}

/// A filter with its options.
type Subscribed = (Arc<str>, Options);

/// The filters of a subscriber. One word where there are none, as of who only publishes.
#[derive(Debug, Default)]
pub(crate) struct Filters(
    #[allow(clippy::box_collection, reason = "each connected client has a place for it")] Option<Box<Vec<Subscribed>>>,
);

impl Filters {
    pub(crate) fn push(&mut self, filter: Arc<str>, options: Options) {
        let filters = self.0.get_or_insert_default();
        // Most subscribers have one filter.
        if filters.is_empty() {
            filters.reserve_exact(1);
        }
        filters.push((filter, options));
    }

    pub(crate) fn position(&self, filter: &str) -> Option<usize> {
        self.iter().position(|(known, _)| &**known == filter)
    }

    pub(crate) fn swap_remove(&mut self, index: usize) {
        if let Some(filters) = &mut self.0 {
            filters.swap_remove(index);
        }
        self.0.take_if(|filters| filters.is_empty());
    }

    pub(crate) fn take(&mut self) -> Vec<Subscribed> {
        self.0.take().map_or_else(Vec::new, |filters| *filters)
    }
}

impl Deref for Filters {
    type Target = [Subscribed];

    fn deref(&self) -> &Self::Target {
        self.0.as_deref().map_or(&[], |filters| filters)
    }
}

impl DerefMut for Filters {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.0.as_deref_mut().map_or(&mut [], |filters| filters)
    }
}

/// A subscriber and its filters.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) id: SubscriberId,
    pub(crate) protocol: Protocol,
    pub(crate) access: Access,
    pub(crate) filters: Filters,
    pub(crate) session: Option<Box<Session>>,
}

impl Slot {
    /// The name of its session in the log; 0: nothing is kept.
    pub(crate) fn key(&self) -> u64 {
        self.session.as_ref().map_or(0, |session| session.key)
    }

    /// The client's identifier; empty where there is no session.
    pub(crate) fn client_id(&self) -> &str {
        self.access.client_id.as_deref().unwrap_or_default()
    }

    /// Whether a delivery can leave at once.
    pub(crate) fn is_connected(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.connected)
    }

    pub(crate) fn shared_filters(&self) -> Vec<Arc<str>> {
        let shared = self.filters.iter().filter(|(filter, _)| split_share(filter).is_some());
        shared.map(|(filter, _)| filter.clone()).collect()
    }
}

/// A message with what its deliveries need to know.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) now: u64,
    pub(crate) message: &'a Arc<Message>,
    /// The slot that published it here, for no local.
    pub(crate) origin: Option<u32>,
    /// Its name in the logs.
    pub(crate) name: u64,
}

/// All subscribers of a worker.
pub(crate) struct Subscribers {
    pub(crate) slots: Slab<Slot>,
    pub(crate) limits: BrokerLimits,
    pub(crate) stats: Stats,
    pub(crate) fan_outs: FanOuts,
    worker: u16,
    generation: u32,
    last_name: u64,
}

impl Subscribers {
    pub(crate) fn new(worker: u16, limits: BrokerLimits) -> Self {
        let (slots, stats, fan_outs) = (Slab::new(), Stats::default(), FanOuts::default());
        Subscribers { slots, limits, stats, fan_outs, worker, generation: 0, last_name: 0 }
    }

    pub(crate) fn add(&mut self, protocol: Protocol, access: Access, session: Option<Box<Session>>) -> SubscriberId {
        let entry = self.slots.vacant_entry();
        self.generation = self.generation.wrapping_add(1);
        let id = SubscriberId { worker: self.worker, slot: entry.key() as u32, generation: self.generation };
        entry.insert(Slot { id, protocol, access, filters: Filters::default(), session });
        id
    }

    /// A name for a message that no other message of any worker has.
    pub(crate) fn next_name(&mut self) -> u64 {
        self.last_name += 1;
        u64::from(self.worker) << 48 | self.last_name
    }

    /// A new generation for a slot whose connection is replaced.
    pub(crate) fn renew(&mut self, slot: u32) -> Option<SubscriberId> {
        self.generation = self.generation.wrapping_add(1);
        let slot = self.slots.get_mut(slot as usize)?;
        slot.id.generation = self.generation;
        Some(slot.id)
    }

    /// The subscriber, unless the id is void.
    pub(crate) fn get(&self, id: SubscriberId) -> Option<&Slot> {
        self.slots.get(id.slot as usize).filter(|slot| slot.id == id)
    }

    /// As `get`, to change it.
    pub(crate) fn get_mut(&mut self, id: SubscriberId) -> Option<&mut Slot> {
        self.slots.get_mut(id.slot as usize).filter(|slot| slot.id == id)
    }

    /// Calls `act` with a session and its outlet.
    pub(crate) fn with_session<S: Sink, T>(
        &mut self,
        (id, now): (SubscriberId, u64),
        sink: &mut S,
        act: impl FnOnce(&mut Session, &mut Outlet<'_, S>) -> T,
    ) -> Option<T> {
        let Subscribers { slots, limits, stats, .. } = self;
        let slot = slots.get_mut(id.slot as usize).filter(|slot| slot.id == id)?;
        let Slot { protocol, access, session, .. } = slot;
        let session = session.as_mut()?;
        let (protocol, key) = (*protocol, session.key);
        let mut outlet = Outlet { id, protocol, access, key, now, limits, stats, dropped: 0, sink };
        let result = act(session, &mut outlet);
        session.count_dropped(outlet.dropped);
        Some(result)
    }

    /// Whether the rules let the subscriber of `slot` receive `topic`.
    pub(crate) fn may_receive(&self, acl: &Acl, slot: u32, topic: &str) -> bool {
        self.slots.get(slot as usize).is_some_and(|slot| acl.may_receive(&slot.access, topic))
    }

    /// Delivers to the subscriber that all of `entries` belong to.
    pub(crate) fn deliver_one<S: Sink>(&mut self, job: Job<'_>, entries: &[Entry], sink: &mut S) {
        // MQTT-3.8.3-3
        let own = |entry: &&Entry| !(entry.no_local && job.origin == Some(entry.slot));
        let mut due = entries.iter().filter(own);
        let Some(first) = due.next() else { return };
        let mut ids = Ids::new();
        ids.extend((first.id != 0).then_some(first.id));
        let (mut qos, mut as_published) = (first.qos, first.retain_as_published);
        for entry in due {
            ids.extend((entry.id != 0).then_some(entry.id));
            qos = qos.max(entry.qos);
            as_published |= entry.retain_as_published;
        }
        let (qos, retain) = (qos.min(job.message.qos), as_published && job.message.retain);
        self.stats.matched += 1;
        self.hand(job.now, first.slot, Offer { message: job.message, qos, retain, ids: &ids, name: job.name }, sink);
    }

    /// Hands one delivery to a subscriber, session or not.
    pub(crate) fn hand<S: Sink>(&mut self, now: u64, slot: u32, offer: Offer<'_>, sink: &mut S) {
        let Subscribers { slots, limits, stats, .. } = self;
        let Some(slot) = slots.get_mut(slot as usize) else { return };
        let (id, protocol, key) = (slot.id, slot.protocol, slot.key());
        let Slot { access, session, .. } = slot;
        let mut outlet = Outlet { id, protocol, access, key, now, limits, stats, dropped: 0, sink };
        match session {
            Some(session) => {
                session.offer(offer, &mut outlet);
                session.count_dropped(outlet.dropped);
            }
            None => {
                outlet.stats.delivered += 1;
                outlet.send(offer, 0, false);
            }
        }
    }

    /// Whether a subscriber has room for a delivery that can wait: of its queue half is left to what comes
    /// meanwhile. A sink that says no makes `Broker::replay_on` follow, and so does each acknowledgement.
    pub(crate) fn has_room<S: Sink>(&self, (id, qos): (SubscriberId, Qos), message: &Message, sink: &mut S) -> bool {
        let Some(slot) = self.get(id) else { return false };
        match &slot.session {
            Some(session) if qos != Qos::AtMostOnce => session.has_room(message.cost(), &self.limits),
            _ => sink.has_room(id),
        }
    }

    /// Counts deliveries that were due and reach nobody.
    pub(crate) fn lose<S: Sink>(&mut self, (protocol, reason): (Protocol, DropReason), count: usize, sink: &mut S) {
        if count > 0 {
            self.stats.matched += count as u64;
            self.stats.dropped[reason as usize] += count as u64;
            sink.dropped(None, protocol, reason, u32::try_from(count).unwrap_or(u32::MAX));
        }
    }
}
