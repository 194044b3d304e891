//! HTTP/2 (RFC 9113) of both ends: frames, fields (RFC 7541), streams and their windows. A request of a client is handed
//! over as HTTP/1.1 says it, so that one driver serves both. No I/O: a [`Connection`] takes octets and has those that
//! are to be sent. Nothing of it is shared between threads, and in a steady state nothing is allocated for a
//! request without a body.
//!
//! Not supported, on purpose: server push, priorities (section 5.3.2 deprecates them).
#![forbid(unsafe_code)]

mod answer;
mod client;
mod connection;
mod control;
mod frame;
mod head;
mod hpack;
mod message;
mod meter;
mod stream;
mod streams;

pub use answer::Answer;
pub use client::{AskError, Cause};
pub use connection::{Config, Connection, Failure, TakeRequest};
pub use frame::Reason;
pub use head::{RequestHead, Target};
pub use meter::{Allowed, Flood};
pub use stream::{DataWriter, HeadWriter};
pub use streams::{RemoteEnd, StreamKey};
