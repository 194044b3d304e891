//! One HTTP/2 connection with its streams, all in one task: so what they send leaves
//! together. Accepts streams, ends the connection when it is idle, asked
//! to leave, or flooded.

use super::io::{ClientIo, Verdict};
use super::looks::Looks;
use super::meter::{Allowed, Flood, Meter, PREFACE};
use super::sieve::Sieve;
use super::stream::{Parent, Stream};
use crate::client::Client;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::Reason;
use h2::server::{Builder, Connection};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tidegate_message::Protocol;

/// Bytes of a request body that may be on their way: for one stream, for all of them.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// What `h2` may keep besides of DATA frames that bring next to nothing, by its own reckoning. Streams
/// take theirs in every turn, and what a turn reads of them is bounded.
const SMALL_DATA: usize = 1 << 20;
/// Bytes of an answer that wait for the socket.
const SEND_BYTES: usize = 64 << 10;
/// How long a flooded connection has to read why it ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves a connection that begins with the HTTP/2 preface, which is carried over.
pub(crate) async fn serve(client: Box<Client>) {
    let (worker, plan) = (Rc::clone(&client.worker), client.worker.plan());
    let limits = &plan.plan.limits;
    let verdict = Rc::new(Verdict::default());
    let parent = Rc::new(Parent {
        worker: Rc::clone(&worker),
        connection: Rc::clone(&client.connection),
        peer: client.peer.clone(),
        local: client.connection.end.local_addr(),
        names: client.names.clone(),
        verdict: Rc::clone(&verdict),
        looks: Looks::default(),
    });
    let allowed = Allowed {
        resets_per_second: limits.http2_resets_per_second,
        control_per_second: limits.http2_control_per_second,
    };
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(limits.http2_streams)
        .max_header_list_size(plan.plan.bounds.header_total as u32)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BYTES)
        .data_frame_budget(SMALL_DATA)
        .enable_connect_protocol();
    let io = ClientIo { client, sieve: Sieve::new(Meter::new(allowed), PREFACE), verdict };
    // The half-open deadline still holds until the client's settings are there.
    let mut handshake = Box::pin(builder.handshake::<_, Bytes>(io));
    let connected = poll_fn(|cx| {
        parent.connection.register(cx.waker());
        if parent.connection.timed_out.get() {
            return Poll::Ready(None);
        }
        handshake.as_mut().poll(cx).map(Result::ok)
    });
    let Some(connection) = connected.await else { return };
    Driver { connection, parent, streams: FuturesUnordered::new(), is_leaving: false, idle: false }.run().await;
}

struct Driver {
    connection: Connection<ClientIo, Bytes>,
    parent: Rc<Parent>,
    streams: FuturesUnordered<Stream>,
    is_leaving: bool,
    idle: bool,
}

impl Driver {
    async fn run(mut self) {
        let flood = poll_fn(|cx| self.poll(cx)).await;
        poll_fn(|cx| {
            self.streams.iter_mut().for_each(|stream| stream.abandon(cx));
            Poll::Ready(())
        })
        .await;
        self.streams.clear();
        if let Some(flood) = flood {
            self.parent.worker.dropped(Protocol::Http2, flood.label());
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            let closed = poll_fn(|cx| self.connection.poll_closed(cx));
            let _ = tokio::time::timeout(LAST_WORDS, closed).await;
        }
    }

    /// Ready: the connection is over, or must be for that flood.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Flood>> {
        let known = Rc::clone(&self.parent);
        known.connection.register(cx.waker());
        loop {
            if known.connection.is_leaving() || known.connection.timed_out.get() {
                self.leave();
            }
            let accepted = self.connection.poll_accept(cx);
            if let Some(flood) = known.verdict.flood.get() {
                return Poll::Ready(Some(flood));
            }
            match accepted {
                Poll::Ready(Some(Ok(opened))) => {
                    self.idle = false;
                    known.connection.is_active.set(true);
                    known.worker.connections.set_deadline(&known.connection, 0);
                    self.streams.extend(Stream::open(&known, opened));
                }
                Poll::Ready(ended) => {
                    self.count_excess(ended.and_then(Result::err));
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    self.poll_streams(cx);
                    if known.looks.are_left() {
                        known.verdict.all_looked_at(cx);
                    }
                    self.rest();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Counts a connection that `h2` itself ended for what it was made to do; it has said so already.
    fn count_excess(&self, error: Option<h2::Error>) {
        if error.is_some_and(|error| error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM)) {
            self.parent.worker.dropped(Protocol::Http2, "frame-flood");
        }
    }

    /// Moves those that something happened to, a turn of them. What they send wakes this task: it leaves with the next look.
    fn poll_streams(&mut self, cx: &mut Context<'_>) {
        self.parent.looks.begin();
        let streams = &mut self.streams;
        // Bounded by the turn and by each one's windows; a budget that ends in their midst would only poll them in vain.
        let all = tokio::task::unconstrained(poll_fn(|cx| {
            while let Poll::Ready(Some(())) = streams.poll_next_unpin(cx) {}
            Poll::Ready(())
        }));
        let _ = pin!(all).poll(cx);
    }

    /// GOAWAY that allows what is under way, then GOAWAY with the last stream (RFC 9113
    /// section 6.8); the streams are asked to end as well.
    fn leave(&mut self) {
        if std::mem::replace(&mut self.is_leaving, true) {
            return;
        }
        self.connection.graceful_shutdown();
        let goodbye = self.parent.connection.goodbye.get();
        self.streams.iter().for_each(|stream| stream.part(goodbye));
    }

    /// Without streams a connection is idle, and that has an end.
    fn rest(&mut self) {
        let (worker, connection) = (&self.parent.worker, &self.parent.connection);
        if self.idle || !self.streams.is_empty() {
            return;
        }
        self.idle = true;
        connection.is_active.set(false);
        let idle_ms = if self.is_leaving { 1_000 } else { worker.plan().plan.limits.idle_timeout_ms };
        worker.connections.set_deadline(connection, worker.clock.millis() + idle_ms);
    }
}
