//! `peakEwma`: of two random endpoints the one with the lower latency times requests
//! in flight. Latency is an average that forgets with time, but a new peak replaces
//! it at once, so that an endpoint that turns slow is left alone at once.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::roster::Roster;
use crate::{EndpointIndex, Endpoints, PickRequest, Picker, Random, Sample};

/// The latency of one endpoint, shared by all workers: average (`f32` bits) and time
/// (milliseconds, wrapping) in one word. 0: no sample yet.
#[derive(Debug, Default)]
pub(crate) struct PeakLatency {
    packed: AtomicU64,
}

impl PeakLatency {
    fn record(&self, now_ms: u64, (latency_ms, decay_ms): (f64, f64)) {
        // The update always yields a value, so it cannot fail.
        let _ = self.packed.fetch_update(Relaxed, Relaxed, |packed| {
            let (average, weight) = unpack(packed, now_ms, decay_ms).unwrap_or((0.0, 0.0));
            let next = if latency_ms > average { latency_ms } else { average * weight + latency_ms * (1.0 - weight) };
            Some(u64::from((next as f32).to_bits()) << 32 | now_ms & 0xffff_ffff)
        });
    }

    /// What it counts as now: an endpoint that is not asked is forgiven with time.
    pub(crate) fn cost(&self, now_ms: u64, decay_ms: f64) -> Option<f64> {
        unpack(self.packed.load(Relaxed), now_ms, decay_ms).map(|(average, weight)| average * weight)
    }
}

/// The average and what time has left of it, 0 to 1.
fn unpack(packed: u64, now_ms: u64, decay_ms: f64) -> Option<(f64, f64)> {
    // Clocks of workers differ by a wake-up: a sample of the future is of now.
    let age = (now_ms as u32).wrapping_sub(packed as u32) as i32;
    let weight = (-f64::from(age.max(0)) / decay_ms).exp();
    (packed != 0).then(|| (f64::from(f32::from_bits((packed >> 32) as u32)), weight))
}

/// Prefers endpoints that answer fast.
#[derive(Debug)]
pub struct PeakEwma {
    roster: Roster,
    decay_ms: f64,
    seed_ms: f64,
    random: Random,
}

impl PeakEwma {
    /// `decay_ms`: default 10,000. `seed_ms`, default 30: what an endpoint without a
    /// sample counts as.
    pub const fn new(decay_ms: u64, seed_ms: u64, seed: u64) -> Self {
        let decay_ms = if decay_ms == 0 { 1.0 } else { decay_ms as f64 };
        PeakEwma { roster: Roster::EMPTY, decay_ms, seed_ms: seed_ms as f64, random: Random::new(seed) }
    }

    fn cost(&self, place: u32, now_ms: u64, endpoints: &Endpoints) -> f64 {
        let member = &self.roster.members[place as usize];
        let Some(endpoint) = endpoints.get(member.index) else { return f64::MAX };
        let latency = endpoint.state().latency().cost(now_ms, self.decay_ms).unwrap_or(self.seed_ms);
        // Never 0: else load would not count between endpoints that are very fast.
        latency.max(0.001) * (f64::from(endpoint.active()) + 1.0) / member.weight
    }
}

impl Picker for PeakEwma {
    fn pick(&mut self, request: &PickRequest<'_>, endpoints: &Endpoints) -> Option<EndpointIndex> {
        self.roster.refresh(endpoints, request.side);
        let len = self.roster.len();
        if len == 0 {
            return None;
        }
        let first = self.random.below(len);
        let second = (first + 1 + self.random.below(len - 1)) % len;
        let first = self.roster.untried_from(first, request)?;
        let second = self.roster.untried_from(second, request)?;
        let cheaper = self.cost(second, request.now_ms, endpoints) < self.cost(first, request.now_ms, endpoints);
        let place = if cheaper { second } else { first };
        Some(self.roster.members[place as usize].index)
    }

    fn on_response(&mut self, sample: &Sample, endpoints: &Endpoints) {
        if let Some(endpoint) = endpoints.get(sample.endpoint) {
            endpoint.state().latency().record(sample.now_ms, (sample.latency_ms.max(0.0), self.decay_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_counts_at_once_and_is_forgotten_with_time() {
        let latency = PeakLatency::default();
        assert_eq!(latency.cost(0, 100.0), None);
        latency.record(1_000, (10.0, 100.0));
        latency.record(1_000, (500.0, 100.0));
        assert_eq!(latency.cost(1_000, 100.0), Some(500.0));
        latency.record(1_100, (10.0, 100.0));
        let after = latency.cost(1_100, 100.0).expect("samples");
        assert!((185.0..195.0).contains(&after), "{after}");
        assert!(latency.cost(2_000, 100.0).is_some_and(|cost| cost < 1.0));
    }
}
