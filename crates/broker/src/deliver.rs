//! A message on its way out: to the subscribers here, to one member of each group, and to the workers that have others.

use crate::access::Acl;
use crate::broker::{Broker, MAX_WORKERS};
use crate::groups::Turn;
use crate::publish::Source;
use crate::record::Record;
use crate::replay::Recent;
use crate::retained::is_own;
use crate::sink::{DropReason, Forward, Sink};
use crate::subscribers::{Job, Slot, Subscribers};
use crate::tree::{Entry, Matched, Tree};
use smallvec::SmallVec;
use std::sync::Arc;
use tidegate_message::{Message, MessageBuilder, Outcome, Protocol, Qos};

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
        (now, source): (u64, Source<'_>),
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
        let job = Job { now, message, origin: source.slot, name };
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
        forward((message, sequence, source.client), (matched.workers, (durable, name)), &picks, sink);
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
                let sequence = forward.sequence;
                sink.forward(next, Forward { message, sequence, name, plain: false, groups, client: None });
            } else {
                deliver_to_member((subscribers, acl), group, job, sink);
            }
        }
    }

    fn deliver_plain<S: Sink>(&mut self, now: u64, from: u16, forward: &Forward, sink: &mut S) {
        let origin = forward.client.as_deref().and_then(|client| self.slot_of(client));
        let Broker { tree, routes, acl, subscribers, recent, moves, interest, .. } = self;
        let topic = forward.message.topic();
        let job = Job { now, message: &forward.message, origin, name: named(subscribers, forward) };
        let matched = routes.find(topic, tree.generation, |matched| fill(tree, (acl, subscribers), topic, matched));
        let fresh = forward.sequence == 0 || recent.is_empty();
        if fresh && moves.are_quiet() {
            return subscribers.deliver(job, &matched.entries, sink);
        }
        let acknowledged = interest.acknowledged_by(from);
        let mut entries: Vec<Entry> = matched.entries.to_vec();
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
    (message, sequence, client): (&Arc<Message>, u64, Option<&Arc<str>>),
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
        let (message, client, plain) = (message.clone(), client.cloned(), is_in(plain));
        sink.forward(worker, Forward { message, sequence, name, plain, groups, client });
    }
}
