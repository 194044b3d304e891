//! Requests that wait for their answer: bounded, and acknowledged when the wait takes
//! longer than a peer should be left in doubt (RFC 7252 section 5.2.2).

use super::kept::Continuation;
use crate::worker::WorkerPlan;
use slab::Slab;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use tidegate_coap::Exchange;

/// Requests of one socket that wait at once; beyond, they are answered 5.03.
const WAITING_MAX: usize = 1_024;

/// Whose counters a request belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Served {
    /// A route of the config.
    Route(usize),
    /// A resource of the gateway itself.
    Builtin,
    /// Nobody's.
    Unrouted,
}

/// What answering a request takes.
#[derive(Clone)]
pub(super) struct Ticket {
    pub(super) exchange: Exchange,
    /// The plan in force when it came.
    pub(super) plan: Rc<WorkerPlan>,
    pub(super) served: Served,
    pub(super) started_us: u64,
    /// Where its answer may be fetched block by block without doing it again.
    pub(super) continuation: Option<Continuation>,
}

/// A place among those that wait; never the same twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct WaitingId {
    slot: usize,
    number: u64,
}

/// All requests that wait.
#[derive(Default)]
pub(super) struct Waiting {
    table: Slab<(u64, Ticket)>,
    /// When the acknowledgement is due, in the order they came.
    due: VecDeque<(u64, WaitingId)>,
    number: u64,
}

impl Waiting {
    /// Whether one more can wait.
    pub(super) fn has_room(&self) -> bool {
        self.table.len() < WAITING_MAX
    }

    /// Whether one of that peer's requests waits.
    pub(super) fn is_for(&self, peer: SocketAddr) -> bool {
        self.table.iter().any(|(_, (_, ticket))| ticket.exchange.peer == peer)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Lets a request wait; it is acknowledged at `accept_at` if it still does.
    pub(super) fn insert(&mut self, ticket: Ticket, accept_at: u64) -> WaitingId {
        self.number += 1;
        let id = WaitingId { slot: self.table.insert((self.number, ticket)), number: self.number };
        self.due.push_back((accept_at, id));
        id
    }

    /// Takes a request out, to answer it.
    pub(super) fn take(&mut self, id: WaitingId) -> Option<Ticket> {
        self.table.get(id.slot).filter(|(number, _)| *number == id.number)?;
        let (_, ticket) = self.table.remove(id.slot);
        self.forget_answered();
        Some(ticket)
    }

    /// When the next acknowledgement is due.
    pub(super) fn next_timeout(&self) -> Option<u64> {
        self.due.front().map(|(at, _)| *at)
    }

    /// The next request to be acknowledged now.
    pub(super) fn poll_due(&mut self, now_ms: u64) -> Option<&mut Exchange> {
        let (at, id) = *self.due.front()?;
        if at > now_ms {
            return None;
        }
        self.due.pop_front();
        self.forget_answered();
        self.table.get_mut(id.slot).filter(|(number, _)| *number == id.number).map(|(_, ticket)| &mut ticket.exchange)
    }

    /// Those in front that are answered ask for no wake-up.
    fn forget_answered(&mut self) {
        let Waiting { table, due, .. } = self;
        let waits = |id: &WaitingId| table.get(id.slot).is_some_and(|(number, _)| *number == id.number);
        while due.front().is_some_and(|(_, id)| !waits(id)) {
            due.pop_front();
        }
    }
}
