//! The queue of a subscriber that has no session: an event stream or a JSON
//! WebSocket. Its own task takes messages out; a full queue drops the oldest.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
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

/// Bounded by count and bytes.
pub(crate) struct StreamQueue {
    messages: RefCell<VecDeque<Queued>>,
    bytes: Cell<usize>,
    max: (usize, usize),
    /// The subscriber's protocol, for the counters.
    pub(crate) protocol: Protocol,
    waker: Cell<Option<Waker>>,
}

impl StreamQueue {
    /// At most so many messages and bytes.
    pub(crate) fn new(protocol: Protocol, max: (usize, usize)) -> Self {
        StreamQueue { messages: RefCell::default(), bytes: Cell::new(0), max, protocol, waker: Cell::default() }
    }

    /// Puts a message in; how many had to go for it.
    pub(crate) fn push(&self, queued: Queued) -> u32 {
        let mut messages = self.messages.borrow_mut();
        self.bytes.set(self.bytes.get() + queued.message.cost());
        messages.push_back(queued);
        let mut dropped = 0;
        while messages.len() > self.max.0 || (self.bytes.get() > self.max.1 && messages.len() > 1) {
            if let Some(old) = messages.pop_front() {
                self.bytes.set(self.bytes.get() - old.message.cost());
                dropped += 1;
            }
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        dropped
    }

    /// The oldest message; `None`: the task is woken when there is one.
    pub(crate) fn pop(&self, waker: &Waker) -> Option<Queued> {
        let queued = self.messages.borrow_mut().pop_front();
        match &queued {
            Some(queued) => self.bytes.set(self.bytes.get() - queued.message.cost()),
            None => self.waker.set(Some(waker.clone())),
        }
        queued
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_message::MessageBuilder;

    #[test]
    fn a_full_queue_drops_the_oldest_and_says_how_many() {
        let queue = StreamQueue::new(Protocol::Http1, (2, 1 << 20));
        let message = |text: &str| Queued {
            message: Arc::new(MessageBuilder::new(Protocol::Mqtt, text, b"").build().expect("short topic")),
            qos: Qos::AtMostOnce,
            retain: false,
        };
        assert_eq!([queue.push(message("a")), queue.push(message("b")), queue.push(message("c"))], [0, 0, 1]);
        let topics: Vec<String> =
            std::iter::from_fn(|| queue.pop(Waker::noop())).map(|queued| queued.message.topic().to_owned()).collect();
        assert_eq!(topics, ["b", "c"]);
    }
}
