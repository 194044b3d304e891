//! The least that a client must bring while it is waited for: one byte at a time keeps a request,
//! and its upstream's connection, as busy as none does.

/// Bytes a second, over each window.
const MIN_RATE: u64 = 512;

/// See the module. Begins with the first bytes that it is told of.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Pace {
    /// When the window began, milliseconds; 0: it has not.
    since: u64,
    bytes: u64,
}

impl Pace {
    /// Takes `bytes` that came at `now`. `false`: too few came in the window that is over.
    pub(crate) fn is_kept(&mut self, (now, window_ms): (u64, u64), bytes: usize) -> bool {
        if self.since == 0 {
            self.since = now.max(1);
        }
        self.bytes += bytes as u64;
        let elapsed = now.saturating_sub(self.since);
        if elapsed < window_ms {
            return true;
        }
        let is_kept = self.bytes >= MIN_RATE * elapsed / 1_000;
        *self = Pace { since: now.max(1), bytes: 0 };
        is_kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drips_are_too_little_and_short_bodies_have_their_window() {
        let mut pace = Pace::default();
        assert!((1..10).all(|second| pace.is_kept((second * 1_000, 10_000), 1)));
        assert!(!pace.is_kept((11_000, 10_000), 1));
        let mut pace = Pace::default();
        assert!((1..100).all(|second| pace.is_kept((second * 1_000, 10_000), 600)));
        // A burst does not carry what follows it.
        assert!(pace.is_kept((100_000, 10_000), 1 << 20));
        assert!(!(101..130).all(|second| pace.is_kept((second * 1_000, 10_000), 1)));
    }
}
