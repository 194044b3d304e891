//! The gateway as the boundary holds it: worker threads, the plan in force, the
//! sockets. Every call here is rare; those that wait for workers may block and are
//! made off the event loop.

mod ask;
mod error;
mod limits;
mod policies;
mod shared;

pub use error::GatewayError;
pub use policies::Attachment;
pub(crate) use shared::Shared;

use ask::send;
use error::{error, terms_error};
use policies::Attached;
use shared::secret;

use crate::handle::HandlerCalls;
use crate::metrics::{Registry, Scraper};
use crate::plan::{ListenerDto, PlanDto, Problem, Transport, compile};
use crate::pubsub::door;
use crate::recover;
use crate::worker::{Clock, Control, Listening, Started, spawn};
use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidegate_broker::{Acl, MAX_WORKERS, SharedLimits};
use tidegate_cache::{Bounds, Purge};
use tidegate_listener::{bind_tcp, bind_udp};
use tidegate_ring::EventRing;
use tokio::sync::{Notify, mpsc};

/// Calls a worker has not come to yet; control calls are rare.
const CONTROL_QUEUE: usize = 1_024;
/// Things between workers that wait in a channel; `broker.maxBetweenWorkers` bounds what waits beside it.
const LINK_QUEUE: usize = 4_096;

/// Wakes a JavaScript thread.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

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
        let saved_sessions = data_dir.as_ref().map(|folder| folder.with_file_name("dtls"));
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
            holders: Default::default(),
            faults: Default::default(),
            strays: Default::default(),
            saved_sessions,
            coap_changes: Default::default(),
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
        let (links, inboxes): (Vec<_>, Vec<_>) = (0..workers).map(|_| door(LINK_QUEUE)).unzip();
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
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.close();
    }
}
