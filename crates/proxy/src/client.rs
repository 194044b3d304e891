//! The client's end of a stream: reads go through the worker's scratch buffer, and
//! only what could not be used at once is kept here.

use crate::metrics::ListenerCounters;
use crate::plan::Trust;
use crate::worker::{Connection, HEADROOM, READ_BYTES, ReadBuffer, Worker};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tidegate_listener::Permit;
use tidegate_message::{Known, Peer, Protocol};
use tidegate_ring::EventKind;
use tidegate_tls::Names;
use tokio::io::ReadBuf;

/// Bytes that were read and not used yet, in a scratch buffer.
pub(crate) struct Input {
    pub(crate) buffer: ReadBuffer,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Input {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

/// A client's connection.
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    pub(crate) connection: Rc<Connection>,
    /// Shared with whoever publishes and is delivered to in its name.
    pub(crate) peer: Rc<Peer>,
    /// What its requests are counted as.
    pub(crate) protocol: Protocol,
    /// What the certificate covers that it was shown; `None`: there is no TLS.
    pub(crate) names: Option<Arc<Names>>,
    /// Read, but not used: the beginning of what comes next.
    pub(crate) carry: Vec<u8>,
    /// Where it came to, where its own end does not tell: a stream's connection does, or a balancer's header.
    pub(crate) local: Option<Box<SocketAddr>>,
    /// The client has sent everything it ever will.
    pub(crate) is_at_end: bool,
    /// Its place among the admitted, held as long as it lives; a stream shares its connection's.
    pub(crate) _permit: Option<Permit>,
}

/// Why a wait for the client ended without bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// It closed, or its network did.
    Closed,
    /// The connection's deadline passed.
    TimedOut,
    /// The gateway wants the connection gone.
    Asked,
}

/// How long a closing connection is read on, so that the last answer is not lost to a reset.
const LINGER: Duration = Duration::from_millis(500);
/// And so many bytes of it.
const LINGER_BYTES: usize = 64 << 20;

impl Client {
    /// Reads once. What was carried over stands in front of what is new; an empty
    /// result is the end of the stream.
    pub(crate) fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Input>> {
        if self.carry.len() >= READ_BYTES {
            // There is no room to read into before some of it is used.
            return Poll::Ready(self.carried().ok_or_else(|| io::ErrorKind::InvalidData.into()));
        }
        let mut buffer = self.worker.buffers.take();
        let start = HEADROOM + self.carry.len();
        let mut read = ReadBuf::new(&mut buffer[start..]);
        let polled = self.connection.end.poll_read(cx, (&self.worker.buffers, &mut read));
        let count = read.filled().len();
        let result = match polled {
            Poll::Ready(result) => result,
            Poll::Pending => {
                self.worker.buffers.give(buffer);
                return Poll::Pending;
            }
        };
        if let Err(error) = result {
            self.worker.buffers.give(buffer);
            return Poll::Ready(Err(error));
        }
        self.worker.clock.micros();
        buffer[HEADROOM..start].copy_from_slice(&self.carry);
        self.carry.clear();
        self.connection.bytes_in.set(self.connection.bytes_in.get() + count as u64);
        self.is_at_end |= count == 0;
        Poll::Ready(Ok(Input { buffer, start: HEADROOM, end: start + count }))
    }

    /// Something about the other end became known.
    pub(crate) fn know(&mut self, learn: impl FnOnce(&mut Known)) {
        learn(Rc::make_mut(&mut self.peer).known_mut());
        self.connection.know(&self.peer);
    }

    /// Waits for bytes, the deadline or a goodbye. `interruptible`: a goodbye ends the wait.
    pub(crate) async fn input(&mut self, interruptible: bool) -> Result<Input, Ended> {
        poll_fn(|cx| self.poll_awaited(interruptible, cx)).await
    }

    /// The same, for who has other things to look at.
    pub(crate) fn poll_awaited(&mut self, interruptible: bool, cx: &mut Context<'_>) -> Poll<Result<Input, Ended>> {
        self.connection.register(cx.waker());
        if self.connection.timed_out.get() {
            return Poll::Ready(Err(Ended::TimedOut));
        }
        if interruptible && self.connection.is_leaving() {
            return Poll::Ready(Err(Ended::Asked));
        }
        match ready!(self.poll_input(cx)) {
            Ok(input) if self.is_at_end => {
                self.worker.buffers.give(input.buffer);
                Poll::Ready(Err(Ended::Closed))
            }
            Ok(input) => Poll::Ready(Ok(input)),
            Err(_) => Poll::Ready(Err(Ended::Closed)),
        }
    }

