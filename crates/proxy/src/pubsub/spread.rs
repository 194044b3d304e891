//! Goes on with publishes for many subscribers: as much a turn as the flush task writes in one, when that is nearly done,
//! behind everything that is ready then. So whoever is no part of it waits for two batches, not for all of it.

use super::flush::BATCH;
use crate::worker::Worker;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Who spreads, and who waits until there is room for more.
#[derive(Default)]
pub(crate) struct Spreader {
    waker: Cell<Option<Waker>>,
    paused: RefCell<Vec<Waker>>,
}

impl Spreader {
    /// There is something to spread.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Worker {
    /// Waits until there is room for a publish to many.
    pub(crate) async fn room_to_spread(&self) {
        poll_fn(|cx| {
            if !self.hub.broker.borrow().is_congested() {
                return Poll::Ready(());
            }
            self.hub.spreader.paused.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Spreads what is due, turn after turn.
pub(crate) async fn spread(worker: Rc<Worker>) {
    let hub = &worker.hub;
    loop {
        poll_fn(|cx| {
            if hub.broker.borrow().pending_deliveries() > 0 {
                return Poll::Ready(());
            }
            hub.spreader.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        if hub.flusher.pending() < BATCH {
            worker.with_broker(|broker, sink| broker.spread_on(BATCH, sink));
            worker.counters.fan_out_turns.add(1);
        }
        if !hub.broker.borrow().is_congested() {
            hub.spreader.paused.borrow_mut().drain(..).for_each(Waker::wake);
        }
        tokio::task::yield_now().await;
    }
}
