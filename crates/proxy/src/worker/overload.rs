//! Whether a worker turns requests away: it comes to its clockwork too late, or the
//! process holds too much memory. It goes on until both are well below their bounds, so
//! that it does not flicker.

use std::cell::Cell;

/// Turns of the clockwork between two looks at the memory.
const MEMORY_EVERY: u32 = 10;

/// What a worker knows of its own load.
#[derive(Debug, Default)]
pub(crate) struct Overload {
    is_shedding: Cell<bool>,
    last_turn_ms: Cell<u64>,
    turns: Cell<u32>,
    memory: Cell<u64>,
    /// What the thread had used of its core at the last turn, nanoseconds.
    used_ns: Cell<u64>,
    /// Its share of a core in the last second or so, thousandths.
    busy: Cell<u64>,
}

/// Bounds; 0: none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) lag_ms: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_percent: u64,
}

impl Overload {
    pub(crate) fn is_shedding(&self) -> bool {
        self.is_shedding.get()
    }

    /// A turn of the clockwork that was due `tick_ms` after the one before. `Some`: it
    /// begins or ends to shed.
    pub(crate) fn turn(&self, (now_ms, tick_ms): (u64, u64), bounds: Bounds) -> Option<bool> {
        let last = self.last_turn_ms.replace(now_ms);
        let lag = if last == 0 { 0 } else { now_ms.saturating_sub(last + tick_ms) };
        if bounds.cpu_percent > 0 {
            self.look_at_core(now_ms.saturating_sub(last), thread_ns());
        }
        if bounds.memory_bytes > 0 {
            if self.turns.get().is_multiple_of(MEMORY_EVERY) {
                self.memory.set(resident_bytes());
            }
            self.turns.set(self.turns.get().wrapping_add(1));
        }
        let was = self.is_shedding.get();
        let over = |value: u64, bound: u64| bound > 0 && value > if was { bound - bound / 10 } else { bound };
        let lag_bound = if was { bounds.lag_ms.div_ceil(2) } else { bounds.lag_ms };
        let is = over(lag, lag_bound)
            || over(self.memory.get(), bounds.memory_bytes)
            || over(self.busy.get(), bounds.cpu_percent * 10);
        self.is_shedding.set(is);
        (is != was).then_some(is)
    }

    /// Smoothed over about a second: one busy moment is no overload.
    fn look_at_core(&self, elapsed_ms: u64, used_ns: u64) {
        let before = self.used_ns.replace(used_ns);
        if before == 0 || elapsed_ms == 0 {
            return;
        }
        let share = (used_ns.saturating_sub(before) / elapsed_ms / 1_000).min(1_000);
        self.busy.set((self.busy.get() * 7 + share) / 8);
    }
}

/// What this thread has used of its core since it began, nanoseconds.
fn thread_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Memory that the process holds; 0 where the system does not tell. A read of procfs
/// waits for no disk.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Bounds = Bounds { lag_ms: 0, memory_bytes: 0, cpu_percent: 0 };

    #[test]
    fn sheds_while_it_is_late_and_until_it_is_well_in_time_again() {
        let overload = Overload::default();
        let bounds = Bounds { lag_ms: 50, ..NONE };
        overload.turn((1_000, 100), NONE);
        assert_eq!(overload.turn((1_100, 100), bounds), None);
        assert_eq!(overload.turn((1_300, 100), bounds), Some(true));
        assert_eq!(overload.turn((1_430, 100), bounds), None, "30 ms late is not well in time");
        assert!(overload.is_shedding());
        assert_eq!(overload.turn((1_535, 100), bounds), Some(false));
    }

    #[test]
    fn sheds_above_a_bound_of_memory() {
        let overload = Overload::default();
        assert_eq!(overload.turn((1, 100), Bounds { memory_bytes: 4_096, ..NONE }), Some(true));
        assert_eq!(overload.turn((101, 100), Bounds { memory_bytes: u64::MAX, ..NONE }), Some(false));
    }

    #[test]
    fn a_busy_core_sheds_after_a_while_and_not_for_a_moment() {
        let overload = Overload::default();
        overload.look_at_core(100, 1);
        overload.look_at_core(100, 100_000_001);
        assert_eq!(overload.busy.get(), 125, "one turn of 100 ms in which all was used");
        for turn in 2..40 {
            overload.look_at_core(100, turn * 100_000_000 + 1);
        }
        assert!(overload.busy.get() > 950, "{}", overload.busy.get());
        overload.look_at_core(100, 39 * 100_000_000 + 1);
        assert!(overload.busy.get() < 900, "{}", overload.busy.get());
    }
}
