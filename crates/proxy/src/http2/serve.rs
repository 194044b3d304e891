//! One HTTP/2 connection with its streams, all in one task: so what they send leaves
//! together. Opens streams, ends the connection when it is idle, asked
//! to leave, or flooded.

use super::set::StreamSet;
use super::stream::{Parent, Stream};
use crate::client::Client;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tidegate_http2::{Allowed, Config, Connection, Failure, Reason, RequestHead, StreamKey, TakeRequest};
use tidegate_message::Protocol;

/// Bytes of a request body that may be on their way: for one stream, for all of them.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of answers that wait for the socket.
const SEND_BYTES: usize = 64 << 10;
/// How long a connection that broke a rule has to read why it ends.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long one that leaves has for that, once it has no stream.
const LEAVING_MS: u64 = 1_000;
/// Reads of one turn, and writes behind each; others on the worker come then.
const READS_A_TURN: usize = 4;
const WRITES_A_TURN: usize = 4;

/// Serves a connection that begins with the HTTP/2 preface, which is carried over.
pub(crate) async fn serve(client: Box<Client>) {
    let (worker, plan) = (Rc::clone(&client.worker), client.worker.plan());
    let limits = &plan.plan.limits;
    let config = Config {
        streams_max: limits.http2_streams,
        head_max: plan.plan.bounds.header_total as u32,
        stream_window: STREAM_WINDOW,
        connection_window: CONNECTION_WINDOW,
        out_max: SEND_BYTES,
        allowed: Allowed {
            resets_per_second: limits.http2_resets_per_second,
            control_per_second: limits.http2_control_per_second,
        },
    };
    let parent = Rc::new(Parent {
        worker,
        connection: Rc::clone(&client.connection),
        peer: client.peer.clone(),
        local: client.ends().map(|(_, local)| local),
        names: client.names.clone(),
        h2: RefCell::new(Connection::new(config)),
        is_polled: Cell::new(false),
    });
    Driver { client, parent, streams: StreamSet::new(), is_leaving: false, is_idle: false }.run().await;
}

struct Driver {
    client: Box<Client>,
    parent: Rc<Parent>,
    streams: StreamSet<Stream>,
    is_leaving: bool,
    is_idle: bool,
}

impl Driver {
    async fn run(mut self) {
        poll_fn(|cx| {
            self.parent.is_polled.set(true);
            self.streams.begin(cx);
            let polled = self.poll(cx);
            self.parent.is_polled.set(false);
            self.streams.rest(cx);
            polled
        })
        .await;
        poll_fn(|cx| {
            self.streams.each().for_each(|stream| stream.abandon(cx));
            Poll::Ready(())
        })
        .await;
        self.streams.clear();
        let failure = self.parent.h2.borrow().failure();
        if let Some(failure) = failure {
            self.count(failure);
            let said = poll_fn(|cx| self.flush(cx));
            let _ = tokio::time::timeout(LAST_WORDS, said).await;
        }
        self.client.end();
    }

    fn count(&self, failure: Failure) {
        if let Failure::Flood(flood) = failure {
            self.parent.worker.dropped(Protocol::Http2, flood.label());
        }
    }

