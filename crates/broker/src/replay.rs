//! Retained messages that new subscriptions are owed: handed over as far as there is room, the rest when there is
//! room again. What has changed until then is not owed any more: the subscriber has got what came instead.

use crate::access::Access;
use crate::broker::Broker;
use crate::filter::{has_wildcard, matches};
use crate::limits::BrokerLimits;
use crate::outlet::Offer;
use crate::retained::Kept;
use crate::sink::{DropReason, Forward, Sink, SubscriberId};
use crate::subscribe::Granted;
use crate::subscribers::{Options, Subscribers};
use foldhash::fast::RandomState;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tidegate_message::Qos;

/// How long after a replay an older message of the same topic may still be on its way
/// from another worker, milliseconds.
const RECENT_MS: u64 = 5_000;
/// Replays remembered for that long; beyond, an older message may follow a newer one.
const RECENT_MAX: usize = 4_096;
/// Filters of a subscriber up to which its replays are remembered: each is compared.
const RECENT_FILTERS: usize = 16;

/// A retained message that a subscriber got lately.
pub(crate) struct Recent {
    id: SubscriberId,
    kept: Kept,
    until: u64,
}

impl Recent {
    /// Whether the subscriber in `slot` got a newer message of the topic already.
    pub(crate) fn supersedes(recent: &[Recent], subscribers: &Subscribers, slot: u32, forward: &Forward) -> bool {
        let Some(slot) = subscribers.slots.get(slot as usize) else { return false };
        let newer = |recent: &&Recent| {
            recent.id == slot.id
                && recent.kept.sequence >= forward.sequence
                && recent.kept.message.topic_bytes() == forward.message.topic_bytes()
        };
        recent.iter().any(|recent| newer(&recent))
    }
}

/// What one subscription is owed.
#[derive(Debug)]
pub(crate) struct Owed {
    filter: Arc<str>,
    options: Options,
    is_new: bool,
    rest: std::vec::IntoIter<Kept>,
}

impl Owed {
    fn qos_of(&self, kept: &Kept) -> Qos {
        self.options.qos.min(kept.message.qos)
    }
}

fn count(owed: &VecDeque<Owed>) -> usize {
    owed.iter().map(|owed| owed.rest.len()).sum()
}

/// What subscribers are owed that had no room for it, by slot: of one together no more than one
/// subscription is given, of all together no more than fits the bound for what waits.
#[derive(Default)]
pub(crate) struct Replays {
    by_slot: HashMap<u32, VecDeque<Owed>, RandomState>,
    waiting: usize,
}

impl Replays {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_slot.is_empty()
    }

    pub(crate) fn take(&mut self, slot: u32) -> VecDeque<Owed> {
        if self.by_slot.is_empty() {
            return VecDeque::new();
        }
        let owed = self.by_slot.remove(&slot).unwrap_or_default();
        self.waiting -= count(&owed);
        owed
    }

    /// Puts it behind what the subscriber is owed already.
    pub(crate) fn put(&mut self, slot: u32, owed: VecDeque<Owed>) {
        if !owed.is_empty() {
            self.waiting += count(&owed);
            self.by_slot.entry(slot).or_default().extend(owed);
        }
    }

    /// How many more a subscriber may be owed, and how many more all of them.
    fn room(&self, slot: u32, limits: &BrokerLimits) -> (usize, usize) {
        let own = self.by_slot.get(&slot).map_or(0, count);
        let most = limits.max_queued_total_bytes / size_of::<Kept>();
        (limits.max_replayed.saturating_sub(own), most.saturating_sub(self.waiting))
    }

    /// The subscription is made anew, or over.
    pub(crate) fn forget_filter(&mut self, slot: u32, filter: &str) {
        let mut owed = self.take(slot);
        owed.retain(|owed| &*owed.filter != filter);
        self.put(slot, owed);
    }
}

