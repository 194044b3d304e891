//! `RetryBudget`: retries may be a share of the requests of the last ten seconds and
//! of those in flight, so that they cannot double the load of an upstream that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::window::Window;

const TTL_MS: u64 = 10_000;

/// The budget of one upstream; all workers share it by `Arc`.
#[derive(Debug)]
pub struct RetryBudget {
    percent: u64,
    floor: u64,
    max_parallel: u32,
    parallel: AtomicU32,
    /// Requests, and among them (as failures of the window) retries.
    window: Window,
}

/// A retry on its way; counts as parallel until it is dropped.
#[derive(Debug)]
pub struct RetryPermit {
    budget: Arc<RetryBudget>,
}

impl Drop for RetryPermit {
    fn drop(&mut self) {
        self.budget.parallel.fetch_sub(1, Relaxed);
    }
}

impl RetryBudget {
    /// `percent` of requests (default 20), `min_per_second` always (default 10),
    /// `max_parallel` at a time (default 3).
    pub fn new(percent: u32, min_per_second: u32, max_parallel: u32) -> Self {
        RetryBudget {
            percent: u64::from(percent),
            floor: u64::from(min_per_second) * TTL_MS / 1_000,
            max_parallel,
            parallel: AtomicU32::new(0),
            window: Window::new(TTL_MS),
        }
    }

    /// Counts a first try.
    pub fn record_request(&self, now_ms: u64) {
        self.window.record(now_ms, false);
    }

    /// Asks for a retry; `None` where the budget is used up. `active`: requests in
    /// flight to the upstream.
    pub fn take(self: &Arc<Self>, now_ms: u64, active: u32) -> Option<RetryPermit> {
        let counts = self.window.counts(now_ms);
        let (retries, firsts) = (counts.failures, counts.requests - counts.failures);
        let allowed = self.floor.max(firsts.max(u64::from(active)) * self.percent / 100);
        let below = |parallel: u32| (parallel < self.max_parallel).then_some(parallel + 1);
        if retries >= allowed || self.parallel.fetch_update(Relaxed, Relaxed, below).is_err() {
            return None;
        }
        self.window.record(now_ms, true);
        Some(RetryPermit { budget: Arc::clone(self) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &Arc<RetryBudget>, now_ms: u64) -> usize {
        (0..1_000).filter(|_| budget.take(now_ms, 0).is_some()).count()
    }

    #[test]
    fn allows_the_floor_when_idle_and_a_share_under_load() {
        let idle = Arc::new(RetryBudget::new(20, 1, 3));
        assert_eq!(taken(&idle, 0), 10);
        assert_eq!(taken(&idle, 9_000), 0);
        assert_eq!(taken(&idle, 20_000), 10);
        let busy = Arc::new(RetryBudget::new(20, 1, 3));
        (0..1_000).for_each(|_| busy.record_request(0));
        assert_eq!(taken(&busy, 0), 200);
    }

    #[test]
    fn bounds_the_retries_in_parallel() {
        let budget = Arc::new(RetryBudget::new(20, 10, 3));
        let held: Vec<_> = (0..5).filter_map(|_| budget.take(0, 0)).collect();
        assert_eq!(held.len(), 3);
        drop(held);
        assert!(budget.take(0, 0).is_some());
    }
}
