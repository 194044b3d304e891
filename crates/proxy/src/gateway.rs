//! The gateway as the boundary holds it: worker threads, the plan in force, the
//! sockets. Every call here is rare; those that wait for workers may block and are
//! made off the event loop.

use crate::handle::HandlerCalls;
use crate::metrics::{Registry, Scraper};
use crate::plan::{ListenerDto, Plan, PlanDto, Problem, TermsError, Transport, compile};
use crate::recover;
use crate::worker::{Clock, Control, Listening, Started, spawn};
use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidegate_broker::{Acl, MAX_WORKERS, SharedLimits};
use tidegate_cache::{Bounds, Purge};
use tidegate_listener::{Admission, bind_tcp, bind_udp};
use tidegate_ring::{Asked, Decisions, EventRing};
use tokio::sync::{Notify, mpsc, oneshot};

/// Calls a worker has not come to yet; control calls are rare.
const CONTROL_QUEUE: usize = 1_024;
/// Things between workers that wait in a channel; `broker.maxBetweenWorkers` bounds what waits beside it.
const LINK_QUEUE: usize = 4_096;
/// How long a worker may take to answer a control call.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all workers and the control side share.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) registry: Registry,
    pub(crate) admission: Arc<Admission>,
    /// One per worker: JavaScript has answered.
    pub(crate) kicks: Vec<Notify>,
    pub(crate) plan: ArcSwap<Plan>,
    pub(crate) broker: Arc<tidegate_broker::Shared>,
    /// Where there is a data directory.
    pub(crate) store: Option<Arc<crate::pubsub::Store>>,
    pub(crate) handlers: HandlerCalls,
    /// Answers of upstreams that are kept.
    pub(crate) cache: Arc<tidegate_cache::Store>,
    pub(crate) payloads: crate::hooks::Payloads,
    /// Of this process alone: what keyed hashes of names are made with.
    pub(crate) secret: [u8; 32],
    /// How fast CONNECTs are answered.
    pub(crate) pace: crate::mqtt::Pace,
    pub(crate) faults: crate::pubsub::Faults,
    /// DTLS records on their way to the worker that has their session.
    pub(crate) strays: crate::coap::Strays,
    /// Security contexts of CoAP, and their sequence numbers.
    pub(crate) oscore: Arc<tidegate_oscore::Shared>,
    /// The resource directory of CoAP.
    pub(crate) directory: crate::coap::Registrations,
    wake: RwLock<Option<Wake>>,
    /// Who is woken for each worker's questions.
    wake_policies: RwLock<Vec<Option<Wake>>>,
}

/// 32 random bytes; without any from the system, from the clock and the allocator.
fn secret() -> [u8; 32] {
    let mut bytes = [0; 32];
    if getrandom::fill(&mut bytes).is_err() {
        bytes.iter_mut().for_each(|byte| *byte = fastrand::u8(..));
    }
    bytes
}

/// One policy thread's attachment; who holds an older one has nothing to detach.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attachment(u64);

/// The attachment whose rings each worker has, and the last number that was given.
#[derive(Default)]
struct Attached {
    last: u64,
    by_worker: HashMap<u16, Attachment>,
}

/// Wakes a JavaScript thread.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

impl Shared {
    pub(crate) fn wake(&self) {
        if let Some(wake) = &*self.wake.read() {
            wake();
        }
    }

    pub(crate) fn wake_policies(&self, worker: u16) {
        if let Some(Some(wake)) = self.wake_policies.read().get(usize::from(worker)) {
            wake();
        }
    }

    pub(crate) fn has_policy_thread(&self, worker: u16) -> bool {
        self.wake_policies.read().get(usize::from(worker)).is_some_and(Option::is_some)
    }

    fn set_wake(&self, worker: u16, wake: Option<Wake>) -> Option<Wake> {
        let mut wakes = self.wake_policies.write();
        let place = usize::from(worker);
        if wakes.len() <= place {
            wakes.resize(place + 1, None);
        }
        std::mem::replace(&mut wakes[place], wake)
    }
}

