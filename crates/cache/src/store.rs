//! The store: bounded by bytes and by answers, in parts that are locked apart.

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use serde::Deserialize;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Waker;

use crate::shard::Shard;
use crate::{Key, Stored};

/// How long nobody waits for an answer of a kind that was not kept.
const PASS_MS: u64 = 5_000;
/// Parts. The bounds hold for all of them together.
const SHARDS: usize = 16;

/// How much is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bounds {
    /// Of all answers with what keeping them costs.
    pub bytes: usize,
    /// Answers.
    pub entries: usize,
    /// Longest body of one.
    pub entry_bytes: usize,
}

/// Which answers go; what is not given is not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Purge {
    /// Of this route.
    pub route: Option<String>,
    /// To this authority.
    pub host: Option<String>,
    /// To this path, or with a star at its end to all that begin so.
    pub path: Option<String>,
}

/// What a store holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Of all answers.
    pub bytes: usize,
    /// Answers.
    pub entries: usize,
    /// Answers that had to go for others, since the start.
    pub evicted: u64,
}

/// See the module. Shared by all workers.
#[derive(Default)]
pub struct Store {
    shards: [Mutex<Shard>; SHARDS],
    bounds: Mutex<Bounds>,
    entry_bytes: AtomicUsize,
    /// Of which part the next answer goes that has to.
    turn: AtomicUsize,
    seed: RandomState,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Store({:?})", self.stats())
    }
}

impl Store {
    /// Sets how much is kept; what is there above it goes with the next answers that come.
    pub fn set_bounds(&self, bounds: Bounds) {
        *self.bounds.lock() = bounds;
        self.entry_bytes.store(bounds.entry_bytes, Relaxed);
    }

    /// Longest body that is kept.
    pub fn entry_bytes(&self) -> usize {
        self.entry_bytes.load(Relaxed)
    }

    fn shard(&self, uri: &[u8]) -> &Mutex<Shard> {
        &self.shards[self.seed.hash_one(uri) as usize % SHARDS]
    }

    /// The answer to a request; `value`: what it says in a field.
    pub fn find(&self, key: &Key, value: impl Fn(&str) -> Vec<u8>) -> Option<Arc<Stored>> {
        self.shard(&key.uri).lock().find(key, value)
    }

    /// The resource at an address was changed (RFC 9111 section 4.4); how many answers went.
    pub fn invalidate(&self, uri: &[u8]) -> usize {
        self.shard(uri).lock().invalidate(uri)
    }

    /// Removes answers; how many.
    pub fn purge(&self, purge: &Purge) -> usize {
        let which = |uri: &[u8], form: &[u8]| purge.names(uri, form);
        self.shards.iter().map(|shard| shard.lock().purge(which)).sum()
    }

    /// What is held.
    pub fn stats(&self) -> Stats {
        self.shards.iter().fold(Stats::default(), |all, shard| {
            let shard = shard.lock();
            Stats {
                bytes: all.bytes + shard.bytes,
                entries: all.entries + shard.entries,
                evicted: all.evicted + shard.evicted,
            }
        })
    }

    pub(crate) fn begin(&self, key: &Key, now_ms: u64) -> Option<bool> {
        let mut shard = self.shard(&key.uri).lock();
        if shard.passes(self.hash(key), now_ms) { None } else { Some(shard.begin(key)) }
    }

    pub(crate) fn wait(&self, key: &Key, waker: &Waker) -> bool {
        self.shard(&key.uri).lock().wait(key, waker)
    }

    /// Ends a fetch with an answer, or without; who waited looks again.
    pub(crate) fn end(&self, key: &Key, stored: Option<Arc<Stored>>) {
        let mut shard = self.shard(&key.uri).lock();
        let (waiting, is_good) = shard.end(key);
        let stored = stored.filter(|_| is_good);
        let is_put = stored.is_some();
        if let Some(stored) = stored {
            shard.put(key.clone(), stored);
        }
        drop(shard);
        waiting.into_iter().for_each(Waker::wake);
        if is_put {
            self.make_room();
        }
    }

    /// Lets answers go until the bounds hold: in turns of the parts, those that were not used
    /// since the last round first.
    fn make_room(&self) {
        let bounds = *self.bounds.lock();
        let Stats { mut bytes, mut entries, .. } = self.stats();
        // Two rounds: the first one may find that all were used.
        let mut idle = 0;
        while (bytes > bounds.bytes || entries > bounds.entries) && idle < 2 * SHARDS {
            let mut shard = self.shards[self.turn.fetch_add(1, Relaxed) % SHARDS].lock();
            let before = (shard.bytes, shard.entries);
            idle = if shard.evict() { 0 } else { idle + 1 };
            bytes -= before.0 - shard.bytes;
            entries -= before.1 - shard.entries;
        }
    }

    pub(crate) fn pass(&self, key: &Key, now_ms: u64) {
        self.shard(&key.uri).lock().pass(self.hash(key), (now_ms, now_ms + PASS_MS));
    }

    fn hash(&self, key: &Key) -> u64 {
        self.seed.hash_one((&key.uri, &key.form))
    }
}

impl Purge {
    fn names(&self, uri: &[u8], form: &[u8]) -> bool {
        let mut parts = uri.splitn(3, |byte| *byte == b'\n').skip(1);
        let (host, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        let route = form.split(|byte| *byte == b'\n').next().unwrap_or_default();
        self.route.as_ref().is_none_or(|wanted| wanted.as_bytes() == route)
            && self.host.as_ref().is_none_or(|wanted| wanted.as_bytes().eq_ignore_ascii_case(host))
            && self.path.as_ref().is_none_or(|wanted| match wanted.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix.as_bytes()),
                None => path == wanted.as_bytes(),
            })
    }
}
