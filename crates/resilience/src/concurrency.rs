//! `Concurrency`: a bound on what happens at once, shared by all workers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The bound is reached: answer 503.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the concurrency limit is reached")
    }
}

impl std::error::Error for Full {}

/// A counter with a bound. Upstreams have three: connections, pending, requests
/// (each 1,024 by default).
#[derive(Debug)]
pub struct Concurrency {
    max: AtomicU32,
    active: AtomicU32,
}

/// One of them; given back when it is dropped.
#[derive(Debug)]
pub struct Permit {
    limit: Arc<Concurrency>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limit.active.fetch_sub(1, Relaxed);
    }
}

impl Concurrency {
    /// At most `max` at once.
    pub const fn new(max: u32) -> Self {
        Concurrency { max: AtomicU32::new(max), active: AtomicU32::new(0) }
    }

    /// Takes one until the permit is dropped.
    ///
    /// # Errors
    /// [`Full`] where all are taken.
    pub fn take(self: &Arc<Self>) -> Result<Permit, Full> {
        self.take_beyond(0)
    }

    /// Takes one, and `more` than the bound may be taken: they wait for something else.
    ///
    /// # Errors
    /// [`Full`] where those are taken, too.
    pub fn take_beyond(self: &Arc<Self>, more: u32) -> Result<Permit, Full> {
        let max = self.max().saturating_add(more);
        let below = |active: u32| (active < max).then_some(active + 1);
        self.active.fetch_update(Relaxed, Relaxed, below).map_err(|_| Full)?;
        Ok(Permit { limit: Arc::clone(self) })
    }

    /// The bound.
    pub fn max(&self) -> u32 {
        self.max.load(Relaxed)
    }

    /// How many are taken.
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// Whether all are taken.
    pub fn is_full(&self) -> bool {
        self.active() >= self.max()
    }

    /// Changes the bound; those above a lower one finish first.
    pub fn set_max(&self, max: u32) {
        self.max.store(max, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_out_no_more_than_the_bound_and_takes_back_what_is_dropped() {
        let limit = Arc::new(Concurrency::new(2));
        let first = limit.take().expect("two are free");
        let _second = limit.take().expect("one is free");
        assert_eq!(limit.take().err(), Some(Full));
        drop(first);
        assert!(limit.take().is_ok());
        limit.set_max(1);
        assert_eq!((limit.take().err(), limit.active()), (Some(Full), 1));
        let _beyond = limit.take_beyond(1).expect("one more than the bound");
        assert_eq!(limit.take_beyond(1).err(), Some(Full));
    }
}