    /// Waits until the client has sent its last or is gone. What it sends meanwhile is carried over, within bounds.
    pub(crate) async fn left(&mut self) {
        poll_fn(|cx| {
            while !self.is_at_end {
                if self.carry.len() >= READ_BYTES / 2 {
                    return Poll::Pending;
                }
                match ready!(self.poll_input(cx)) {
                    Ok(input) => self.stash(input),
                    Err(_) => break,
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Takes what was carried over as input without reading.
    pub(crate) fn carried(&mut self) -> Option<Input> {
        if self.carry.is_empty() {
            return None;
        }
        let mut buffer = self.worker.buffers.take();
        let end = HEADROOM + self.carry.len().min(READ_BYTES);
        buffer[HEADROOM..end].copy_from_slice(&self.carry[..end - HEADROOM]);
        if self.carry.len() > READ_BYTES {
            self.carry.drain(..READ_BYTES);
        } else {
            self.worker.buffers.give_write(std::mem::take(&mut self.carry));
        }
        Some(Input { buffer, start: HEADROOM, end })
    }

    /// Keeps what is left of `input` and gives its buffer back.
    pub(crate) fn stash(&mut self, input: Input) {
        if !input.is_empty() {
            // What was carried over and not taken yet stands behind it.
            self.carry.splice(0..0, input.bytes().iter().copied());
        }
        self.worker.buffers.give(input.buffer);
    }

    /// Writes as much as the socket takes now: 0 where it takes nothing, and then the
    /// task is woken when it does.
    ///
    /// # Errors
    /// The client is gone.
    pub(crate) fn write_now(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.connection.end.try_write(bytes) {
                Ok(count) => {
                    self.connection.bytes_out.set(self.connection.bytes_out.get() + count as u64);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.connection.end.poll_write_ready(cx)?.is_pending() {
                        return Ok(0);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Its address, and the one that it came to.
    pub(crate) fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        Some((self.peer.address, self.local.as_deref().copied().or_else(|| self.connection.end.local_addr())?))
    }

    /// Tells the client that nothing more comes from us.
    pub(crate) fn end(&self) {
        self.connection.end.end();
    }

    /// Writes everything, within the connection's deadline.
    ///
    /// # Errors
    /// The client is gone or too slow.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let mut sent = 0;
        poll_fn(|cx| {
            self.connection.register(cx.waker());
            while sent < bytes.len() {
                if self.connection.timed_out.get() {
                    return Poll::Ready(Err(Ended::TimedOut));
                }
                match self.write_now(cx, &bytes[sent..]) {
                    Ok(0) => return Poll::Pending,
                    Ok(count) => sent += count,
                    Err(_) => return Poll::Ready(Err(Ended::Closed)),
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// From now on it is counted under that protocol.
    pub(crate) fn becomes(&self, protocol: Protocol) {
        let counters = self.counters();
        if let Some(before) = self.connection.protocol.replace(Some(protocol)) {
            counters.of(before).open.sub(1);
        }
        counters.of(protocol).accepted.add(1);
        counters.of(protocol).open.add(1);
    }

    /// The terms of its listener.
    pub(crate) fn trust(&self) -> &Arc<Trust> {
        &self.connection.trust
    }

    fn counters(&self) -> &ListenerCounters {
        &self.trust().counters[usize::from(self.worker.id)]
    }

    /// Sets the connection's deadline, milliseconds from `now`.
    pub(crate) fn deadline(&self, now: u64, after_ms: u64) {
        self.worker.connections.set_deadline(&self.connection, now + after_ms);
    }

    /// Its connection ends with its identity, `until` in seconds since 1970. Counts from the next deadline on.
    pub(crate) fn limit_to(&self, until: Option<u64>) {
        let epoch = self.worker.clock.epoch_ms();
        let ends_at = until.map_or(u64::MAX, |until| until.saturating_mul(1_000).saturating_sub(epoch));
        self.connection.limit_to(ends_at);
    }

    /// Whether its identity has ended; counted.
    pub(crate) fn has_expired(&self) -> bool {
        let is_over = self.connection.has_expired(self.worker.clock.millis());
        if is_over {
            self.worker.counters.auth(self.protocol, "expired");
        }
        is_over
    }

    /// Closes so that what was written arrives: no more from us, then a short look at
    /// what the client still sends (RFC 9112 section 9.6).
    pub(crate) async fn close(self: Box<Self>) {
        // Where everything that came was read there is no reset to fear.
        if !self.is_at_end && (self.connection.lingers.get() || !self.carry.is_empty()) {
            self.end();
            Box::pin(self.linger()).await;
        }
    }

    /// Boxed: a connection pays for it only when it closes.
    async fn linger(mut self: Box<Self>) {
        let drain = async {
            let mut rest = LINGER_BYTES;
            while rest > 0 {
                match poll_fn(|cx| self.poll_input(cx)).await {
                    Ok(input) if !self.is_at_end => {
                        rest -= (input.end - input.start).min(rest);
                        self.worker.buffers.give(input.buffer);
                    }
                    Ok(input) => {
                        self.worker.buffers.give(input.buffer);
                        break;
                    }
                    Err(_) => break,
                }
            }
        };
        let _ = tokio::time::timeout(LINGER, drain).await;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.worker.connections.close(&self.connection);
        self.connection.end.close();
        if !self.connection.is_stream.get() {
            self.worker.connection_event(EventKind::Closed, (&self.trust().name, self.connection.address()));
        }
        if let Some(protocol) = self.connection.protocol.get() {
            self.counters().of(protocol).open.sub(1);
        }
        // A stream's panic is caught, and counted where that is done.
        if std::thread::panicking() && !self.connection.is_stream.get() {
            self.worker.counters.panics.add(1);
        }
    }
}
