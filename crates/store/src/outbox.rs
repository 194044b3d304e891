//! Messages on their way to other workers whose sessions keep them. They stand in the
//! log of the worker they were published on until the other one has them in its own, so
//! that the publisher's acknowledgement waits for one log only.

use std::collections::VecDeque;
use std::sync::Arc;
use tidegate_message::Message;

/// One message to one worker.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Its id; they go up.
    pub id: u64,
    /// The worker it goes to.
    pub worker: u16,
    /// Whether it is for that worker's ordinary subscribers.
    pub plain: bool,
    /// Shared subscriptions of which one member there gets it.
    pub groups: Vec<Arc<str>>,
    /// The client that published it, where its session may be on that worker.
    pub client: Option<Arc<str>>,
    /// The message.
    pub message: Arc<Message>,
}

/// All that are on their way, oldest first.
#[derive(Default)]
pub(crate) struct Outbox {
    pending: VecDeque<Pending>,
}

impl Outbox {
    pub(crate) fn push(&mut self, pending: Pending) {
        self.pending.push_back(pending);
    }

    /// A worker has everything up to `id`: whether that was news.
    pub(crate) fn arrived(&mut self, worker: u16, id: u64) -> bool {
        let before = self.pending.len();
        self.pending.retain(|pending| pending.worker != worker || pending.id > id);
        self.pending.len() < before
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.pending.iter()
    }
}
