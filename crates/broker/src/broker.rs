//! One worker's broker. Single-threaded, without I/O: calls come in with the time,
//! everything that leaves goes to the `Sink` before the call returns.

use crate::access::{Access, Acl};
use crate::delayed::{DelayedQueue, split_delayed};
use crate::filter::is_topic;
use crate::groups::{Groups, Turn};
use crate::interest::Interest;
use crate::limits::BrokerLimits;
use crate::record::Record;
use crate::replay::{Recent, Replays};
use crate::retained::is_own;
use crate::routes::Routes;
use crate::shared::Shared;
use crate::sink::{DropReason, Forward, Sink, SubscriberId};
use crate::stats::{ClientInfo, Stats};
use crate::subscribers::{Job, Slot, Subscribers};
use crate::takeover::{Moves, Pending};
use crate::timers::Timers;
use crate::tree::{Entry, Matched, Tree};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use tidegate_message::{Message, MessageBuilder, Outcome, Protocol, Qos};

/// Most workers that can share sessions and subscriptions.
pub const MAX_WORKERS: u16 = 64;

/// Who publishes.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The subscriber on this worker that it is too, for no local.
    pub subscriber: Option<SubscriberId>,
    /// For the access rules.
    pub access: &'a Access,
}

/// What became of a PUBLISH of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Published {
    /// It was new: tell the client the outcome.
    New(Outcome),
    /// Its QoS 2 identifier is in use: answer with PUBREC, it was not published again.
    Again,
}

/// Topic tree, sessions and routes of one worker.
pub struct Broker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) acl: Arc<Acl>,
    acl_version: u64,
    pub(crate) tree: Tree,
    routes: Routes,
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

/// A message that is made when somebody turns out to want it, and then once.
enum Once<'a> {
    Parts(MessageBuilder<'a>),
    Made(Arc<Message>),
    /// The topic is longer than a message allows.
    Refused,
}

