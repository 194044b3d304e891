//! How long a retry waits.

use serde::Deserialize;

/// How the wait grows with the tries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backoff {
    /// The base, each time.
    Fixed,
    /// Uniform in `[0, (2^n - 1) base)` before the n-th retry, so that clients of one
    /// failure do not come back together.
    Exponential,
}

impl Backoff {
    /// Milliseconds before retry number `retry` (from 1), at most `max_ms`. `unit` is
    /// random, uniform in `[0, 1)`.
    pub fn wait_ms(self, retry: u32, (base_ms, max_ms): (u64, u64), unit: f64) -> u64 {
        let bound = match self {
            Backoff::Fixed => return base_ms.min(max_ms),
            Backoff::Exponential => ((1_u64 << retry.min(32)) - 1).saturating_mul(base_ms).min(max_ms),
        };
        (bound as f64 * unit.clamp(0.0, 1.0)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_with_each_retry_up_to_the_cap() {
        let bound = |retry| Backoff::Exponential.wait_ms(retry, (25, 250), 1.0);
        assert_eq!([1, 2, 3, 4, 40].map(bound), [25, 75, 175, 250, 250]);
        assert_eq!(Backoff::Exponential.wait_ms(3, (25, 250), 0.5), 87);
        assert_eq!(Backoff::Fixed.wait_ms(3, (25, 250), 0.9), 25);
    }
}
