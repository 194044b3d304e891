//! `Adaptive`: how many requests an upstream takes at once, learnt from its latency.
//! Netflix's Gradient2: the limit shrinks while answers take longer than they did in the
//! long run, and grows by a small queue while they do not. No probing, no dip.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Deserialize;

/// Bounds and temper of a limit.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdaptivePlan {
    /// Where it starts. Default 20.
    pub initial: u32,
    /// Never below. Default 20.
    pub min: u32,
    /// Never above. Default 200.
    pub max: u32,
    /// How much longer than in the long run is no sign of a queue. Default 1.5.
    pub tolerance: f64,
    /// Weight of a new estimate. Default 0.2.
    pub smoothing: f64,
}

/// Requests that may queue beyond what the upstream works on.
const QUEUE: f64 = 4.0;
/// Samples that the long run remembers.
const WINDOW: f64 = 600.0;

/// One upstream's limit; all workers share it by `Arc`. A lost update is one sample less.
#[derive(Debug)]
pub struct Adaptive {
    plan: AdaptivePlan,
    limit: AtomicU64,
    long_us: AtomicU64,
}

impl Adaptive {
    /// At its initial limit.
    pub fn new(plan: AdaptivePlan) -> Self {
        let limit = AtomicU64::new(f64::from(plan.initial).to_bits());
        Adaptive { plan, limit, long_us: AtomicU64::new(0) }
    }

    /// Its plan: one whose plan did not change is kept when plans are swapped.
    pub const fn plan(&self) -> &AdaptivePlan {
        &self.plan
    }

    /// The limit now.
    pub fn limit(&self) -> u32 {
        f64::from_bits(self.limit.load(Relaxed)) as u32
    }

    /// Takes how long a request took; gives the limit that holds from now on.
    pub fn sample(&self, took_us: u64, in_flight: u32) -> u32 {
        let short = took_us.max(1) as f64;
        let before = f64::from_bits(self.long_us.load(Relaxed));
        let mut long = if before == 0.0 { short } else { before + (short - before) * 2.0 / (WINDOW + 1.0) };
        if long / short > 2.0 {
            // The load is gone: what it did to the average goes faster.
            long *= 0.95;
        }
        self.long_us.store(long.to_bits(), Relaxed);
        let limit = f64::from_bits(self.limit.load(Relaxed));
        // An upstream that is not asked for half of it says nothing about the limit.
        if f64::from(in_flight) < limit / 2.0 {
            return limit as u32;
        }
        let gradient = (self.plan.tolerance * long / short).clamp(0.5, 1.0);
        let wanted = limit * gradient + QUEUE;
        let next = limit * (1.0 - self.plan.smoothing) + wanted * self.plan.smoothing;
        let next = next.clamp(f64::from(self.plan.min), f64::from(self.plan.max.max(self.plan.min)));
        self.limit.store(next.to_bits(), Relaxed);
        next as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An upstream that works on `capacity` requests at once; more of them queue.
    fn run(adaptive: &Adaptive, capacity: f64, rounds: usize) -> u32 {
        (0..rounds).fold(adaptive.limit(), |limit, _| {
            let took = 1_000.0 * (f64::from(limit) / capacity).max(1.0);
            adaptive.sample(took as u64, limit)
        })
    }

    #[test]
    fn grows_where_there_is_room_and_shrinks_where_answers_take_longer() {
        let plan = AdaptivePlan { initial: 20, min: 5, max: 500, tolerance: 1.5, smoothing: 0.2 };
        let adaptive = Adaptive::new(plan);
        let roomy = run(&adaptive, 300.0, 300);
        assert!((200..=500).contains(&roomy), "{roomy}");
        let narrow = run(&adaptive, 20.0, 200);
        assert!(narrow < roomy / 4, "{narrow}");
        assert!(narrow >= 5);
    }

    #[test]
    fn stays_where_nobody_asks_and_within_its_bounds() {
        let plan = AdaptivePlan { initial: 20, min: 10, max: 30, tolerance: 1.5, smoothing: 0.2 };
        let adaptive = Adaptive::new(plan);
        (0..100).for_each(|_| assert_eq!(adaptive.sample(1_000, 1), 20));
        assert_eq!(run(&adaptive, 1_000.0, 1_000), 30);
        for at in 0..100 {
            adaptive.sample(1_000_000 * at, 30);
        }
        assert_eq!(adaptive.limit(), 10);
    }
}
