//! DTLS 1.2 (RFC 6347) with pre-shared keys and certificates, and connection ids (RFC
//! 9146): datagrams and `now` come in, plaintext of known peers and datagrams to send go
//! out. No state is made before a peer has shown, by a cookie, that it receives where it
//! sends from. The handshake and the records are Mbed TLS's, behind `engine`, where all
//! the unsafe code stands; without the feature `mbedtls` no terms can be loaded.
#![deny(unsafe_code)]
// Without the library nobody gets far enough to use the rest.
#![cfg_attr(not(feature = "mbedtls"), allow(dead_code))]

mod cookie;
mod engine;
mod error;
mod held;
mod hello;
mod key_exchange;
mod names;
mod plan;
mod psk;
mod record;
mod seal;
mod sessions;
mod terms;
#[cfg(all(test, feature = "mbedtls"))]
mod tests;

pub use error::DtlsError;
pub use names::is_name;
pub use plan::{ClientAuthMode, ClientAuthPlan, DtlsPlan, PairPlan, PskPlan};
pub use record::{Record, looks_like_dtls};
pub use sessions::{Bounds, Event, Handled, Sessions};
pub use terms::Terms;
