//! Wills where a publish has more to pass than the broker: policies and topic routes see them like every other publish.
//! Without these the broker publishes them itself, within the call that they come from.

use super::publish::publish_left;
use super::{Publisher, Publishing};
use crate::worker::Worker;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use tidegate_broker::Access;
use tidegate_message::{Message, MessageBuilder, Peer};

/// Wills that are due, in their order; no more than one call of the broker brings.
#[derive(Default)]
pub(crate) struct Wills(RefCell<VecDeque<(Access, Message)>>);

impl Wills {
    /// Takes a will up, where somebody has to see it.
    pub(crate) fn take(&self, worker: &Worker, access: &Access, will: &MessageBuilder<'_>) -> bool {
        let plan = worker.plan.borrow();
        let is_seen = plan.plan.hooks.on_publish() || plan.plan.table.has_topics();
        let message = if is_seen { will.clone().build() } else { None };
        let is_taken = message.is_some();
        self.0.borrow_mut().extend(message.map(|message| (access.clone(), message)));
        is_taken
    }

    fn next(&self) -> Option<(Access, Message)> {
        self.0.borrow_mut().pop_front()
    }
}

/// Somebody whose connection is gone.
pub(super) fn absent(access: Access) -> Publisher {
    Publisher { session: None, access, peer: Rc::new(Peer::new(SocketAddr::from(([127, 0, 0, 1], 0)))) }
}

impl Worker {
    /// Publishes the wills that a call of the broker brought.
    pub(super) fn publish_wills(self: &Rc<Self>) {
        while let Some((access, message)) = self.hub.wills.next() {
            if let Publishing::Later(publishing) = publish_left(self, &absent(access), &message) {
                tokio::task::spawn_local(publishing);
            }
        }
    }
}
