//! Keeps on disk what was promised: an append-only log of segments for each worker and
//! one for retained messages, checkpoints that let old segments go, and recovery after
//! whatever ended the process. Plain files and blocking calls; when to call is the driver's.
#![forbid(unsafe_code)]

mod entry;
mod error;
mod fold;
mod frame;
mod generation;
mod log;
mod outbox;
mod segment;
mod stored;
mod syncer;

pub use error::StoreError;
pub use fold::Recovered;
pub use generation::Generation;
pub use log::{Log, LogOptions};
pub use outbox::Pending;
pub use syncer::Syncer;
