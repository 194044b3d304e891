//! Rung 2 of the ladder: decisions of one script that one worker keeps by key. A hit
//! never crosses to TypeScript.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::{CachePlan, Decision};

/// Bounded; all entries live equally long, so the oldest is always the next to go.
#[derive(Debug)]
pub struct VerdictCache {
    entries: HashMap<Arc<[u8]>, Entry, RandomState>,
    /// Keys in the order they were kept, each with its time to go. A key that was kept
    /// again stands here twice, and only the later time counts.
    order: VecDeque<(Arc<[u8]>, u64)>,
    ttl_ms: u64,
    max_entries: usize,
}

#[derive(Debug)]
struct Entry {
    decision: Arc<Decision>,
    until: u64,
}

impl VerdictCache {
    /// An empty one.
    pub fn new(plan: &CachePlan) -> Self {
        VerdictCache {
            entries: HashMap::default(),
            order: VecDeque::new(),
            ttl_ms: plan.ttl_ms,
            max_entries: plan.max_entries,
        }
    }

    /// The decision for a key, if one is kept and still holds.
    pub fn find(&self, now_ms: u64, key: &[u8]) -> Option<&Arc<Decision>> {
        self.entries.get(key).filter(|entry| now_ms < entry.until).map(|entry| &entry.decision)
    }

    /// Keeps a decision, unless it opted out.
    pub fn keep(&mut self, now_ms: u64, key: &[u8], decision: Arc<Decision>) {
        if !decision.cacheable || self.max_entries == 0 {
            return;
        }
        let until = now_ms.saturating_add(self.ttl_ms);
        self.make_room(now_ms);
        let key: Arc<[u8]> = key.into();
        self.entries.insert(Arc::clone(&key), Entry { decision, until });
        self.order.push_back((key, until));
    }

    /// Entries that are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Drops what is over, and the oldest as long as it is full. The order may hold
    /// keys twice, so it is bounded by itself.
    fn make_room(&mut self, now_ms: u64) {
        while let Some((key, until)) = self.order.front() {
            if now_ms < *until && self.order.len() < self.max_entries {
                return;
            }
            if self.entries.get(key).is_some_and(|entry| entry.until == *until) {
                self.entries.remove(key);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyPlan;

    fn cache(max_entries: usize) -> VerdictCache {
        let by = KeyPlan { by: "clientIp".into(), name: None, also: Vec::new() };
        VerdictCache::new(&CachePlan { by, ttl_ms: 100, max_entries })
    }

    fn decision(json: &str) -> Arc<Decision> {
        Arc::new(Decision::decode(json.as_bytes()).expect("valid"))
    }

    #[test]
    fn keeps_a_decision_for_its_time_only() {
        let mut cache = cache(10);
        cache.keep(0, b"k", decision(r#"{"action":"continue"}"#));
        assert!(cache.find(99, b"k").is_some() && cache.find(100, b"k").is_none() && cache.find(0, b"x").is_none());
        cache.keep(100, b"k", decision(r#"{"action":"reject"}"#));
        assert!(cache.find(150, b"k").is_some_and(|kept| kept.reject.is_some()));
        cache.keep(160, b"other", decision(r#"{"action":"continue"}"#));
        assert!(cache.find(160, b"k").is_some(), "the older time of a key kept twice does not count");
    }

    #[test]
    fn keeps_nothing_that_opted_out_and_never_more_than_its_bound() {
        let mut cache = cache(3);
        cache.keep(0, b"k", decision(r#"{"action":"continue","noCache":true}"#));
        assert!(cache.is_empty());
        for n in 0..100_u8 {
            cache.keep(0, &[n], decision(r#"{"action":"continue"}"#));
            cache.keep(0, &[n], decision(r#"{"action":"continue"}"#));
            assert!(cache.len() <= 3 && cache.order.len() <= 3);
        }
        assert!(cache.find(0, &[99]).is_some());
    }
}
