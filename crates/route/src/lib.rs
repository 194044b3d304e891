//! Routing: conditions compiled from the plan, and a table that finds the one
//! route of a request, or all routes of a topic, without scanning. A borrowed
//! `View` comes in, a route's index goes out; no I/O, no clock.
#![forbid(unsafe_code)]

mod canonical;
mod captures;
mod certificate;
mod condition;
mod error;
mod explain;
mod host;
mod literals;
mod path;
mod path_trie;
mod query;
mod rank;
mod spec;
mod table;
mod text;
mod topic;
mod topic_trie;

pub use canonical::{Ambiguity, PathError, canonical_path, canonical_path_with};
pub use captures::Captures;
pub use condition::Condition;
pub use error::RouteError;
pub use explain::Candidate;
pub use query::decode_query;
pub use spec::{CertificatePlan, MatchPlan, PathPlan, RouteSpec, TextKind, TextPlan, ValuePlan};
pub use table::RouteTable;
pub use topic::{filter_matches, valid_filter, valid_topic};
