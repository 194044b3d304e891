//! The library behind the sessions, and what this crate wants of it: a context per
//! worker, sessions that take datagrams and seal plaintext. Without the feature
//! `mbedtls` its place is taken by types that nobody can have.

#[cfg(not(feature = "mbedtls"))]
mod absent;
#[cfg(feature = "mbedtls")]
#[allow(unsafe_code)]
mod callbacks;
#[cfg(all(test, feature = "mbedtls"))]
#[allow(unsafe_code)]
pub(crate) mod client;
#[cfg(feature = "mbedtls")]
#[allow(unsafe_code)]
mod context;
#[cfg(feature = "mbedtls")]
#[allow(unsafe_code)]
mod session;

#[cfg(not(feature = "mbedtls"))]
pub(crate) use absent::{Context, Session, check, no_randomness};
#[cfg(feature = "mbedtls")]
pub(crate) use context::{Context, check, no_randomness};
#[cfg(feature = "mbedtls")]
pub(crate) use session::Session;

/// What a datagram or a timer has led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Progress {
    /// The handshake has ended well just now.
    pub(crate) established: bool,
    /// A record was authentic: whoever sent it has the keys.
    pub(crate) authentic: bool,
    /// The session is over, and why; the name for metrics.
    pub(crate) ended: Option<&'static str>,
}
