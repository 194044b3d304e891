//! The flush task: whoever has something to write is marked, and all of it is written
//! once, behind everything that is ready now. This is the coalescing that makes a
//! busy broker cheap: no timer, no cork, no system call per message. A turn of many links is
//! written in batches, between which everything else that is ready runs; a few that were marked meanwhile go first, so that an
//! answer does not wait for a fan-out.

use super::MqttLink;
use crate::worker::Worker;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Links that are written before others get their turn: at 4 to 6 us for a send well below a millisecond.
pub(super) const BATCH: usize = 128;

/// Links with something to write.
#[derive(Default)]
pub(crate) struct Flusher {
    dirty: RefCell<Vec<Rc<MqttLink>>>,
    /// Links that were marked in an earlier batch and are not written.
    behind: Cell<usize>,
    waker: Cell<Option<Waker>>,
}

impl Flusher {
    /// Links that are not written yet.
    pub(super) fn pending(&self) -> usize {
        self.dirty.borrow().len() + self.behind.get()
    }

    /// There is something to keep.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Marks a link; the first one of a turn wakes the task, which puts it behind all
    /// tasks that are ready already.
    pub(crate) fn mark(&self, link: &Rc<MqttLink>) {
        if link.is_marked.replace(true) {
            return;
        }
        let mut dirty = self.dirty.borrow_mut();
        dirty.push(Rc::clone(link));
        if dirty.len() == 1 {
            self.wake();
        }
    }
}

/// Writes what was marked, turn after turn.
pub(crate) async fn flush(worker: Rc<Worker>) {
    let flusher = &worker.hub.flusher;
    let mut turn = Turn::default();
    loop {
        poll_fn(|cx| {
            if flusher.dirty.borrow().is_empty() && !worker.hub.keeper.is_dirty() {
                flusher.waker.set(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        loop {
            // First what was promised is kept, then it is said: also what came since the last batch.
            if worker.hub.keeper.is_dirty() {
                worker.flush_log();
            }
            turn.join(&mut flusher.dirty.borrow_mut());
            for link in turn.batch() {
                link.is_marked.set(false);
                link.write(&worker);
            }
            flusher.behind.set(turn.links.len());
            if turn.links.is_empty() {
                break;
            }
            worker.counters.flush_yields.add(1);
            tokio::task::yield_now().await;
        }
    }
}

/// What is to be written, batch by batch.
struct Turn<T> {
    links: VecDeque<T>,
}

impl<T> Default for Turn<T> {
    fn default() -> Self {
        Turn { links: VecDeque::new() }
    }
}

impl<T> Turn<T> {
    /// Takes up what was marked: a few go before those that were there, many behind them.
    fn join(&mut self, marked: &mut Vec<T>) {
        if marked.len() <= BATCH / 2 {
            marked.drain(..).rev().for_each(|link| self.links.push_front(link));
        } else {
            self.links.extend(marked.drain(..));
        }
    }

    fn batch(&mut self) -> impl Iterator<Item = T> {
        self.links.drain(..self.links.len().min(BATCH))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_written_in_batches_that_hold_every_link_once_and_in_order() {
        for links in [0, 1, BATCH, BATCH + 1, 1_000] {
            let mut turn = Turn::default();
            turn.join(&mut (0..links).collect());
            let (mut seen, mut count) = (Vec::new(), 0);
            while !turn.links.is_empty() {
                let batch: Vec<usize> = turn.batch().collect();
                assert!(batch.len() <= BATCH);
                seen.extend_from_slice(&batch);
                count += 1;
            }
            assert_eq!(seen, (0..links).collect::<Vec<_>>());
            assert_eq!(count, links.div_ceil(BATCH));
        }
    }

    #[test]
    fn a_few_that_are_marked_during_a_turn_go_first_and_many_go_last_so_that_all_are_written() {
        let mut turn = Turn::default();
        turn.join(&mut (0..1_000).collect());
        turn.batch().for_each(drop);
        turn.join(&mut vec![5_000, 5_001]);
        assert_eq!(turn.batch().take(3).collect::<Vec<usize>>(), [5_000, 5_001, BATCH]);
        turn.join(&mut (6_000..6_000 + BATCH).collect());
        assert_eq!(turn.batch().next(), Some(2 * BATCH - 2));
        // However many a few come, half of a batch is for those that wait.
        let mut batches = 0;
        while turn.links.iter().any(|link| *link < 5_000) {
            turn.join(&mut vec![7_000; BATCH / 2]);
            assert_eq!(turn.batch().filter(|link| *link == 7_000).count(), BATCH / 2);
            batches += 1;
            assert!(batches < 100);
        }
    }
}
