//! Large fan-outs: a publish for many subscribers is delivered some at a time, so that the worker gets to everything
//! else in between. No subscriber can tell: before anything else is delivered to it, and before its session
//! changes, it gets what is due to it. What a log has to keep is never part of it: that is one frame with the
//! publish, and its acknowledgement waits for that.

use crate::sink::Sink;
use crate::subscribers::{Job, Subscribers};
use crate::tree::Entry;
use foldhash::fast::RandomState;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use tidegate_message::{Message, Qos};

/// A publish that is not with all of its subscribers.
struct FanOut {
    message: Arc<Message>,
    now: u64,
    origin: Option<u32>,
    name: u64,
    /// What its output depends on, as the sink said.
    standing: u64,
    /// Sorted by slot.
    entries: Vec<Entry>,
    next: usize,
    /// Slots behind `next` that have it already.
    ahead: HashSet<u32, RandomState>,
}

/// All of them, oldest first.
#[derive(Default)]
pub(crate) struct FanOuts {
    queue: VecDeque<FanOut>,
    waiting: usize,
}

/// The subscriptions of the subscriber at `at`, which follow each other.
fn end_of(entries: &[Entry], at: usize) -> usize {
    let slot = entries[at].slot;
    at + entries[at..].iter().take_while(|entry| entry.slot == slot).count()
}

/// Whether a log keeps the delivery.
fn is_kept(message: &Message, entries: &[Entry]) -> bool {
    message.qos != Qos::AtMostOnce && entries.iter().any(|entry| entry.durable && entry.qos != Qos::AtMostOnce)
}

impl FanOuts {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Deliveries that are due.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }
}

impl FanOut {
    fn deliver<S: Sink>(&self, (from, to): (usize, usize), subscribers: &mut Subscribers, sink: &mut S) {
        let FanOut { message, now, origin, name, .. } = self;
        let job = Job { now: *now, message, origin: *origin, name: *name };
        sink.lean(self.standing);
        subscribers.deliver_one(job, &self.entries[from..to], sink);
        sink.lean(0);
    }

    /// The entries of `slot` that are still due.
    fn due(&self, slot: u32) -> Option<(usize, usize)> {
        let from = self.next + self.entries[self.next..].partition_point(|entry| entry.slot < slot);
        let found = self.entries.get(from).is_some_and(|entry| entry.slot == slot);
        (found && !self.ahead.contains(&slot)).then(|| (from, end_of(&self.entries, from)))
    }
}

impl Subscribers {
    /// Delivers to entries that are sorted by slot: once to each subscriber, with the
    /// highest promise and all identifiers of its matching subscriptions (MQTT-3.3.4-2).
    /// More than a slice of them: what no log keeps follows with `spread_on`.
    pub(crate) fn deliver<S: Sink>(&mut self, job: Job<'_>, entries: &[Entry], sink: &mut S) {
        // Each may have something due of each fan-out before.
        if entries.len().saturating_mul(self.fan_outs.queue.len() + 1) <= self.limits.slice {
            for same in entries.chunk_by(|a, b| a.slot == b.slot) {
                self.settle(same[0].slot, sink);
                self.deliver_one(job, same, sink);
            }
            return;
        }
        while self.is_congested() && self.spread_on(self.limits.slice, sink) {}
        let mut waiting = Vec::with_capacity(entries.len());
        for same in entries.chunk_by(|a, b| a.slot == b.slot) {
            if is_kept(job.message, same) {
                self.settle(same[0].slot, sink);
                self.deliver_one(job, same, sink);
            } else {
                waiting.extend_from_slice(same);
            }
        }
        if waiting.is_empty() {
            return;
        }
        self.fan_outs.waiting += waiting.len();
        self.fan_outs.queue.push_back(FanOut {
            message: Arc::clone(job.message),
            now: job.now,
            origin: job.origin,
            name: job.name,
            standing: sink.standing(),
            entries: waiting,
            next: 0,
            ahead: HashSet::default(),
        });
    }

    /// Whether as much waits as may.
    pub(crate) fn is_congested(&self) -> bool {
        self.fan_outs.waiting >= self.limits.max_pending_deliveries
    }

    /// Makes `most` of the deliveries that are due: whether more are.
    pub(crate) fn spread_on<S: Sink>(&mut self, most: usize, sink: &mut S) -> bool {
        let mut fan_outs = std::mem::take(&mut self.fan_outs);
        let mut left = most.max(1);
        while left > 0
            && let Some(front) = fan_outs.queue.front_mut()
        {
            let end = end_of(&front.entries, front.next);
            if front.ahead.is_empty() || !front.ahead.remove(&front.entries[front.next].slot) {
                front.deliver((front.next, end), self, sink);
            }
            let taken = end - front.next;
            front.next = end;
            fan_outs.waiting -= taken;
            left = left.saturating_sub(taken);
            if end == front.entries.len() {
                fan_outs.queue.pop_front();
            }
        }
        self.fan_outs = fan_outs;
        !self.fan_outs.is_empty()
    }

    /// Delivers all that is due to the subscriber in `slot`.
    pub(crate) fn settle<S: Sink>(&mut self, slot: u32, sink: &mut S) {
        if self.fan_outs.is_empty() {
            return;
        }
        let mut fan_outs = std::mem::take(&mut self.fan_outs);
        for fan_out in &mut fan_outs.queue {
            if let Some(due) = fan_out.due(slot) {
                fan_out.ahead.insert(slot);
                fan_out.deliver(due, self, sink);
            }
        }
        self.fan_outs = fan_outs;
    }
}
