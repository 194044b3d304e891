//! `RetryBudget`: retries may be a share of the requests of the last ten seconds and
//! of those in flight, so that they cannot double the load of an upstream that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::window::Window;

const TTL_MS: u64 = 10_000;

/// The budget of one upstream; all workers share it by `Arc`.
#[derive(Debug)]
pub struct RetryBudget {
    max_parallel: AtomicU32,
    parallel: AtomicU32,
    /// Requests, and among them (as failures of the window) retries.
    window: Window,
}

/// How many retries a route allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryShare {
    /// Percent of the requests. Default 20.
    pub percent: u32,
    /// Always so many a second. Default 10.
    pub min_per_second: u32,
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
    /// `max_parallel` at a time (default 3).
    pub fn new(max_parallel: u32) -> Self {
        RetryBudget {
            max_parallel: AtomicU32::new(max_parallel),
            parallel: AtomicU32::new(0),
            window: Window::new(TTL_MS),
        }
    }

    /// Changes the bound of those at a time; retries above a lower one finish first.
    pub fn set_max(&self, max_parallel: u32) {
        self.max_parallel.store(max_parallel, Relaxed);
    }

    /// Counts a first try.
    pub fn record_request(&self, now_ms: u64) {
        self.window.record(now_ms, false);
    }

    /// Asks for a retry; `None` where the budget is used up. `active`: requests in
    /// flight to the upstream; `share`: what the route allows.
    pub fn take(self: &Arc<Self>, now_ms: u64, active: u32, share: RetryShare) -> Option<RetryPermit> {
        let counts = self.window.counts(now_ms);
        let (retries, firsts) = (counts.failures, counts.requests - counts.failures);
        let floor = u64::from(share.min_per_second) * TTL_MS / 1_000;
        let allowed = floor.max(firsts.max(u64::from(active)) * u64::from(share.percent) / 100);
        let max_parallel = self.max_parallel.load(Relaxed);
        let below = |parallel: u32| (parallel < max_parallel).then_some(parallel + 1);
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

    const SHARE: RetryShare = RetryShare { percent: 20, min_per_second: 1 };

    fn taken(budget: &Arc<RetryBudget>, now_ms: u64) -> usize {
        (0..1_000).filter(|_| budget.take(now_ms, 0, SHARE).is_some()).count()
    }

    #[test]
    fn allows_the_floor_when_idle_and_a_share_under_load() {
        let idle = Arc::new(RetryBudget::new(3));
        assert_eq!(taken(&idle, 0), 10);
        assert_eq!(taken(&idle, 9_000), 0);
        assert_eq!(taken(&idle, 20_000), 10);
        let busy = Arc::new(RetryBudget::new(3));
        (0..1_000).for_each(|_| busy.record_request(0));
        assert_eq!(taken(&busy, 0), 200);
    }

    #[test]
    fn bounds_the_retries_in_parallel() {
        let budget = Arc::new(RetryBudget::new(3));
        let held: Vec<_> =
            (0..5).filter_map(|_| budget.take(0, 0, RetryShare { percent: 20, min_per_second: 10 })).collect();
        assert_eq!(held.len(), 3);
        drop(held);
        assert!(budget.take(0, 0, RetryShare { percent: 20, min_per_second: 10 }).is_some());
        budget.set_max(0);
        assert!(budget.take(0, 0, RetryShare { percent: 100, min_per_second: 10 }).is_none());
    }
}
