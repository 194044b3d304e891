//! `Gate`, the breaker of an upstream.
//!
//! ```text
//! closed --N failures in a row, or their rate--> open --openMs--> half-open
//!   ^                                             ^                   |
//!   '------------- the probe succeeded -----------|--- it failed -----'
//! ```
//! All workers share one by `Arc`; while it is closed nobody takes a lock.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use serde::Deserialize;

use crate::window::Window;

/// When a breaker opens and for how long.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakerPlan {
    /// Failures in a row that open it; 0: not by count.
    pub failures: u32,
    /// Percent of failures in the window that opens it; 0: not by rate.
    pub rate_percent: u32,
    /// Length of the window, milliseconds.
    pub window_ms: u64,
    /// Requests in the window before its rate says anything.
    pub min_requests: u32,
    /// First time open, milliseconds; doubles while probes fail.
    pub open_ms: u64,
    /// Longest time open, milliseconds.
    pub max_open_ms: u64,
}

/// Whether a request may go to the upstream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Go.
    Admit,
    /// Go; the result decides whether the breaker closes. It must be reported as a
    /// [`Probe`]'s; one that never is, is given up after `max_open_ms`.
    Probe,
    /// Answer 503 with this much of `Retry-After`.
    Reject {
        /// Until the next probe, at least 1.
        retry_after_ms: u64,
    },
}

/// A probe under way. Dropped untold, as when its client leaves, it makes room for the next one.
#[derive(Debug)]
pub struct Probe {
    gate: Arc<Gate>,
    is_told: Cell<bool>,
}

impl Probe {
    /// For who was admitted as one.
    pub fn new(gate: Arc<Gate>) -> Self {
        Probe { gate, is_told: Cell::new(false) }
    }

    /// Tells how it went.
    pub fn report(&self, now_ms: u64, ok: bool) {
        self.is_told.set(true);
        self.gate.report_probe(now_ms, ok);
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if !self.is_told.get() {
            self.gate.take_back();
        }
    }
}

/// What metrics show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GateState {
    /// Everything passes.
    Closed,
    /// One probe is on its way, or the next request will be it.
    HalfOpen,
    /// Nothing passes.
    Open,
}

/// The breaker. Two words hold its state: when an open one lets a probe through
/// (0: closed), and how often it has opened in a row.
#[derive(Debug)]
pub struct Gate {
    plan: BreakerPlan,
    window: Window,
    streak: AtomicU32,
    probe_at: AtomicU64,
    opened: AtomicU32,
}

impl Gate {
    /// A closed one.
    pub fn new(plan: BreakerPlan) -> Self {
        let window = Window::new(plan.window_ms);
        Gate { plan, window, streak: AtomicU32::new(0), probe_at: AtomicU64::new(0), opened: AtomicU32::new(0) }
    }

    /// Its plan: one whose plan did not change is kept when plans are swapped.
    pub const fn plan(&self) -> &BreakerPlan {
        &self.plan
    }

    /// Asks for one request. Of all that ask once the time is over, one is the probe.
    pub fn admit(&self, now_ms: u64) -> Admission {
        let probe_at = self.probe_at.load(SeqCst);
        if probe_at == 0 {
            return Admission::Admit;
        }
        if now_ms < probe_at {
            return Admission::Reject { retry_after_ms: probe_at - now_ms };
        }
        // Whoever moves the time is the probe; a probe that is never reported makes
        // room for another after the longest time.
        let again = now_ms + self.plan.max_open_ms.max(1);
        match self.probe_at.compare_exchange(probe_at, again, SeqCst, SeqCst) {
            Ok(_) => Admission::Probe,
            Err(0) => Admission::Admit,
            Err(later) => Admission::Reject { retry_after_ms: later.saturating_sub(now_ms).max(1) },
        }
    }

    /// Tells how an admitted request went. Says whether this opened the gate.
    pub fn report(&self, now_ms: u64, ok: bool) -> bool {
        self.window.record(now_ms, !ok);
        if ok {
            // A plain load first: the line stays shared while all goes well.
            if self.streak.load(Relaxed) != 0 {
                self.streak.store(0, Relaxed);
            }
            return false;
        }
        let streak = self.streak.fetch_add(1, Relaxed) + 1;
        let by_count = self.plan.failures > 0 && streak >= self.plan.failures;
        let trip = by_count || self.rate_is_over(now_ms);
        // Late failures of requests from before it opened change nothing.
        trip && self.probe_at.load(SeqCst) == 0 && self.open(now_ms)
    }

    /// Tells how the probe went: it closes the gate, or keeps it open twice as long.
    pub fn report_probe(&self, now_ms: u64, ok: bool) {
        if !ok {
            self.open(now_ms);
            return;
        }
        self.window.clear();
        self.streak.store(0, Relaxed);
        self.opened.store(0, SeqCst);
        self.probe_at.store(0, SeqCst);
    }

