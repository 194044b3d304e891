//! A client's two ends as what `h2` reads and writes, with the meter on the way in.

use super::meter::{FLAWS_MAX, Flood, Meter};
use super::sieve::Sieve;
use crate::client::Client;
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Small DATA frames of one turn: `h2` keeps each by itself until its stream has been looked at.
const SMALL_A_TURN: u32 = 1_000;

/// What the connection's driver and its I/O tell each other.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) flood: Cell<Option<Flood>>,
    /// Whether any stream has been answered.
    pub(super) answered: Cell<bool>,
    /// Streams whose request is refused.
    refused: RefCell<Vec<u32>>,
    /// Small DATA frames since all streams were looked at, and whether reading waits for that.
    small: Cell<u32>,
    is_paused: Cell<bool>,
    /// Frames that streams sent since the last read.
    pub(super) sent: Cell<u32>,
}

impl Verdict {
    /// Whether the request of the stream that was opened is refused.
    pub(super) fn take_refused(&self, id: u32) -> bool {
        let mut refused = self.refused.borrow_mut();
        let is_refused = refused.contains(&id);
        // Streams come in order: what is left of those before was refused.
        refused.retain(|other| *other > id);
        is_refused
    }

    /// Keeps what was found in heads. `false`: it is too much.
    fn refuse(&self, streams: &[u32]) -> bool {
        let mut refused = self.refused.borrow_mut();
        refused.extend_from_slice(streams);
        refused.len() <= FLAWS_MAX
    }

    /// All streams have been looked at, and have taken what there was for them.
    pub(super) fn all_looked_at(&self, cx: &Context<'_>) {
        self.small.set(0);
        if self.is_paused.take() {
            cx.waker().wake_by_ref();
        }
    }
}

/// See the module.
pub(super) struct ClientIo {
    pub(super) client: Box<Client>,
    pub(super) sieve: Sieve<Meter>,
    pub(super) verdict: Rc<Verdict>,
}

impl AsyncRead for ClientIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.verdict.flood.get().is_some() {
            // Nothing of it is read any more; what there is to say still leaves.
            return Poll::Pending;
        }
        if this.verdict.small.get() >= SMALL_A_TURN {
            this.verdict.is_paused.set(true);
            return Poll::Pending;
        }
        loop {
            if this.sieve.give(read) {
                return Poll::Ready(Ok(()));
            }
            let before = read.filled().len();
            ready!(this.poll_bytes(cx, read))?;
            if this.passes(read, before) {
                return Poll::Ready(Ok(()));
            }
            if this.verdict.flood.get().is_some() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }
}

impl ClientIo {
    /// What was carried over, then what the socket brings.
    fn poll_bytes(&mut self, cx: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let client = &mut self.client;
        if client.carry.is_empty() {
            return client.connection.end.poll_read(cx, (&client.worker.buffers, read));
        }
        let fits = client.carry.len().min(read.remaining());
        read.put_slice(&client.carry[..fits]);
        client.carry.drain(..fits);
        if client.carry.is_empty() {
            client.carry = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Looks at what was read behind `before`. `false`: nothing of it goes on.
    fn passes(&mut self, read: &mut ReadBuf<'_>, before: usize) -> bool {
        let ClientIo { client, sieve, verdict } = self;
        let count = read.filled().len() - before;
        client.connection.bytes_in.set(client.connection.bytes_in.get() + count as u64);
        client.is_at_end |= count == 0;
        sieve.rules.tick(client.worker.clock.millis(), verdict.answered.get());
        sieve.rules.sent(verdict.sent.take());
        let passes = sieve.pass(read, before);
        verdict.small.set(verdict.small.get() + sieve.rules.take_small());
        let mut flood = sieve.rules.flood();
        let refused = sieve.rules.take_refused();
        if !refused.is_empty() && !verdict.refuse(&refused) {
            flood = flood.or(Some(Flood::Resets));
        }
        if flood.is_some() {
            verdict.flood.set(flood);
            read.set_filled(before);
        }
        passes && flood.is_none()
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut().client.write_now(cx, bytes)? {
            0 if !bytes.is_empty() => Poll::Pending,
            count => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.client.end();
        Poll::Ready(Ok(()))
    }
}