impl Broker {
    /// Sends the retained messages that a granted subscription is owed: how many there are. Those
    /// for which there is no room follow with `replay_on`.
    pub fn replay<S: Sink>(&mut self, now: u64, id: SubscriberId, granted: &Granted, sink: &mut S) -> usize {
        let Some((filter, slot)) = granted.replay.as_ref().zip(self.subscribers.get(id)) else { return 0 };
        let protocol = slot.protocol;
        let (mut found, beyond) = self.find_retained(now, &slot.access, filter);
        let count = found.len();
        self.replays.forget_filter(id.slot, filter);
        let (own, all) = self.replays.room(id.slot, &self.subscribers.limits);
        let lost = count.saturating_sub(own) + beyond;
        self.subscribers.lose((protocol, DropReason::QueueFull), lost, sink);
        self.subscribers.lose((protocol, DropReason::TotalFull), count.min(own).saturating_sub(all), sink);
        found.truncate(own.min(all));
        found.shrink_to_fit();
        let (filter, options, rest) = (filter.clone(), granted.options, found.into_iter());
        self.replays.put(id.slot, [Owed { filter, options, is_new: granted.is_new, rest }].into());
        self.replay_on(now, id, sink);
        count
    }

    /// Goes on with what a subscriber is owed: it has room for something.
    pub fn replay_on<S: Sink>(&mut self, now: u64, id: SubscriberId, sink: &mut S) {
        if self.replays.is_empty() || self.subscribers.get(id).is_none() {
            return;
        }
        let mut owed = self.replays.take(id.slot);
        self.subscribers.settle(id.slot, sink);
        self.forget_recent(now);
        while let Some(front) = owed.front_mut() {
            let Some(next) = front.rest.as_slice().first() else {
                owed.pop_front();
                continue;
            };
            if !self.is_due(now, id, next) {
                front.rest.next();
            } else if self.subscribers.has_room((id, front.qos_of(next)), &next.message, sink) {
                let Some(kept) = front.rest.next() else { continue };
                self.hand_retained(now, id, (kept, front), sink);
            } else {
                break;
            }
        }
        self.replays.put(id.slot, owed);
    }

    /// Whether a retained message is still its topic's last, and the subscriber may have it.
    fn is_due(&self, now: u64, id: SubscriberId, kept: &Kept) -> bool {
        let topic = kept.message.topic();
        !kept.message.is_expired(now)
            && self.shared.retained().sequence(topic) == Some(kept.sequence)
            && (self.acl.is_open() || self.subscribers.may_receive(&self.acl, id.slot, topic))
    }

    fn hand_retained<S: Sink>(&mut self, now: u64, id: SubscriberId, (kept, owed): (Kept, &Owed), sink: &mut S) {
        let ids = &[owed.options.id][usize::from(owed.options.id == 0)..];
        let (message, qos) = (&kept.message, owed.qos_of(&kept));
        self.subscribers.stats.matched += 1;
        self.subscribers.stats.replayed += 1;
        let name = self.subscribers.next_name();
        self.subscribers.hand(now, id.slot, Offer { message, qos, retain: true, ids, name }, sink);
        if self.recent.len() < RECENT_MAX && owed.is_new && self.is_sole(id, &owed.filter, message.topic()) {
            self.recent.push(Recent { id, kept, until: now + RECENT_MS });
        }
    }

    /// Whether `filter` is all that brings `topic` to the subscriber. Where another filter
    /// does, each message on its way is owed to that one, older than the replay or not.
    fn is_sole(&self, id: SubscriberId, filter: &str, topic: &str) -> bool {
        let Some(slot) = self.subscribers.get(id).filter(|slot| slot.filters.len() <= RECENT_FILTERS) else {
            return false;
        };
        !self.interest.is_alone() && slot.filters.iter().all(|(other, _)| &**other == filter || !matches(other, topic))
    }

    /// Retained messages that match `filter` and that `access` may receive: for GET, the
    /// admin API and replays.
    pub fn retained(&self, now: u64, access: &Access, filter: &str) -> Vec<Kept> {
        self.find_retained(now, access, filter).0
    }

    /// The same, and how many more there are than one may have.
    fn find_retained(&self, now: u64, access: &Access, filter: &str) -> (Vec<Kept>, usize) {
        let limit = self.subscribers.limits.max_replayed;
        let (mut found, beyond) = if has_wildcard(filter) {
            self.shared.retained().matching_and_more(filter, now, limit)
        } else {
            (self.shared.retained().get(filter, now).into_iter().collect(), 0)
        };
        if !self.acl.is_open() {
            found.retain(|kept| self.acl.may_receive(access, kept.message.topic()));
        }
        (found, beyond)
    }

    pub(crate) fn forget_recent(&mut self, now: u64) {
        self.recent.retain(|recent| recent.until > now);
    }
}