    /// A probe came to nothing that says how the upstream is: the next request is one.
    fn take_back(&self) {
        // Closed meanwhile, it stays closed; any time that is over lets one through.
        let _ = self.probe_at.fetch_update(SeqCst, SeqCst, |probe_at| (probe_at != 0).then_some(1));
    }

    /// Its state at `now_ms`.
    pub fn state(&self, now_ms: u64) -> GateState {
        match self.probe_at.load(SeqCst) {
            0 => GateState::Closed,
            probe_at if now_ms >= probe_at => GateState::HalfOpen,
            _ => GateState::Open,
        }
    }

    fn open(&self, now_ms: u64) -> bool {
        let times = self.opened.fetch_add(1, SeqCst).min(32);
        let open_ms = self.plan.open_ms.max(1).saturating_mul(1 << times).min(self.plan.max_open_ms.max(1));
        let before = self.probe_at.swap(now_ms.saturating_add(open_ms).max(1), SeqCst);
        before == 0
    }

    fn rate_is_over(&self, now_ms: u64) -> bool {
        if self.plan.rate_percent == 0 {
            return false;
        }
        let counts = self.window.counts(now_ms);
        counts.requests >= u64::from(self.plan.min_requests.max(1))
            && counts.failures * 100 >= counts.requests * u64::from(self.plan.rate_percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> BreakerPlan {
        let open = (1_000, 3_000);
        BreakerPlan {
            failures: 3,
            rate_percent: 50,
            window_ms: 10_000,
            min_requests: 10,
            open_ms: open.0,
            max_open_ms: open.1,
        }
    }

    fn opened() -> Gate {
        let gate = Gate::new(plan());
        assert!(!gate.report(0, false) && !gate.report(0, false));
        assert!(gate.report(0, false));
        gate
    }

    #[test]
    fn opens_after_failures_in_a_row_and_says_when_to_come_back() {
        let gate = opened();
        assert_eq!(gate.admit(400), Admission::Reject { retry_after_ms: 600 });
        assert_eq!(gate.state(400), GateState::Open);
    }

    #[test]
    fn a_probe_that_says_nothing_makes_room_for_the_next() {
        let gate = Arc::new(opened());
        assert_eq!(gate.admit(1_000), Admission::Probe);
        let probe = Probe::new(Arc::clone(&gate));
        assert_eq!(gate.admit(1_001), Admission::Reject { retry_after_ms: 2_999 }, "one at a time");
        drop(probe);
        assert_eq!(gate.admit(1_002), Admission::Probe);
        Probe::new(Arc::clone(&gate)).report(1_003, true);
        assert_eq!(gate.admit(1_004), Admission::Admit, "and it stays closed");
    }

    #[test]
    fn a_success_between_failures_starts_the_count_again() {
        let gate = Gate::new(plan());
        for _ in 0..3 {
            assert!(!gate.report(0, false) && !gate.report(0, false) && !gate.report(0, true));
        }
        assert_eq!(gate.admit(0), Admission::Admit);
    }

    #[test]
    fn opens_on_the_rate_only_with_enough_requests_in_the_window() {
        let gate = Gate::new(BreakerPlan { failures: 0, ..plan() });
        for n in 0..4 {
            assert!(!gate.report(n, false) && !gate.report(n, true), "eight requests say nothing");
        }
        assert!(!gate.report(5, true));
        assert!(gate.report(5, false), "five of ten");
        let calm = Gate::new(BreakerPlan { failures: 0, ..plan() });
        (0..9).for_each(|_| assert!(!calm.report(0, false)));
        assert!(!calm.report(11_000, false), "the old ones have left the window");
    }

    #[test]
    fn lets_exactly_one_probe_through_and_closes_when_it_succeeds() {
        let gate = opened();
        assert_eq!(gate.state(1_000), GateState::HalfOpen);
        assert_eq!(gate.admit(1_000), Admission::Probe);
        assert!(matches!(gate.admit(1_000), Admission::Reject { .. }));
        gate.report_probe(1_010, true);
        assert_eq!((gate.admit(1_010), gate.state(1_010)), (Admission::Admit, GateState::Closed));
    }

    #[test]
    fn stays_open_twice_as_long_after_each_failed_probe_up_to_the_bound() {
        let gate = opened();
        let mut now = 1_000;
        for wait in [2_000, 3_000, 3_000] {
            assert_eq!(gate.admit(now), Admission::Probe);
            gate.report_probe(now, false);
            assert_eq!(gate.admit(now), Admission::Reject { retry_after_ms: wait });
            now += wait;
        }
    }

    #[test]
    fn a_probe_that_is_never_reported_makes_room_for_another() {
        let gate = opened();
        assert_eq!(gate.admit(1_000), Admission::Probe);
        assert!(matches!(gate.admit(3_999), Admission::Reject { .. }));
        assert_eq!(gate.admit(4_000), Admission::Probe);
    }

    #[test]
    fn of_many_threads_one_is_the_probe() {
        let gate = opened();
        let probes = std::thread::scope(|scope| {
            let ask = || gate.admit(1_000) == Admission::Probe;
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|probe| *probe).count()
        });
        assert_eq!(probes, 1);
    }
}
