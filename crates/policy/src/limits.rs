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
    shared: bool,
}

/// Of one limit what passed, by key.
pub type Spent = Vec<(Box<[u8]>, u32)>;

impl LimitRegistry {
    /// None yet.
    pub fn new() -> Self {
        LimitRegistry::default()
    }

    /// The limit of that name; a new one where its numbers have changed.
    pub fn limit(&mut self, plan: &RateLimitPlan) -> Arc<RateLimit> {
        let RateLimitPlan { per_second, burst, max_keys, shared, .. } = *plan;
        let shape = Shape { per_second, burst, max_keys, shared };
        let make = || {
            let limit = RateLimit::new(per_second, burst, max_keys);
            (shape, Arc::new(if shared { limit.shared() } else { limit }))
        };
        let entry = self.limits.entry(plan.name.clone()).or_insert_with(make);
        if entry.0 != shape {
            *entry = make();
        }
        Arc::clone(&entry.1)
    }

    /// What passed here since the last call, of each limit that gateways share.
    pub fn take_spent(&self) -> Vec<(&str, Spent)> {
        let shared = self.limits.iter().filter(|(_, (shape, _))| shape.shared);
        shared
            .map(|(name, (_, limit))| (name.as_str(), limit.take_spent()))
            .filter(|(_, spent)| !spent.is_empty())
            .collect()
    }

    /// What passed at another gateway; a limit that is not known here is passed over.
    pub fn charge(&self, name: &str, key: &[u8], count: u32, now_ns: u64) {
        if let Some((Shape { shared: true, .. }, limit)) = self.limits.get(name) {
            limit.charge(now_ns, key, count);
        }
    }

    /// Forgets limits that no plan uses any more; to be called once the old plan is gone.
    pub fn sweep(&mut self) {
        self.limits.retain(|_, (_, limit)| Arc::strong_count(limit) > 1);
    }
}
