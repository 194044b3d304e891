//! How many connections an upstream may have, over all workers. Who finds none free
//! waits in line; a place that comes free wakes the first, on whatever worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tidegate_resilience::{Concurrency, Permit};
use tokio::sync::Notify;

/// The connections of one upstream; outlives plans.
#[derive(Debug)]
pub struct Places {
    limit: Arc<Concurrency>,
    freed: Notify,
    waiting: AtomicUsize,
}

/// One connection's place, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    permit: Option<Permit>,
    places: Arc<Places>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.permit = None;
        if self.places.waiting() > 0 {
            self.places.freed.notify_one();
        }
    }
}

/// Somebody who waits.
#[derive(Debug)]
pub(crate) struct InLine<'p>(&'p Places);

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

impl Places {
    /// At most `max` connections.
    pub fn new(max: u32) -> Arc<Self> {
        let limit = Arc::new(Concurrency::new(max));
        Arc::new(Places { limit, freed: Notify::new(), waiting: AtomicUsize::new(0) })
    }

    /// Changes the bound; connections above a lower one finish first.
    pub fn set_max(&self, max: u32) {
        self.limit.set_max(max);
    }

    /// The bound.
    pub fn max(&self) -> u32 {
        self.limit.max()
    }

    /// Connections there are.
    pub fn taken(&self) -> u32 {
        self.limit.active()
    }

    /// Whether there is no place left.
    pub fn is_full(&self) -> bool {
        self.limit.is_full()
    }

    /// How many wait for a place.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// A place, where one is free.
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        let permit = self.limit.take().ok()?;
        Some(Place { permit: Some(permit), places: Arc::clone(self) })
    }

    pub(crate) fn line_up(&self) -> InLine<'_> {
        self.waiting.fetch_add(1, Relaxed);
        InLine(self)
    }

    pub(crate) const fn freed(&self) -> &Notify {
        &self.freed
    }
}
