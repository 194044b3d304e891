//! Balancing: one picker per strategy over a table of endpoints that all workers
//! share. A request's key and the endpoints come in, an endpoint's index goes out;
//! only cursors belong to a worker. No I/O, no clock.
#![forbid(unsafe_code)]

mod edf;
mod endpoints;
mod least_connections;
mod picker;
mod plan;
mod random;
mod roster;
mod round_robin;
mod weighted;

pub use endpoints::{Endpoint, EndpointSpec, EndpointState, Endpoints, InFlight};
pub use least_connections::LeastConnections;
pub use picker::{EndpointIndex, PickRequest, Picker, Tried};
pub use plan::BalancePlan;
pub use random::Random;
pub use round_robin::RoundRobin;
pub use weighted::Weighted;