/// Why a control call failed; the code is what TypeScript knows it by.
#[derive(Debug)]
pub struct GatewayError {
    /// Upper case with underscores; listed in `src/errors.ts`.
    pub code: &'static str,
    /// What, where, what to do.
    pub message: String,
}

impl fmt::Display for GatewayError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for GatewayError {}

fn error(code: &'static str, message: impl Into<String>) -> GatewayError {
    GatewayError { code, message: message.into() }
}

/// What applying a plan came to.
#[derive(serde::Serialize)]
pub struct Applied {
    version: u64,
    listeners: Vec<BoundRow>,
    problems: Vec<Problem>,
}

#[derive(serde::Serialize, Clone)]
struct BoundRow {
    name: String,
    address: String,
}

/// One running data plane.
pub struct Gateway {
    pub(crate) shared: Arc<Shared>,
    pub(crate) workers: Vec<mpsc::Sender<Control>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Listeners that are bound, by name. Held while a plan is applied.
    listeners: Mutex<HashMap<String, SocketAddr>>,
    /// The policy threads that are asked. Held while one arrives or leaves.
    attached: Mutex<Attached>,
    pub(crate) scraper: Mutex<Scraper>,
}

/// How a gateway starts.
pub struct Options {
    /// Worker threads, 1 to 64.
    pub workers: usize,
    /// One per worker, or none: then nothing is told to JavaScript.
    pub events: Vec<EventRing>,
    /// Where promises are kept; `None`: in memory only.
    pub data_dir: Option<PathBuf>,
}

