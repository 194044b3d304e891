//! Outlier detection: an endpoint that fails several times in a row, or far more often
//! than the others, is taken out for a while, longer each time, but never too many of
//! them (Envoy's rules).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use serde::Deserialize;

/// `OutlierPlan` of the plan.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutlierPlan {
    /// 5xx or lost connections in a row that eject. Default 5; 0: never.
    #[serde(rename = "consecutive5xx")]
    pub consecutive_5xx: u32,
    /// Time between sweeps that take endpoints back. Default 10,000.
    pub interval_ms: u64,
    /// First ejection; times the number of ejections. Default 30,000.
    pub base_ejection_ms: u64,
    /// Longest ejection. Default 300,000.
    pub max_ejection_ms: u64,
    /// Percent of the endpoints that may be out, but at least one. Default 10.
    pub max_ejected_percent: u32,
    /// So many endpoints need enough requests before rates are compared. Default 5; 0: never.
    pub success_rate_min_hosts: u32,
    /// Enough requests of an endpoint between two sweeps. Default 100.
    pub success_rate_min_requests: u32,
    /// Below the mean by so many standard deviations ejects, in thousandths. Default 1,900.
    pub success_rate_stdev_factor: u32,
}

/// What is known of the endpoints of one upstream, by their place in its table.
#[derive(Debug)]
pub struct OutlierDetector {
    plan: OutlierPlan,
    hosts: Box<[Arc<OutlierState>]>,
    ejected: AtomicU32,
    sweep_at: AtomicU64,
}

/// What is known of one endpoint; outlives the plan, under the endpoint's stable name.
#[derive(Debug, Default)]
pub struct OutlierState {
    streak: AtomicU32,
    /// How often it was ejected; sinks with each sweep that finds it well.
    times: AtomicU32,
    /// 0: in service.
    until: AtomicU64,
    /// Since the last sweep, where rates are compared.
    succeeded: AtomicU32,
    failed: AtomicU32,
}

impl OutlierState {
    /// Share of requests that went well since the last call; none where there were too few.
    fn take_rate(&self, min_requests: u32) -> Option<f64> {
        let (succeeded, failed) = (self.succeeded.swap(0, Relaxed), self.failed.swap(0, Relaxed));
        let total = succeeded.saturating_add(failed);
        (total >= min_requests.max(1)).then(|| f64::from(succeeded) / f64::from(total))
    }
}

impl OutlierDetector {
    /// For a table of endpoints, with the states of the plan before or new ones. Who
    /// was out stays out until its time is over.
    pub fn new(plan: OutlierPlan, hosts: Vec<Arc<OutlierState>>) -> Self {
        let ejected = hosts.iter().filter(|host| host.until.load(Relaxed) != 0).count();
        let ejected = AtomicU32::new(ejected as u32);
        OutlierDetector { plan, hosts: hosts.into(), ejected, sweep_at: AtomicU64::new(0) }
    }

    /// Tells how a request to an endpoint went (`ok`: an answer below 500). Says
    /// whether the endpoint is to be ejected now.
    pub fn report(&self, now_ms: u64, endpoint: u32, ok: bool) -> bool {
        let Some(host) = self.hosts.get(endpoint as usize) else { return false };
        if self.plan.success_rate_min_hosts > 0 {
            (if ok { &host.succeeded } else { &host.failed }).fetch_add(1, Relaxed);
        }
        if ok {
            if host.streak.load(Relaxed) != 0 {
                host.streak.store(0, Relaxed);
            }
            return false;
        }
        let streak = host.streak.fetch_add(1, Relaxed) + 1;
        let over = self.plan.consecutive_5xx > 0 && streak >= self.plan.consecutive_5xx;
        over && host.until.load(Relaxed) == 0 && self.reserve() && self.eject(host, now_ms)
    }

    /// Takes back endpoints whose time is over and ejects those that fail far more often than
    /// the others, at most once an interval; `tell` gets their places, and whether they are
    /// out now. Cheap to call with every wake-up.
    pub fn sweep(&self, now_ms: u64, mut tell: impl FnMut(u32, bool)) {
        let sweep_at = self.sweep_at.load(Relaxed);
        let next = now_ms.saturating_add(self.plan.interval_ms);
        let mine = now_ms >= sweep_at && self.sweep_at.compare_exchange(sweep_at, next, Relaxed, Relaxed).is_ok();
        if !mine {
            return;
        }
        for (host, place) in self.hosts.iter().zip(0..) {
            if self.restore(host, now_ms) {
                tell(place, false);
            }
        }
        self.compare(now_ms, |place| tell(place, true));
    }

    /// Ejects who is below the mean success rate by too many standard deviations.
    fn compare(&self, now_ms: u64, mut ejected: impl FnMut(u32)) {
        let OutlierPlan { success_rate_min_hosts, success_rate_min_requests, success_rate_stdev_factor, .. } =
            self.plan;
        if success_rate_min_hosts == 0 {
            return;
        }
        let rates: Vec<Option<f64>> = self.hosts.iter().map(|host| host.take_rate(success_rate_min_requests)).collect();
        let known: Vec<f64> = rates.iter().flatten().copied().collect();
        if known.len() < success_rate_min_hosts as usize {
            return;
        }
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        let variance = known.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / known.len() as f64;
        let least = mean - f64::from(success_rate_stdev_factor) / 1_000.0 * variance.sqrt();
        for ((host, rate), place) in self.hosts.iter().zip(rates).zip(0..) {
            let is_low = rate.is_some_and(|rate| rate < least);
            if is_low && host.until.load(Relaxed) == 0 && self.reserve() && self.eject(host, now_ms) {
                ejected(place);
            }
        }
    }

