//! What all workers of a process share: retained messages, the session directory and
//! the access rules. Behind one `Arc`; nothing here is touched by an ordinary publish
//! but one atomic load.

use crate::access::Acl;
use crate::directory::{Directory, Home};
use crate::retained::Retained;
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Bounds of the whole process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SharedLimits {
    /// MQTT sessions, connected or not. Default 1,000,000.
    pub max_sessions: usize,
    /// Retained messages. Default 100,000.
    pub max_retained: usize,
    /// Their bytes. Default 1 GiB.
    pub max_retained_bytes: usize,
}

impl Default for SharedLimits {
    fn default() -> Self {
        SharedLimits { max_sessions: 1_000_000, max_retained: 100_000, max_retained_bytes: 1 << 30 }
    }
}

/// State of all workers.
pub struct Shared {
    retained: Retained,
    pub(crate) directory: Directory,
    acl: RwLock<Arc<Acl>>,
    acl_version: AtomicU64,
    keeping: AtomicU8,
}

/// Whether promises are kept on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Keeping {
    /// Everything is in memory.
    No,
    /// They are.
    Yes,
    /// They are, and there is no room: what would have to be kept is refused.
    Full,
}

impl Shared {
    /// Empty, with no access rules.
    pub fn new(limits: SharedLimits) -> Arc<Self> {
        Arc::new(Shared {
            retained: Retained::new(limits.max_retained, limits.max_retained_bytes),
            directory: Directory::new(limits.max_sessions),
            acl: RwLock::default(),
            acl_version: AtomicU64::new(0),
            keeping: AtomicU8::new(Keeping::No as u8),
        })
    }

    /// New bounds, from a new plan.
    pub fn set_limits(&self, limits: SharedLimits) {
        self.retained.set_bounds(limits.max_retained, limits.max_retained_bytes);
        self.directory.set_max(limits.max_sessions);
    }

    /// Says whether promises are kept on disk; at first they are not.
    pub fn set_keeping(&self, keeping: Keeping) {
        self.keeping.store(keeping as u8, Ordering::Relaxed);
    }

    pub(crate) fn is_keeping(&self) -> bool {
        self.keeping.load(Ordering::Relaxed) != Keeping::No as u8
    }

    /// Whether there is no room for what has to be kept.
    pub fn is_full(&self) -> bool {
        self.keeping.load(Ordering::Relaxed) == Keeping::Full as u8
    }

    /// New access rules: from the next publish, subscribe and delivery on.
    pub fn set_acl(&self, acl: Acl) {
        *self.acl.write() = Arc::new(acl);
        self.acl_version.fetch_add(1, Ordering::Release);
    }

    /// The rules as they are.
    pub fn acl(&self) -> Arc<Acl> {
        self.acl.read().clone()
    }

    /// Goes up with each `set_acl`.
    pub(crate) fn acl_version(&self) -> u64 {
        self.acl_version.load(Ordering::Acquire)
    }

    /// Retained messages, for GET and the admin API. Access is the caller's to check
    /// with [`Acl::may_receive`].
    pub const fn retained(&self) -> &Retained {
        &self.retained
    }

    /// Sessions of all workers.
    pub fn sessions(&self) -> usize {
        self.directory.count()
    }

    /// The worker that holds a client's session.
    pub fn home(&self, client_id: &str) -> Option<Home> {
        self.directory.find(client_id)
    }
}
