//! The queue of a subscriber that has no session: an event stream or a JSON
//! WebSocket. Its own task takes messages out; a full queue drops the oldest.

use crate::metrics::WorkerCounters;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use tidegate_message::{Message, Protocol, Qos};

/// A message that waits.
#[derive(Clone)]
pub(crate) struct Queued {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
}

/// What the broker has handed over and no client has yet: [`Stats::delivered`] and what
/// waits are told with it, so that every delivery is in one place only.
///
/// [`Stats::delivered`]: tidegate_broker::Stats
#[derive(Default)]
pub(crate) struct Undelivered {
    /// In the queues of streams.
    pub(crate) waiting: Cell<u64>,
    /// Dropped behind the broker, by a reason of its own.
    pub(crate) lost: Cell<u64>,
}

impl Undelivered {
    pub(crate) fn lose(&self, count: u64) {
        self.lost.set(self.lost.get() + count);
    }
}

/// Bounded by count and bytes.
pub(crate) struct StreamQueue {
    messages: RefCell<VecDeque<Queued>>,
    bytes: Cell<usize>,
    max: (usize, usize),
    /// The subscriber's protocol, for the counters.
    pub(crate) protocol: Protocol,
    waker: Cell<Option<Waker>>,
    /// The broker has more when there is room.
    has_more: Cell<bool>,
    undelivered: Rc<Undelivered>,
    counters: Arc<WorkerCounters>,
}

impl StreamQueue {
    /// At most so many messages and bytes.
    pub(crate) fn new(
        protocol: Protocol,
        max: (usize, usize),
        (undelivered, counters): (Rc<Undelivered>, Arc<WorkerCounters>),
    ) -> Self {
        let (messages, bytes, waker) = (RefCell::default(), Cell::new(0), Cell::default());
        let has_more = Cell::new(false);
        StreamQueue { messages, bytes, max, protocol, waker, has_more, undelivered, counters }
    }

    /// Whether there is room for something that can wait: half of it is left to what comes meanwhile.
    pub(crate) fn has_room(&self) -> bool {
        let messages = self.messages.borrow().len();
        let has_room = messages == 0 || (messages < self.max.0 / 2 && self.bytes.get() < self.max.1 / 2);
        self.has_more.set(!has_room);
        has_room
    }

    /// Whether all of it was taken and the broker has more; said once.
    pub(crate) fn wants_more(&self) -> bool {
        self.messages.borrow().is_empty() && self.has_more.replace(false)
    }

    /// Puts a message in; where there is no room the oldest goes.
    pub(crate) fn push(&self, queued: Queued) {
        let mut messages = self.messages.borrow_mut();
        self.bytes.set(self.bytes.get() + queued.message.cost());
        messages.push_back(queued);
        self.undelivered.waiting.set(self.undelivered.waiting.get() + 1);
        let mut dropped = 0;
        while messages.len() > self.max.0 || (self.bytes.get() > self.max.1 && messages.len() > 1) {
            if let Some(old) = messages.pop_front() {
                self.bytes.set(self.bytes.get() - old.message.cost());
                dropped += 1;
            }
        }
        self.lose("slow-consumer", dropped);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The oldest message; `None`: the task is woken when there is one.
    pub(crate) fn pop(&self, waker: &Waker) -> Option<Queued> {
        let queued = self.messages.borrow_mut().pop_front();
        match &queued {
            Some(queued) => {
                self.bytes.set(self.bytes.get() - queued.message.cost());
                self.undelivered.waiting.set(self.undelivered.waiting.get() - 1);
                let counters = self.counters.of(self.protocol);
                counters.messages_out[queued.qos as usize].add(1);
                counters.message_bytes_out.add(queued.message.payload().len() as u64);
            }
            None => self.waker.set(Some(waker.clone())),
        }
        queued
    }

    fn lose(&self, reason: &'static str, count: u64) {
        if count > 0 {
            self.undelivered.waiting.set(self.undelivered.waiting.get() - count);
            self.undelivered.lose(count);
            self.counters.dropped(self.protocol, reason, count);
        }
    }
}

impl Drop for StreamQueue {
    fn drop(&mut self) {
        let left = self.messages.borrow().len() as u64;
        self.lose("disconnected", left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_message::MessageBuilder;

    #[test]
    fn a_full_queue_drops_the_oldest_and_every_message_is_in_one_place() {
        let undelivered = Rc::<Undelivered>::default();
        let counts = || (undelivered.waiting.get(), undelivered.lost.get());
        let counters = Arc::new(WorkerCounters::default());
        let queue = StreamQueue::new(Protocol::Http1, (2, 1 << 20), (Rc::clone(&undelivered), counters));
        let message = |text: &str| Queued {
            message: Arc::new(MessageBuilder::new(Protocol::Mqtt, text, b"").build().expect("short topic")),
            qos: Qos::AtMostOnce,
            retain: false,
        };
        ["a", "b", "c", "d"].into_iter().for_each(|text| queue.push(message(text)));
        assert_eq!(counts(), (2, 2));
        assert_eq!(queue.pop(Waker::noop()).map(|queued| queued.message.topic().to_owned()), Some("c".to_owned()));
        assert_eq!(counts(), (1, 2));
        drop(queue);
        assert_eq!(counts(), (0, 3));
    }
}
