//! Subscribing and unsubscribing, for sessions and for subscribers that have none.

use crate::access::Access;
use crate::broker::Broker;
use crate::filter::{has_wildcard, is_subscription, matches, split_share};
use crate::outlet::Offer;
use crate::record::Record;
use crate::retained::Kept;
use crate::sink::{Forward, Sink, SubscriberId};
use crate::subscribers::{Options, Replay, Subscribers};
use std::sync::Arc;
use tidegate_message::{Outcome, Protocol, Qos};

/// How long after a replay an older message of the same topic may still be on its way
/// from another worker, milliseconds.
const RECENT_MS: u64 = 5_000;
/// Replays remembered for that long; beyond, an older message may follow a newer one.
const RECENT_MAX: usize = 4_096;
/// Filters of a subscriber up to which its replays are remembered: each is compared.
const RECENT_FILTERS: usize = 16;

/// A subscription that was granted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Granted {
    /// The highest promise of its deliveries.
    pub qos: Qos,
    /// Acknowledge it when `Broker::settled` has reached this number: from then on no
    /// worker's publish is missed. Then call `replay`.
    pub after: u64,
    /// The filter whose retained messages are due; `None`: none are.
    pub replay: Option<Arc<str>>,
    is_new: bool,
    options: Options,
}

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

impl Broker {
    /// A subscriber without a session: an observer, an event stream, a JSON WebSocket.
    /// Its driver owns its queue. Remove it with `remove_subscriber`.
    pub fn add_subscriber(&mut self, protocol: Protocol, access: Access) -> SubscriberId {
        self.subscribers.add(protocol, access, None)
    }

    /// Ends a subscriber without a session; a void id changes nothing.
    pub fn remove_subscriber<S: Sink>(&mut self, id: SubscriberId, sink: &mut S) {
        if self.subscribers.get(id).is_some_and(|slot| slot.session.is_none()) {
            self.subscribers.settle(id.slot, sink);
            self.forget_filters(id.slot, sink);
            self.subscribers.slots.try_remove(id.slot as usize);
        }
    }

    /// Subscribes to `filter`, which may be `$share/group/filter`. An existing
    /// subscription to the same filter is replaced (MQTT-3.8.4-3).
    ///
    /// # Errors
    /// `InvalidTopic` (0x8F), `Forbidden` (0x87), `QuotaExceeded` (0x97), or `NotFound`
    /// for a void id.
    pub fn subscribe<S: Sink>(
        &mut self,
        id: SubscriberId,
        filter: &str,
        options: Options,
        sink: &mut S,
    ) -> Result<Granted, Outcome> {
        self.refresh_acl();
        let limits = self.subscribers.limits;
        let slot = self.subscribers.get(id).ok_or(Outcome::NotFound)?;
        if !is_subscription(filter, limits.topic_levels) {
            return Err(Outcome::InvalidTopic);
        }
        let share = split_share(filter);
        let plain = share.map_or(filter, |(_, plain)| plain);
        if !self.acl.may_subscribe(&slot.access, plain) {
            return Err(Outcome::Forbidden);
        }
        let existed = slot.filters.iter().any(|(known, _)| &**known == filter);
        if !existed && slot.filters.len() >= limits.max_subscriptions {
            return Err(Outcome::QuotaExceeded);
        }
        let filter: Arc<str> = filter.into();
        self.insert_filter(id.slot, &filter, options, sink);
        let due = match options.replay {
            Replay::Always => share.is_none(),
            Replay::IfNew => share.is_none() && !existed,
            Replay::Never => false,
        };
        Ok(Granted {
            qos: options.qos,
            after: self.interest.number(),
            replay: due.then_some(filter),
            is_new: !existed,
            options,
        })
    }

    /// Sends the retained messages that a granted subscription is owed: how many.
    pub fn replay<S: Sink>(&mut self, now: u64, id: SubscriberId, granted: &Granted, sink: &mut S) -> usize {
        let Some((filter, slot)) = granted.replay.as_ref().zip(self.subscribers.get(id)) else { return 0 };
        let found = self.retained(now, &slot.access, filter);
        let count = found.len();
        self.subscribers.settle(id.slot, sink);
        self.forget_recent(now);
        for kept in found {
            let ids = &[granted.options.id][usize::from(granted.options.id == 0)..];
            let qos = granted.options.qos.min(kept.message.qos);
            self.subscribers.stats.matched += 1;
            self.subscribers.stats.replayed += 1;
            let name = self.subscribers.next_name();
            self.subscribers.hand(now, id.slot, Offer { message: &kept.message, qos, retain: true, ids, name }, sink);
            if self.recent.len() < RECENT_MAX && granted.is_new && self.is_sole(id, filter, kept.message.topic()) {
                self.recent.push(Recent { id, kept, until: now + RECENT_MS });
            }
        }
        count
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
        let limit = self.subscribers.limits.max_replayed;
        let mut found = if has_wildcard(filter) {
            self.shared.retained().matching(filter, now, limit)
        } else {
            self.shared.retained().get(filter, now).into_iter().collect()
        };
        if !self.acl.is_open() {
            found.retain(|kept| self.acl.may_receive(access, kept.message.topic()));
        }
        found
    }

