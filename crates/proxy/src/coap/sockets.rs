//! The CoAP drivers of one worker, of sockets and of streams: whom to wake when something was observed.

use super::streams::StreamsByListener;
use slab::Slab;
use std::cell::RefCell;
use std::task::Waker;

/// The drivers of one worker, by number.
#[derive(Default)]
pub(crate) struct Sockets {
    drivers: RefCell<Slab<Registered>>,
    pub(super) streams: StreamsByListener,
}

#[derive(Default)]
struct Registered {
    waker: Option<Waker>,
    /// Requests that wait for their answer.
    waiting: usize,
    /// Observers that sleep.
    asleep: usize,
}

impl Sockets {
    /// A number for a new driver; `release` makes it free again.
    pub(super) fn enter(&self) -> u32 {
        self.drivers.borrow_mut().insert(Registered::default()) as u32
    }

    /// Remembers whom to wake.
    pub(super) fn register(&self, number: u32, waker: &Waker) {
        if let Some(driver) = self.drivers.borrow_mut().get_mut(number as usize) {
            match &mut driver.waker {
                Some(known) => known.clone_from(waker),
                None => driver.waker = Some(waker.clone()),
            }
        }
    }

    /// Tells how many requests of a driver wait, and how many of its observers sleep.
    pub(super) fn set_waiting(&self, number: u32, (waiting, asleep): (usize, usize)) {
        if let Some(driver) = self.drivers.borrow_mut().get_mut(number as usize) {
            (driver.waiting, driver.asleep) = (waiting, asleep);
        }
    }

    /// Observers that sleep.
    pub(crate) fn asleep(&self) -> usize {
        self.drivers.borrow().iter().map(|(_, driver)| driver.asleep).sum()
    }

    /// Requests that wait: a worker that drains lives as long as there are some.
    pub(crate) fn under_way(&self) -> usize {
        self.drivers.borrow().iter().map(|(_, driver)| driver.waiting).sum()
    }

    /// Wakes all drivers: which of them is meant they see themselves.
    pub(crate) fn wake(&self) {
        for (_, driver) in &*self.drivers.borrow() {
            driver.waker.iter().for_each(Waker::wake_by_ref);
        }
    }

    pub(super) fn release(&self, number: u32) {
        self.drivers.borrow_mut().try_remove(number as usize);
    }
}
