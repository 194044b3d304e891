//! What reaches a driver from elsewhere on its worker: results of what takes its
//! time, and that it is to leave.

use super::dispatch::Parked;
use super::relays::Joined;
use super::waiting::WaitingId;
use crate::decide::Ruling;
use crate::handle::{HandlerFailure, HandlerReply};
use crate::http::{Fetched, Flag};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::Waker;
use tidegate_broker::Published;
use tidegate_coap::{Code, ObserverId};
use tidegate_directory::Params;
use tidegate_message::Outcome;

/// What a request has waited for.
pub(super) enum Finished {
    /// A policy in TypeScript.
    Ruled(Box<Parked>, Ruling),
    /// A topic's routes; with the code of a success.
    Published(Published, Code),
    /// An upstream.
    Fetched(Result<Fetched, Flag>),
    /// A resource of an upstream that is to be observed.
    Joined(Result<Joined, Flag>),
    /// A handler in TypeScript.
    Handled(Result<HandlerReply, HandlerFailure>),
    /// Whether policies let a topic, or what a filter finds, be read.
    Readable(Box<str>, Result<(), Outcome>),
    /// The links of an endpoint that registers simply, with what it said and where it is.
    Asked(Box<(Params, String)>, Option<Vec<u8>>),
    /// The other workers know of an observation, by its place; of a topic or filter by its name.
    Settled(Option<Box<str>>, u32, ObserverId),
}

/// The inbox of one driver.
#[derive(Default)]
pub(super) struct Inbox {
    finished: RefCell<VecDeque<(WaitingId, Finished)>>,
    waker: RefCell<Option<Waker>>,
    is_leaving: Cell<bool>,
}

impl Inbox {
    /// Remembers whom to wake.
    pub(super) fn register(&self, waker: &Waker) {
        let mut registered = self.waker.borrow_mut();
        match registered.as_mut() {
            Some(known) => known.clone_from(waker),
            None => *registered = Some(waker.clone()),
        }
    }

    pub(super) fn push(&self, id: WaitingId, finished: Finished) {
        self.finished.borrow_mut().push_back((id, finished));
        self.wake();
    }

    pub(super) fn pop(&self) -> Option<(WaitingId, Finished)> {
        self.finished.borrow_mut().pop_front()
    }

    /// Asks the driver to say goodbye and to end.
    pub(super) fn leave(&self) {
        self.is_leaving.set(true);
        self.wake();
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving.get()
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}
