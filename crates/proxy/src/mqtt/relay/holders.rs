//! Which connection of the gateway a proxied client has now, over all workers: a broker that closes the one before
//! for it says no word of that before MQTT 5, and not always since.

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

type Key = (Box<str>, Box<str>);

/// The newest connection of each client identifier at each upstream.
#[derive(Default, Debug)]
pub(crate) struct Holders {
    newest: Mutex<HashMap<Key, u64, RandomState>>,
    last: AtomicU64,
}

/// One connection's claim, as long as it lasts.
#[derive(Debug)]
pub(super) struct Hold {
    holders: Arc<Holders>,
    key: Key,
    number: u64,
}

impl Holders {
    /// A client connects to an upstream.
    pub(super) fn claim(self: &Arc<Self>, upstream: &str, client_id: &str) -> Hold {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let key: Key = (upstream.into(), client_id.into());
        self.newest.lock().insert(key.clone(), number);
        Hold { holders: Arc::clone(self), key, number }
    }
}

impl Hold {
    /// Whether the client has connected anew since.
    pub(super) fn is_taken_over(&self) -> bool {
        self.holders.newest.lock().get(&self.key).is_some_and(|number| *number != self.number)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut newest = self.holders.newest.lock();
        if newest.get(&self.key) == Some(&self.number) {
            newest.remove(&self.key);
        }
    }
}
