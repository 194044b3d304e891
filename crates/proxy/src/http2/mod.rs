//! HTTP/2 (RFC 9113) of clients: `h2` frames it, each stream becomes a client of the
//! HTTP/1.1 driver. So there is one dispatch, one set of rules and one way to an
//! upstream, whatever version a request came by.

mod answers;
mod bodies;
mod end;
mod framed;
mod grpc;
mod head;
mod hpack;
mod huffman;
mod inward;
mod io;
mod looks;
mod meter;
mod outward;
mod serve;
mod sieve;
mod stream;
mod text;

pub(crate) use answers::Answers;
pub(crate) use end::StreamEnd;
pub(crate) use framed::{Turn, poll_window, send_framed};
pub(crate) use grpc::{is_grpc, timeout_ms};
pub(crate) use head::trailer_lines;
pub(crate) use serve::serve;
pub(crate) use sieve::Sieve;
