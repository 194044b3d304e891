//! What comes on a connection to an upstream of HTTP/2, on its way to `h2`: what is malformed ends its
//! stream alone. It tells when the other end's settings have been read: the first frame that it sends
//! (RFC 9113 section 3.4).

use super::sieve::Sieve;
use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const FRAME_HEAD: usize = 9;

/// See the module.
pub(in crate::outbound) struct Heard<I> {
    io: I,
    sieve: Sieve,
    length: [u8; 3],
    /// Bytes that came, as long as the frame is not whole.
    seen: usize,
    is_heard: Rc<Cell<bool>>,
}

impl<I> Heard<I> {
    pub(in crate::outbound) fn new(io: I) -> (Self, Rc<Cell<bool>>) {
        let is_heard = Rc::new(Cell::new(false));
        (Heard { io, sieve: Sieve::default(), length: [0; 3], seen: 0, is_heard: Rc::clone(&is_heard) }, is_heard)
    }

    fn take(&mut self, bytes: &[u8]) {
        for (at, byte) in (self.seen..3).zip(bytes) {
            self.length[at] = *byte;
        }
        self.seen += bytes.len();
        let [high, mid, low] = self.length.map(usize::from);
        self.is_heard.set(self.seen >= FRAME_HEAD + (high << 16 | mid << 8 | low));
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Heard<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.sieve.give(read) {
                return Poll::Ready(Ok(()));
            }
            let before = read.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(cx, read))?;
            if !this.is_heard.get() {
                this.take(&read.filled()[before..]);
            }
            if this.sieve.pass(read, before) {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Heard<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_frame_is_heard_however_it_is_cut() {
        let frame = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1];
        for step in 1..=frame.len() {
            let (mut heard, is_heard) = Heard::new(());
            for piece in frame.chunks(step) {
                assert!(!is_heard.get());
                heard.take(piece);
            }
            assert!(is_heard.get(), "{step}");
        }
    }
}
