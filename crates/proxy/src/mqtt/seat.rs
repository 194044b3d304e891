//! A connection's place in the broker, and how it is left.

use crate::pubsub::Publisher;
use crate::worker::Worker;
use std::rc::Rc;
use tidegate_broker::{Leave, SubscriberId};

/// How a connection ended, as policies hear it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// The client closed without a word, or its network did.
    Lost,
    Client,
    ProtocolError,
    UpstreamLost,
    Expired,
    KeepAlive,
    Asked,
    TakenOver,
    Kicked,
}

impl Ending {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Ending::Lost => "lost",
            Ending::Client => "client",
            Ending::ProtocolError => "protocol-error",
            Ending::UpstreamLost => "upstream-lost",
            Ending::Expired => "expired",
            Ending::KeepAlive => "keep-alive",
            Ending::Asked => "asked",
            Ending::TakenOver => "taken-over",
            Ending::Kicked => "kicked",
        }
    }
}

/// A connection's place in the broker; given up however its task ends.
pub(crate) struct Seat {
    pub(super) worker: Rc<Worker>,
    /// Who publishes there; with the broker's name for it from CONNACK on.
    pub(crate) publisher: Publisher,
    /// How it leaves, where the client said so.
    pub(crate) leave: Leave,
    /// How it ended, as policies hear it.
    pub(crate) ended: Ending,
}

impl Seat {
    /// The broker's name for it.
    pub(crate) fn id(&self) -> Option<SubscriberId> {
        self.publisher.session.map(|(id, _)| id)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(id) = self.id() {
            self.worker.hub.outlets.borrow_mut().remove(id);
            let now = self.worker.clock.millis();
            self.worker.with_broker(|broker, sink| broker.disconnect(now, id, self.leave, sink));
        }
    }
}
