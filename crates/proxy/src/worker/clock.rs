//! The gateway's clock, and how a worker reads it: once for what a read of a socket leads to.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the gateway started, and the wall clock at that time. Tests set it ahead.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    start: Instant,
    epoch_ms: u64,
    /// Microseconds.
    ahead: Arc<AtomicU64>,
}

impl Clock {
    /// Starts at 1, so that 0 can mean "never".
    pub(crate) fn start() -> Clock {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { start: Instant::now(), epoch_ms: since.as_millis() as u64, ahead: Arc::default() }
    }

    /// Microseconds of the gateway's clock.
    pub(crate) fn micros(&self) -> u64 {
        self.start.elapsed().as_micros() as u64 + 1_000 + self.ahead.load(Relaxed)
    }

    /// Sets it ahead, for all who share it.
    pub(crate) fn advance(&self, ms: u64) {
        self.ahead.fetch_add(ms.saturating_mul(1_000), Relaxed);
    }

    /// Milliseconds of the gateway's clock.
    pub(crate) fn millis(&self) -> u64 {
        self.micros() / 1_000
    }

    /// The wall clock, in milliseconds since 1970, at the gateway's time 0.
    pub(crate) fn epoch_ms(&self) -> u64 {
        self.epoch_ms
    }
}

/// The clock as one worker reads it. Reading it costs a tenth of a microsecond with all that belongs to it, and a
/// request would read it ten times: so who read bytes off a socket reads it, and what these bytes lead
/// to in the same poll goes by that.
#[derive(Debug)]
pub(crate) struct WorkerClock {
    clock: Clock,
    /// Microseconds, as last read.
    read: Cell<u64>,
}

impl WorkerClock {
    pub(crate) fn new(clock: Clock) -> WorkerClock {
        WorkerClock { read: Cell::new(clock.micros()), clock }
    }

    /// Reads the clock: microseconds.
    pub(crate) fn micros(&self) -> u64 {
        self.read.set(self.clock.micros());
        self.read.get()
    }

    /// Reads the clock: milliseconds.
    pub(crate) fn millis(&self) -> u64 {
        self.micros() / 1_000
    }

    /// Microseconds when this worker last read the clock; it does so with each read of a socket, and each 100 ms.
    pub(crate) fn read_micros(&self) -> u64 {
        self.read.get()
    }

    /// The same in milliseconds.
    pub(crate) fn read_millis(&self) -> u64 {
        self.read.get() / 1_000
    }

    /// See [`Clock::epoch_ms`].
    pub(crate) fn epoch_ms(&self) -> u64 {
        self.clock.epoch_ms()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_read_leads_to_goes_by_one_time() {
        let clock = Clock::start();
        let worker = WorkerClock::new(clock.clone());
        let before = worker.read_millis();
        clock.advance(5_000);
        assert_eq!(worker.read_millis(), before, "nothing was read");
        assert!(worker.millis() >= before + 5_000);
        assert!(worker.read_millis() >= before + 5_000);
    }
}
