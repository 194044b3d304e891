//! TLS without I/O: bytes of records in, plaintext out, and back. Certificates and
//! their choice by server name; what a client proved about itself; trust in
//! upstreams. Sockets and time belong to the driver.
#![forbid(unsafe_code)]

mod certificate;
mod client;
mod dev;
mod error;
mod itself;
mod names;
mod peer;
mod pem;
mod provider;
mod resolver;
mod server;
mod session;
mod version1;

pub use client::{ClientPlan, ClientTerms};
pub use dev::{DevPair, dev_authority, dev_certificate};
pub use error::TlsError;
pub use names::Names;
pub use peer::UserFrom;
pub use server::{ClientAuthMode, ClientAuthPlan, Expiry, PairPlan, ServerPlan, ServerTerms, VersionPlan};
pub use session::{Fault, Session};
