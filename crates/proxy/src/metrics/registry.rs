//! Which counters there are: per worker, per route, per upstream. Those of routes
//! and upstreams are found by name when a plan is compiled and outlive the plan.

use super::{Counter, Histogram, ListenerCounters};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use tidegate_message::Protocol;

/// Status codes that are counted one by one; others share their class's first one.
const CODES: [u16; 41] = [
    100, 101, 200, 201, 202, 203, 204, 206, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408, 409,
    410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 426, 429, 431, 499, 500, 501, 502, 503,
];

/// Answers by status code.
#[derive(Debug)]
pub(crate) struct CodeCounters {
    codes: [Counter; CODES.len()],
    gateway_timeout: Counter,
    others: [Counter; 6],
}

impl Default for CodeCounters {
    fn default() -> Self {
        let codes = [const { Counter::new() }; CODES.len()];
        CodeCounters { codes, gateway_timeout: Counter::new(), others: [const { Counter::new() }; 6] }
    }
}

impl CodeCounters {
    pub(crate) fn add(&self, code: u16) {
        match (code, CODES.binary_search(&code)) {
            (504, _) => self.gateway_timeout.add(1),
            (_, Ok(index)) => self.codes[index].add(1),
            (_, Err(_)) => self.others[usize::from(code / 100).min(5)].add(1),
        }
    }

    /// Every code that was counted, with its label.
    pub(crate) fn each(&self, mut take: impl FnMut(&str, u64)) {
        let named = CODES.iter().zip(&self.codes).chain([(&504, &self.gateway_timeout)]);
        for (code, counter) in named.filter(|(_, counter)| counter.value() > 0) {
            let mut label = itoa::Buffer::new();
            take(label.format(*code), counter.value());
        }
        const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];
        for (class, counter) in CLASSES.iter().zip(&self.others).filter(|(_, counter)| counter.value() > 0) {
            take(class, counter.value());
        }
    }
}

/// What one route did for one protocol.
#[derive(Default, Debug)]
pub(crate) struct RouteProtocol {
    pub(crate) codes: CodeCounters,
    pub(crate) duration: Histogram,
}

/// What one route did on one worker; a protocol costs memory from its first request on.
#[derive(Default, Debug)]
pub(crate) struct RouteCounters {
    protocols: [OnceLock<Box<RouteProtocol>>; Protocol::ALL.len()],
}

impl RouteCounters {
    pub(crate) fn of(&self, protocol: Protocol) -> &RouteProtocol {
        self.protocols[protocol as usize].get_or_init(Box::default)
    }

    pub(crate) fn used(&self) -> impl Iterator<Item = (Protocol, &RouteProtocol)> {
        Protocol::ALL.into_iter().zip(&self.protocols).filter_map(|(protocol, cell)| Some((protocol, &**cell.get()?)))
    }
}

/// What one upstream did on one worker.
#[derive(Default, Debug)]
pub(crate) struct UpstreamCounters {
    pub(crate) codes: CodeCounters,
    pub(crate) duration: Histogram,
    pub(crate) idle: Counter,
    pub(crate) connects: Counter,
    pub(crate) reused: Counter,
    pub(crate) retries: [Counter; 3],
    pub(crate) hedges: [Counter; 4],
    pub(crate) overflow_requests: Counter,
    pub(crate) overflow_pending: Counter,
    /// Tries that got no answer, or not all of it, in the order of `Flag::FAULTS`.
    pub(crate) failures: [Counter; 6],
    /// Answers that broke off: they are among both the codes and the failures.
    pub(crate) broken: CodeCounters,
}

/// The outcomes of `tidegate_upstream_retries_total`, in the order of the counters.
pub(crate) const RETRY_OUTCOMES: [&str; 3] = ["success", "failure", "budget"];

/// How a second try beside the first ended, in the order of the counters of
/// `tidegate_upstream_hedges_total`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HedgeOutcome {
    /// It answered first.
    Won,
    /// The first try did.
    Lost,
    /// It had no good answer.
    Failed,
    /// The budget of retries, or a limit, did not allow it.
    Budget,
}

impl HedgeOutcome {
    pub(crate) const LABELS: [&str; 4] = ["won", "lost", "failed", "budget"];
}

/// What a worker did for one protocol of the front.
#[derive(Default, Debug)]
pub(crate) struct ProtocolCounters {
    pub(crate) messages_in: [Counter; 3],
    pub(crate) messages_out: [Counter; 3],
    pub(crate) message_bytes_in: Counter,
    pub(crate) message_bytes_out: Counter,
    pub(crate) refused: Counter,
}

