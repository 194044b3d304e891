//! Wills where a publish has more to pass than the broker: policies and topic routes see them like every other publish.
//! They wait in the broker among what is delayed, due at once, so that their number has a bound and a log knows of them until
//! they are published. Without routes and policies the broker publishes them itself, within the call that they come from.

use super::Publisher;
use crate::worker::Worker;
use std::net::SocketAddr;
use std::rc::Rc;
use tidegate_broker::Access;
use tidegate_message::Peer;

/// Somebody whose connection is gone.
pub(super) fn absent(access: Access) -> Publisher {
    Publisher { session: None, access, peer: Rc::new(Peer::new(SocketAddr::from(([127, 0, 0, 1], 0)))) }
}

impl Worker {
    /// Whether somebody has to see a will; then it is published when this call of the broker is over.
    pub(super) fn sees_wills(&self) -> bool {
        let plan = self.plan.borrow();
        let is_seen = plan.plan.hooks.on_publish() || plan.plan.table.has_topics();
        if is_seen {
            self.hub.has_wills.set(true);
        }
        is_seen
    }

    /// Publishes the wills that a call of the broker brought.
    pub(super) fn publish_wills(self: &Rc<Self>) {
        if self.hub.has_wills.take() {
            self.attend_delayed(self.clock.millis());
        }
    }
}