impl Gateway {
    /// Starts the worker threads with an empty plan.
    ///
    /// # Errors
    /// `INVALID_OPTIONS`, `STORE`, or `THREADS` where the system gives no more.
    pub fn start(options: Options) -> Result<Gateway, GatewayError> {
        let Options { workers, events, data_dir } = options;
        if !(1..=usize::from(MAX_WORKERS)).contains(&workers) || !(events.is_empty() || events.len() == workers) {
            return Err(error(
                "INVALID_OPTIONS",
                format!("workers must be 1 to {MAX_WORKERS} with one event ring each, not {workers}"),
            ));
        }
        let registry = Registry::new(workers);
        let (empty, _) = compile(PlanDto::empty(), None, &registry).map_err(terms_error)?;
        let empty = Arc::new(empty);
        let (clock, broker) = (Clock::start(), tidegate_broker::Shared::new(SharedLimits::default()));
        let oscore = Arc::new(match &data_dir {
            Some(folder) => {
                let path = folder.with_file_name("oscore");
                let ledger = crate::coap::FileLedger::open(&path)
                    .map_err(|cause| error("STORE", format!("{}: {cause}", path.display())))?;
                tidegate_oscore::Shared::new(Some(Box::new(ledger)), fastrand::u64(..).to_be_bytes())
            }
            None => tidegate_oscore::Shared::new(None, [0; 8]),
        });
        let opened = data_dir.map(|folder| recover::open(&folder, (&clock, workers), &broker)).transpose()?;
        let shared = Arc::new(Shared {
            clock,
            registry,
            admission: Arc::default(),
            kicks: (0..workers).map(|_| Notify::new()).collect(),
            plan: ArcSwap::new(Arc::clone(&empty)),
            broker,
            store: opened.as_ref().map(|opened| Arc::clone(&opened.store)),
            handlers: HandlerCalls::default(),
            cache: Arc::default(),
            payloads: crate::hooks::Payloads::default(),
            secret: secret(),
            pace: Default::default(),
            faults: Default::default(),
            strays: Default::default(),
            directory: Default::default(),
            oscore,
            wake: RwLock::default(),
            wake_policies: RwLock::default(),
        });
        let mut events = events.into_iter();
        let mut gateway = Gateway {
            shared: Arc::clone(&shared),
            workers: Vec::new(),
            threads: Mutex::default(),
            listeners: Mutex::default(),
            attached: Mutex::default(),
            scraper: Mutex::default(),
        };
        let (links, inboxes): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(LINK_QUEUE)).unzip();
        for (id, inbox) in inboxes.into_iter().enumerate() {
            let (sender, control) = mpsc::channel(CONTROL_QUEUE);
            let (shared, plan) = (Arc::clone(&shared), Arc::clone(&empty));
            let (id, events, links) = (id as u16, events.next(), links.clone());
            let kept = opened.as_ref().map(|opened| (opened.log(id), Arc::clone(&opened.store)));
            let started = Started { id, shared, plan, events, control, links, inbox, kept };
            gateway.workers.push(sender);
            let thread =
                spawn(started).map_err(|cause| error("THREADS", format!("cannot start a worker thread: {cause}")))?;
            gateway.threads.lock().push(thread);
        }
        if let Some(opened) = opened {
            opened.restore(&gateway)?;
        }
        Ok(gateway)
    }

    /// Sets the clock of all workers ahead: what is due by then happens at their next turn.
    pub fn advance_clock(&self, ms: u64) {
        self.shared.clock.advance(ms);
    }

    /// Applies a plan: parses, compiles, binds what is new, then swaps. A plan that
    /// does not parse or cannot be bound changes nothing. Blocks until every worker uses it.
    ///
    /// # Errors
    /// `INVALID_PLAN`, `TLS_INVALID`, `PORT_IN_USE`, `CANNOT_LISTEN`, `CLOSED`.
    pub fn apply(&self, json: &[u8]) -> Result<Applied, GatewayError> {
        let mut bound = self.listeners.lock();
        let mut dto: PlanDto = serde_json::from_slice(json)
            .map_err(|cause| error("INVALID_PLAN", format!("the plan does not parse: {cause}")))?;
        let listeners = std::mem::take(&mut dto.listeners);
        let rules = dto.access.rules();
        let has_own = dto.access.jwt.is_some() || dto.access.http.is_some();
        let before = self.shared.plan.load_full();
        let (plan, problems) =
            compile(PlanDto { listeners: listeners.clone(), ..dto }, Some(&before), &self.shared.registry)
                .map_err(terms_error)?;
        let mut new = Vec::new();
        for listener in listeners.iter().filter(|listener| !bound.contains_key(&listener.name)) {
            new.push((Arc::new(listener.clone()), self.bind(listener)?));
        }
        let plan = Arc::new(plan);
        let version = plan.version;
        let limits = &plan.limits;
        let per_source = (limits.max_connections_per_source, limits.max_connects_per_source_per_s);
        self.shared.admission.limit(limits.max_connections, per_source);
        self.shared.cache.set_bounds(Bounds {
            bytes: limits.cache_bytes,
            entries: limits.cache_entries,
            entry_bytes: limits.cache_entry_bytes,
        });
        self.ask(|reply| Control::Apply(Arc::clone(&plan), reply))?;
        self.shared.broker.set_acl(Acl::new(rules).with_own(has_own));
        self.shared.broker.set_limits(SharedLimits {
            max_sessions: plan.mqtt.max_sessions,
            max_retained: plan.broker.max_retained,
            ..SharedLimits::default()
        });
        self.shared.plan.store(plan);
        self.shared.registry.limits.lock().sweep();
        for (listener, (address, sockets)) in new {
            bound.insert(listener.name.clone(), address);
            for (worker, socket) in self.workers.iter().zip(sockets) {
                send(worker, Control::Listen(Arc::clone(&listener), socket))?;
            }
        }
        let gone: Vec<String> =
            bound.keys().filter(|name| !listeners.iter().any(|listener| listener.name == **name)).cloned().collect();
        for name in gone {
            bound.remove(&name);
            for worker in &self.workers {
                send(worker, Control::Unlisten(name.clone()))?;
            }
        }
        let rows = listeners.iter().filter_map(|listener| {
            let address = bound.get(&listener.name)?.to_string();
            Some(BoundRow { name: listener.name.clone(), address })
        });
        Ok(Applied { version, listeners: rows.collect(), problems })
    }

    fn bind(&self, listener: &ListenerDto) -> Result<(SocketAddr, Vec<Listening>), GatewayError> {
        let address: SocketAddr = listener.address.parse().map_err(|_| {
            error("CANNOT_LISTEN", format!("{} is no address: write host:port with an IP address", listener.address))
        })?;
        let workers = self.workers.len();
        let result = match listener.transport {
            Transport::Tcp => bind_tcp(address, workers)
                .map(|bound| (bound.address, bound.sockets.into_iter().map(Listening::Tcp).collect())),
            Transport::Udp => bind_udp(address, workers)
                .map(|bound| (bound.address, bound.sockets.into_iter().map(Listening::Udp).collect())),
        };
        result.map_err(|cause| match cause.cause.kind() {
            std::io::ErrorKind::AddrInUse => error(
                "PORT_IN_USE",
                format!(
                    "{} is in use by another process; stop it or listen elsewhere (listeners[].address)",
                    listener.name
                ),
            ),
            _ => error("CANNOT_LISTEN", cause.to_string()),
        })
    }

    /// Sets what health leaves of endpoints, without a new plan.
    pub fn set_weight(&self, upstream: &str, endpoint: &str, (health, draining): (f32, bool)) {
        let plan = self.shared.plan.load();
        if let Some(upstream) = plan.upstreams.iter().find(|known| *known.name == *upstream)
            && let Some(index) = upstream.endpoints.position(endpoint)
        {
            upstream.endpoints.set_health(index, health);
            upstream.endpoints.set_draining(index, draining);
        }
    }

    /// Removes answers that are kept; how many.
    ///
    /// # Errors
    /// `INVALID_OPTIONS`.
    pub fn purge_cache(&self, which: &str) -> Result<usize, GatewayError> {
        let purge: Purge = serde_json::from_str(which).map_err(|cause| error("INVALID_OPTIONS", cause.to_string()))?;
        Ok(self.shared.cache.purge(&purge))
    }

    /// All counters; see `Scraper::finish`.
    pub fn scrape(&self, known: usize) -> Vec<u8> {
        let mut scraper = self.scraper.lock();
        scraper.begin();
        crate::metrics::collect(&self.shared, &mut scraper);
        scraper.finish(known)
    }

    /// What is called when events stand in an empty ring.
    pub fn on_wake(&self, wake: Option<Wake>) {
        *self.shared.wake.write() = wake;
    }

    /// A policy thread arrives with rings of the workers that it serves, and takes over from the
    /// one before of each, whose ring is not touched any more when this returns.
    ///
    /// # Errors
    /// `INVALID_OPTIONS`: no ring, or one of a worker that there is not; `CLOSED`.
    pub fn attach_policies(&self, rings: Vec<(u16, Decisions)>, wake: Wake) -> Result<Attachment, GatewayError> {
        if rings.is_empty() || rings.iter().any(|(worker, _)| usize::from(*worker) >= self.workers.len()) {
            return Err(error(
                "INVALID_OPTIONS",
                "a policy thread needs a decision ring of each worker that it serves",
            ));
        }
        let mut attached = self.attached.lock();
        attached.last += 1;
        let attachment = Attachment(attached.last);
        for (worker, ring) in rings {
            let before = self.shared.set_wake(worker, Some(Arc::clone(&wake)));
            let asked = self.ask_one(usize::from(worker), |reply| Control::Policies(Some(Box::new(ring)), reply));
            if let Err(error) = asked {
                self.shared.set_wake(worker, before);
                drop(attached);
                // Its memory may go with it.
                self.detach_policies(attachment);
                return Err(error);
            }
            attached.by_worker.insert(worker, attachment);
        }
        Ok(attachment)
    }

    /// A policy thread leaves: its rings are not touched any more when this returns.
    /// Nothing happens where another one has taken over.
    pub fn detach_policies(&self, attachment: Attachment) {
        let mut attached = self.attached.lock();
        attached.by_worker.retain(|worker, known| {
            if *known == attachment {
                self.shared.set_wake(*worker, None);
                self.shared.handlers.abandon(*worker);
                let _ = self.ask_one(usize::from(*worker), |reply| Control::Policies(None, reply));
            }
            *known != attachment
        });
    }

    /// The request that a handler was asked with: u32le length of the head, JSON, body.
    pub fn handler_request(&self, worker: u16, asked: Asked) -> Vec<u8> {
        self.shared.handlers.request(worker, asked)
    }

    /// A handler's reply.
    pub fn handler_reply(&self, worker: u16, asked: Asked, reply: (&str, Vec<u8>)) {
        self.shared.handlers.reply(worker, asked, reply);
        self.kick(usize::from(worker));
    }

    /// The payload of a question that a policy may see; `None`: nobody waits any more.
    pub fn policy_payload(&self, worker: u16, asked: Asked) -> Option<Vec<u8>> {
        self.shared.payloads.asked(worker, asked)
    }

    /// A policy's own payload, ahead of its verdict.
    pub fn policy_answer(&self, worker: u16, asked: Asked, payload: Vec<u8>) {
        self.shared.payloads.answer(worker, asked, payload);
    }

    /// JavaScript has answered questions of that worker.
    pub fn kick(&self, worker: usize) {
        if let Some(kick) = self.shared.kicks.get(worker) {
            kick.notify_one();
        }
    }

    /// Stops accepting, says goodbye over half of `timeout`, waits for the last one.
    pub fn drain(&self, timeout: Duration) {
        let spread_ms = timeout.as_millis() as u64 / 2;
        for worker in &self.workers {
            let _ = send(worker, Control::Drain { spread_ms });
        }
        self.listeners.lock().clear();
        let end = Instant::now() + timeout;
        while Instant::now() < end {
            match self.ask(Control::Open) {
                Ok(open) if open.iter().sum::<usize>() > 0 => std::thread::sleep(Duration::from_millis(20)),
                _ => return,
            }
        }
    }

    /// Stops the workers and joins their threads. May be called again.
    pub fn close(&self) {
        for worker in &self.workers {
            let _ = send(worker, Control::Stop);
        }
        for thread in std::mem::take(&mut *self.threads.lock()) {
            // A worker that panicked has told so already.
            let _ = thread.join();
        }
    }

    /// Asks every worker and waits for all answers.
    pub(crate) fn ask<T>(
        &self,
        mut message: impl FnMut(oneshot::Sender<T>) -> Control,
    ) -> Result<Vec<T>, GatewayError> {
        let mut waiting = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            let (reply, answer) = oneshot::channel();
            send(worker, message(reply))?;
            waiting.push(answer);
        }
        waiting.into_iter().map(|answer| wait(answer).ok_or_else(closed)).collect()
    }

    /// Asks one worker and waits.
    pub(crate) fn ask_one<T>(
        &self,
        worker: usize,
        message: impl FnOnce(oneshot::Sender<T>) -> Control,
    ) -> Result<T, GatewayError> {
        let sender = self.workers.get(worker).ok_or_else(closed)?;
        let (reply, answer) = oneshot::channel();
        send(sender, message(reply))?;
        wait(answer).ok_or_else(closed)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.close();
    }
}

/// Keys or certificates that cannot be used.
fn terms_error(cause: TermsError) -> GatewayError {
    match cause {
        TermsError::Tls(cause) => error("TLS_INVALID", cause.to_string()),
        TermsError::Oscore(what) => error("TLS_INVALID", what),
        TermsError::Dtls(listener, cause) => error("TLS_INVALID", format!("{listener}: {cause}")),
    }
}

fn closed() -> GatewayError {
    error("CLOSED", "the gateway is closed")
}

fn send(worker: &mpsc::Sender<Control>, message: Control) -> Result<(), GatewayError> {
    worker.blocking_send(message).map_err(|_| closed())
}

/// A worker answers within one turn of its loop; one that does not is stuck or gone.
fn wait<T>(mut answer: oneshot::Receiver<T>) -> Option<T> {
    let end = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(50);
    loop {
        match answer.try_recv() {
            Ok(value) => return Some(value),
            Err(oneshot::error::TryRecvError::Closed) => return None,
            Err(oneshot::error::TryRecvError::Empty) if Instant::now() > end => return None,
            Err(oneshot::error::TryRecvError::Empty) => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(5));
            }
        }
    }
}