    /// Ends a subscription: whether there was one.
    pub fn unsubscribe<S: Sink>(&mut self, id: SubscriberId, filter: &str, sink: &mut S) -> bool {
        self.subscribers.settle(id.slot, sink);
        let Some(slot) = self.subscribers.get_mut(id) else { return false };
        let Some(index) = slot.filters.iter().position(|(known, _)| &**known == filter) else { return false };
        let (filter, _) = slot.filters.swap_remove(index);
        let key = slot.key();
        if key != 0 {
            sink.append(&Record::Unfilter { key, filter: &filter });
        }
        self.remove_filter(id.slot, &filter, sink);
        true
    }

    pub(crate) fn forget_recent(&mut self, now: u64) {
        self.recent.retain(|recent| recent.until > now);
    }

    pub(crate) fn insert_filter<S: Sink>(&mut self, slot: u32, filter: &Arc<str>, options: Options, sink: &mut S) {
        let Some(owner) = self.subscribers.slots.get_mut(slot as usize) else { return };
        let (connected, key) = (owner.is_connected(), owner.key());
        if key != 0 {
            sink.append(&Record::Filter { key, filter, options });
        }
        match owner.filters.iter_mut().find(|(known, _)| known == filter) {
            Some((_, known)) => *known = options,
            None => {
                // Most subscribers have one filter.
                if owner.filters.is_empty() {
                    owner.filters.reserve_exact(1);
                }
                owner.filters.push((filter.clone(), options));
                self.subscribers.stats.subscriptions += 1;
            }
        }
        let entry = options.entry(slot, key != 0);
        let Some((_, plain)) = split_share(filter) else {
            if let Some((_, durable)) = self.tree.insert(filter, entry) {
                self.interest.emit(filter.clone(), (1, 1, durable), sink);
            }
            return;
        };
        let (index, new) = self.groups.make(filter);
        if new {
            self.tree.add_group(plain, index);
        }
        let Some(group) = self.groups.get(index) else { return };
        group.insert(entry, connected);
        self.interest.emit(filter.clone(), group.count(), sink);
    }

    /// Takes a filter of `slot` out of tree and groups; the slot's own list is the caller's.
    fn remove_filter<S: Sink>(&mut self, slot: u32, filter: &Arc<str>, sink: &mut S) {
        self.subscribers.stats.subscriptions -= 1;
        let Some((_, plain)) = split_share(filter) else {
            if let Some((left, durable)) = self.tree.remove(filter, slot) {
                self.interest.emit(filter.clone(), (left.into(), left.into(), durable), sink);
            }
            return;
        };
        let connected = self.subscribers.slots.get(slot as usize).is_some_and(|slot| slot.is_connected());
        let Some(index) = self.groups.index(filter) else { return };
        if let Some(group) = self.groups.get(index) {
            group.remove(slot, connected);
            self.interest.emit(filter.clone(), group.count(), sink);
        }
        self.sweep_group(plain, index);
    }

    /// Ends all subscriptions of `slot`.
    pub(crate) fn forget_filters<S: Sink>(&mut self, slot: u32, sink: &mut S) -> Vec<(Arc<str>, Options)> {
        let Some(owner) = self.subscribers.slots.get_mut(slot as usize) else { return Vec::new() };
        let filters = std::mem::take(&mut owner.filters);
        filters.iter().for_each(|(filter, _)| self.remove_filter(slot, filter, sink));
        filters
    }

    /// Tells groups and workers that the session in `slot` came back or went away.
    pub(crate) fn mark_members<S: Sink>(&mut self, slot: u32, connected: bool, sink: &mut S) {
        let Some(owner) = self.subscribers.slots.get(slot as usize) else { return };
        for filter in owner.shared_filters() {
            let index = self.groups.index(&filter);
            let group = index.and_then(|index| self.groups.get(index)).filter(|group| group.contains(slot));
            if let Some(group) = group {
                group.connect(connected);
                let count = group.count();
                self.interest.emit(filter, count, sink);
            }
        }
    }
}
