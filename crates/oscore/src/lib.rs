//! OSCORE (RFC 8613), the server's side, without I/O: protected datagrams come in and
//! plain ones go out, under the name of their security context, which stays when the
//! peer's address changes; plain answers come in and protected ones go out. Frames of streams
//! (RFC 8323) likewise, under the name of their context on their connection. The
//! cryptography is that of the crates aes, ccm, hkdf and sha2.
#![forbid(unsafe_code)]

mod binding;
mod context;
mod contexts;
mod cose;
mod keys;
mod open;
mod recent;
mod seal;
mod sequence;
mod shared;
mod streams;
mod window;

#[cfg(test)]
mod tests;

pub use contexts::{Contexts, Opened, is_name};
pub use cose::CoseOption;
pub use keys::{ContextPlan, Keys};
pub use sequence::Ledger;
pub use shared::{Fingerprint, Shared, Terms};
pub use streams::{StreamContexts, StreamOpened};
pub use window::{Standing, Window};
