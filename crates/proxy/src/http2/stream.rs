//! One stream: a client of the HTTP/1.1 driver, and what HTTP/2 has besides: resets, a
//! call's deadline, a client that drips. Polled within its connection's task.

use super::end::StreamEnd;
use super::grpc;
use super::head::{Shape, finish};
use super::inward::Inward;
use super::outward::{AnswerShape, Outward, Stage};
use crate::client::Client;
use crate::ends::End;
use crate::worker::{Connection, Goodbye, Worker};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tidegate_http2::{Reason, RequestHead, StreamKey};
use tidegate_message::{Peer, Protocol};
use tidegate_tls::Names;

/// What the streams of one connection share with it.
pub(super) struct Parent {
    pub(super) worker: Rc<Worker>,
    pub(super) connection: Rc<Connection>,
    pub(super) peer: Rc<Peer>,
    /// Where it came to.
    pub(super) local: Option<SocketAddr>,
    pub(super) names: Option<Arc<Names>>,
    pub(super) h2: RefCell<tidegate_http2::Connection>,
    /// The connection's driver is at work, and sends what is said.
    pub(super) is_polled: Cell<bool>,
}

impl Parent {
    /// Something was said that must be sent.
    pub(super) fn tell(&self) {
        if !self.is_polled.get() {
            self.connection.wake();
        }
    }
}

/// How long the rest of an answered request is waited for.
const LINGER: Duration = Duration::from_millis(500);
/// Bytes a second that a client must take while an answer waits for it.
const MIN_RATE: u64 = 512;

/// See the module. Ready when the stream is over.
pub(super) struct Stream {
    driver: Option<Pin<Box<dyn Future<Output = ()>>>>,
    end: Rc<StreamEnd>,
    connection: Rc<Connection>,
    /// When the client's patience with a call is over (`grpc-timeout`), then when the wait for the request's rest is.
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
    is_lingering: bool,
    /// Since when the client has been behind, and what it had taken then: of the stream, of the connection.
    behind: Option<(u64, u64, u64)>,
    parent: Rc<Parent>,
}

impl Stream {
    /// A stream that was opened; `ends`: its request has no body.
    ///
    /// # Errors
    /// What it is refused with.
    pub(super) fn open(
        parent: &Rc<Parent>,
        key: StreamKey,
        (head, ends): (&mut RequestHead, bool),
    ) -> Result<Stream, Reason> {
        let shape = finish(head, ends)?;
        let is_grpc = grpc::is_grpc(head.content_type());
        let timeout = is_grpc.then(|| grpc::parse_timeout(head.grpc_timeout())).flatten();
        let answer = AnswerShape { is_tunnel: shape == Shape::Tunnel, to_head: head.is_head(), is_grpc };
        let outward = Outward::new(key, Rc::clone(parent), answer);
        let end = Rc::new(StreamEnd::new(Rc::clone(parent), key, (Inward::new(key, shape), outward)));
        let mut client = client_of(parent, &end);
        let connection = Rc::clone(&client.connection);
        client.carry = std::mem::replace(&mut head.text, parent.worker.buffers.take_write());
        Ok(Stream {
            driver: Some(Box::pin(crate::http::serve(client))),
            end,
            connection,
            deadline: timeout.map(|timeout| Box::pin(tokio::time::sleep(timeout))),
            is_lingering: false,
            behind: None,
            parent: Rc::clone(parent),
        })
    }

    /// The gateway wants the connection gone: the stream ends as soon as it can.
    pub(super) fn part(&self, goodbye: Option<Goodbye>) {
        self.connection.goodbye.set(goodbye);
        self.connection.wake();
    }

    /// Its client is gone: told once more, the driver counts and lets go of what it holds.
    /// A panic ends that, and not what the others have to do.
    pub(super) fn abandon(&mut self, cx: &mut Context<'_>) {
        self.end.break_off();
        if let Some(driver) = &mut self.driver {
            let _ = catch_unwind(AssertUnwindSafe(|| driver.as_mut().poll(cx))).inspect_err(|_| self.panicked());
        }
    }

