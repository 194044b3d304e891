//! One connection's turn: how many of its streams are looked at before everybody else on
//! the worker is. Streams run without Tokio's budget, since one that ended in their midst
//! would only poll the others in vain; without a bound of their own a connection with
//! many busy streams would hold up all the rest.

use std::cell::Cell;
use std::task::Context;

/// Streams that one turn looks at. What one of them may send at once is bounded by its buffer.
const LOOKS_A_TURN: u32 = 32;

/// See the module.
#[derive(Default)]
pub(super) struct Looks {
    left: Cell<u32>,
}

impl Looks {
    pub(super) fn begin(&self) {
        self.left.set(LOOKS_A_TURN);
    }

    /// Whether nobody was turned away in this turn.
    pub(super) fn are_left(&self) -> bool {
        self.left.get() > 0
    }

    /// Whether there is a look left; else whoever asked is woken for the next turn.
    pub(super) fn take(&self, cx: &Context<'_>) -> bool {
        let left = self.left.get();
        if left == 0 {
            cx.waker().wake_by_ref();
            return false;
        }
        self.left.set(left - 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use futures_util::stream::FuturesUnordered;
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::task::{Poll, Wake, Waker};

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// Streams that always have more to do: how often each was looked at.
    fn busy(allowed: &Looks, turns: u32) -> (Vec<u32>, u32) {
        let looks: Vec<Cell<u32>> = (0..100).map(|_| Cell::new(0)).collect();
        let mut streams: FuturesUnordered<_> = looks
            .iter()
            .map(|looks| {
                poll_fn(move |cx| {
                    if allowed.take(cx) {
                        looks.set(looks.get() + 1);
                        cx.waker().wake_by_ref();
                    }
                    Poll::<()>::Pending
                })
            })
            .collect();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        for _ in 0..turns {
            allowed.begin();
            // It gives way by itself after two that want to go on.
            while allowed.left.get() > 0 {
                assert!(streams.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
            }
            assert!(streams.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
        }
        (looks.iter().map(Cell::get).collect(), woken.0.load(Relaxed))
    }

    #[test]
    fn a_turn_ends_after_its_looks_and_asks_for_another() {
        let (looks, woken) = busy(&Looks::default(), 1);
        assert_eq!(looks.iter().sum::<u32>(), LOOKS_A_TURN);
        assert!(woken > 0);
    }

    #[test]
    fn every_stream_is_looked_at_before_one_is_twice() {
        let (looks, _) = busy(&Looks::default(), 3);
        assert_eq!(looks.iter().sum::<u32>(), 3 * LOOKS_A_TURN);
        assert!(looks.iter().all(|looks| *looks <= 1), "{looks:?}");
    }
}
