//! Single-writer counters and histograms.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A counter that one thread writes and any thread reads.
#[derive(Default, Debug)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// At 0.
    pub(crate) const fn new() -> Counter {
        Counter(AtomicU64::new(0))
    }

    /// Adds `n`. Only the owning worker may.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Takes `n` away, for a gauge.
    pub(crate) fn sub(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }

    /// Sets it, for a gauge.
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// Its value.
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of the buckets, seconds: from the cost of a loopback hop to the
/// default route timeout.
pub(crate) const BOUNDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0];
const BOUNDS_MICROS: [u64; 14] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000, 15_000_000];

/// Durations in buckets.
#[derive(Default, Debug)]
pub(crate) struct Histogram {
    buckets: [Counter; 15],
    sum_micros: Counter,
}

impl Histogram {
    /// Counts one duration.
    pub(crate) fn observe(&self, micros: u64) {
        let bucket = BOUNDS_MICROS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS_MICROS.len());
        self.buckets[bucket].add(1);
        self.sum_micros.add(micros);
    }

    /// Whether nothing was counted yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| bucket.value() == 0)
    }

    /// Adds cumulative buckets (one per bound and the infinite one), the sum in
    /// seconds and the count to `into`.
    pub(crate) fn add_to(&self, into: &mut [f64]) {
        let mut count = 0;
        for (bucket, value) in self.buckets.iter().zip(into.iter_mut()) {
            count += bucket.value();
            *value += count as f64;
        }
        if let [.., sum, total] = into {
            *sum += self.sum_micros.value() as f64 / 1e6;
            *total += count as f64;
        }
    }

    /// How many values `add_to` fills.
    pub(crate) const VALUES: usize = BOUNDS.len() + 3;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_end_in_the_count() {
        let histogram = Histogram::default();
        for micros in [50, 100, 101, 20_000_000] {
            histogram.observe(micros);
        }
        let mut values = [0.0; Histogram::VALUES];
        histogram.add_to(&mut values);
        assert_eq!((values[0], values[1], values[13], values[14]), (2.0, 3.0, 3.0, 4.0));
        assert_eq!((values[15], values[16]), (20.000251, 4.0));
    }
}
