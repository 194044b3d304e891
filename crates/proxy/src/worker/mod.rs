//! One worker: a thread with its own runtime, sockets, pools, counters and
//! buffers. Everything in here belongs to that thread; nothing is locked.

mod buffers;
mod clock;
mod connections;
mod control;
mod overload;
mod plan;
mod thread;

pub(crate) use buffers::{Buffers, HEADROOM, READ_BYTES, ReadBuffer};
pub(crate) use clock::{Clock, WorkerClock};
pub(crate) use connections::{Connection, ConnectionRow, Connections, Goodbye};
pub(crate) use control::{Control, Listening};
pub(crate) use overload::{Bounds, Overload};
pub(crate) use plan::WorkerPlan;
pub(crate) use thread::{Started, spawn};

use crate::access::{AccessBuffer, Ending, Seen, Span, tell_request};
use crate::auth::Verified;
use crate::coap::{Relays, Sockets};
use crate::decide::DecisionTable;
use crate::gateway::Shared;
use crate::http::Request;
use crate::metrics::WorkerCounters;
use crate::outbound::Sources;
use crate::outbound::coap::CoapClients;
use crate::plan::Plan;
use crate::pubsub::Hub;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_broker::SubscriberId;
use tidegate_message::{Message, Protocol};
use tidegate_policy::Edits;
use tidegate_ring::{EventKind, EventRecord, EventRing};
use tidegate_upstream::PoolKey;

/// How much a line of the log matters, in pino's numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    Warn = 40,
    Error = 50,
}

/// The state of one worker thread.
pub(crate) struct Worker {
    pub(crate) id: u16,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: WorkerClock,
    pub(crate) buffers: Buffers,
    pub(crate) access: AccessBuffer,
    pub(crate) overload: Overload,
    pub(crate) connections: Connections,
    pub(crate) counters: Arc<WorkerCounters>,
    pub(crate) plan: RefCell<Rc<WorkerPlan>>,
    pub(crate) pools: RefCell<HashMap<PoolKey, Rc<Sources>>>,
    pub(crate) is_draining: Cell<bool>,
    pub(crate) decisions: DecisionTable,
    pub(crate) hub: Hub,
    pub(crate) verified: Verified,
    /// Subscriptions of the TypeScript API.
    pub(crate) api: RefCell<HashMap<u32, SubscriberId>>,
    /// Messages for CoAP observers, by their place in the observers' table.
    pub(crate) observed: RefCell<VecDeque<(u32, Arc<Message>)>>,
    /// The CoAP sockets that these are for.
    pub(crate) coap: Sockets,
    /// Endpoints that are asked by CoAP.
    pub(crate) coap_clients: CoapClients,
    /// What is observed there for clients.
    pub(crate) relays: Relays,
    edits: RefCell<Vec<Edits>>,
    events: RefCell<Option<EventRing>>,
    random: Cell<u64>,
    until_sample: Cell<u64>,
    date: Cell<(u64, [u8; tidegate_http::HTTP_DATE_LEN])>,
}

impl Worker {
    /// The plan in force.
    pub(crate) fn plan(&self) -> Rc<WorkerPlan> {
        Rc::clone(&self.plan.borrow())
    }

