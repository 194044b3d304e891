//! HTTP/2 towards upstreams: `tidegate-http2` frames it. A connection has a task of its own, and the requests of a
//! worker share it.

mod answer;
mod link;
mod request;
mod shared;
mod stream;

pub(super) use shared::{SharedH2, open};
pub(super) use stream::H2Stream;
