//! One stream: a client of the HTTP/1.1 driver at one end of a pipe, the stream at
//! the other. Both live in one task and end together.

use super::head::{Shape, translate};
use super::inward::Inward;
use super::io::Verdict;
use super::outward::{Outward, Pumped};
use crate::client::Client;
use crate::ends::{Pipe, ReadEnd, WriteEnd};
use crate::plan::Trust;
use crate::worker::{Connection, Worker};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Request;
use slab::Slab;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tidegate_message::{Peer, Protocol};
use tidegate_tls::Names;

/// What the streams of one connection share with it.
pub(super) struct Parent {
    pub(super) worker: Rc<Worker>,
    pub(super) connection: Rc<Connection>,
    pub(super) trust: Arc<Trust>,
    pub(super) peer: Peer,
    /// Where it came to.
    pub(super) local: Option<SocketAddr>,
    pub(super) names: Option<Arc<Names>>,
    pub(super) verdict: Rc<Verdict>,
    /// The streams that are open.
    pub(super) streams: RefCell<Slab<Rc<Connection>>>,
}

/// An entry of [`Parent::streams`], taken back however the stream's task ends.
struct Entry {
    parent: Rc<Parent>,
    key: usize,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut streams = self.parent.streams.borrow_mut();
        streams.remove(self.key);
        if streams.is_empty() {
            // It is the connection that is idle now.
            self.parent.connection.wake();
        }
    }
}

/// How long the rest of an answered request is waited for.
const LINGER: Duration = Duration::from_millis(500);
/// Bytes a second that a client must take while an answer waits for it.
const MIN_RATE: u64 = 512;

/// Serves one request.
pub(super) async fn serve(parent: Rc<Parent>, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (parts, body) = request.into_parts();
    let id = respond.stream_id().as_u32();
    let has_fragment = {
        let mut fragments = parent.verdict.fragments.borrow_mut();
        let has = fragments.contains(&id);
        // Streams come in order: what is left of those before was refused.
        fragments.retain(|other| *other > id);
        has
    };
    let translated = match translate(&parts, (body.is_end_stream(), has_fragment)) {
        Ok(translated) => translated,
        Err(reason) => return respond.send_reset(reason),
    };
    drop(parts);
    let pipe = Rc::new(Pipe::default());
    let mut client = open(&parent, Rc::clone(&pipe));
    let connection = Rc::clone(&client.connection);
    let key = parent.streams.borrow_mut().insert(Rc::clone(&connection));
    let _entry = Entry { parent: Rc::clone(&parent), key };
    client.carry = translated.head;
    let Some(first) = client.carried() else { return };
    let is_tunnel = translated.shape == Shape::Tunnel;
    let deadline = translated.timeout.map(|timeout| Box::pin(tokio::time::sleep(timeout)));
    let mut stream = Stream {
        driver: Some(Box::pin(crate::http::serve(client, first))),
        inward: Inward { body, shape: translated.shape, is_done: false, discarded: 0 },
        outward: Outward::new(respond, (is_tunnel, translated.to_head, translated.is_grpc)),
        deadline,
        is_lingering: false,
        behind: None,
        pipe,
        parent,
    };
    poll_fn(|cx| stream.poll(cx)).await;
}

fn open(parent: &Parent, pipe: Rc<Pipe>) -> Box<Client> {
    let worker = &parent.worker;
    let listener = &parent.connection.listener;
    let connection = worker.connections.open(listener, parent.peer.address, worker.clock.millis());
    connection.is_stream.set(true);
    Box::new(Client {
        worker: Rc::clone(worker),
        connection,
        trust: Arc::clone(&parent.trust),
        read: ReadEnd::Pipe(Rc::clone(&pipe)),
        write: Rc::new(WriteEnd::pipe(pipe)),
        peer: parent.peer.clone(),
        protocol: Protocol::Http2,
        names: parent.names.clone(),
        carry: Vec::new(),
        local: parent.local,
        is_at_end: false,
        _permit: None,
    })
}

struct Stream {
    driver: Option<Pin<Box<dyn Future<Output = ()>>>>,
    inward: Inward,
    outward: Outward,
    /// When the client's patience with a call is over (`grpc-timeout`).
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
    is_lingering: bool,
    /// Since when the client has been behind, and what it had taken then.
    behind: Option<(u64, u64)>,
    pipe: Rc<Pipe>,
    parent: Rc<Parent>,
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_lingering {
            return self.linger(cx);
        }
        self.pipe.register(cx);
        if self.outward.poll_reset(cx) {
            self.pipe.break_off();
            // Told once more, so that it counts and lets go of what it holds.
            if let Some(driver) = &mut self.driver {
                let _ = driver.as_mut().poll(cx);
            }
            return Poll::Ready(());
        }
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            self.outward.deadline_exceeded();
            return Poll::Ready(());
        }
        self.inward.pump(&self.pipe, cx);
        if self.driver.as_mut().is_some_and(|driver| driver.as_mut().poll(cx).is_ready()) {
            self.driver = None;
            self.pipe.end();
        }
        let plan = self.parent.worker.plan();
        let pumped = self.outward.pump(&self.pipe, &plan.plan.bounds, cx);
        let verdict = &self.parent.verdict;
        verdict.answered.set(verdict.answered.get() || self.outward.has_begun());
        verdict.sent.set(verdict.sent.get().saturating_add(std::mem::take(&mut self.outward.frames)));
        match pumped {
            Pumped::Finished => self.linger(cx),
            Pumped::Broken(reason) => {
                self.outward.reset(reason);
                Poll::Ready(())
            }
            Pumped::Idle => {
                self.behind = None;
                Poll::Pending
            }
            Pumped::Blocked if self.is_too_slow(plan.plan.limits.stall_timeout_ms) => {
                self.parent.worker.dropped(Protocol::Http2, "slow-read");
                self.outward.reset(Reason::ENHANCE_YOUR_CALM);
                Poll::Ready(())
            }
            Pumped::Blocked => Poll::Pending,
        }
    }

    /// The answer is out, the request may still come: a short look at the rest, so that a
    /// client that sends first and reads then is not met by a reset.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.driver = None;
        let end = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if !std::mem::replace(&mut self.is_lingering, true) {
            end.as_mut().reset(tokio::time::Instant::now() + LINGER);
        }
        if end.as_mut().poll(cx).is_ready() || !self.inward.discard(cx) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether the client takes its answer by drips: a window of one byte at a time keeps
    /// the answer in our memory as well as none does.
    fn is_too_slow(&mut self, stall_ms: u64) -> bool {
        let now = self.parent.worker.clock.millis();
        let (since, had) = *self.behind.get_or_insert((now, self.outward.sent));
        if now < since + stall_ms {
            return false;
        }
        if self.outward.sent - had < MIN_RATE * (now - since) / 1_000 {
            return true;
        }
        self.behind = Some((now, self.outward.sent));
        false
    }
}
