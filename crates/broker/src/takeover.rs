//! A session moves to the worker where its client connected, and loses nothing:
//! ```text
//! new worker                                   old worker
//! connect: claim, Ask ----------------------->  give_up: connection closed, session stays
//! adopt: filters inserted, messages queue <---  HandOver with the filters
//! ... all workers know the interest ...
//! Ask again (fetch) ------------------------->  give_up: one more change of interest
//!                                               ... which all workers acknowledged: what
//!                                               they sent before has arrived ...
//! adopt: queues joined, Ready <---------------  HandOver with queue and in-flight
//! ```
//! A message that reached both queues is one `Arc`, so that it is delivered once. Steps
//! come out of `poll_takeover`; one leaves when all that its worker appended before is kept, so that
//! the logs never show a move further than they show what led to it.

use crate::backlog::Backlog;
use crate::broker::Broker;
use crate::connect::{ConnectRequest, Connected, Leave};
use crate::directory::Home;
use crate::filter::split_share;
use crate::publish::Origin;
use crate::record::Record;
use crate::replay::Owed;
use crate::session::{Due, Session};
use crate::sink::{DropReason, Sink};
use crate::subscribers::{Options, Slot};
use foldhash::fast::RandomState;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use tidegate_message::{Message, Protocol};

/// To the worker that holds a session: give it up. Its `give_up` takes this.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GiveUp {
    /// Whose session.
    pub client_id: Arc<str>,
    /// Where it is, and its epoch there.
    pub home: Home,
    /// Who asks.
    pub to: u16,
    /// The asker's claim, which comes back in the `HandOver`.
    pub claim: u64,
    /// Whether the session ends, because the client wants a clean start.
    pub clean_start: bool,
    /// The second time: now the queue too.
    pub fetch: bool,
}

/// A session between two workers, or the news that there is none. The claiming
/// worker's `adopt` takes this.
#[derive(Debug)]
pub struct HandOver {
    /// The worker that gets it.
    pub to: u16,
    /// Its claim.
    pub claim: u64,
    /// The session.
    pub state: Option<SessionState>,
}

/// What a client can notice of its session.
#[derive(Debug)]
pub struct SessionState {
    filters: Vec<(Arc<str>, Options)>,
    /// Its name in the log of its old worker; 0: it is not kept.
    key: u64,
    /// `None`: it follows.
    backlog: Option<Backlog>,
    /// Retained messages that its subscriptions are owed.
    owed: VecDeque<Owed>,
}

/// What the driver has to do for sessions that move.
#[derive(Debug)]
pub enum TakeOver {
    /// Send it to `home.worker`, to its `give_up`.
    Ask(GiveUp),
    /// Send it to the worker `to`, to its `adopt`.
    HandOver(HandOver),
    /// Send CONNACK to the connection of that claim, then call `resume`.
    Ready {
        /// Of `Connect::Wait`.
        claim: u64,
        /// As `connect` gives it.
        connected: Connected,
    },
    /// Another connection took the session over already: tell the one of that claim so (0x8E).
    Overtaken {
        /// Of `Connect::Wait`.
        claim: u64,
        /// Whether it had found a session.
        present: bool,
    },
}

/// A CONNECT whose session is elsewhere.
pub(crate) struct Pending {
    request: ConnectRequest,
    home: Home,
    /// Where the session is being put together.
    slot: Option<u32>,
    /// A later claim, which gets the session right after: worker, claim, clean start.
    waiter: Option<(u16, u64, bool)>,
    /// The connection went away meanwhile.
    abandoned: bool,
}

/// Steps that are due, and those that wait for the other workers' acknowledgements.
#[derive(Default)]
pub(crate) struct Moves {
    steps: VecDeque<TakeOver>,
    /// Claims to fetch the queue for, behind a number of `settled`, with their slots.
    arriving: VecDeque<(u64, (u64, u32))>,
    /// Sessions to part with, likewise.
    leaving: VecDeque<(u64, GiveUp)>,
    /// What came with a session and may still arrive by itself, likewise.
    echoes: VecDeque<(u64, Echoes)>,
    /// Sessions that left and stand in no other log yet, by their names in this one.
    parting: HashSet<u64, RandomState>,
}

/// Messages of a session's old queue, by address; holding them keeps addresses unique.
struct Echoes {
    slot: u32,
    messages: Vec<Arc<Message>>,
}

