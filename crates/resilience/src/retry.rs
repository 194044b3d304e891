//! Whether a failed try is made again.

use serde::Deserialize;

use crate::{Backoff, Hedge, HedgePlan, RetryShare};
use std::sync::Arc;

/// `RetryPlan` of the plan.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryPlan {
    /// Tries after the first.
    pub attempts: u32,
    /// Classes of failure: `connect-failure reset timeout 5xx gateway-error
    /// retriable-4xx 429`; others are ignored.
    pub on: Vec<String>,
    /// How the wait grows.
    pub backoff: Backoff,
    /// First wait, milliseconds. Default 25.
    pub base_ms: u64,
    /// Longest wait, milliseconds. Default 250.
    pub max_ms: u64,
    /// Retries in percent of active requests. Default 20.
    pub budget_percent: u32,
    /// Retries a second that are always allowed. Default 10.
    pub budget_min_per_second: u32,
    /// Also methods that are not idempotent.
    pub non_idempotent: bool,
    /// A second try beside the first.
    #[serde(default)]
    pub hedge: Option<HedgePlan>,
}

/// How a try failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// No connection: nothing was sent.
    Connect,
    /// The connection ended before a response head.
    Reset,
    /// No response head in time.
    Timeout,
    /// A response with this status.
    Status(u16),
}

/// A compiled plan.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    plan: RetryPlan,
    classes: u8,
    hedge: Option<Arc<Hedge>>,
}

const CLASSES: [&str; 7] = ["connect-failure", "reset", "timeout", "5xx", "gateway-error", "retriable-4xx", "429"];

impl RetryPolicy {
    /// Compiles a plan.
    pub fn new(plan: RetryPlan) -> Self {
        let class = |name: &String| CLASSES.iter().position(|class| class == name).map_or(0, |bit| 1 << bit);
        let classes = plan.on.iter().map(class).fold(0, |all, class| all | class);
        let hedge = plan.hedge.clone().map(|plan| Arc::new(Hedge::new(plan)));
        RetryPolicy { plan, classes, hedge }
    }

    /// When a second try is made beside the first.
    pub const fn hedge(&self) -> Option<&Arc<Hedge>> {
        self.hedge.as_ref()
    }

    /// Goes on with what the policy before had learnt, if that was for the same plan.
    pub fn keep(&mut self, before: &RetryPolicy) {
        if let (Some(own), Some(known)) = (&mut self.hedge, &before.hedge)
            && own.plan() == known.plan()
        {
            *own = Arc::clone(known);
        }
    }

    /// Its plan.
    pub const fn plan(&self) -> &RetryPlan {
        &self.plan
    }

    /// How many retries of its upstream it allows.
    pub const fn share(&self) -> RetryShare {
        RetryShare { percent: self.plan.budget_percent, min_per_second: self.plan.budget_min_per_second }
    }

    /// Whether to try again after `tries` tries. `repeatable`: the method is idempotent
    /// (RFC 9110 section 9.2.2) and the whole request is still at hand. A budget has
    /// to agree too.
    pub fn allows(&self, tries: u32, failure: Failure, repeatable: bool) -> bool {
        // Where nothing was sent the method does not matter.
        let may_repeat = repeatable || self.plan.non_idempotent || failure == Failure::Connect;
        tries <= self.plan.attempts && may_repeat && self.classes & classes_of(failure) != 0
    }

    /// Whether it names this kind of failure.
    pub const fn retries(&self, failure: Failure) -> bool {
        self.classes & classes_of(failure) != 0
    }

    /// Milliseconds to wait before the next try. `Retry-After` of the response wins
    /// when it is longer. `unit`: random in `[0, 1)`.
    pub fn wait_ms(&self, tries: u32, retry_after_ms: Option<u64>, unit: f64) -> u64 {
        let own = self.plan.backoff.wait_ms(tries, (self.plan.base_ms, self.plan.max_ms), unit);
        own.max(retry_after_ms.unwrap_or(0))
    }
}

/// Envoy's classes: `5xx` covers everything that gave no response.
const fn classes_of(failure: Failure) -> u8 {
    match failure {
        Failure::Connect => 0b000_1001,
        Failure::Reset => 0b000_1010,
        Failure::Timeout => 0b000_1100,
        Failure::Status(502..=504) => 0b001_1000,
        Failure::Status(500..=599) => 0b000_1000,
        Failure::Status(409) => 0b010_0000,
        Failure::Status(429) => 0b100_0000,
        Failure::Status(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(on: &[&str]) -> RetryPolicy {
        RetryPolicy::new(RetryPlan {
            attempts: 2,
            on: on.iter().map(|class| (*class).to_owned()).collect(),
            backoff: Backoff::Exponential,
            base_ms: 25,
            max_ms: 250,
            budget_percent: 20,
            budget_min_per_second: 10,
            non_idempotent: false,
            hedge: None,
        })
    }

    #[test]
    fn tries_again_only_the_classes_it_names_and_only_so_often() {
        let policy = policy(&["gateway-error", "429"]);
        assert!(policy.allows(1, Failure::Status(503), true) && policy.allows(2, Failure::Status(429), true));
        assert!(!policy.allows(3, Failure::Status(503), true));
        assert!(!policy.allows(1, Failure::Status(500), true) && !policy.allows(1, Failure::Reset, true));
        assert!(!policy.allows(1, Failure::Status(200), true));
    }

    #[test]
    fn repeats_what_is_not_idempotent_only_when_nothing_was_sent() {
        let policy = policy(&["5xx"]);
        assert!(policy.allows(1, Failure::Connect, false));
        assert!(!policy.allows(1, Failure::Reset, false) && policy.allows(1, Failure::Reset, true));
    }

    #[test]
    fn waits_at_least_as_long_as_the_upstream_asks() {
        assert_eq!(policy(&[]).wait_ms(1, Some(2_000), 0.5), 2_000);
        assert_eq!(policy(&[]).wait_ms(2, None, 0.5), 37);
    }
}
