//! HTTP/2 (RFC 9113) of clients: `tidegate-http2` frames it, each stream becomes a client of the
//! HTTP/1.1 driver. So there is one dispatch, one set of rules and one way to an
//! upstream, whatever version a request came by.

mod end;
mod framed;
mod grpc;
mod head;
mod inward;
mod outward;
mod serve;
mod set;
mod stream;

pub(crate) use end::StreamEnd;
pub(crate) use framed::{Unsent, send_framed};
pub(crate) use grpc::{is_grpc, timeout_ms};
pub(crate) use serve::serve;
