//! Outlier detection: an endpoint that fails several times in a row is taken out for
//! a while, longer each time, but never too many of them (Envoy's rules).

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

    /// Takes back endpoints whose time is over, at most once an interval, and gives
    /// `restore` their places. Cheap to call with every wake-up.
    pub fn sweep(&self, now_ms: u64, mut restore: impl FnMut(u32)) {
        let sweep_at = self.sweep_at.load(Relaxed);
        let next = now_ms.saturating_add(self.plan.interval_ms);
        let mine = now_ms >= sweep_at && self.sweep_at.compare_exchange(sweep_at, next, Relaxed, Relaxed).is_ok();
        if !mine {
            return;
        }
        for (host, place) in self.hosts.iter().zip(0..) {
            if self.restore(host, now_ms) {
                restore(place);
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
        };
        OutlierDetector::new(plan, (0..count).map(|_| Arc::default()).collect())
    }

    fn fail(detector: &OutlierDetector, now_ms: u64, endpoint: u32) -> bool {
        (0..3).map(|_| detector.report(now_ms, endpoint, false)).fold(false, |any, ejected| any | ejected)
    }

    fn swept(detector: &OutlierDetector, now_ms: u64) -> Vec<u32> {
        let mut back = Vec::new();
        detector.sweep(now_ms, |place| back.push(place));
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

    #[test]
    fn an_endpoint_outside_the_table_is_nobody() {
        assert!(!fail(&detector(1), 0, 9) && detector(1).ejected_until(9).is_none());
    }
}
