//! The data path: workers that accept, detect, route, balance and forward, and the
//! gateway that tells them what to do. The only crate above the sockets that is
//! asynchronous; decisions about protocols are made in the crates below.
#![forbid(unsafe_code)]

mod access;
mod auth;
mod client;
mod coap;
mod compress;
mod decide;
mod ends;
mod files;
mod gateway;
mod handle;
mod hooks;
mod http;
mod http2;
mod inspect;
mod inspect_mqtt;
mod listen;
mod metrics;
mod mqtt;
mod outbound;
mod plan;
mod pubsub;
mod recover;
mod refusal;
mod stream;
mod tls;
mod websocket;
mod worker;

pub use auth::hash_password;
pub use gateway::{Applied, Attachment, Gateway, GatewayError, Options, Wake};
pub use plan::Problem;