impl Once<'_> {
    fn message(&mut self) -> Option<&Arc<Message>> {
        if let Once::Parts(parts) = self {
            let parts = std::mem::replace(parts, MessageBuilder::new(Protocol::Internal, "", &[]));
            *self = parts.build().map_or(Once::Refused, |message| Once::Made(Arc::new(message)));
        }
        if let Once::Made(message) = self { Some(message) } else { None }
    }
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

    /// Publishes for whoever `origin` is: access rules, retained store, deliveries here,
    /// forwards to other workers. A message that nobody wants is never made.
    pub fn publish<S: Sink>(
        &mut self,
        now: u64,
        origin: Origin<'_>,
        message: MessageBuilder<'_>,
        sink: &mut S,
    ) -> Outcome {
        self.refresh_acl();
        let outcome = match self.check(origin.access, &message) {
            Outcome::Success if is_delayed(&message) => self.delay(now, origin.access.clone(), message, sink),
            Outcome::Success => self.spread(now, self.slot_of_origin(origin), message, sink),
            refused => refused,
        };
        self.count(outcome)
    }

    /// The slot of who publishes, for no local: who has no subscriber at hand may still be the client of a session.
    fn slot_of_origin(&self, Origin { subscriber, access }: Origin<'_>) -> Option<u32> {
        subscriber.map(|id| id.slot).or_else(|| self.slot_of(access.client_id.as_deref()?))
    }

    /// Publishes what the gateway tells of itself: no rules, and no publish that counts.
    pub fn spread_own<S: Sink>(&mut self, now: u64, message: MessageBuilder<'_>, sink: &mut S) -> Outcome {
        self.refresh_acl();
        self.spread(now, None, message, sink)
    }

    /// Publishes for an MQTT session, whose access it uses. At QoS 2 the packet
    /// identifier is remembered until `pubrel`, unless the publish was refused.
    pub fn publish_from<S: Sink>(
        &mut self,
        now: u64,
        (id, packet_id): (SubscriberId, u16),
        message: MessageBuilder<'_>,
        sink: &mut S,
    ) -> Published {
        self.refresh_acl();
        let max = self.subscribers.limits.max_inbound;
        let Some(slot) = self.subscribers.get_mut(id) else { return Published::New(Outcome::Internal) };
        let once = message.qos == Qos::ExactlyOnce;
        if let (true, Some(session)) = (once, &mut slot.session) {
            match session.make_backlog().receive_inbound(packet_id, max) {
                Some(true) => {}
                Some(false) => return Published::Again,
                None => return Published::New(self.count(Outcome::QuotaExceeded)),
            }
        }
        let outcome = match self.subscribers.get(id).map(|slot| self.check(&slot.access, &message)) {
            Some(Outcome::Success) if is_delayed(&message) => {
                let access = self.subscribers.get(id).map(|slot| slot.access.clone()).unwrap_or_default();
                self.delay(now, access, message, sink)
            }
            Some(Outcome::Success) => self.spread(now, Some(id.slot), message, sink),
            refused => refused.unwrap_or(Outcome::Internal),
        };
        if let (true, Some(session)) = (once, self.subscribers.get_mut(id).and_then(|slot| slot.session.as_mut())) {
            if !outcome.is_accepted() {
                session.make_backlog().release_inbound(packet_id);
            } else if session.key != 0 {
                sink.append(&Record::Inbound { key: session.key, packet_id, held: true });
            }
        }
        Published::New(self.count(outcome))
    }

    /// A publish that is taken and goes nowhere. `once`: its QoS 2 identifier is remembered
    /// until `pubrel`, as if it went.
    pub fn swallow<S: Sink>(&mut self, once: Option<(SubscriberId, u16)>, sink: &mut S) -> Published {
        let max = self.subscribers.limits.max_inbound;
        if let Some((id, packet_id)) = once
            && let Some(session) = self.subscribers.get_mut(id).and_then(|slot| slot.session.as_mut())
        {
            match session.make_backlog().receive_inbound(packet_id, max) {
                Some(true) if session.key != 0 => {
                    sink.append(&Record::Inbound { key: session.key, packet_id, held: true });
                }
                Some(true) => {}
                Some(false) => return Published::Again,
                None => return Published::New(self.count(Outcome::QuotaExceeded)),
            }
        }
        Published::New(self.count(Outcome::Success))
    }

    fn count(&mut self, outcome: Outcome) -> Outcome {
        let stats = &mut self.subscribers.stats;
        *(if outcome.is_accepted() { &mut stats.accepted } else { &mut stats.refused }) += 1;
        outcome
    }

    fn check(&self, access: &Access, message: &MessageBuilder<'_>) -> Outcome {
        let topic = match split_delayed(message.topic) {
            None => message.topic,
            Some(Some((_, topic))) => topic,
            Some(None) => return Outcome::InvalidTopic,
        };
        if !is_topic(topic, self.subscribers.limits.topic_levels) {
            return Outcome::InvalidTopic;
        }
        // MQTT5 section 3.3.2.3.2
        let says_text = message.properties.as_ref().is_some_and(|properties| properties.utf8_payload == Some(true));
        if says_text && std::str::from_utf8(message.payload).is_err() {
            return Outcome::Malformed;
        }
        // `$SYS` is the gateway's own (MQTT section 4.7.2).
        let ours = is_own(topic) && message.protocol != Protocol::Internal;
        if ours || !self.acl.may_publish(access, topic) { Outcome::Forbidden } else { Outcome::Success }
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

    /// Whether a session that is kept on disk gets messages of `topic`, on any worker.
    fn is_kept(&mut self, topic: &str) -> bool {
        let Broker { tree, routes, acl, subscribers, groups, .. } = self;
        let matched = routes.find(topic, tree.generation, |matched| fill(tree, (acl, subscribers), topic, matched));
        matched.durable != 0
            || matched.entries.iter().any(|entry| entry.durable)
            || matched.groups.iter().any(|&index| groups.get(index).is_some_and(|group| group.is_durable(None)))
    }

    /// Delivers a publish that was checked.
    pub(crate) fn spread<S: Sink>(
        &mut self,
        now: u64,
        origin: Option<u32>,
        message: MessageBuilder<'_>,
        sink: &mut S,
    ) -> Outcome {
        let (topic, retain, promised) = (message.topic, message.retain, message.qos != Qos::AtMostOnce);
        // What clears a retained message makes room.
        let keeps = retain && !message.payload.is_empty() && !is_own(topic);
        if self.shared.is_full() && (keeps || (promised && self.is_kept(topic))) {
            return Outcome::QuotaExceeded;
        }
        let mut once = Once::Parts(message);
        let mut sequence = 0;
        if retain {
            let Some(message) = once.message() else { return Outcome::InvalidTopic };
            let Ok(number) = self.shared.retained().store(message) else { return Outcome::QuotaExceeded };
            sequence = number;
            if self.shared.is_keeping() && !is_own(topic) {
                sink.append(&Record::Retain { message, sequence });
            }
        }
        let Broker { tree, routes, acl, subscribers, groups, .. } = self;
        let sticky = subscribers.limits.sticky_groups;
        let matched = routes.find(topic, tree.generation, |matched| fill(tree, (acl, subscribers), topic, matched));
        if matched.is_empty() {
            return Outcome::NoSubscribers;
        }
        let Some(message) = once.message() else { return Outcome::InvalidTopic };
        let name = if promised { subscribers.next_name() } else { 0 };
        let job = Job { now, message, origin, name };
        subscribers.deliver(job, &matched.entries, sink);
        let mut picks: SmallVec<[(u16, Arc<str>); 2]> = SmallVec::new();
        let mut durable = matched.durable;
        for &index in &matched.groups {
            let Some(group) = groups.get(index) else { continue };
            match group.next_worker((self.worker, sticky)) {
                Turn::Worker(worker) => {
                    durable |= u64::from(group.is_durable(Some(worker))) << (worker % MAX_WORKERS);
                    picks.push((worker, group.key.clone()));
                }
                Turn::Here | Turn::Nobody => deliver_to_member((subscribers, acl), group, job, sink),
            }
        }
        let durable = if promised { durable } else { 0 };
        forward((message, sequence), (matched.workers, (durable, name)), &picks, sink);
        Outcome::Success
    }

    /// Delivers what a publisher of worker `from` published.
    pub fn handle_forward<S: Sink>(&mut self, now: u64, from: u16, forward: &Forward, sink: &mut S) {
        self.refresh_acl();
        if forward.plain {
            self.deliver_plain(now, from, forward, sink);
        }
        let Broker { acl, subscribers, groups, .. } = self;
        let job = Job { now, message: &forward.message, origin: None, name: named(subscribers, forward) };
        let (worker, sticky) = (self.worker, subscribers.limits.sticky_groups);
        for key in &forward.groups {
            let Some(group) = groups.index(key).and_then(|index| groups.get(index)) else {
                subscribers.lose((job.message.protocol, DropReason::NoMember), 1, sink);
                continue;
            };
            // Its members here left while it was on its way. Whoever is told next has heard so already: it never
            // comes back for that reason.
            let elsewhere = (group.count().0 == 0).then(|| group.next_worker((worker, sticky)));
            if let Some(Turn::Worker(next)) = elsewhere {
                let (groups, message) = ([key.clone()].into_iter().collect(), job.message.clone());
                // Its own name: the other worker may have had the message for its ordinary subscribers.
                let is_kept = message.qos != Qos::AtMostOnce && group.is_durable(Some(next));
                let name = if is_kept { subscribers.next_name() } else { 0 };
                sink.forward(next, Forward { message, sequence: forward.sequence, name, plain: false, groups });
            } else {
                deliver_to_member((subscribers, acl), group, job, sink);
            }
        }
    }

    fn deliver_plain<S: Sink>(&mut self, now: u64, from: u16, forward: &Forward, sink: &mut S) {
        let Broker { tree, routes, acl, subscribers, recent, moves, interest, .. } = self;
        let topic = forward.message.topic();
        let job = Job { now, message: &forward.message, origin: None, name: named(subscribers, forward) };
        let matched = routes.find(topic, tree.generation, |matched| fill(tree, (acl, subscribers), topic, matched));
        let fresh = forward.sequence == 0 || recent.is_empty();
        if fresh && moves.are_quiet() {
            return subscribers.deliver(job, &matched.entries, sink);
        }
        let acknowledged = interest.acknowledged_by(from);
        let mut entries: Vec<Entry> = matched.entries.clone();
        entries.retain(|entry| !moves.is_known(entry.slot, acknowledged, job.message));
        if !fresh {
            let newer = |entry: &Entry| !Recent::supersedes(recent, subscribers, entry.slot, forward);
            let (kept, old): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(newer);
            let superseded = old.chunk_by(|a, b| a.slot == b.slot).count();
            subscribers.lose((forward.message.protocol, DropReason::Superseded), superseded, sink);
            entries = kept;
        }
        subscribers.deliver(job, &entries, sink);
    }
}

