//! The broker: topic tree, sessions, retained messages, shared subscriptions and
//! access rules, for subscribers of every protocol. One `Broker` for each worker
//! thread, `Shared` between them; no I/O, no clock, no locks on an ordinary publish.
#![forbid(unsafe_code)]

mod access;
mod acks;
mod backlog;
mod broker;
mod connect;
mod delayed;
mod deliver;
mod directory;
mod fan_out;
mod filter;
mod groups;
mod interest;
mod legacy;
mod limits;
mod outlet;
mod publish;
mod record;
mod replay;
mod restore;
mod retained;
mod routes;
mod session;
mod shared;
mod sink;
mod stats;
mod subscribe;
mod subscribers;
mod takeover;
mod timers;
mod tree;

pub use access::{Access, Acl, Action, Own, Rule};
pub use backlog::Received;
pub use broker::{Broker, MAX_WORKERS};
pub use connect::{Connect, ConnectRequest, Connected, Leave};
pub use delayed::{Delayed, StoredDelayed};
pub use directory::Home;
pub use filter::{has_wildcard, is_filter, is_subscription, is_topic, matches, split_share};
pub use limits::BrokerLimits;
pub use publish::{Origin, Published};
pub use record::{Record, StoredDelivery, StoredSession};
pub use retained::{Kept, Retained, RetainedFull};
pub use session::Will;
pub use shared::{Keeping, Shared, SharedLimits};
pub use sink::{CloseReason, Delivery, DropReason, Forward, InterestChange, Sink, SubscriberId};
pub use stats::{ClientInfo, Stats};
pub use subscribe::Granted;
pub use subscribers::{Options, Replay};
pub use takeover::{GiveUp, HandOver, SessionState, TakeOver};
