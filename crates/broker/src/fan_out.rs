//! Large fan-outs: a publish for many subscribers is delivered some at a time, so that the worker gets to everything
//! else in between. No subscriber can tell: before anything else is delivered to it, and before its session
//! changes, it gets what is due to it. Of what a log keeps, the frame of the publish names the message and all
//! sessions that get it, and the publisher's acknowledgement waits for that frame: a start goes on where it ended.

use crate::record::Record;
use crate::sink::{DropReason, Sink};
use crate::subscribers::{Job, Slot, Subscribers};
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
    /// Whether the log holds to whom it is due.
    is_kept: bool,
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

/// Whether a log keeps the delivery to the subscriber that all of `entries` belong to.
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
        let same = &self.entries[from..to];
        let full = subscribers.turned_away();
        sink.lean(self.standing);
        subscribers.deliver_one(job, same, sink);
        sink.lean(0);
        let key = if self.is_kept { subscribers.key(same[0].slot) } else { 0 };
        if key != 0 && subscribers.turned_away() != full {
            sink.append(&Record::Missed { key, id: *name });
        }
    }

    /// The sessions in a log to which it is still due.
    fn keys(&self, subscribers: &Subscribers) -> Vec<u64> {
        let due = self.entries[self.next..].chunk_by(|a, b| a.slot == b.slot);
        let due = due.filter(|same| is_kept(&self.message, same) && !self.ahead.contains(&same[0].slot));
        due.map(|same| subscribers.key(same[0].slot)).filter(|key| *key != 0).collect()
    }

    /// Tells the log what is due, for as long as it is not over.
    fn tell<S: Sink>(&self, subscribers: &Subscribers, sink: &mut S) -> bool {
        let keys = self.keys(subscribers);
        if !keys.is_empty() {
            sink.append(&Record::Spread { id: self.name, message: &self.message, keys: &keys });
        }
        !keys.is_empty()
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
    /// More than a slice of them: they follow with `spread_on`.
    pub(crate) fn deliver<S: Sink>(&mut self, job: Job<'_>, entries: &[Entry], sink: &mut S) {
        // Each may have something due of each fan-out before.
        if entries.len().saturating_mul(self.fan_outs.queue.len() + 1) <= self.limits.slice {
            for same in entries.chunk_by(|a, b| a.slot == b.slot) {
                self.deliver_now(job, same, sink);
            }
            return;
        }
        while self.is_congested() && self.spread_on(self.limits.slice, sink) {}
        let mut waiting = Vec::with_capacity(entries.len());
        for same in entries.chunk_by(|a, b| a.slot == b.slot) {
            // A start knows of filters, not of who published.
            if job.origin == Some(same[0].slot) {
                self.deliver_now(job, same, sink);
            } else {
                waiting.extend_from_slice(same);
            }
        }
        if waiting.is_empty() {
            return;
        }
        let mut fan_out = FanOut {
            message: Arc::clone(job.message),
            now: job.now,
            origin: job.origin,
            name: job.name,
            is_kept: false,
            standing: 0,
            entries: waiting,
            next: 0,
            ahead: HashSet::default(),
        };
        fan_out.is_kept = fan_out.tell(self, sink);
        fan_out.standing = sink.standing();
        self.fan_outs.waiting += fan_out.entries.len();
        self.fan_outs.queue.push_back(fan_out);
    }

    /// Delivers to the one subscriber that all of `entries` belong to, behind what is due to it.
    pub(crate) fn deliver_now<S: Sink>(&mut self, job: Job<'_>, entries: &[Entry], sink: &mut S) {
        if let Some(first) = entries.first() {
            self.settle(first.slot, sink);
            self.deliver_one(job, entries, sink);
        }
    }

    /// Tells a log that begins anew to whom what is due.
    pub(crate) fn tell_spreads<S: Sink>(&self, sink: &mut S) {
        for fan_out in self.fan_outs.queue.iter().filter(|fan_out| fan_out.is_kept) {
            fan_out.tell(self, sink);
        }
    }

    /// The name in the log of the session in `slot`; 0: it is not kept.
    fn key(&self, slot: u32) -> u64 {
        self.slots.get(slot as usize).map_or(0, Slot::key)
    }

    /// Deliveries for which there was no room so far.
    fn turned_away(&self) -> u64 {
        [DropReason::QueueFull, DropReason::TotalFull].map(|reason| self.stats.dropped[reason as usize]).iter().sum()
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
                if front.is_kept {
                    sink.append(&Record::SpreadOver { id: front.name });
                }
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
