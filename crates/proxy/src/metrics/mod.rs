//! Counters of the data path. Each worker has its own and is their only writer, so
//! that counting is a load and a store without a lock; a scrape adds them up.

mod collect;
mod counter;
mod listener;
mod registry;
mod scrape;

pub(crate) use collect::collect;
pub(crate) use counter::{Counter, Histogram};
pub(crate) use listener::ListenerCounters;
pub(crate) use registry::{
    CacheCounters, CacheOutcome, HedgeOutcome, POLICY_OUTCOMES, PerWorker, PolicyCounters, PolicyOutcome,
    ProtocolCounters, RETRY_OUTCOMES, Registry, RouteCounters, UpstreamCounters, WorkerCounters,
};
pub(crate) use scrape::{Sample, Scraper, Value};
