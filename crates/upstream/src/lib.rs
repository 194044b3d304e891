//! Connections to upstreams: connecting within a time, and a pool per worker of
//! those that are free. Balancing and retries are decided elsewhere.
#![forbid(unsafe_code)]

mod connect;
mod places;
mod pool;
mod proxy_header;

pub use connect::{ConnectError, connect};
pub use places::{Place, Places};
pub use pool::{Connection, Pool, PoolKey, Reusable};
pub use proxy_header::ProxyVersion;
