//! What clients did wrong last, for whoever looks at them: bounded, shared by all workers,
//! touched only by errors and the admin API.

use parking_lot::Mutex;
use std::collections::HashMap;

/// Clients whose last error is remembered.
const FAULTS_MAX: usize = 1_024;

/// By client: the broken rule, and when, on the wall clock.
#[derive(Default)]
pub(crate) struct Faults(Mutex<HashMap<Box<str>, (String, u64)>>);

impl Faults {
    pub(crate) fn put(&self, client_id: &str, text: String, at_ms: u64) {
        let mut known = self.0.lock();
        if known.len() >= FAULTS_MAX && !known.contains_key(client_id) {
            // Which one goes does not matter much: all of them were counted.
            let first = known.keys().next().cloned();
            first.map(|first| known.remove(&first));
        }
        known.insert(client_id.into(), (text, at_ms));
    }

    pub(crate) fn of(&self, client_id: &str) -> Option<(String, u64)> {
        self.0.lock().get(client_id).cloned()
    }
}
