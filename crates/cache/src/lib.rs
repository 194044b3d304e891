//! Answers of upstreams that are kept for their time (RFC 9111, as a shared cache): which
//! may be kept, how long, for whom; a bounded store with one fetch for each miss. Heads
//! and `now` come in, decisions and stored answers come out; no I/O.
#![forbid(unsafe_code)]

mod control;
mod fill;
mod judge;
mod key;
mod shard;
mod store;
mod stored;

pub use control::Control;
pub use fill::{Begun, Ticket, Waiting};
pub use judge::{CachePolicy, Lifetime, RequestTerms, fresh_for_s, judge};
pub use key::{FieldValues, Key, vary_of};
pub use store::{Bounds, Purge, Stats, Store};
pub use stored::{Stored, Use, stored_fields};