fn is_delayed(message: &MessageBuilder<'_>) -> bool {
    message.topic.starts_with("$delayed/")
}

/// Finds everybody `topic` goes to, without those who may not receive it.
fn fill(tree: &Tree, (acl, subscribers): (&Acl, &Subscribers), topic: &str, matched: &mut Matched) {
    tree.collect(topic, matched);
    if !acl.is_open() {
        matched.entries.retain(|entry| subscribers.may_receive(acl, entry.slot, topic));
    }
    matched.entries.sort_unstable_by_key(|entry| entry.slot);
}

pub(crate) fn deliver_to_member<S: Sink>(
    (subscribers, acl): (&mut Subscribers, &Acl),
    group: &mut crate::groups::Group,
    job: Job<'_>,
    sink: &mut S,
) {
    let may = |entry: &Entry| acl.is_open() || subscribers.may_receive(acl, entry.slot, job.message.topic());
    let ready = |entry: &Entry| subscribers.slots.get(entry.slot as usize).is_some_and(Slot::is_connected);
    match group.next_member(subscribers.limits.sticky_groups, may, ready) {
        Some(entry) => subscribers.deliver_now(job, &[entry], sink),
        None => subscribers.lose((job.message.protocol, DropReason::NoMember), 1, sink),
    }
}

/// A message's name in the log here.
fn named(subscribers: &mut Subscribers, forward: &Forward) -> u64 {
    if forward.name != 0 { forward.name } else { subscribers.next_name() }
}

fn forward<S: Sink>(
    (message, sequence): (&Arc<Message>, u64),
    (plain, (durable, name)): (u64, (u64, u64)),
    picks: &[(u16, Arc<str>)],
    sink: &mut S,
) {
    let picked = picks.iter().fold(0, |bits, (worker, _)| bits | 1_u64 << (worker % MAX_WORKERS));
    let mut rest = plain | picked;
    while rest != 0 {
        let worker = rest.trailing_zeros() as u16;
        rest &= rest - 1;
        let groups = picks.iter().filter(|(to, _)| *to == worker).map(|(_, key)| key.clone()).collect();
        let is_in = |bits: u64| bits >> worker & 1 == 1;
        let name = if is_in(durable) { name } else { 0 };
        sink.forward(worker, Forward { message: message.clone(), sequence, name, plain: is_in(plain), groups });
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
        dropped: session.dropped,
        inbound: session.backlog().inbound(),
        has_will: session.will.is_some(),
        subscriptions: slot.filters.iter().map(|(filter, options)| (filter.clone(), options.qos)).collect(),
    })
}
