//! The endpoints of one upstream: shared by all workers, changed by single atomic
//! stores, with a generation number that tells pickers when to look again.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use crate::EndpointIndex;
use crate::peak_ewma::PeakLatency;

/// Generations are unique in the process, so that a picker that was made for one
/// table notices that it is given another.
static GENERATION: AtomicU64 = AtomicU64::new(1);

/// What outlives a plan, under the endpoint's stable name.
#[derive(Debug, Default)]
pub struct EndpointState {
    active: AtomicU32,
    ejected: AtomicBool,
    latency: PeakLatency,
}

impl EndpointState {
    /// What is known of its latency.
    pub(crate) const fn latency(&self) -> &PeakLatency {
        &self.latency
    }

    /// Requests in flight, of all workers.
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// Whether outlier detection has taken it out.
    pub fn is_ejected(&self) -> bool {
        self.ejected.load(Relaxed)
    }
}

/// One endpoint of a plan.
#[derive(Clone, Debug)]
pub struct EndpointSpec {
    /// Stable name.
    pub id: Box<str>,
    /// Where it listens.
    pub address: SocketAddr,
    /// As configured, 1 to 1,000; others are clamped.
    pub weight: u32,
    /// What health and load leave of it, 0 to 1.
    pub health: f32,
    /// Takes no new requests.
    pub draining: bool,
    /// In the zone that is preferred; all are where none is.
    pub near: bool,
    /// Its state of the plan before, or a new one.
    pub state: Arc<EndpointState>,
}

/// An endpoint with what is known of it.
#[derive(Debug)]
pub struct Endpoint {
    /// Stable name.
    pub id: Box<str>,
    /// Where it listens.
    pub address: SocketAddr,
    /// As configured, 1 to 1,000.
    pub weight: u32,
    /// In the zone that is preferred.
    pub near: bool,
    health: AtomicU32,
    draining: AtomicBool,
    state: Arc<EndpointState>,
}

impl Endpoint {
    /// What health and load leave of it, 0 to 1.
    pub fn health(&self) -> f32 {
        f32::from_bits(self.health.load(Relaxed))
    }

    /// Whether it takes no new requests.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// What outlives the plan.
    pub const fn state(&self) -> &Arc<EndpointState> {
        &self.state
    }

    /// Requests in flight, of all workers.
    pub fn active(&self) -> u32 {
        self.state.active()
    }

    /// Whether a pick may choose it outside of a panic.
    pub fn is_available(&self) -> bool {
        self.health() > 0.0 && !self.is_draining() && !self.state.is_ejected()
    }
}

/// A request in flight; counts until it is dropped.
#[derive(Debug)]
pub struct InFlight {
    state: Arc<EndpointState>,
    total: Option<Arc<AtomicU32>>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.state.active.fetch_sub(1, Relaxed);
        if let Some(total) = &self.total {
            total.fetch_sub(1, Relaxed);
        }
    }
}

/// The table of an upstream.
#[derive(Debug)]
pub struct Endpoints {
    list: Box<[Endpoint]>,
    panic_percent: u8,
    generation: AtomicU64,
    /// Requests in flight that began with this table and since somebody asked: few
    /// strategies do, and all workers would write to it for each request.
    total: OnceLock<Arc<AtomicU32>>,
}

impl Endpoints {
    /// A table. Below `panic_percent` (0 to 100) of available endpoints health is
    /// ignored; 0: never.
    pub fn new(specs: Vec<EndpointSpec>, panic_percent: u8) -> Self {
        let endpoint = |spec: EndpointSpec| Endpoint {
            id: spec.id,
            address: spec.address,
            weight: spec.weight.clamp(1, 1_000),
            near: spec.near,
            health: AtomicU32::new(clamp(spec.health).to_bits()),
            draining: AtomicBool::new(spec.draining),
            state: spec.state,
        };
        let list = specs.into_iter().map(endpoint).collect();
        let generation = AtomicU64::new(GENERATION.fetch_add(1, SeqCst));
        Endpoints { list, panic_percent, generation, total: OnceLock::new() }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// One endpoint.
    pub fn get(&self, index: EndpointIndex) -> Option<&Endpoint> {
        self.list.get(index as usize)
    }

    /// All, in the order of their indexes.
    pub fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.list.iter()
    }

    /// The index of a stable name. A scan: not for the data path.
    pub fn position(&self, id: &str) -> Option<EndpointIndex> {
        self.list.iter().position(|endpoint| *endpoint.id == *id).map(|index| index as EndpointIndex)
    }

    /// Percent of available endpoints under which health is ignored.
    pub const fn panic_percent(&self) -> u8 {
        self.panic_percent
    }

    /// Whether too few are available to believe in their health.
    pub fn is_panicking(&self) -> bool {
        let serving = self.iter().filter(|endpoint| !endpoint.is_draining()).count();
        let available = self.iter().filter(|endpoint| endpoint.is_available()).count();
        available * 100 < serving * usize::from(self.panic_percent)
    }

    /// Changes with every change of health, draining or ejection.
    pub fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    /// Counts a request in flight until the guard is dropped. `None`: no such endpoint.
    pub fn begin(&self, index: EndpointIndex) -> Option<InFlight> {
        let state = Arc::clone(&self.get(index)?.state);
        state.active.fetch_add(1, Relaxed);
        let total = self.total.get().cloned();
        if let Some(total) = &total {
            total.fetch_add(1, Relaxed);
        }
        Some(InFlight { state, total })
    }

    /// Requests in flight to all endpoints that began with this table, counted from
    /// the first call on.
    pub(crate) fn total_active(&self) -> u32 {
        self.total.get_or_init(Arc::default).load(Relaxed)
    }

    /// Sets what health and load leave of an endpoint; clamped to 0 to 1, not a
    /// number is 0. Says whether it changed.
    pub fn set_health(&self, index: EndpointIndex, health: f32) -> bool {
        let bits = clamp(health).to_bits();
        let changed = self.get(index).is_some_and(|endpoint| endpoint.health.swap(bits, SeqCst) != bits);
        self.changed(changed)
    }

    /// Takes an endpoint out of service, or back. Says whether it changed.
    pub fn set_draining(&self, index: EndpointIndex, draining: bool) -> bool {
        let changed = self.get(index).is_some_and(|endpoint| endpoint.draining.swap(draining, SeqCst) != draining);
        self.changed(changed)
    }

    /// Ejects an endpoint for outlier detection, or takes it back. Says whether it changed.
    pub fn set_ejected(&self, index: EndpointIndex, ejected: bool) -> bool {
        let changed = self.get(index).is_some_and(|endpoint| endpoint.state.ejected.swap(ejected, SeqCst) != ejected);
        self.changed(changed)
    }

    fn changed(&self, changed: bool) -> bool {
        if changed {
            self.generation.store(GENERATION.fetch_add(1, SeqCst), SeqCst);
        }
        changed
    }
}

fn clamp(health: f32) -> f32 {
    if health.is_nan() { 0.0 } else { health.clamp(0.0, 1.0) }
}