impl Moves {
    /// Whether the session in `slot` has or will have `message` from its old place. That
    /// is so for all that a worker sent before it acknowledged the new place's interest
    /// (`acknowledged`: how far it has come), and for what came with the session.
    pub(crate) fn is_known(&self, slot: u32, acknowledged: u64, message: &Arc<Message>) -> bool {
        let deaf = |(after, (_, arriving)): &(u64, (u64, u32))| *arriving == slot && *after > acknowledged;
        let echo = |(_, echoes): &(u64, Echoes)| {
            echoes.slot == slot && echoes.messages.iter().any(|known| Arc::ptr_eq(known, message))
        };
        self.arriving.iter().any(deaf) || self.echoes.iter().any(echo)
    }

    /// The session in `slot` is gone: what it knew concerns nobody who comes into its place.
    pub(crate) fn forget_slot(&mut self, slot: u32) {
        self.echoes.retain(|(_, echoes)| echoes.slot != slot);
    }

    /// The session of that name stands in another log.
    pub(crate) fn parted(&mut self, key: u64) {
        self.parting.remove(&key);
    }

    pub(crate) fn are_quiet(&self) -> bool {
        self.arriving.is_empty() && self.echoes.is_empty()
    }
}

fn is_due<T>(waiting: &VecDeque<(u64, T)>, settled: u64) -> bool {
    waiting.front().is_some_and(|(after, _)| *after <= settled)
}

impl Broker {
    /// The next step for a session that moves. Drain it after `connect`, `give_up`,
    /// `adopt` and `handle_interest_ack`.
    pub fn poll_takeover(&mut self) -> Option<TakeOver> {
        self.moves.steps.pop_front()
    }

    /// The session is at `home`, on this worker's way or on another worker.
    pub(crate) fn wait_for(&mut self, request: ConnectRequest, claim: u64, home: Home) {
        let clean_start = request.clean_start;
        if let Some(earlier) = self.pending.get_mut(&home.epoch) {
            earlier.waiter = Some((self.worker, claim, clean_start));
        } else {
            let (client_id, to) = (request.client_id.clone(), self.worker);
            self.ask(GiveUp { client_id, home, to, claim, clean_start, fetch: false });
        }
        self.pending.insert(claim, Pending { request, home, slot: None, waiter: None, abandoned: false });
    }

    fn ask(&mut self, ask: GiveUp) {
        self.moves.steps.push_back(TakeOver::Ask(ask));
    }

    fn hand_over(&mut self, ask: &GiveUp, state: Option<SessionState>) {
        self.moves.steps.push_back(TakeOver::HandOver(HandOver { to: ask.to, claim: ask.claim, state }));
    }

    /// Gives up a session that another worker claimed.
    pub fn give_up<S: Sink>(&mut self, now: u64, ask: GiveUp, sink: &mut S) {
        if let Some(pending) = self.pending.get_mut(&ask.home.epoch) {
            pending.waiter = Some((ask.to, ask.claim, ask.clean_start));
            return;
        }
        let slot = self.slot_of(&ask.client_id);
        let Some(slot) = slot.filter(|&slot| self.epoch(slot) == Some(ask.home.epoch)) else {
            return self.hand_over(&ask, None);
        };
        if ask.fetch {
            self.flush(slot, sink);
            self.moves.leaving.push_back((self.interest.number(), ask));
            return self.advance_takeovers(sink);
        }
        let ends = ask.clean_start || self.ends_with_connection(slot);
        self.detach(now, slot, ends, sink);
        if ends {
            self.end(now, slot, sink);
            return self.hand_over(&ask, None);
        }
        let owner = self.subscribers.slots.get_mut(slot as usize);
        let filters = owner.map(|owner| {
            if let Some(session) = &mut owner.session {
                (session.will, session.ends_at) = (None, Due::NEVER);
            }
            owner.filters.to_vec()
        });
        self.hand_over(
            &ask,
            filters.map(|filters| SessionState { filters, key: 0, backlog: None, owed: VecDeque::new() }),
        );
    }

