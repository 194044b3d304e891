//! Interest between workers: each tells all others which filters it has subscribers
//! for, numbers its changes, and knows how far the others have come.

use crate::broker::Broker;
use crate::filter::split_share;
use crate::sink::{InterestChange, Sink};
use std::sync::Arc;

/// Numbers of this worker's changes.
pub(crate) struct Interest {
    number: u64,
    /// By worker; this one's own place is never behind.
    acknowledged: Vec<u64>,
}

impl Interest {
    pub(crate) fn new(worker: u16, workers: u16) -> Self {
        let acknowledged = (0..workers).map(|other| if other == worker { u64::MAX } else { 0 }).collect();
        Interest { number: 0, acknowledged }
    }

    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn acknowledged_by(&self, worker: u16) -> u64 {
        self.acknowledged.get(usize::from(worker)).copied().unwrap_or(0)
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.acknowledged.len() < 2
    }

    pub(crate) fn emit<S: Sink>(
        &mut self,
        filter: Arc<str>,
        (members, connected, durable): (u32, u32, bool),
        sink: &mut S,
    ) {
        if !self.is_alone() {
            self.number += 1;
            sink.interest(InterestChange { number: self.number, filter, members, connected, durable });
        }
    }
}

impl Broker {
    /// The number of this worker's last change.
    pub fn interest(&self) -> u64 {
        self.interest.number()
    }

    /// The number up to which every other worker applied this worker's changes: a
    /// subscription whose `Granted::after` is not above it may be acknowledged.
    pub fn settled(&self) -> u64 {
        self.interest.acknowledged.iter().copied().min().unwrap_or(u64::MAX)
    }

    /// Worker `from` applied this worker's changes up to `number`: release the
    /// subscriptions that waited, then drain `poll_takeover`.
    pub fn handle_interest_ack<S: Sink>(&mut self, from: u16, number: u64, sink: &mut S) {
        if let Some(known) = self.interest.acknowledged.get_mut(usize::from(from)) {
            *known = number.max(*known);
            self.advance_takeovers(sink);
        }
    }

    /// Applies a change of worker `from`; the driver then sends its number back.
    pub fn handle_interest(&mut self, from: u16, change: &InterestChange) {
        let Some((_, filter)) = split_share(&change.filter) else {
            return self.tree.set_worker(&change.filter, from, (change.members > 0, change.durable));
        };
        let (index, new) = self.groups.make(&change.filter);
        if new {
            self.tree.add_group(filter, index);
        }
        if let Some(group) = self.groups.get(index) {
            group.set_remote((from, change.durable), change.members, change.connected);
        }
        self.sweep_group(filter, index);
    }

    pub(crate) fn sweep_group(&mut self, filter: &str, index: u32) {
        if self.groups.sweep(index) {
            self.tree.remove_group(filter, index);
        }
    }
}
