//! What can be wrong with the terms of a listener.

use std::fmt;

/// Why terms cannot be used. All of them are the configuration's fault.
#[derive(Debug)]
#[non_exhaustive]
pub enum DtlsError {
    /// This build has no DTLS.
    NotBuilt,
    /// A file cannot be read.
    File {
        /// Which.
        path: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The library does not take something.
    Invalid {
        /// What.
        what: String,
        /// Its code.
        code: i32,
    },
    /// There is neither a key nor a certificate.
    NothingToProve,
}

impl fmt::Display for DtlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DtlsError::NotBuilt => f.write_str(
                "this build has no DTLS: install clang, cmake and ninja, then build again (npm run build:native)",
            ),
            DtlsError::File { path, cause } => write!(f, "{path} cannot be read: {cause}"),
            DtlsError::Invalid { what, code } => write!(f, "{what} cannot be used (Mbed TLS says -0x{:04x})", -code),
            DtlsError::NothingToProve => f.write_str("dtls needs psk, askForKey, or cert and key"),
        }
    }
}

impl std::error::Error for DtlsError {}
