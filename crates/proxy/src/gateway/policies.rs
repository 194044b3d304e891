//! The JavaScript side of policies and handlers: threads that arrive and leave, and what they
//! ask and answer.

use super::error::error;
use super::{Gateway, GatewayError, Wake};
use crate::worker::Control;
use std::collections::HashMap;
use std::sync::Arc;
use tidegate_ring::{Asked, Decisions};

/// One policy thread's attachment; who holds an older one has nothing to detach.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attachment(u64);

/// The attachment whose rings each worker has, and the last number that was given.
#[derive(Default)]
pub(super) struct Attached {
    last: u64,
    by_worker: HashMap<u16, Attachment>,
}

impl Gateway {
    /// What is called when events stand in an empty ring.
    pub fn on_wake(&self, wake: Option<Wake>) {
        *self.shared.wake.write() = wake;
    }

    /// A policy thread arrives with rings of the workers that it serves, and takes over from the
    /// one before of each, whose ring is not touched any more when this returns.
    ///
    /// # Errors
    /// `INVALID_OPTIONS`: no ring, or one of a worker that there is not; `CLOSED`.
    pub fn attach_policies(&self, rings: Vec<(u16, Decisions)>, wake: Wake) -> Result<Attachment, GatewayError> {
        if rings.is_empty() || rings.iter().any(|(worker, _)| usize::from(*worker) >= self.workers.len()) {
            return Err(error(
                "INVALID_OPTIONS",
                "a policy thread needs a decision ring of each worker that it serves",
            ));
        }
        let mut attached = self.attached.lock();
        attached.last += 1;
        let attachment = Attachment(attached.last);
        for (worker, ring) in rings {
            let before = self.shared.set_wake(worker, Some(Arc::clone(&wake)));
            let asked = self.ask_one(usize::from(worker), |reply| Control::Policies(Some(Box::new(ring)), reply));
            if let Err(error) = asked {
                self.shared.set_wake(worker, before);
                drop(attached);
                // Its memory may go with it.
                self.detach_policies(attachment);
                return Err(error);
            }
            attached.by_worker.insert(worker, attachment);
        }
        Ok(attachment)
    }

    /// A policy thread leaves: its rings are not touched any more when this returns.
    /// Nothing happens where another one has taken over.
    pub fn detach_policies(&self, attachment: Attachment) {
        let mut attached = self.attached.lock();
        attached.by_worker.retain(|worker, known| {
            if *known == attachment {
                self.shared.set_wake(*worker, None);
                self.shared.handlers.abandon(*worker);
                let _ = self.ask_one(usize::from(*worker), |reply| Control::Policies(None, reply));
            }
            *known != attachment
        });
    }

    /// The request that a handler was asked with: u32le length of the head, JSON, body.
    pub fn handler_request(&self, worker: u16, asked: Asked) -> Vec<u8> {
        self.shared.handlers.request(worker, asked)
    }

    /// A handler's reply.
    pub fn handler_reply(&self, worker: u16, asked: Asked, reply: (&str, Vec<u8>)) {
        self.shared.handlers.reply(worker, asked, reply);
        self.kick(usize::from(worker));
    }

    /// The payload of a question that a policy may see; `None`: nobody waits any more.
    pub fn policy_payload(&self, worker: u16, asked: Asked) -> Option<Vec<u8>> {
        self.shared.payloads.asked(worker, asked)
    }

    /// A policy's own payload, ahead of its verdict.
    pub fn policy_answer(&self, worker: u16, asked: Asked, payload: Vec<u8>) {
        self.shared.payloads.answer(worker, asked, payload);
    }

    /// JavaScript has answered questions of that worker.
    pub fn kick(&self, worker: usize) {
        if let Some(kick) = self.shared.kicks.get(worker) {
            kick.notify_one();
        }
    }
}
