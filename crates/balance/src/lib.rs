//! Balancing: one picker per strategy over a table of endpoints that all workers
//! share. A request's key and the endpoints come in, an endpoint's index goes out;
//! only cursors belong to a worker. No I/O, no clock.
#![forbid(unsafe_code)]

mod chosen;
mod consistent_hash;
mod cycle;
mod edf;
mod endpoints;
mod ip_hash;
mod least_connections;
mod load_score;
mod maglev;
mod peak_ewma;
mod picker;
mod plan;
mod random;
mod ring;
mod roster;
mod round_robin;
mod score;
mod weighted;
mod zoned;

pub use chosen::Chosen;
pub use consistent_hash::ConsistentHash;
pub use endpoints::{Endpoint, EndpointSpec, EndpointState, Endpoints, InFlight};
pub use ip_hash::IpHash;
pub use least_connections::LeastConnections;
pub use load_score::LoadScore;
pub use peak_ewma::PeakEwma;
pub use picker::{EndpointIndex, PickRequest, Picker, Sample, Side, Tried};
pub use plan::{BalancePlan, CookiePlan, HashAlgorithm, HashKeyPlan};
pub use random::Random;
pub use round_robin::RoundRobin;
pub use weighted::Weighted;
pub use zoned::Zoned;