    /// Until when an endpoint is out, in milliseconds of the gateway's clock.
    pub fn ejected_until(&self, endpoint: u32) -> Option<u64> {
        let until = self.hosts.get(endpoint as usize)?.until.load(Relaxed);
        (until != 0).then_some(until)
    }

    /// Whether one more may be out.
    fn reserve(&self) -> bool {
        let max = (self.hosts.len() as u32).saturating_mul(self.plan.max_ejected_percent) / 100;
        let below = |ejected: u32| (ejected < max.max(1)).then_some(ejected + 1);
        self.ejected.fetch_update(Relaxed, Relaxed, below).is_ok()
    }

    fn eject(&self, host: &OutlierState, now_ms: u64) -> bool {
        let times = u64::from(host.times.fetch_add(1, Relaxed)) + 1;
        let ms = self.plan.base_ejection_ms.saturating_mul(times).min(self.plan.max_ejection_ms).max(1);
        let won = host.until.compare_exchange(0, now_ms.saturating_add(ms).max(1), Relaxed, Relaxed).is_ok();
        if !won {
            self.ejected.fetch_sub(1, Relaxed);
        }
        host.streak.store(0, Relaxed);
        won
    }

    fn restore(&self, host: &OutlierState, now_ms: u64) -> bool {
        let until = host.until.load(Relaxed);
        if until == 0 {
            // The update never yields below 0; where it is 0 already it fails, which is well.
            let _ = host.times.fetch_update(Relaxed, Relaxed, |times| times.checked_sub(1));
            return false;
        }
        let over = now_ms >= until && host.until.compare_exchange(until, 0, Relaxed, Relaxed).is_ok();
        if over {
            self.ejected.fetch_sub(1, Relaxed);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detector(count: usize) -> OutlierDetector {
        let plan = OutlierPlan {
            consecutive_5xx: 3,
            interval_ms: 10,
            base_ejection_ms: 100,
            max_ejection_ms: 250,
            max_ejected_percent: 10,
            success_rate_min_hosts: 5,
            success_rate_min_requests: 100,
            success_rate_stdev_factor: 1_900,
        };
        OutlierDetector::new(plan, (0..count).map(|_| Arc::default()).collect())
    }

    fn fail(detector: &OutlierDetector, now_ms: u64, endpoint: u32) -> bool {
        (0..3).map(|_| detector.report(now_ms, endpoint, false)).fold(false, |any, ejected| any | ejected)
    }

    fn swept(detector: &OutlierDetector, now_ms: u64) -> Vec<u32> {
        let mut back = Vec::new();
        detector.sweep(now_ms, |place, is_out| {
            if !is_out {
                back.push(place)
            }
        });
        back
    }

    #[test]
    fn ejects_after_failures_in_a_row_and_takes_back_when_the_time_is_over() {
        let detector = detector(5);
        assert!(!detector.report(0, 2, false) && !detector.report(0, 2, false) && !detector.report(0, 2, true));
        assert!(fail(&detector, 0, 2));
        assert_eq!(detector.ejected_until(2), Some(100));
        assert_eq!((swept(&detector, 99), swept(&detector, 110)), (vec![], vec![2]));
        assert_eq!(detector.ejected_until(2), None);
    }

    #[test]
    fn each_ejection_is_longer_up_to_the_bound() {
        let detector = detector(5);
        let mut now = 0;
        for length in [100, 200, 250] {
            assert!(fail(&detector, now, 0));
            assert_eq!(detector.ejected_until(0), Some(now + length));
            now += length;
            assert_eq!(swept(&detector, now), [0]);
        }
    }

    #[test]
    fn never_ejects_more_than_the_share_but_at_least_one() {
        let few = detector(2);
        assert!(fail(&few, 0, 0) && !fail(&few, 0, 1));
        let many = detector(30);
        assert_eq!((0..30).filter(|place| fail(&many, 0, *place)).count(), 3);
    }

    /// Each endpoint gets so many requests, of which one in `every` fails.
    fn serve(detector: &OutlierDetector, requests: u32, every: &[u32]) {
        for (place, every) in (0..).zip(every) {
            (0..requests).for_each(|number| {
                detector.report(0, place, number % every != 0);
            });
        }
    }

    fn ejected(detector: &OutlierDetector, now_ms: u64) -> Vec<u32> {
        let mut out = Vec::new();
        detector.sweep(now_ms, |place, is_out| {
            if is_out {
                out.push(place)
            }
        });
        out
    }

    #[test]
    fn who_fails_far_more_often_than_the_others_is_ejected_by_its_rate() {
        let well = [50, 50, 50, 50, 50, 4];
        let six = detector(6);
        serve(&six, 200, &well);
        assert_eq!(ejected(&six, 10), [5]);
        assert_eq!(six.ejected_until(5), Some(110));
        assert_eq!(ejected(&six, 20), [], "each sweep begins anew");

        let few = detector(4);
        serve(&few, 200, &[50, 50, 50, 4]);
        assert_eq!(ejected(&few, 10), [], "fewer than five hosts");
        let quiet = detector(6);
        serve(&quiet, 99, &well);
        assert_eq!(ejected(&quiet, 10), [], "fewer than a hundred requests");
        let alike = detector(6);
        serve(&alike, 200, &[10; 6]);
        assert_eq!(ejected(&alike, 10), [], "all are as bad");
    }

    #[test]
    fn an_endpoint_outside_the_table_is_nobody() {
        assert!(!fail(&detector(1), 0, 9) && detector(1).ejected_until(9).is_none());
    }
}
