//! `Hedge`: how long an answer may take before the same request goes to a second endpoint.
//! Fixed, or what the slowest few of the answers so far took longer than.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Deserialize;

/// When the second try is made.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HedgePlan {
    /// Milliseconds; `None`: what is learnt.
    pub after_ms: Option<u64>,
    /// Of the answers that came so far, percent. Default 95.
    pub percentile: f64,
}

/// Answers until what was learnt counts.
const LEARNT: u64 = 20;
/// How far an estimate moves with an answer, as a share of itself.
const STEP: f64 = 0.1;

/// A plan with what was learnt; all workers share it by `Arc`. A lost update is one answer less.
#[derive(Debug)]
pub struct Hedge {
    plan: HedgePlan,
    estimate_us: AtomicU64,
    answers: AtomicU64,
}

impl Hedge {
    /// Knows nothing yet.
    pub const fn new(plan: HedgePlan) -> Self {
        Hedge { plan, estimate_us: AtomicU64::new(0), answers: AtomicU64::new(0) }
    }

    /// Its plan: one whose plan did not change is kept when plans are swapped.
    pub const fn plan(&self) -> &HedgePlan {
        &self.plan
    }

    /// Microseconds to wait for the first answer. `None`: too little is known.
    pub fn delay_us(&self) -> Option<u64> {
        match self.plan.after_ms {
            Some(ms) => Some(ms * 1_000),
            None if self.answers.load(Relaxed) < LEARNT => None,
            None => Some(f64::from_bits(self.estimate_us.load(Relaxed)) as u64),
        }
    }

    /// Takes how long an answer took, hedged or not. The estimate rises by the share that
    /// may be slower and falls by the rest, so that it rests where both even out.
    pub fn sample(&self, took_us: u64) {
        if self.plan.after_ms.is_some() {
            return;
        }
        let took = took_us.max(1) as f64;
        let before = f64::from_bits(self.estimate_us.load(Relaxed));
        let share = self.plan.percentile / 100.0;
        let estimate = if before == 0.0 {
            took
        } else if took > before {
            // A first guess may be far too low: what is learnt early moves further.
            before + before.max(1.0) * STEP * share * if self.answers.load(Relaxed) < LEARNT { 5.0 } else { 1.0 }
        } else {
            before - before * STEP * (1.0 - share)
        };
        self.estimate_us.store(estimate.to_bits(), Relaxed);
        self.answers.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(state: &mut u64) -> f64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 11) as f64 / (1_u64 << 53) as f64
    }

    #[test]
    fn a_fixed_delay_is_just_that() {
        let hedge = Hedge::new(HedgePlan { after_ms: Some(30), percentile: 95.0 });
        hedge.sample(1);
        assert_eq!(hedge.delay_us(), Some(30_000));
    }

    #[test]
    fn nothing_is_said_before_enough_was_seen() {
        let hedge = Hedge::new(HedgePlan { after_ms: None, percentile: 95.0 });
        (0..19).for_each(|_| hedge.sample(5_000));
        assert_eq!(hedge.delay_us(), None);
        hedge.sample(5_000);
        assert!(hedge.delay_us().is_some_and(|delay| (3_000..10_000).contains(&delay)), "{:?}", hedge.delay_us());
    }

    #[test]
    fn as_many_answers_as_asked_for_are_faster_than_what_was_learnt() {
        for percentile in [90.0, 95.0] {
            let hedge = Hedge::new(HedgePlan { after_ms: None, percentile });
            let mut state = 7;
            let latency = |state: &mut u64| 1_000 + (-random(state).max(1e-9).ln() * 9_000.0) as u64;
            (0..5_000).for_each(|_| hedge.sample(latency(&mut state)));
            let (mut faster, all) = (0, 20_000);
            for _ in 0..all {
                let took = latency(&mut state);
                faster += u32::from(hedge.delay_us().is_some_and(|delay| took <= delay));
                hedge.sample(took);
            }
            let share = f64::from(faster) / f64::from(all) * 100.0;
            assert!((share - percentile).abs() < 1.5, "{share} of {percentile}");
        }
    }

    #[test]
    fn follows_an_upstream_that_becomes_faster() {
        let hedge = Hedge::new(HedgePlan { after_ms: None, percentile: 95.0 });
        (0..200).for_each(|_| hedge.sample(100_000));
        (0..2_000).for_each(|_| hedge.sample(1_000));
        assert!(hedge.delay_us().is_some_and(|delay| delay < 2_000), "{:?}", hedge.delay_us());
    }
}
