//! Rate limit by key: a token bucket kept as one number, the time at which the
//! bucket is full again (GCRA, ITU-T I.371). Shared by all workers, in shards.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

const SHARDS: usize = 16;

/// Whether one more may pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RateVerdict {
    /// Go.
    Pass,
    /// Answer 429 (4.29, 0x97).
    Limited {
        /// Until the next one would pass, at least 1.
        retry_after_ms: u64,
    },
}

/// One named limit. A key that is not in the table has a full bucket, so an entry
/// whose bucket has filled up is worth nothing and goes first when room is needed.
/// Where no bucket is full, new keys share one bucket of the shard until there is
/// room: a flood of keys can neither lift the limit of others nor shut them out.
#[derive(Debug)]
pub struct RateLimit {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// Nanoseconds that one request costs.
    cost: u64,
    /// Nanoseconds that a bucket holds.
    depth: u64,
    max_per_shard: usize,
}

#[derive(Debug, Default)]
struct Shard {
    /// Key -> time at which its bucket is full, nanoseconds.
    full_at: HashMap<Box<[u8]>, u64, RandomState>,
    overflow: u64,
    /// No expired entry is to be found before then.
    sweep_at: u64,
}

impl RateLimit {
    /// `per_second` above 0 and at most 1e9, `burst` at least 1, `max_keys` in total
    /// (at least one per shard).
    pub fn new(per_second: f64, burst: u32, max_keys: usize) -> Self {
        let rate = if per_second.is_finite() { per_second.clamp(1e-6, 1e9) } else { 1e9 };
        let cost = ((1e9 / rate) as u64).max(1);
        RateLimit {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            cost,
            depth: cost.saturating_mul(u64::from(burst.max(1))),
            max_per_shard: (max_keys / SHARDS).max(1),
        }
    }

    /// Takes a token from the key's bucket. `now_ns` is the gateway's clock.
    pub fn check(&self, now_ns: u64, key: &[u8]) -> RateVerdict {
        let shard = (self.hasher.hash_one(key) >> 60) as usize % SHARDS;
        let mut shard = self.shards[shard].lock();
        if !shard.full_at.contains_key(key) && !self.make_room(&mut shard, now_ns) {
            return self.take(&mut shard.overflow, now_ns);
        }
        match shard.full_at.get_mut(key) {
            Some(full_at) => self.take(full_at, now_ns),
            None => self.take(shard.full_at.entry(key.into()).or_insert(0), now_ns),
        }
    }

    /// Keys that are remembered.
    pub fn keys(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().full_at.len()).sum()
    }

    fn take(&self, full_at: &mut u64, now_ns: u64) -> RateVerdict {
        let next = (*full_at).max(now_ns).saturating_add(self.cost);
        let over = next.saturating_sub(now_ns).saturating_sub(self.depth);
        if over > 0 {
            return RateVerdict::Limited { retry_after_ms: over.div_ceil(1_000_000) };
        }
        *full_at = next;
        RateVerdict::Pass
    }

    /// Sweeps a full shard, but not again before something can have expired, so that
    /// a flood of new keys does not pay for a sweep each.
    fn make_room(&self, shard: &mut Shard, now_ns: u64) -> bool {
        if shard.full_at.len() < self.max_per_shard {
            return true;
        }
        if now_ns < shard.sweep_at {
            return false;
        }
        shard.full_at.retain(|_, full_at| *full_at > now_ns);
        let soonest = shard.full_at.values().min().copied().unwrap_or(now_ns);
        // At least a hundredth of a bucket between sweeps bounds their share of the time.
        shard.sweep_at = soonest.max(now_ns.saturating_add(self.depth / 100));
        shard.full_at.len() < self.max_per_shard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn passes_a_burst_then_one_per_interval_and_says_when() {
        let limit = RateLimit::new(10.0, 3, 100);
        let verdicts: Vec<_> = (0..4).map(|_| limit.check(SECOND, b"k")).collect();
        assert_eq!(verdicts[..3], [RateVerdict::Pass; 3]);
        assert_eq!(verdicts[3], RateVerdict::Limited { retry_after_ms: 100 });
        assert_eq!(limit.check(SECOND + SECOND / 10, b"k"), RateVerdict::Pass);
        assert_eq!(limit.check(SECOND, b"other"), RateVerdict::Pass);
    }

    #[test]
    fn a_limit_is_one_for_all_threads() {
        let limit = RateLimit::new(1.0, 50, 100);
        let passed: usize = std::thread::scope(|scope| {
            let count = || (0..100).filter(|_| limit.check(SECOND, b"k") == RateVerdict::Pass).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
        });
        assert_eq!(passed, 50);
    }

    #[test]
    fn a_flood_of_keys_is_bounded_and_lifts_nobodys_limit() {
        let limit = RateLimit::new(1.0, 1, 160);
        assert_eq!(limit.check(SECOND, b"victim"), RateVerdict::Pass);
        let passed = (0..10_000_u32).filter(|n| limit.check(SECOND, &n.to_be_bytes()) == RateVerdict::Pass).count();
        assert!(limit.keys() <= 160 && passed <= 160 + SHARDS);
        assert!(matches!(limit.check(SECOND, b"victim"), RateVerdict::Limited { .. }));
        assert_eq!(limit.check(3 * SECOND, b"late"), RateVerdict::Pass, "full buckets made room");
        assert!(limit.keys() < 160);
    }

    proptest! {
        #[test]
        fn never_passes_more_than_burst_and_rate_allow(
            rate in 1_u32..1_000, burst in 1_u32..50, gaps in prop::collection::vec(0_u64..50_000_000, 1..200),
        ) {
            let limit = RateLimit::new(f64::from(rate), burst, 16);
            let (mut now, mut passed) = (SECOND, 0_u64);
            for gap in gaps {
                now += gap;
                passed += u64::from(limit.check(now, b"k") == RateVerdict::Pass);
            }
            let allowed = u64::from(burst) + (now - SECOND) * u64::from(rate) / SECOND + 1;
            prop_assert!(passed <= allowed, "{} of {}", passed, allowed);
        }
    }
}
