//! Why TLS cannot be set up: which file, and what is wrong with it.

use std::fmt;

/// A fault of the configuration or of a file it names; never of a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsError {
    /// The file, or the setting.
    pub file: String,
    /// What is wrong with it.
    pub what: String,
}

impl TlsError {
    pub(crate) fn new(file: &str, what: impl fmt::Display) -> Self {
        TlsError { file: file.to_owned(), what: what.to_string() }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.file, self.what)
    }
}

impl std::error::Error for TlsError {}
