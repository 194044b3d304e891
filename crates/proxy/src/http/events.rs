//! A topic as an event stream (HTML, "Server-sent events"): retained values first,
//! then each message as it comes. The event's id is its topic.

use super::reply::ReplyTo;
use crate::client::Client;
use crate::hooks::{self, Subscription};
use crate::pubsub::{Outlet, Queued, StreamQueue};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use tidegate_broker::{Access, Options, SubscriberId};
use tidegate_http::{Version, put_chunk, put_last_chunk};
use tidegate_message::{Outcome, Peer, Protocol, Qos};

/// A comment at least so often shows both ends that the other one lives.
const ALIVE_MS: u64 = 15_000;

/// A subscription that ends with its stream.
pub(crate) struct Subscribed {
    worker: Rc<crate::worker::Worker>,
    pub(crate) id: SubscriberId,
    pub(crate) queue: Rc<StreamQueue>,
    peer: Rc<Peer>,
    access: Access,
}

impl Subscribed {
    /// A subscriber with an empty queue.
    pub(crate) fn new(client: &Client, access: Access, protocol: Protocol) -> Self {
        let worker = Rc::clone(&client.worker);
        let plan = worker.plan();
        let max = (plan.plan.broker.max_queued, plan.plan.broker.max_queued_bytes);
        let told = (Rc::clone(&worker.hub.undelivered), Arc::clone(&worker.counters));
        let queue = Rc::new(StreamQueue::new(protocol, max, told));
        let id = worker.hub.broker.borrow_mut().add_subscriber(protocol, access.clone());
        worker.hub.outlets.borrow_mut().insert(id, Outlet::Stream(Rc::clone(&queue)));
        Subscribed { worker, id, queue, peer: client.peer.clone(), access }
    }

    /// Subscribes, and answers when every worker knows; then retained messages follow.
    pub(crate) async fn subscribe(&self, filter: &str, qos: Qos) -> Result<(), Outcome> {
        let mut wanted = Subscription { filter: filter.into(), qos };
        if self.worker.plan.borrow().plan.hooks.on_subscribe() {
            let who = (self.queue.protocol, &*self.peer, &self.access);
            wanted = hooks::subscribe(&self.worker, who, wanted).await.map_err(|refusal| refusal.outcome())?;
        }
        let options = Options { qos: wanted.qos, ..Options::default() };
        let granted =
            self.worker.with_broker(|broker, sink| broker.subscribe(self.id, &wanted.filter, options, sink))?;
        self.worker.settled(granted.after).await;
        let now = self.worker.clock.millis();
        self.worker.with_broker(|broker, sink| broker.replay(now, self.id, &granted, sink));
        Ok(())
    }
}

impl Subscribed {
    /// The oldest message; `None`: the task is woken when there is one.
    pub(crate) fn pop(&self, waker: &Waker) -> Option<Queued> {
        if self.queue.wants_more() {
            let now = self.worker.clock.millis();
            self.worker.with_broker(|broker, sink| broker.replay_on(now, self.id, sink));
        }
        self.queue.pop(waker)
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.worker.hub.outlets.borrow_mut().remove(self.id);
        self.worker.with_broker(|broker, sink| broker.remove_subscriber(self.id, sink));
    }
}

/// Streams a filter until one side ends it.
pub(crate) async fn serve(mut client: Box<Client>, (filter, reply, access): (String, ReplyTo, Access)) {
    client.limit_to(access.until());
    let subscribed = Subscribed::new(&client, access, client.protocol);
    if let Err(outcome) = subscribed.subscribe(&filter, Qos::AtLeastOnce).await {
        drop(subscribed);
        reply.send(client, (super::topics::status(outcome), b"", outcome.label().as_bytes())).await;
        return;
    }
    let chunked = reply.version == Version::Http11;
    let framing = if chunked { "transfer-encoding: chunked" } else { "connection: close" };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\nx-accel-buffering: no\r\n{framing}\r\ndate: "
    );
    let date = client.worker.date(client.worker.clock.millis());
    let head = [head.as_bytes(), &date, b"\r\n\r\n"].concat();
    reply.count(&client, 200, 0);
    if client.write_all(&head).await.is_err() {
        return;
    }
    let mut text = Vec::new();
    let mut out = Vec::new();
    loop {
        client.deadline(client.worker.clock.millis(), ALIVE_MS);
        let Some(queued) = next(&mut client, &subscribed).await else { break };
        text.clear();
        match queued {
            Some(queued) => put_event(&mut text, &queued),
            None => text.extend_from_slice(b":\n\n"),
        }
        // What else waits leaves in the same write.
        while let Some(queued) = subscribed.pop(Waker::noop()) {
            put_event(&mut text, &queued);
            if text.len() > 64 << 10 {
                break;
            }
        }
        out.clear();
        if chunked {
            put_chunk(&mut out, &text)
        } else {
            out.extend_from_slice(&text)
        }
        client.deadline(client.worker.clock.millis(), reply.plan.limits.stall_timeout_ms);
        if client.write_all(&out).await.is_err() {
            return;
        }
    }
    drop(subscribed);
    if chunked && !client.is_at_end {
        out.clear();
        put_last_chunk(&mut out, b"");
        client.deadline(client.worker.clock.millis(), reply.plan.limits.stall_timeout_ms);
        let _ = client.write_all(&out).await;
    }
    client.close().await;
}

/// The next message. Inner `None`: it is time for a sign of life; outer: the stream ends.
async fn next(client: &mut Client, subscribed: &Subscribed) -> Option<Option<Queued>> {
    poll_fn(|cx| {
        client.connection.register(cx.waker());
        if client.connection.is_leaving() {
            return Poll::Ready(None);
        }
        if let Some(queued) = subscribed.pop(cx.waker()) {
            return Poll::Ready(Some(Some(queued)));
        }
        if client.connection.timed_out.get() {
            return Poll::Ready((!client.has_expired()).then_some(None));
        }
        match client.poll_input(cx) {
            Poll::Pending => Poll::Pending,
            // Bytes behind the request have no meaning here; the end of the client has.
            Poll::Ready(Ok(input)) if !client.is_at_end => {
                client.worker.buffers.give(input.buffer);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Ok(input)) => {
                client.worker.buffers.give(input.buffer);
                Poll::Ready(None)
            }
            Poll::Ready(Err(_)) => Poll::Ready(None),
        }
    })
    .await
}

fn put_event(out: &mut Vec<u8>, queued: &Queued) {
    let message = &queued.message;
    out.extend_from_slice(b"event: message\nid: ");
    out.extend(message.topic_bytes().iter().filter(|byte| !byte.is_ascii_control()));
    out.push(b'\n');
    match std::str::from_utf8(message.payload()) {
        Ok(text) => {
            // Each line of the payload is a line of data; every spelling of a line's end counts.
            for line in text.replace("\r\n", "\n").replace('\r', "\n").split('\n') {
                out.extend_from_slice(b"data: ");
                out.extend_from_slice(line.as_bytes());
                out.push(b'\n');
            }
        }
        Err(_) => {
            out.extend_from_slice(b"encoding: base64\ndata: ");
            out.extend_from_slice(STANDARD.encode(message.payload()).as_bytes());
            out.push(b'\n');
        }
    }
    out.push(b'\n');
}