    /// Says again what is known, so that the acknowledgements divide what a worker sent
    /// before from what it sent after.
    fn flush<S: Sink>(&mut self, slot: u32, sink: &mut S) {
        let owner = self.subscribers.slots.get(slot as usize);
        let Some(filter) = owner.and_then(|owner| owner.filters.first()).map(|(filter, _)| filter.clone()) else {
            return;
        };
        let group = self.groups.index(&filter).filter(|_| split_share(&filter).is_some());
        let known = group.and_then(|index| self.groups.get(index)).map(|group| group.count());
        let (present, durable) = self.tree.presence(&filter);
        let count = known.unwrap_or((present.into(), present.into(), durable));
        self.interest.emit(filter, count, sink);
    }

    /// What became of a claim of this worker.
    pub fn adopt<S: Sink>(&mut self, now: u64, hand_over: HandOver, sink: &mut S) {
        let HandOver { claim, state, .. } = hand_over;
        let Some(pending) = self.pending.get(&claim) else { return };
        let (client_id, known) = (pending.request.client_id.clone(), pending.slot);
        let known = known.filter(|&slot| self.epoch(slot) == Some(claim));
        let Some(SessionState { filters, key, backlog, owed }) = state else {
            return self.complete(now, (claim, known), sink);
        };
        let from = pending.home.worker;
        let slot = known.unwrap_or_else(|| self.arrive(client_id, claim, sink));
        if let Some(backlog) = backlog {
            self.join(slot, backlog, sink);
            self.replays.put(slot, owed);
            if key != 0 {
                sink.parted(from, key);
            }
            return self.complete(now, (claim, Some(slot)), sink);
        }
        filters.iter().for_each(|(filter, options)| self.insert_filter(slot, filter, *options, sink));
        if let Some(pending) = self.pending.get_mut(&claim) {
            pending.slot = Some(slot);
        }
        self.flush(slot, sink);
        self.moves.arriving.push_back((self.interest.number(), (claim, slot)));
        self.advance_takeovers(sink);
    }

    /// A session without a connection, to which filters and queue come.
    fn arrive<S: Sink>(&mut self, client_id: Arc<str>, epoch: u64, sink: &mut S) -> u32 {
        let request = self.pending.get(&epoch).map(|pending| &pending.request);
        let access = request.map(|request| request.access.clone()).unwrap_or_default().as_client(Some(client_id));
        let expiry = request.map_or(0, |request| request.expiry).min(self.subscribers.limits.max_session_expiry);
        let mut session = Session::new(epoch);
        (session.key, session.expiry) = (if self.keeps(expiry) { epoch } else { 0 }, expiry);
        session.put_backlog(Backlog::arriving());
        let id = self.subscribers.add(Protocol::Mqtt, access, Some(Box::new(session)));
        self.subscribers.stats.disconnected += 1;
        self.enter(id.slot);
        self.tell(id.slot, sink);
        id.slot
    }

    /// What the session missed goes in front of what it got here meanwhile.
    fn join<S: Sink>(&mut self, slot: u32, backlog: Backlog, sink: &mut S) {
        self.subscribers.settle(slot, sink);
        let stats = &mut self.subscribers.stats;
        stats.moved -= backlog.queued() as i64;
        let session = self.subscribers.slots.get_mut(slot as usize).and_then(|slot| slot.session.as_mut());
        let (twice, messages) = session.map(|session| session.make_backlog().join(backlog, stats)).unwrap_or_default();
        self.tell_all(slot, sink);
        let key = self.subscribers.slots.get(slot as usize).map_or(0, Slot::key);
        for &number in twice.iter().filter(|_| key != 0) {
            sink.append(&Record::Done { key, number });
        }
        if !messages.is_empty() {
            self.flush(slot, sink);
            self.moves.echoes.push_back((self.interest.number(), Echoes { slot, messages }));
        }
        self.subscribers.stats.dropped[DropReason::Duplicate as usize] += twice.len() as u64;
        if !twice.is_empty() {
            sink.dropped(None, Protocol::Mqtt, DropReason::Duplicate, u32::try_from(twice.len()).unwrap_or(u32::MAX));
        }
    }