    /// Ready: the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let connection = Rc::clone(&self.parent.connection);
        connection.register(cx.waker());
        if connection.timed_out.get() && (self.is_leaving || !self.parent.h2.borrow().has_settings()) {
            // It had its time: to say what it speaks, or to go.
            return Poll::Ready(());
        }
        if connection.is_leaving() || connection.timed_out.get() {
            self.leave();
        }
        for turn in 1.. {
            // As long as the client reads what that leads to.
            let is_heard = self.parent.h2.borrow().has_room();
            let read = if is_heard { self.read(cx) } else { Poll::Pending };
            if matches!(read, Poll::Ready(Err(_))) || self.parent.h2.borrow().failure().is_some() {
                return Poll::Ready(());
            }
            if self.work(cx).is_err() {
                return Poll::Ready(());
            }
            let h2 = self.parent.h2.borrow();
            if h2.is_over() && h2.out().is_empty() {
                return Poll::Ready(());
            }
            if read.is_pending() && (is_heard || !h2.has_room()) {
                break;
            }
            if turn == READS_A_TURN {
                cx.waker().wake_by_ref();
                break;
            }
        }
        self.rest();
        Poll::Pending
    }

    /// Takes what the client sent.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Driver { client, parent, streams, .. } = self;
        let mut h2 = parent.h2.borrow_mut();
        let input = match client.carried() {
            Some(input) => input,
            None => ready!(client.poll_input(cx))?,
        };
        let mut opening = Opening { parent, streams, is_any: false };
        h2.receive(input.bytes(), client.worker.clock.read_millis(), &mut opening);
        if opening.is_any {
            self.is_idle = false;
            parent.connection.is_active.set(true);
            parent.worker.connections.set_deadline(&parent.connection, 0);
        }
        let is_end = client.is_at_end && input.is_empty();
        client.worker.buffers.give(input.buffer);
        Poll::Ready(if is_end { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) })
    }

    /// Lets the streams go on, and sends what they say. Whoever is left then wakes this task.
    fn work(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        for _ in 0..WRITES_A_TURN {
            let are_all = self.look(cx);
            if let Poll::Ready(Err(error)) = self.flush(cx) {
                return Err(error);
            }
            if !self.parent.h2.borrow_mut().give_turns() || !are_all {
                break;
            }
        }
        Ok(())
    }

    /// Looks at a turn of streams. Whether none is left.
    fn look(&mut self, cx: &mut Context<'_>) -> bool {
        let streams = &mut self.streams;
        // Bounded by the turn and by each one's windows; a budget that ends in their midst would only poll them in vain.
        let turn = tokio::task::unconstrained(poll_fn(|_| Poll::Ready(streams.turn())));
        pin!(turn).poll(cx) == Poll::Ready(true)
    }

    /// Sends what there is. Pending: the socket takes no more, and wakes this task when it does.
    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut h2 = self.parent.h2.borrow_mut();
        while !h2.out().is_empty() {
            match self.client.write_now(cx, h2.out())? {
                0 => return Poll::Pending,
                count => h2.took(count),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// GOAWAY that allows what is under way, then GOAWAY with the last stream (RFC 9113
    /// section 6.8); the streams are asked to end as well.
    fn leave(&mut self) {
        if std::mem::replace(&mut self.is_leaving, true) {
            return;
        }
        self.parent.h2.borrow_mut().leave();
        self.is_idle = false;
        let goodbye = self.parent.connection.goodbye.get();
        self.streams.each().for_each(|stream| stream.part(goodbye));
    }

    /// Without streams a connection is idle, and that has an end. The half-open deadline holds until the client's
    /// settings are there.
    fn rest(&mut self) {
        let (worker, connection) = (&self.parent.worker, &self.parent.connection);
        let mut h2 = self.parent.h2.borrow_mut();
        if self.is_idle || !self.streams.is_empty() || !h2.has_settings() {
            return;
        }
        self.is_idle = true;
        h2.rest();
        connection.is_active.set(false);
        let idle_ms = if self.is_leaving { LEAVING_MS } else { worker.plan().plan.limits.idle_timeout_ms };
        worker.connections.set_deadline(connection, worker.clock.millis() + idle_ms);
    }
}

/// Makes streams of requests.
struct Opening<'d> {
    parent: &'d Rc<Parent>,
    streams: &'d mut StreamSet<Stream>,
    is_any: bool,
}

impl TakeRequest for Opening<'_> {
    fn take(&mut self, key: StreamKey, head: &mut RequestHead, ends: bool) -> Result<(), Reason> {
        self.streams.push(Stream::open(self.parent, key, (head, ends))?);
        self.is_any = true;
        Ok(())
    }
}
