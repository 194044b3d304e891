//! The CoAP sockets of one worker: whom to wake when something was observed.

use slab::Slab;
use std::cell::RefCell;
use std::task::Waker;

/// The drivers of one worker, by number.
#[derive(Default)]
pub(crate) struct Sockets {
    wakers: RefCell<Slab<Option<Waker>>>,
}

impl Sockets {
    /// A number for a new driver; `release` makes it free again.
    pub(super) fn enter(&self) -> u32 {
        self.wakers.borrow_mut().insert(None) as u32
    }

    /// Remembers whom to wake.
    pub(super) fn register(&self, number: u32, waker: &Waker) {
        if let Some(registered) = self.wakers.borrow_mut().get_mut(number as usize) {
            match registered {
                Some(known) => known.clone_from(waker),
                None => *registered = Some(waker.clone()),
            }
        }
    }

    /// Wakes all drivers: which of them is meant they see themselves.
    pub(crate) fn wake(&self) {
        for (_, waker) in &*self.wakers.borrow() {
            waker.iter().for_each(Waker::wake_by_ref);
        }
    }

    pub(super) fn release(&self, number: u32) {
        self.wakers.borrow_mut().try_remove(number as usize);
    }
}