/// Reasons of `tidegate_dropped_total`; bounded, since every reason is ours.
pub(crate) type Dropped = Mutex<HashMap<(Protocol, &'static str), u64>>;

/// What one worker did.
#[derive(Default, Debug)]
pub(crate) struct WorkerCounters {
    pub(crate) protocols: [ProtocolCounters; Protocol::ALL.len()],
    /// Openings that nothing knows, that never came, that are not accepted here.
    pub(crate) unknown: Counter,
    pub(crate) half_open: Counter,
    pub(crate) not_accepted: Counter,
    pub(crate) handshakes: Counter,
    pub(crate) failed_handshakes: Counter,
    pub(crate) panics: Counter,
    pub(crate) dropped: Dropped,
    /// How attempts to come in ended, and what the rules forbade.
    pub(crate) auth: Mutex<HashMap<(Protocol, &'static str), u64>>,
    pub(crate) ring_dropped: Counter,
    pub(crate) queued: Counter,
    pub(crate) sessions_connected: Counter,
    pub(crate) sessions_disconnected: Counter,
    pub(crate) subscriptions: Counter,
    pub(crate) dtls_sessions: Counter,
    pub(crate) dtls_handshakes: Counter,
    /// Observers that sleep.
    pub(crate) coap_asleep: Counter,
    /// Resources of upstreams that are observed.
    pub(crate) relays: Counter,
    /// Times that a turn of writes let others go first.
    pub(crate) flush_yields: Counter,
    pub(crate) fan_out_turns: Counter,
    pub(crate) pending_deliveries: Counter,
    /// MQTT connections that read too slowly.
    pub(crate) slow: Counter,
    /// Publishes that wait for their time.
    pub(crate) delayed: Counter,
    pub(crate) pending_wills: Counter,
    pub(crate) publishes_accepted: Counter,
    pub(crate) publishes_refused: Counter,
    /// Deliveries due, and those that reached a connection.
    pub(crate) matched: Counter,
    pub(crate) delivered: Counter,
}

impl WorkerCounters {
    pub(crate) fn of(&self, protocol: Protocol) -> &ProtocolCounters {
        &self.protocols[protocol as usize]
    }

    /// Counts how an attempt to come in ended, or what was forbidden.
    pub(crate) fn auth(&self, protocol: Protocol, outcome: &'static str) {
        *self.auth.lock().entry((protocol, outcome)).or_insert(0) += 1;
    }

    /// Counts a dropped message. The lock is this worker's own: nobody waits but a scrape.
    pub(crate) fn dropped(&self, protocol: Protocol, reason: &'static str, count: u64) {
        *self.dropped.lock().entry((protocol, reason)).or_insert(0) += count;
    }
}

/// How a policy's calls ended, in the order of the counters.
pub(crate) const POLICY_OUTCOMES: [&str; 6] = ["compiled", "filtered", "cached", "decided", "timeout", "error"];

/// A place in [`POLICY_OUTCOMES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PolicyOutcome {
    Compiled,
    Filtered,
    Cached,
    Decided,
    Timeout,
    Error,
}

/// What one policy did on one worker.
#[derive(Default, Debug)]
pub(crate) struct PolicyCounters {
    pub(crate) outcomes: [Counter; POLICY_OUTCOMES.len()],
    pub(crate) duration: Histogram,
}

impl PolicyCounters {
    pub(crate) fn count(&self, outcome: PolicyOutcome) {
        self.outcomes[outcome as usize].add(1);
    }
}

/// Where an answer came from, on a route that keeps them; a place in its counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CacheOutcome {
    /// Kept, within its time.
    Hit,
    /// Kept, beyond its time: fetched anew behind, or for want of a better one.
    Stale,
    /// Kept, and confirmed by the upstream.
    Revalidated,
    /// The upstream's.
    Miss,
    /// The upstream's, since the request or the answer is of no kind that is kept.
    Pass,
}

impl CacheOutcome {
    pub(crate) const LABELS: [&str; 5] = ["hit", "stale", "revalidated", "miss", "pass"];
}

/// What one route's cache did on one worker.
#[derive(Default, Debug)]
pub(crate) struct CacheCounters {
    pub(crate) outcomes: [Counter; CacheOutcome::LABELS.len()],
}

/// One set of counters per worker.
pub(crate) type PerWorker<T> = Arc<[Arc<T>]>;

/// All counters of the process.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) workers: Vec<Arc<WorkerCounters>>,
    pub(crate) routes: Mutex<HashMap<Box<str>, PerWorker<RouteCounters>>>,
    pub(crate) upstreams: Mutex<HashMap<Box<str>, PerWorker<UpstreamCounters>>>,
    pub(crate) policies: Mutex<HashMap<Box<str>, PerWorker<PolicyCounters>>>,
    pub(crate) caches: Mutex<HashMap<Box<str>, PerWorker<CacheCounters>>>,
    pub(crate) listeners: Mutex<HashMap<Box<str>, PerWorker<ListenerCounters>>>,
    /// Rate limits, which outlive plans as counters do.
    pub(crate) limits: Mutex<tidegate_policy::LimitRegistry>,
}

impl Registry {
    pub(crate) fn new(workers: usize) -> Self {
        Registry {
            workers: (0..workers).map(|_| Arc::default()).collect(),
            routes: Mutex::default(),
            upstreams: Mutex::default(),
            policies: Mutex::default(),
            caches: Mutex::default(),
            listeners: Mutex::default(),
            limits: Mutex::default(),
        }
    }

    pub(crate) fn route(&self, name: &str) -> PerWorker<RouteCounters> {
        named(&mut self.routes.lock(), name, self.workers.len())
    }

    pub(crate) fn upstream(&self, name: &str) -> PerWorker<UpstreamCounters> {
        named(&mut self.upstreams.lock(), name, self.workers.len())
    }

    pub(crate) fn listener(&self, name: &str) -> PerWorker<ListenerCounters> {
        named(&mut self.listeners.lock(), name, self.workers.len())
    }

    pub(crate) fn cache(&self, route: &str) -> PerWorker<CacheCounters> {
        named(&mut self.caches.lock(), route, self.workers.len())
    }

    pub(crate) fn policy(&self, name: &str) -> PerWorker<PolicyCounters> {
        named(&mut self.policies.lock(), name, self.workers.len())
    }
}

fn named<T: Default>(table: &mut HashMap<Box<str>, PerWorker<T>>, name: &str, workers: usize) -> PerWorker<T> {
    if let Some(known) = table.get(name) {
        return Arc::clone(known);
    }
    let counters: PerWorker<T> = (0..workers).map(|_| Arc::default()).collect();
    table.insert(Box::from(name), Arc::clone(&counters));
    counters
}
