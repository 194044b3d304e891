//! Delayed publishes whose time has come, and wills, go the way of any publish: routes, policies,
//! the broker.

use super::publish::publish_left;
use super::wills::absent;
use super::{Publishing, publish};
use crate::worker::Worker;
use std::rc::Rc;
use tidegate_broker::Delayed;

/// Delayed publishes of one look; a look is every 100 ms.
const STEP: usize = 4_096;

/// Those that routes and policies take their time for, at once: half of what a worker can ask policies. The others wait.
const UNDER_WAY_MAX: usize = 256;

/// One of them; a panic gives it back, too.
struct Place(Rc<Worker>);

impl Place {
    fn take(worker: &Rc<Worker>) -> Self {
        let taken = &worker.hub.left_under_way;
        taken.set(taken.get() + 1);
        Place(Rc::clone(worker))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = &self.0.hub.left_under_way;
        taken.set(taken.get() - 1);
    }
}

impl Worker {
    /// Does what is due: sessions end, wills and delayed publishes go.
    pub(crate) fn attend_due(self: &Rc<Self>, now: u64) {
        if self.hub.broker.borrow().next_timeout().is_some_and(|at| at <= now) {
            self.with_broker(|broker, sink| broker.handle_timeout(now, sink));
        }
        self.attend_delayed(now);
    }

    /// Publishes what is due.
    pub(super) fn attend_delayed(self: &Rc<Self>, now: u64) {
        for _ in 0..STEP {
            if self.hub.left_under_way.get() >= UNDER_WAY_MAX {
                return;
            }
            let Some(delayed) = self.hub.broker.borrow_mut().poll_delayed(now) else { return };
            self.publish_delayed(now, &delayed);
        }
    }

    fn publish_delayed(self: &Rc<Self>, now: u64, Delayed { id, access, message, is_will }: &Delayed) {
        let id = *id;
        if message.is_expired(now) {
            self.dropped(message.protocol, "expired");
            return self.delayed_done(id);
        }
        // Nobody waits on a connection for it any more.
        let publisher = absent(access.clone());
        let publishing = match is_will {
            true => publish_left(self, &publisher, message),
            false => publish(self, &publisher, message.builder()),
        };
        let Publishing::Later(publishing) = publishing else { return self.delayed_done(id) };
        let (worker, place) = (Rc::clone(self), Place::take(self));
        tokio::task::spawn_local(async move {
            publishing.await;
            drop(place);
            worker.delayed_done(id);
            worker.attend_delayed(worker.clock.millis());
        });
    }

    /// Only when it was published it is forgotten: a crash in between repeats it.
    fn delayed_done(self: &Rc<Self>, id: u64) {
        self.with_broker(|broker, sink| broker.delayed_done(id, sink));
    }
}
