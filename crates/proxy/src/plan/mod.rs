//! The Plan: parsed from one JSON buffer, compiled off every hot path into what
//! workers look things up in. Immutable; what must outlive a plan (breakers,
//! budgets, counters) is carried over by name.

mod brokers;
mod canned;
mod compile;
mod dto;
mod trust;
mod upstream;

pub(crate) use canned::Canned;
pub use compile::Problem;
pub(crate) use compile::{AuthService, Plan, Route, RouteCache, Script, Target, compile};
pub(crate) use dto::{CoapDto, Durability, JwtDto, JwtKeyDto, ListenerDto, PlanDto, SharedSubscriptions, Transport};
pub(crate) use trust::{TermsError, Trust};
pub(crate) use upstream::Upstream;
