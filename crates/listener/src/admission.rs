//! Admission: how many connections there may be, in total and per source. Asked
//! right after `accept`, before a byte is read; shared by all workers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Why a connection was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// `limits.maxConnections` is reached.
    Total,
    /// `limits.maxConnectionsPerSource` is reached for this address.
    Source,
}

impl Refusal {
    /// The `outcome` label of the metric.
    pub const fn label(self) -> &'static str {
        match self {
            Refusal::Total => "refused-total",
            Refusal::Source => "refused-source",
        }
    }
}

/// Counts connections. A lock is taken per connection, never per message, and only
/// while a per-source limit is set.
#[derive(Debug, Default)]
pub struct Admission {
    open: AtomicUsize,
    max_open: AtomicUsize,
    max_per_source: AtomicUsize,
    sources: Mutex<HashMap<IpAddr, usize>>,
}

impl Admission {
    /// Sets the limits; 0 means none. Open connections stay.
    pub fn limit(&self, max_open: usize, max_per_source: usize) {
        self.max_open.store(max_open, Ordering::Relaxed);
        self.max_per_source.store(max_per_source, Ordering::Relaxed);
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Admits one connection for as long as the permit lives.
    ///
    /// # Errors
    /// Which limit is reached.
    pub fn admit(self: &Arc<Self>, source: IpAddr) -> Result<Permit, Refusal> {
        let max_open = self.max_open.load(Ordering::Relaxed);
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        if max_open > 0 && open >= max_open {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::Total);
        }
        let max_per_source = self.max_per_source.load(Ordering::Relaxed);
        let counted = max_per_source > 0;
        if counted && !self.count(source, max_per_source) {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::Source);
        }
        Ok(Permit { admission: Arc::clone(self), source: counted.then_some(source) })
    }

    fn count(&self, source: IpAddr, max: usize) -> bool {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let open = sources.entry(source).or_insert(0);
        if *open >= max {
            return false;
        }
        *open += 1;
        true
    }

    fn forget(&self, source: IpAddr) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = sources.get_mut(&source) {
            *open -= 1;
            if *open == 0 {
                sources.remove(&source);
            }
        }
    }
}

/// One admitted connection; dropping it gives its place back.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    source: Option<IpAddr>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(source) = self.source {
            self.admission.forget(source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_total_and_per_source_and_gives_places_back() {
        let admission = Arc::new(Admission::default());
        admission.limit(3, 2);
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = admission.admit(a).expect("room");
        let _second = admission.admit(a).expect("room");
        assert_eq!(admission.admit(a).map(|_| ()), Err(Refusal::Source));
        let _third = admission.admit(b).expect("room");
        assert_eq!(admission.admit(b).map(|_| ()), Err(Refusal::Total));
        drop(first);
        assert_eq!(admission.open(), 2);
        assert!(admission.admit(a).is_ok());
    }
}
