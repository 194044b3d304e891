//! Successes and failures of the last window, exact to a tenth of it: ten buckets in
//! a ring, each tagged with the turn of the clock it counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const BUCKETS: u64 = 10;

/// Lock-free counts. A bucket packs turn (32 bits), requests (16) and failures (16);
/// a bucket that is full is halved, which keeps its rate.
#[derive(Debug, Default)]
pub(crate) struct Window {
    buckets: [AtomicU64; BUCKETS as usize],
    bucket_ms: u64,
}

/// What a window holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) failures: u64,
}

impl Window {
    pub(crate) fn new(window_ms: u64) -> Self {
        Window { bucket_ms: (window_ms / BUCKETS).max(1), ..Window::default() }
    }

    pub(crate) fn record(&self, now_ms: u64, failed: bool) {
        let turn = self.turn(now_ms);
        let bucket = &self.buckets[(turn % BUCKETS) as usize];
        // The update always yields a value, so it cannot fail.
        let _ = bucket.fetch_update(Relaxed, Relaxed, |packed| {
            let (own, counts) = unpack(packed);
            let kept = if own == turn as u32 { counts } else { Counts::default() };
            let full = u32::from(kept.requests >= u64::from(u16::MAX));
            let counts =
                Counts { requests: (kept.requests >> full) + 1, failures: (kept.failures >> full) + u64::from(failed) };
            Some(pack(turn as u32, counts))
        });
    }

    pub(crate) fn counts(&self, now_ms: u64) -> Counts {
        let now = self.turn(now_ms) as u32;
        let fresh = self.buckets.iter().map(|bucket| unpack(bucket.load(Relaxed)));
        fresh.filter(|(turn, _)| now.wrapping_sub(*turn) < BUCKETS as u32).fold(
            Counts::default(),
            |sum, (_, counts)| Counts {
                requests: sum.requests + counts.requests,
                failures: sum.failures + counts.failures,
            },
        )
    }

    pub(crate) fn clear(&self) {
        self.buckets.iter().for_each(|bucket| bucket.store(0, Relaxed));
    }

    /// Starts at `BUCKETS`, so that buckets that were never used are too old to count.
    fn turn(&self, now_ms: u64) -> u64 {
        now_ms / self.bucket_ms + BUCKETS
    }
}

const fn pack(turn: u32, counts: Counts) -> u64 {
    (turn as u64) << 32 | counts.requests << 16 | counts.failures
}

const fn unpack(packed: u64) -> (u32, Counts) {
    ((packed >> 32) as u32, Counts { requests: packed >> 16 & 0xffff, failures: packed & 0xffff })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_that_overflows_keeps_its_rate() {
        let window = Window::new(1_000);
        (0..200_000).for_each(|n| window.record(0, n % 4 == 0));
        let counts = window.counts(0);
        assert!(counts.requests > 30_000 && (counts.requests / 4).abs_diff(counts.failures) < 3, "{counts:?}");
    }

    #[test]
    fn counts_only_what_the_window_still_holds() {
        let window = Window::new(1_000);
        window.record(0, true);
        window.record(550, false);
        assert_eq!(window.counts(999), Counts { requests: 2, failures: 1 });
        assert_eq!(window.counts(1_000), Counts { requests: 1, failures: 0 });
        assert_eq!(window.counts(5_000), Counts::default());
        window.record(1_050, true);
        assert_eq!(window.counts(1_050), Counts { requests: 2, failures: 1 });
    }
}
