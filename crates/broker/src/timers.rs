//! What happens without a packet: delayed wills and the end of sessions.

use crate::broker::Broker;
use crate::session::Due;
use crate::sink::Sink;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Points in time by slot. A session has at most one that counts, its `timer_at`; an
/// entry that is not it is passed over, so that reconnecting piles nothing up.
#[derive(Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Timers {
    fn pop(&mut self, now: u64) -> Option<(u64, u32)> {
        let due = self.heap.peek().is_some_and(|Reverse((at, _))| *at <= now);
        if due { self.heap.pop().map(|Reverse(entry)| entry) } else { None }
    }
}

impl Broker {
    /// When to call `handle_timeout` next.
    pub fn next_timeout(&self) -> Option<u64> {
        let timer = self.timers.heap.peek().map(|Reverse((at, _))| *at);
        timer.into_iter().chain(self.delayed.next_due()).min()
    }

    /// Publishes wills whose delay is over and ends sessions that expired.
    pub fn handle_timeout<S: Sink>(&mut self, now: u64, sink: &mut S) {
        while let Some((at, slot)) = self.timers.pop(now) {
            let session = self.subscribers.slots.get_mut(slot as usize).and_then(|slot| slot.session.as_mut());
            let Some(session) = session.filter(|session| session.timer_at.time() == Some(at)) else { continue };
            session.timer_at = Due::NEVER;
            self.run_session(now, slot, sink);
        }
        self.forget_recent(now);
    }

    /// Does what is due for a session that has no connection, and sees that the rest is
    /// done in time.
    pub(crate) fn run_session<S: Sink>(&mut self, now: u64, slot: u32, sink: &mut S) {
        let session = self.subscribers.slots.get_mut(slot as usize).and_then(|slot| slot.session.as_mut());
        let Some(session) = session.filter(|session| !session.connected) else { return };
        let over = session.ends_at.is_over(now);
        if session.will_at().is_over(now) {
            self.publish_will(now, slot, sink);
        }
        if over {
            return self.end(now, slot, sink);
        }
        self.schedule(slot);
    }

    pub(crate) fn schedule(&mut self, slot: u32) {
        let session = self.subscribers.slots.get_mut(slot as usize).and_then(|slot| slot.session.as_mut());
        let Some((session, at)) = session.and_then(|session| session.due_at().map(|at| (session, at))) else { return };
        if session.timer_at.time().is_none_or(|timer| at < timer) {
            session.timer_at = Some(at).into();
            self.timers.heap.push(Reverse((at, slot)));
        }
    }
}
