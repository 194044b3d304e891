//! Handlers in TypeScript: a request or message crosses once, its body copied once;
//! the reply comes back to the worker that waits for it, or nobody does any more.

use crate::decide;
use crate::plan::Plan;
use crate::pubsub::Publisher;
use crate::worker::Worker;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;
use tidegate_message::{Message, Outcome};
use tidegate_ring::{Asked, Question};
use tokio::sync::oneshot;

/// What a handler replied.
#[derive(Debug, Clone)]
pub(crate) struct HandlerReply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HandlerFailure {
    /// Nobody is there to answer, or too many wait.
    Unavailable,
    /// The deadline passed.
    TimedOut,
}

struct Call {
    request: Vec<u8>,
    reply: oneshot::Sender<HandlerReply>,
}

/// Calls on their way, of all workers.
#[derive(Default)]
pub(crate) struct HandlerCalls {
    calls: Mutex<HashMap<(u16, Asked), Call>>,
    /// Slots whose handler has replied, by worker.
    finished: Mutex<Vec<(u16, Asked)>>,
}

#[derive(serde::Deserialize)]
struct ReplyHead {
    status: u16,
    headers: Vec<(String, String)>,
}

impl HandlerCalls {
    /// The request of a slot, for the policy thread; empty: nobody waits any more.
    pub(crate) fn request(&self, worker: u16, asked: Asked) -> Vec<u8> {
        self.calls.lock().get_mut(&(worker, asked)).map(|call| std::mem::take(&mut call.request)).unwrap_or_default()
    }

    /// The policy thread's reply.
    pub(crate) fn reply(&self, worker: u16, asked: Asked, (head, body): (&str, Vec<u8>)) {
        self.finished.lock().push((worker, asked));
        let Some(call) = self.calls.lock().remove(&(worker, asked)) else { return };
        let reply = match serde_json::from_str::<ReplyHead>(head) {
            Ok(head) if (200..600).contains(&head.status) => {
                HandlerReply { status: head.status, headers: head.headers, body }
            }
            _ => HandlerReply { status: 500, headers: Vec::new(), body: b"the handler returned no reply\n".to_vec() },
        };
        // Whoever asked may have given up.
        let _ = call.reply.send(reply);
    }

    /// Slots of `worker` that are free again.
    pub(crate) fn take_finished(&self, worker: u16) -> Vec<Asked> {
        let mut finished = self.finished.lock();
        let (mine, others) = finished.drain(..).partition::<Vec<_>, _>(|(of, _)| *of == worker);
        *finished = others;
        mine.into_iter().map(|(_, asked)| asked).collect()
    }

    /// A question that was put to another thread anew. False: the thread before has
    /// taken the request already, and the reply comes from there.
    pub(crate) fn hand_over(&self, worker: u16, from: Asked, ask: impl FnOnce() -> Option<Asked>) -> bool {
        let mut calls = self.calls.lock();
        if calls.get(&(worker, from)).is_none_or(|call| call.request.is_empty()) {
            return false;
        }
        let call = calls.remove(&(worker, from));
        if let (Some(to), Some(call)) = (ask(), call) {
            calls.insert((worker, to), call);
        }
        true
    }

    /// The policy thread is gone: nobody will reply.
    pub(crate) fn abandon(&self, worker: u16) {
        self.calls.lock().retain(|(of, _), _| *of != worker);
        self.finished.lock().retain(|(of, _)| *of != worker);
    }
}

/// Calls a handler and waits for its reply.
pub(crate) async fn call(
    worker: &Rc<Worker>,
    plan: &Plan,
    (index, head, body): (usize, &serde_json::Value, &[u8]),
) -> Result<HandlerReply, HandlerFailure> {
    let Some(handler) = plan.handlers.get(index) else { return Err(HandlerFailure::Unavailable) };
    let head = head.to_string();
    let mut request = Vec::with_capacity(4 + head.len() + body.len());
    request.extend_from_slice(&(head.len() as u32).to_le_bytes());
    request.extend_from_slice(head.as_bytes());
    request.extend_from_slice(body);
    let (sender, reply) = oneshot::channel();
    let question = Question { is_handler: true, target: index as u32, plan: plan.version as u32, bytes: &[] };
    let calls = &worker.shared.handlers;
    let asked = {
        // Held over both steps: JavaScript may look for the request at once.
        let mut table = calls.calls.lock();
        let asked = decide::ask_handler(worker, &question).ok_or(HandlerFailure::Unavailable)?;
        table.insert((worker.id, asked), Call { request, reply: sender });
        asked
    };
    let result = tokio::time::timeout(Duration::from_millis(handler.deadline_ms), reply).await;
    match result {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(_)) => Err(HandlerFailure::Unavailable),
        Err(_) => {
            calls.calls.lock().remove(&(worker.id, asked));
            Err(HandlerFailure::TimedOut)
        }
    }
}

/// Gives a published message to a handler; its status says how it went.
pub(crate) async fn publish(
    worker: &Rc<Worker>,
    plan: &Plan,
    (index, publisher, message): (usize, &Publisher, &Message),
) -> Outcome {
    let properties = message.properties.as_deref();
    let head = serde_json::json!({
        "protocol": message.protocol.label(),
        "kind": "publish",
        "topic": message.topic(),
        "clientId": publisher.access.client_id.as_deref(),
        "user": publisher.access.user.as_deref(),
        "source": publisher.peer.address.ip().to_string(),
        "contentType": message.content_type(),
        "qos": message.qos as u8,
        "retain": message.retain,
        "headers": properties.map(|properties| &properties.user[..]).unwrap_or_default(),
    });
    match call(worker, plan, (index, &head, message.payload())).await {
        Ok(reply) if reply.status < 300 => Outcome::Success,
        Ok(reply) if reply.status == 429 => Outcome::QuotaExceeded,
        Ok(reply) if reply.status == 503 => Outcome::Busy,
        Ok(reply) if reply.status < 500 => Outcome::Forbidden,
        Ok(_) | Err(_) => Outcome::Internal,
    }
}
