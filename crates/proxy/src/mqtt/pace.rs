//! How many CONNECTs are answered in a second, over all workers. After a restart a whole
//! fleet comes at once: who is too many hears when to try again, spread over seconds,
//! and those that are connected do not feel it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Seconds over which those that were refused come back.
const SPREAD_S: u64 = 10;

/// A generic cell rate limiter: when the next CONNECT would be due, microseconds.
#[derive(Default, Debug)]
pub(crate) struct Pace(AtomicU64);

impl Pace {
    /// Admits a CONNECT, or says in how many seconds to try again. A second's worth may
    /// come at once.
    pub(crate) fn admit(&self, now_us: u64, per_second: u64, random: u64) -> Result<(), u64> {
        if per_second == 0 {
            return Ok(());
        }
        let cost = (1_000_000 / per_second).max(1);
        let admitted = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| {
            let next = due.max(now_us) + cost;
            (next - now_us <= 1_000_000).then_some(next)
        });
        admitted.map(drop).map_err(|_| 1 + random % SPREAD_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_admits_its_number_and_the_rest_is_spread() {
        let pace = Pace::default();
        let now = 5_000_000;
        let admitted = (0..100).filter(|_| pace.admit(now, 10, 3).is_ok()).count();
        assert_eq!((admitted, pace.admit(now, 10, 3)), (10, Err(4)));
        assert_eq!((pace.admit(now + 100_000, 10, 0), pace.admit(now + 100_000, 10, 0)), (Ok(()), Err(1)));
        assert_eq!(pace.admit(now, 0, 0), Ok(()));
    }
}
