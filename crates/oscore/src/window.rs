//! Which sequence numbers of a peer have been seen (RFC 8613 section 3.2.2): a bit for
//! each of the last ones. After a restart nothing is known until the peer has shown that
//! it answers now (appendix B.1.2).

/// What is known of a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It has not been seen.
    Fresh,
    /// It has been seen, or is too old to tell.
    Replayed,
    /// Nothing is known.
    Unknown,
}

/// The window of one peer.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The greatest number that was seen, and a bit for it and each one behind it.
    seen: Option<(u64, u64)>,
    is_known: bool,
    size: u8,
}

impl Window {
    /// A window of that size, 1 to 64; `is_known`: no number was ever used.
    pub fn new(size: u8, is_known: bool) -> Self {
        Window { seen: None, is_known, size: size.clamp(1, 64) }
    }

    /// What is known of a number.
    pub fn standing(&self, number: u64) -> Standing {
        match self.seen {
            _ if !self.is_known => Standing::Unknown,
            None => Standing::Fresh,
            Some((greatest, _)) if number > greatest => Standing::Fresh,
            Some((greatest, bits)) => match greatest - number {
                behind if behind >= u64::from(self.size) || bits >> behind & 1 == 1 => Standing::Replayed,
                _ => Standing::Fresh,
            },
        }
    }

    /// Whether a number is greater than all before it.
    pub fn is_newest(&self, number: u64) -> bool {
        self.seen.is_none_or(|(greatest, _)| number > greatest)
    }

    /// Marks a number as seen; it was authentic. The first one of all that is known to be
    /// new rules out those before it.
    pub fn mark(&mut self, number: u64) {
        let was_known = std::mem::replace(&mut self.is_known, true);
        self.seen = Some(match self.seen {
            None => (number, if was_known { 1 } else { u64::MAX }),
            Some((greatest, bits)) if number > greatest => {
                let shift = number - greatest;
                (number, if shift < 64 { bits << shift | 1 } else { 1 })
            }
            Some((greatest, bits)) if greatest - number < 64 => (greatest, bits | 1 << (greatest - number)),
            Some(before) => before,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn after_a_restart_the_first_number_that_is_proven_rules_out_those_before_it() {
        let mut window = Window::new(32, false);
        assert_eq!(window.standing(7), Standing::Unknown);
        window.mark(7);
        assert_eq!(
            (window.standing(7), window.standing(6), window.standing(0)),
            (Standing::Replayed, Standing::Replayed, Standing::Replayed)
        );
        assert_eq!(window.standing(8), Standing::Fresh);
    }

    proptest! {
        #[test]
        fn no_number_is_fresh_twice_and_none_within_the_window_is_refused(
            size in 1_u8..=64,
            numbers in prop::collection::vec(0_u64..200, 1..200),
        ) {
            let mut window = Window::new(size, true);
            let mut seen = HashSet::new();
            for number in numbers {
                let greatest = seen.iter().max().copied();
                let is_within = greatest.is_none_or(|greatest| number + u64::from(size) > greatest);
                let fresh = !seen.contains(&number) && is_within;
                prop_assert_eq!(window.standing(number) == Standing::Fresh, fresh, "{}", number);
                if fresh {
                    window.mark(number);
                    seen.insert(number);
                }
            }
        }
    }
}
