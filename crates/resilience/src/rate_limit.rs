//! Rate limit by key: a token bucket kept as one number, the time at which the
//! bucket is full again (GCRA, ITU-T I.371). Shared by all workers, in shards; between
//! gateways by telling each other what passed.

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
    is_shared: bool,
}

#[derive(Debug, Default)]
struct Shard {
    buckets: HashMap<Box<[u8]>, Bucket, RandomState>,
    /// Keys whose bucket has something to tell, each once.
    told: Vec<Box<[u8]>>,
    overflow: Bucket,
    /// No expired entry is to be found before then.
    sweep_at: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Time at which it is full, nanoseconds.
    full_at: u64,
    /// What passed here since it was last told; only of a limit that gateways share.
    spent: u32,
}

/// A bucket owes no more than so much for what passed elsewhere, nanoseconds.
const MAX_DEBT: u64 = 10_000_000_000;

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
            is_shared: false,
        }
    }

    /// The same, remembering what passes for [`take_spent`](Self::take_spent).
    #[must_use]
    pub fn shared(self) -> Self {
        RateLimit { is_shared: true, ..self }
    }

    /// Takes a token from the key's bucket. `now_ns` is the gateway's clock.
    pub fn check(&self, now_ns: u64, key: &[u8]) -> RateVerdict {
        let mut shard = self.shard(key).lock();
        let shard = &mut *shard;
        if let Some(bucket) = shard.buckets.get_mut(key) {
            return self.take_told((bucket, &mut shard.told), now_ns, key);
        }
        if !self.make_room(shard, now_ns) {
            return self.take(&mut shard.overflow, now_ns);
        }
        let bucket = shard.buckets.entry(key.into()).or_default();
        self.take_told((bucket, &mut shard.told), now_ns, key)
    }

    /// Takes a token, and remembers what passed where other gateways are told of it.
    fn take_told(&self, (bucket, told): (&mut Bucket, &mut Vec<Box<[u8]>>), now_ns: u64, key: &[u8]) -> RateVerdict {
        let verdict = self.take(bucket, now_ns);
        if self.is_shared && verdict == RateVerdict::Pass {
            if bucket.spent == 0 {
                told.push(key.into());
            }
            bucket.spent = bucket.spent.saturating_add(1);
        }
        verdict
    }

    /// What [`check`](Self::check) would say; nothing is taken.
    pub fn peek(&self, now_ns: u64, key: &[u8]) -> RateVerdict {
        let shard = self.shard(key).lock();
        let known = shard.buckets.get(key).copied();
        // A key that is not known has a full bucket.
        self.take(&mut known.unwrap_or_default(), now_ns)
    }

    /// What passed here since the last call, by key; nothing of a limit that is not shared.
    pub fn take_spent(&self) -> Vec<(Box<[u8]>, u32)> {
        let mut spent = Vec::new();
        for shard in &self.shards {
            let Shard { buckets, told, .. } = &mut *shard.lock();
            for key in told.drain(..) {
                // A full bucket that made room for others has nothing to tell any more.
                let count = buckets.get_mut(&key).map_or(0, |bucket| std::mem::take(&mut bucket.spent));
                if count > 0 {
                    spent.push((key, count));
                }
            }
        }
        spent
    }

    /// Takes the tokens of what passed at another gateway, into debt where need be.
    pub fn charge(&self, now_ns: u64, key: &[u8], count: u32) {
        let mut shard = self.shard(key).lock();
        if !shard.buckets.contains_key(key) && !self.make_room(&mut shard, now_ns) {
            return;
        }
        let bucket = shard.buckets.entry(key.into()).or_default();
        let after = bucket.full_at.max(now_ns).saturating_add(self.cost.saturating_mul(u64::from(count)));
        let most = now_ns.saturating_add(self.depth).saturating_add(MAX_DEBT);
        bucket.full_at = after.min(most.max(bucket.full_at));
    }

    /// Keys that are remembered.
    pub fn keys(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().buckets.len()).sum()
    }

    fn shard(&self, key: &[u8]) -> &Mutex<Shard> {
        &self.shards[(self.hasher.hash_one(key) >> 60) as usize % SHARDS]
    }

    fn take(&self, bucket: &mut Bucket, now_ns: u64) -> RateVerdict {
        let next = bucket.full_at.max(now_ns).saturating_add(self.cost);
        let over = next.saturating_sub(now_ns).saturating_sub(self.depth);
        if over > 0 {
            return RateVerdict::Limited { retry_after_ms: over.div_ceil(1_000_000) };
        }
        bucket.full_at = next;
        RateVerdict::Pass
    }

    /// Sweeps a full shard, but not again before something can have expired, so that
    /// a flood of new keys does not pay for a sweep each.
    fn make_room(&self, shard: &mut Shard, now_ns: u64) -> bool {
        if shard.buckets.len() < self.max_per_shard {
            return true;
        }
        if now_ns < shard.sweep_at {
            return false;
        }
        shard.buckets.retain(|_, bucket| bucket.full_at > now_ns);
        let soonest = shard.buckets.values().map(|bucket| bucket.full_at).min().unwrap_or(now_ns);
        // At least a hundredth of a bucket between sweeps bounds their share of the time.
        shard.sweep_at = soonest.max(now_ns.saturating_add(self.depth / 100));
        shard.buckets.len() < self.max_per_shard
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
        assert_eq!(limit.peek(SECOND, b"k"), verdicts[3]);
        assert_eq!([limit.peek(SECOND + SECOND / 10, b"k"), limit.peek(SECOND, b"new")], [RateVerdict::Pass; 2]);
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

    #[test]
    fn what_passed_elsewhere_is_paid_here() {
        let limit = RateLimit::new(10.0, 3, 100).shared();
        let elsewhere = RateLimit::new(10.0, 3, 100).shared();
        for _ in 0..5 {
            limit.check(SECOND, b"k");
        }
        assert_eq!(limit.take_spent(), [(Box::from(&b"k"[..]), 3)], "what was refused is not told");
        assert_eq!(limit.take_spent(), []);
        elsewhere.charge(SECOND, b"k", 3);
        assert_eq!(elsewhere.check(SECOND, b"k"), RateVerdict::Limited { retry_after_ms: 100 });
        // Both let 3 pass before they heard of each other: the second three are owed.
        limit.charge(SECOND, b"k", 3);
        assert_eq!(limit.check(SECOND, b"k"), RateVerdict::Limited { retry_after_ms: 400 });
        limit.charge(SECOND, b"k", 1_000_000);
        assert_eq!(limit.check(SECOND, b"k"), RateVerdict::Limited { retry_after_ms: 10_100 }, "a debt has an end");
    }

    #[test]
    fn a_limit_that_is_not_shared_has_nothing_to_tell() {
        let limit = RateLimit::new(10.0, 3, 100);
        limit.check(SECOND, b"k");
        assert_eq!(limit.take_spent(), []);
    }

    proptest! {
        #[test]
        fn gateways_together_pass_what_one_may_and_what_was_under_way(
            rate in 1_u32..1_000, burst in 1_u32..50, gateways in 2_usize..5,
            gaps in prop::collection::vec(1_u64..20_000_000, 1..300),
        ) {
            let limits: Vec<_> = (0..gateways).map(|_| RateLimit::new(f64::from(rate), burst, 1_000).shared()).collect();
            let interval = 100_000_000;
            let (mut now, mut passed, mut exchange_at) = (SECOND, 0_u64, SECOND + interval);
            for (turn, gap) in gaps.into_iter().enumerate() {
                now += gap;
                if now >= exchange_at {
                    exchange_at = now + interval;
                    let told: Vec<_> = limits.iter().map(RateLimit::take_spent).collect();
                    for (from, spent) in told.iter().enumerate() {
                        for (_, limit) in limits.iter().enumerate().filter(|(to, _)| *to != from) {
                            for (key, count) in spent {
                                limit.charge(now, key, *count);
                            }
                        }
                    }
                }
                passed += u64::from(limits[turn % gateways].check(now, b"k") == RateVerdict::Pass);
            }
            // The others cannot know of one interval, nor of a burst at the start.
            let own = u64::from(burst) + (now - SECOND) * u64::from(rate) / SECOND + 1;
            let unheard = (gateways as u64 - 1) * (u64::from(burst) + u64::from(rate) * 130 / 1_000 + 2);
            prop_assert!(passed <= own + unheard, "{} of {} and {}", passed, own, unheard);
        }

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
