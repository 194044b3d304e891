//! The flush task: whoever has something to write is marked, and all of it is written
//! once, behind everything that is ready now. This is the coalescing that makes a
//! busy broker cheap: no timer, no cork, no system call per message.

use super::MqttLink;
use crate::worker::Worker;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

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
        for link in turn.drain(..) {
            link.is_marked.set(false);
            link.write(&worker);
        }
    }
}
