//! Which worker holds which session. Touched when a client connects and when a
//! session ends; the highest epoch is the one that counts.

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const SHARDS: usize = 16;

/// Where a session is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Home {
    /// The worker.
    pub worker: u16,
    /// Goes up with each claim over all clients.
    pub epoch: u64,
}

/// What a claim found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// There was no session: this is its epoch.
    New(u64),
    /// There was one: the new epoch, and where the session was.
    Moved(u64, Home),
    /// No more sessions are allowed.
    Full,
}

/// A home in eight bytes: one of each session stands in the tables.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Packed(u64);

/// Bits of an epoch: three thousand years of a thousand CONNECTs in a second.
const EPOCH_BITS: u32 = 48;

impl From<Home> for Packed {
    fn from(home: Home) -> Self {
        Packed(u64::from(home.worker) << EPOCH_BITS | home.epoch)
    }
}

impl From<Packed> for Home {
    fn from(Packed(bits): Packed) -> Self {
        Home { worker: (bits >> EPOCH_BITS) as u16, epoch: bits & ((1 << EPOCH_BITS) - 1) }
    }
}

type Shard = Mutex<HashMap<Arc<str>, Packed, RandomState>>;

/// Client identifier to session, over all workers.
pub(crate) struct Directory {
    shards: [Shard; SHARDS],
    hasher: RandomState,
    epoch: AtomicU64,
    count: AtomicUsize,
    max: AtomicUsize,
}

impl Directory {
    pub(crate) fn new(max: usize) -> Self {
        Directory {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::default(),
            epoch: AtomicU64::new(0),
            count: AtomicUsize::new(0),
            max: AtomicUsize::new(max),
        }
    }

    fn shard(&self, client_id: &str) -> &Shard {
        &self.shards[self.hasher.hash_one(client_id) as usize % SHARDS]
    }

    pub(crate) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Makes `worker` the home of the client's session.
    pub(crate) fn claim(&self, client_id: &Arc<str>, worker: u16) -> Claim {
        let mut shard = self.shard(client_id).lock();
        let known = shard.get(&**client_id).copied().map(Home::from);
        if known.is_none() && self.count() >= self.max.load(Ordering::Relaxed) {
            return Claim::Full;
        }
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        shard.insert(client_id.clone(), Home { worker, epoch }.into());
        match known {
            Some(home) => Claim::Moved(epoch, home),
            None => {
                self.count.fetch_add(1, Ordering::Relaxed);
                Claim::New(epoch)
            }
        }
    }

    /// The place of a session that was kept on disk, whatever the bound: its epoch.
    pub(crate) fn restore(&self, client_id: &Arc<str>, worker: u16) -> u64 {
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        if self.shard(client_id).lock().insert(client_id.clone(), Home { worker, epoch }.into()).is_none() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        epoch
    }

    /// Forgets the session unless somebody claimed it since.
    pub(crate) fn release(&self, client_id: &str, home: Home) {
        let mut shard = self.shard(client_id).lock();
        if shard.get(client_id) == Some(&home.into()) {
            shard.remove(client_id);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn find(&self, client_id: &str) -> Option<Home> {
        self.shard(client_id).lock().get(client_id).copied().map(Home::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_release_does_not_touch_a_newer_claim() {
        let directory = Directory::new(1);
        let id: Arc<str> = "pump".into();
        assert_eq!(directory.claim(&id, 0), Claim::New(1));
        assert_eq!(directory.claim(&id, 1), Claim::Moved(2, Home { worker: 0, epoch: 1 }));
        directory.release(&id, Home { worker: 0, epoch: 1 });
        assert_eq!(directory.find(&id), Some(Home { worker: 1, epoch: 2 }));
        assert_eq!(directory.claim(&"other".into(), 0), Claim::Full);
        directory.release(&id, Home { worker: 1, epoch: 2 });
        assert_eq!(directory.count(), 0);
    }
}
