//! A client's two ends as what `h2` reads and writes, with the meter on the way in.

use super::meter::{Flood, Meter};
use crate::client::Client;
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the connection's driver and its I/O tell each other.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) flood: Cell<Option<Flood>>,
    /// Whether any stream has been answered.
    pub(super) answered: Cell<bool>,
    /// Streams that came with a `#` in their path.
    pub(super) fragments: RefCell<Vec<u32>>,
    /// Frames that streams sent since the last read.
    pub(super) sent: Cell<u32>,
}

impl Verdict {
    /// Whether the stream that was opened came with a `#` in its path.
    pub(super) fn takes_fragment(&self, id: u32) -> bool {
        let mut fragments = self.fragments.borrow_mut();
        let has = fragments.contains(&id);
        // Streams come in order: what is left of those before was refused.
        fragments.retain(|other| *other > id);
        has
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
        let flood = this.meter.take(new, (now, this.verdict.answered.get()));
        let mut fragments = this.meter.take_fragments();
        if !fragments.is_empty() {
            this.verdict.fragments.borrow_mut().append(&mut fragments);
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