    /// The session of a claim is whole, or there is none: it serves the claim's
    /// connection, or goes on to whoever claimed it since.
    fn complete<S: Sink>(&mut self, now: u64, (claim, slot): (u64, Option<u32>), sink: &mut S) {
        let Some(Pending { request, waiter, abandoned, .. }) = self.pending.remove(&claim) else { return };
        let mut slot = slot.filter(|&slot| {
            let kept = !request.clean_start;
            if !kept {
                self.end(now, slot, sink);
            }
            kept
        });
        self.set_epoch(slot, claim);
        if let Some((to, next, clean_start)) = waiter {
            self.moves.steps.push_back(TakeOver::Overtaken { claim, present: slot.is_some() });
            let ends = clean_start || request.expiry == 0;
            if request.expiry == 0 {
                slot.take().into_iter().for_each(|slot| self.end(now, slot, sink));
            }
            if !abandoned {
                self.publish_overtaken(now, &request, ends, sink);
            }
            if to == self.worker {
                return self.complete(now, (next, slot), sink);
            }
            let home = Home { worker: self.worker, epoch: claim };
            let client_id = request.client_id;
            // Its old worker forgets it: it counts here until it has gone on.
            slot.into_iter().for_each(|slot| self.tell(slot, sink));
            return self.give_up(now, GiveUp { client_id, home, to, claim: next, clean_start, fetch: false }, sink);
        }
        let connected = match slot {
            Some(slot) => self.reopen(slot, request, claim, sink),
            None => self.open(request, claim, sink),
        };
        if abandoned {
            // It was never told that it is connected: its will does not count.
            return self.disconnect(now, connected.id, Leave { with_will: false, expiry: None }, sink);
        }
        self.moves.steps.push_back(TakeOver::Ready { claim, connected });
    }

    /// The will of a connection that is told in one breath that it is served and that it is not any more.
    fn publish_overtaken<S: Sink>(&mut self, now: u64, request: &ConnectRequest, ends: bool, sink: &mut S) {
        let due = request.will.as_ref().filter(|will| ends || will.delay == 0);
        let Some(will) = due else { return };
        let access = request.access.clone().as_client(Some(request.client_id.clone()));
        self.publish_left(now, Origin { subscriber: None, access: &access }, will, sink);
    }

    fn set_epoch(&mut self, slot: Option<u32>, epoch: u64) {
        let owner = slot.and_then(|slot| self.subscribers.slots.get_mut(slot as usize));
        if let Some(session) = owner.and_then(|owner| owner.session.as_mut()) {
            session.epoch = epoch;
        }
    }

    /// Whether a session that left stands in no log but this worker's: what the log holds of it has to stay.
    pub fn is_parting(&self) -> bool {
        !self.moves.parting.is_empty()
    }

    /// The connection of a claim went away before `TakeOver::Ready`.
    pub fn abandon(&mut self, claim: u64) {
        if let Some(pending) = self.pending.get_mut(&claim) {
            pending.abandoned = true;
        }
    }

    /// Goes on with what waited for the other workers.
    pub(crate) fn advance_takeovers<S: Sink>(&mut self, sink: &mut S) {
        let settled = self.settled();
        while is_due(&self.moves.arriving, settled) {
            let Some((_, (claim, _))) = self.moves.arriving.pop_front() else { break };
            let Some(Pending { request, home, .. }) = self.pending.get(&claim) else { continue };
            let (client_id, home, clean_start) = (request.client_id.clone(), *home, request.clean_start);
            self.ask(GiveUp { client_id, home, to: self.worker, claim, clean_start, fetch: true });
        }
        while is_due(&self.moves.echoes, settled) {
            self.moves.echoes.pop_front();
        }
        while is_due(&self.moves.leaving, settled) {
            let Some((_, ask)) = self.moves.leaving.pop_front() else { break };
            let slot = self.slot_of(&ask.client_id);
            let slot = slot.filter(|&slot| self.epoch(slot) == Some(ask.home.epoch));
            let key = slot.and_then(|slot| self.subscribers.slots.get(slot as usize)).map_or(0, Slot::key);
            if key != 0 {
                sink.append(&Record::Left { key, to: ask.to });
                self.moves.parting.insert(key);
            }
            let owed = slot.map(|slot| self.replays.take(slot)).unwrap_or_default();
            let backlog = slot.and_then(|slot| self.take(slot, sink));
            let (filters, backlog) = (Vec::new(), backlog.map(Some));
            let state = backlog.map(|backlog| SessionState { filters, key, backlog, owed });
            self.hand_over(&ask, state);
        }
    }
}
