//! A client's two ends as what `h2` reads and writes, with the meter on the way in.

use super::meter::{FLAWS_MAX, Flaw, Flood, Meter};
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
    /// Streams that came with a flaw in their head.
    flaws: RefCell<Vec<(u32, Flaw)>>,
    /// Streams whose trailers have one.
    cut: RefCell<Vec<u32>>,
    /// Small DATA frames since all streams were looked at, and whether reading waits for that.
    small: Cell<u32>,
    is_paused: Cell<bool>,
    /// Frames that streams sent since the last read.
    pub(super) sent: Cell<u32>,
}

impl Verdict {
    /// What is wrong with the head of the stream that was opened.
    pub(super) fn take_flaw(&self, id: u32) -> Option<Flaw> {
        let mut flaws = self.flaws.borrow_mut();
        let flaw = flaws.iter().find(|(other, _)| *other == id).map(|(_, flaw)| *flaw);
        // Streams come in order: what is left of those before was refused.
        flaws.retain(|(other, _)| *other > id);
        flaw
    }

    /// Streams whose trailers are malformed, since the last look.
    pub(super) fn take_cut(&self) -> Vec<u32> {
        self.cut.take()
    }

    /// Keeps what was found in heads. `false`: it is too much.
    fn found(&self, flaws: Vec<(u32, Flaw)>) -> bool {
        let mut known = self.flaws.borrow_mut();
        for (stream, flaw) in flaws {
            match flaw {
                Flaw::Trailers => self.cut.borrow_mut().push(stream),
                Flaw::Refused | Flaw::Malformed => known.push((stream, flaw)),
            }
        }
        known.len() <= FLAWS_MAX
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
    pub(super) meter: Meter,
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
        let client = &mut this.client;
        let before = read.filled().len();
        if client.carry.is_empty() {
            ready!(client.connection.end.poll_read(cx, (&client.worker.buffers, read)))?;
        } else {
            let fits = client.carry.len().min(read.remaining());
            read.put_slice(&client.carry[..fits]);
            client.carry.drain(..fits);
            if client.carry.is_empty() {
                client.carry = Vec::new();
            }
        }
        let new = &read.filled()[before..];
        client.connection.bytes_in.set(client.connection.bytes_in.get() + new.len() as u64);
        client.is_at_end |= new.is_empty();
        let now = client.worker.clock.millis();
        this.meter.sent(this.verdict.sent.take());
        let mut flood = this.meter.take(new, (now, this.verdict.answered.get()));
        this.verdict.small.set(this.verdict.small.get() + this.meter.take_small());
        let flaws = this.meter.take_flaws();
        if !flaws.is_empty() && !this.verdict.found(flaws) {
            flood = flood.or(Some(Flood::Resets));
        }
        if flood.is_some() {
            this.verdict.flood.set(flood);
            read.set_filled(before);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
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
