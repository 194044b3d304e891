//! Subscribing and unsubscribing, for sessions and for subscribers that have none.

use crate::access::Access;
use crate::broker::Broker;
use crate::filter::{is_subscription, split_share};
use crate::record::Record;
use crate::sink::{Sink, SubscriberId};
use crate::subscribers::{Options, Replay};
use std::sync::Arc;
use tidegate_message::{Outcome, Protocol, Qos};

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
    pub(crate) is_new: bool,
    pub(crate) options: Options,
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
            self.replays.take(id.slot);
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
        let existed = slot.filters.position(filter).is_some();
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

    /// Ends a subscription: whether there was one.
    pub fn unsubscribe<S: Sink>(&mut self, id: SubscriberId, filter: &str, sink: &mut S) -> bool {
        self.subscribers.settle(id.slot, sink);
        let Some(slot) = self.subscribers.get_mut(id) else { return false };
        let Some(index) = slot.filters.position(filter) else { return false };
        let (filter, _) = slot.filters[index].clone();
        slot.filters.swap_remove(index);
        self.replays.forget_filter(id.slot, &filter);
        let key = slot.key();
        if key != 0 {
            sink.append(&Record::Unfilter { key, filter: &filter });
        }
        self.remove_filter(id.slot, &filter, sink);
        true
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
                owner.filters.push(filter.clone(), options);
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
        let filters = owner.filters.take();
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
