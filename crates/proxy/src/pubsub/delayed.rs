//! Delayed publishes whose time has come go the way of any publish: routes, policies,
//! the broker.

use super::wills::absent;
use super::{Publishing, publish};
use crate::worker::Worker;
use std::rc::Rc;
use tidegate_broker::Delayed;

/// Delayed publishes of one look; a look is every 100 ms.
const STEP: usize = 4_096;

impl Worker {
    /// Publishes what is due.
    pub(crate) fn attend_delayed(self: &Rc<Self>, now: u64) {
        for _ in 0..STEP {
            let Some(delayed) = self.hub.broker.borrow_mut().poll_delayed(now) else { return };
            self.publish_delayed(now, &delayed);
        }
    }

    fn publish_delayed(self: &Rc<Self>, now: u64, Delayed { id, access, message }: &Delayed) {
        let id = *id;
        if message.is_expired(now) {
            self.dropped(message.protocol, "expired");
        } else {
            // Nobody waits on a connection for it any more.
            let publisher = absent(access.clone());
            if let Publishing::Later(publishing) = publish(self, &publisher, message.builder()) {
                // Only when it was published it is forgotten: a crash in between repeats it.
                let worker = Rc::clone(self);
                tokio::task::spawn_local(async move {
                    publishing.await;
                    worker.with_broker(|broker, sink| broker.delayed_done(id, sink));
                });
                return;
            }
        }
        self.with_broker(|broker, sink| broker.delayed_done(id, sink));
    }
}