    /// What it was about is in an unknown state: nothing of it is looked at again.
    fn panicked(&self) {
        self.parent.worker.counters.panics.add(1);
        self.end.with_outward(|outward| outward.reset(Reason::INTERNAL_ERROR));
    }

    fn look(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_lingering {
            return self.linger(cx);
        }
        if !self.end.enter(cx) {
            self.abandon(cx);
            return Poll::Ready(());
        }
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            self.end.with_outward(Outward::deadline_exceeded);
            return Poll::Ready(());
        }
        if self.driver.as_mut().is_some_and(|driver| driver.as_mut().poll(cx).is_ready()) {
            self.driver = None;
            self.end.end();
        }
        let (stage, sent) = self.end.leave();
        match stage {
            Stage::Finished => self.linger(cx),
            Stage::Broken => self.reset(Reason::INTERNAL_ERROR),
            Stage::Idle => {
                self.behind = None;
                Poll::Pending
            }
            Stage::Blocked if self.is_too_slow(sent) => {
                self.parent.worker.dropped(Protocol::Http2, "slow-read");
                self.reset(Reason::ENHANCE_YOUR_CALM)
            }
            Stage::Blocked => Poll::Pending,
        }
    }

    fn reset(&self, reason: Reason) -> Poll<()> {
        self.end.with_outward(|outward| outward.reset(reason));
        Poll::Ready(())
    }

    /// The answer is out, the request may still come: a short look at the rest, so that a
    /// client that sends first and reads then is not met by a reset.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.driver = None;
        if !self.end.discard() {
            return Poll::Ready(());
        }
        let end = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if !std::mem::replace(&mut self.is_lingering, true) {
            end.as_mut().reset(tokio::time::Instant::now() + LINGER);
        }
        end.as_mut().poll(cx)
    }

    /// Whether the client takes its answer by drips: a window of one byte at a time keeps
    /// the answer in our memory as well as none does. Who waits for others on a slow network does not.
    fn is_too_slow(&mut self, sent: u64) -> bool {
        let Parent { worker, connection, .. } = &*self.parent;
        let (now, stall_ms) = (worker.clock.millis(), worker.plan().plan.limits.stall_timeout_ms);
        let out = connection.bytes_out.get();
        let (since, had_sent, had_out) = *self.behind.get_or_insert((now, sent, out));
        if now < since + stall_ms {
            return false;
        }
        let is_slow = |count: u64| count < MIN_RATE * (now - since) / 1_000;
        if is_slow(sent - had_sent) && (self.end.waits_for_window() || is_slow(out - had_out)) {
            return true;
        }
        self.behind = Some((now, sent, out));
        false
    }
}

impl Drop for Stream {
    /// Nobody takes anything of it any more.
    fn drop(&mut self) {
        self.end.close();
    }
}

impl Future for Stream {
    type Output = ();

    /// A panic ends its stream, not the others of the connection.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let stream = self.get_mut();
        catch_unwind(AssertUnwindSafe(|| stream.look(cx))).unwrap_or_else(|_| {
            stream.panicked();
            Poll::Ready(())
        })
    }
}

fn client_of(parent: &Parent, end: &Rc<StreamEnd>) -> Box<Client> {
    let worker = &parent.worker;
    let trust = Arc::clone(&parent.connection.trust);
    let connection =
        worker.connections.open((trust, &parent.peer), End::stream(Rc::clone(end)), worker.clock.read_millis());
    connection.is_stream.set(true);
    Box::new(Client {
        worker: Rc::clone(worker),
        connection,
        peer: Rc::clone(&parent.peer),
        protocol: Protocol::Http2,
        names: parent.names.clone(),
        carry: Vec::new(),
        local: parent.local.map(Box::new),
        is_at_end: false,
        _permit: None,
    })
}
