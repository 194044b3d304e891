//! What can fail before anything is served.

use std::fmt;
use std::path::PathBuf;

/// A file or folder that cannot be used.
#[derive(Debug)]
pub struct StoreError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub cause: std::io::Error,
}

impl fmt::Display for StoreError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.path.display(), self.cause)
    }
}

impl std::error::Error for StoreError {}