    /// A number from the worker's own xorshift; for jitter and spreading, not for secrets.
    pub(crate) fn random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        x
    }

    /// A request's id: 32 hexadecimal digits.
    pub(crate) fn write_id<'o>(&self, out: &'o mut [u8; 32]) -> &'o [u8] {
        for (at, half) in out.chunks_exact_mut(16).enumerate() {
            put_hex(half, self.random() ^ ((u64::from(self.id) << 1 | at as u64) << 48));
        }
        out
    }

    /// A trace that begins here (W3C Trace Context section 3.2).
    pub(crate) fn new_trace(&self, sampled: bool) -> [u8; 55] {
        let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
        for at in [3, 19, 36] {
            put_hex(&mut out[at..at + 16], self.random());
        }
        out[54] = if sampled { b'1' } else { b'0' };
        out
    }

    /// Random hexadecimal digits, 16 at a time; not all of them are 0.
    pub(crate) fn fill_hex(&self, out: &mut [u8]) {
        out.chunks_mut(16).for_each(|part| put_hex(part, self.random()));
    }

    /// An empty list of changes.
    pub(crate) fn take_edits(&self) -> Edits {
        self.edits.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives a list of changes back.
    pub(crate) fn give_edits(&self, mut edits: Edits) {
        let mut kept = self.edits.borrow_mut();
        if kept.is_empty() {
            edits.clear();
            kept.push(edits);
        }
    }

    /// The `Date` of now, made once a second.
    pub(crate) fn date(&self, now_ms: u64) -> [u8; tidegate_http::HTTP_DATE_LEN] {
        let second = (self.clock.epoch_ms() + now_ms) / 1_000;
        let (known, date) = self.date.get();
        if known == second {
            return date;
        }
        let date = tidegate_http::http_date(second);
        self.date.set((second, date));
        date
    }

    /// Whether this request's access record is written: one in `every`, 0: none.
    pub(crate) fn is_sampled(&self, every: u64) -> bool {
        match (every, self.until_sample.get()) {
            (0, _) => false,
            (_, 0 | 1) => {
                self.until_sample.set(every);
                true
            }
            (_, left) => {
                self.until_sample.set(left - 1);
                false
            }
        }
    }

    /// What access log and span say of a request, where it is its turn; off, it costs two looks.
    pub(crate) fn seen(&self, request: &Request<'_>) -> Option<Box<Seen>> {
        let plan = &request.plan.plan;
        let is_logged = plan.access.as_ref().is_some_and(|sink| self.access.wants(sink));
        let span = plan.tracing.as_ref().and_then(|tracing| {
            let state = request.head.header("tracestate").unwrap_or_default();
            Span::begin(self, tracing, (request.head.header("traceparent"), state))
        });
        if !is_logged && span.is_none() {
            return None;
        }
        let mut seen = Seen::of(request);
        if let Some(span) = &span {
            seen.trace = span.header().into();
        }
        seen.began_us = self.clock.epoch_ms() * 1_000 + request.started_us;
        (seen.is_logged, seen.span) = (is_logged, span);
        Some(seen)
    }

    /// Writes a request's line, and tells of its span.
    pub(crate) fn log_access(&self, plan: &Plan, (seen, ending): (&Seen, &Ending<'_>)) {
        if let Some(sink) = plan.access.as_ref().filter(|_| seen.is_logged) {
            self.access.put(sink, seen, ending);
        }
        if let Some(span) = &seen.span {
            tell_request(self, span, (seen, ending));
        }
    }

    /// Puts an event on the ring; JavaScript is woken when the ring was empty, by some kinds with the next tick.
    pub(crate) fn event(&self, record: &EventRecord<'_>) {
        let mut events = self.events.borrow_mut();
        let Some(ring) = events.as_mut() else { return };
        if !ring.wants(record.kind) {
            return;
        }
        if ring.push(record) {
            self.shared.wake();
        }
        self.counters.ring_dropped.set(u64::from(ring.dropped()));
    }

    /// Wakes JavaScript for events that were allowed to wait.
    fn tell_events(&self) {
        if self.events.borrow_mut().as_mut().is_some_and(EventRing::take_due) {
            self.shared.wake();
        }
    }

    /// Tells of a connection, where somebody listens.
    pub(crate) fn connection_event(&self, kind: EventKind, (listener, peer): (&str, SocketAddr)) {
        if !self.events.borrow().as_ref().is_some_and(|ring| ring.wants(kind)) {
            return;
        }
        let time = (self.clock.epoch_ms() + self.clock.millis()) as f64;
        self.event(&EventRecord { kind, a: 0, b: 0, c: 0, time, d: 0.0, text: &format!("{listener} {peer}") });
    }

    /// A line for the log.
    pub(crate) fn log(&self, level: Level, text: &str) {
        let time = (self.clock.epoch_ms() + self.clock.millis()) as f64;
        self.event(&EventRecord { kind: EventKind::Log, a: level as u32, b: 0, c: 0, time, d: 0.0, text });
    }

    /// Wakes the CoAP drivers: something was observed.
    pub(crate) fn wake_coap(&self) {
        self.coap.wake();
    }

    /// Counts a dropped message.
    pub(crate) fn dropped(&self, protocol: Protocol, reason: &'static str) {
        self.counters.dropped(protocol, reason, 1);
    }

    /// Counts a delivery that the broker had handed over.
    pub(crate) fn undelivered(&self, protocol: Protocol, reason: &'static str) {
        self.hub.undelivered.lose(1);
        self.dropped(protocol, reason);
    }
}

fn put_hex(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}
