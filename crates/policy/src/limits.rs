//! Rate limits by their stable name: they outlive the plan, so that a change of
//! config does not hand out new tokens.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use tidegate_resilience::RateLimit;

use crate::RateLimitPlan;

/// All rate limits of the process. Used only while a plan is compiled.
#[derive(Debug, Default)]
pub struct LimitRegistry {
    limits: HashMap<String, (Shape, Arc<RateLimit>), RandomState>,
}

/// What makes a limit another one.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Shape {
    per_second: f64,
    burst: u32,
    max_keys: usize,
}

impl LimitRegistry {
    /// None yet.
    pub fn new() -> Self {
        LimitRegistry::default()
    }

    /// The limit of that name; a new one where its numbers have changed.
    pub fn limit(&mut self, plan: &RateLimitPlan) -> Arc<RateLimit> {
        let shape = Shape { per_second: plan.per_second, burst: plan.burst, max_keys: plan.max_keys };
        let make = || (shape, Arc::new(RateLimit::new(plan.per_second, plan.burst, plan.max_keys)));
        let entry = self.limits.entry(plan.name.clone()).or_insert_with(make);
        if entry.0 != shape {
            *entry = make();
        }
        Arc::clone(&entry.1)
    }

    /// Forgets limits that no plan uses any more; to be called once the old plan is gone.
    pub fn sweep(&mut self) {
        self.limits.retain(|_, (_, limit)| Arc::strong_count(limit) > 1);
    }
}
