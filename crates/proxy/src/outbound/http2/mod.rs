//! HTTP/2 towards upstreams: `h2` frames it, behind a sieve that keeps what is malformed to its stream.

mod answers;
mod bodies;
mod framed;
mod heard;
mod hpack;
mod request;
mod response;
mod sieve;
mod stream;
mod text;

pub(super) use heard::Heard;
pub(super) use stream::H2Stream;
