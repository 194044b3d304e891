//! Why control calls fail.

use crate::plan::TermsError;
use std::fmt;

/// Why a control call failed; the code is what TypeScript knows it by.
#[derive(Debug)]
pub struct GatewayError {
    /// Upper case with underscores; listed in `src/errors.ts`.
    pub code: &'static str,
    /// What, where, what to do.
    pub message: String,
}

impl fmt::Display for GatewayError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for GatewayError {}

pub(super) fn error(code: &'static str, message: impl Into<String>) -> GatewayError {
    GatewayError { code, message: message.into() }
}

/// Keys or certificates that cannot be used.
pub(super) fn terms_error(cause: TermsError) -> GatewayError {
    match cause {
        TermsError::Tls(cause) => error("TLS_INVALID", cause.to_string()),
        TermsError::Oscore(what) => error("TLS_INVALID", what),
        TermsError::Dtls(listener, cause) => error("TLS_INVALID", format!("{listener}: {cause}")),
    }
}

pub(super) fn closed() -> GatewayError {
    error("CLOSED", "the gateway is closed")
}
