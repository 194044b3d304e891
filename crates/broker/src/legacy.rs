//! What a member of shared subscriptions leaves behind: messages that it was chosen for and has not acknowledged
//! go to another member when its session ends, or when the rules let it receive them no more (MQTT5 section 4.8.2).

use crate::broker::Broker;
use crate::deliver::deliver_to_member;
use crate::filter::{matches, split_share};
use crate::groups::Turn;
use crate::sink::{Forward, Sink};
use crate::subscribers::Job;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::sync::Arc;
use tidegate_message::{Message, Qos};

/// A message that a member got of its group.
pub(crate) struct Legacy {
    group: Arc<str>,
    message: Arc<Message>,
    /// It never left.
    is_queued: bool,
}

impl Broker {
    /// What the session in `slot` has of its groups and has not acknowledged, the oldest first.
    pub(crate) fn legacy(&self, slot: u32) -> Vec<Legacy> {
        let Some(owner) = self.subscribers.slots.get(slot as usize) else { return Vec::new() };
        let shares = owner.shared_filters();
        let session = owner.session.as_ref().filter(|_| !shares.is_empty());
        let mut copies = HashMap::<usize, usize, RandomState>::default();
        let unfinished = session.into_iter().flat_map(|session| session.backlog().unfinished());
        let found = unfinished.filter_map(|(message, is_queued)| {
            let is_due = |filter: &str| matches(filter, message.topic());
            // Of several copies the first is that of the ordinary subscriptions, and each group brought one.
            let copy = copies.entry(Arc::as_ptr(message) as usize).or_default();
            let is_plain = |filter: &str| split_share(filter).is_none() && is_due(filter);
            let ordinary = usize::from(owner.filters.iter().any(|(filter, _)| is_plain(filter)));
            let place = copy.checked_sub(ordinary);
            *copy += 1;
            let mut groups = shares.iter().filter(|key| split_share(key).is_some_and(|(_, plain)| is_due(plain)));
            let group = groups.nth(place?)?.clone();
            Some(Legacy { group, message: message.clone(), is_queued })
        });
        found.collect()
    }

    /// What of it the rules do not let the session in `slot` receive.
    pub(crate) fn forbidden_legacy(&self, slot: u32) -> Vec<Legacy> {
        if self.acl.is_open() {
            return Vec::new();
        }
        let mut legacy = self.legacy(slot);
        legacy.retain(|legacy| !self.subscribers.may_receive(&self.acl, slot, legacy.message.topic()));
        legacy
    }

    /// Gives it to other members: how much of what was queued somebody takes.
    pub(crate) fn pass_on<S: Sink>(&mut self, now: u64, legacy: Vec<Legacy>, sink: &mut S) -> usize {
        let passed = legacy.into_iter().filter_map(|legacy| {
            let is_queued = legacy.is_queued;
            self.pass_one(now, legacy, sink).then_some(usize::from(is_queued))
        });
        passed.sum()
    }

    fn pass_one<S: Sink>(&mut self, now: u64, legacy: Legacy, sink: &mut S) -> bool {
        let Legacy { group: key, message, .. } = legacy;
        let Broker { subscribers, acl, groups, worker, .. } = self;
        let Some(group) = groups.index(&key).and_then(|index| groups.get(index)) else { return false };
        if message.is_expired(now) {
            return false;
        }
        match group.next_worker((*worker, subscribers.limits.sticky_groups)) {
            Turn::Nobody => return false,
            Turn::Worker(to) => {
                let is_kept = message.qos != Qos::AtMostOnce && group.is_durable(Some(to));
                let name = if is_kept { subscribers.next_name() } else { 0 };
                let groups = [key].into_iter().collect();
                sink.forward(to, Forward { message, sequence: 0, name, plain: false, groups, client: None });
            }
            Turn::Here => {
                let name = subscribers.next_name();
                let job = Job { now, message: &message, origin: None, name };
                deliver_to_member((subscribers, acl), group, job, sink);
            }
        }
        true
    }
}
