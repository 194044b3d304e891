//! The flush task: whoever has something to write is marked, and all of it is written
//! once, behind everything that is ready now. This is the coalescing that makes a
//! busy broker cheap: no timer, no cork, no system call per message. A turn of many links is
//! written in batches, between which everything else that is ready runs.

use super::MqttLink;
use crate::worker::Worker;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Links that are written before others get their turn: at 4 to 6 us for a send well below a millisecond.
const BATCH: usize = 128;

/// Links with something to write.
#[derive(Default)]
pub(crate) struct Flusher {
    dirty: RefCell<Vec<Rc<MqttLink>>>,
    waker: Cell<Option<Waker>>,
}

impl Flusher {
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
    let mut turn = Vec::new();
    loop {
        poll_fn(|cx| {
            if flusher.dirty.borrow().is_empty() && !worker.hub.keeper.is_dirty() {
                flusher.waker.set(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        // First what was promised is kept, then it is said.
        if worker.hub.keeper.is_dirty() {
            worker.flush_log();
        }
        std::mem::swap(&mut turn, &mut *flusher.dirty.borrow_mut());
        let mut batches = Batches { turn: &turn };
        while let Some(batch) = batches.next() {
            for link in batch {
                link.is_marked.set(false);
                link.write(&worker);
            }
            if batches.has_more() {
                worker.counters.flush_yields.add(1);
                tokio::task::yield_now().await;
                // What came meanwhile may stand behind what is written next.
                if worker.hub.keeper.is_dirty() {
                    worker.flush_log();
                }
            }
        }
        turn.clear();
    }
}

/// A turn, batch by batch.
struct Batches<'t, T> {
    turn: &'t [T],
}

impl<'t, T> Batches<'t, T> {
    fn next(&mut self) -> Option<&'t [T]> {
        let (batch, rest) = self.turn.split_at(self.turn.len().min(BATCH));
        self.turn = rest;
        (!batch.is_empty()).then_some(batch)
    }

    fn has_more(&self) -> bool {
        !self.turn.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_written_in_batches_that_hold_every_link_once_and_in_order() {
        for links in [0, 1, BATCH, BATCH + 1, 1_000] {
            let turn: Vec<usize> = (0..links).collect();
            let mut batches = Batches { turn: &turn };
            let (mut seen, mut count, mut yields) = (Vec::new(), 0, 0);
            while let Some(batch) = batches.next() {
                assert!(batch.len() <= BATCH);
                seen.extend_from_slice(batch);
                count += 1;
                yields += usize::from(batches.has_more());
            }
            assert_eq!(seen, (0..links).collect::<Vec<_>>());
            assert_eq!((count, yields), (links.div_ceil(BATCH), links.div_ceil(BATCH).saturating_sub(1)));
        }
    }
}
