//! The shared memory between a worker and JavaScript: an event ring (native to
//! JavaScript) and decision slots (a question out, the answer written in place).
//! Both live in `SharedArrayBuffer`s that JavaScript made; the layout is one table
//! (`layout`), checked on both sides by a version word.
#![deny(unsafe_code)]

mod decisions;
mod events;
pub mod layout;
mod memory;

pub use decisions::{Answer, Asked, Decisions, Question};
pub use events::{EventKind, EventRecord, EventRing};
pub use memory::{LayoutError, SharedMemory};
