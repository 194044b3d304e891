//! A request's body out of its stream, framed as its head said. Its window opens again only when
//! the driver has read it, so that what waits here is bounded by that.

use super::end::END_BYTES;
use super::head::Shape;
use std::io;
use std::task::Poll;
use tidegate_http::{put_chunk, put_last_chunk};
use tidegate_http2::{Connection, RemoteEnd, StreamKey};
use tokio::io::ReadBuf;

/// Bytes that are framed at once: a reader has room for them and their chunk's size.
const FRAMED_BYTES: usize = END_BYTES - 16;
/// Bytes of a request that is over which are thrown away before its stream is.
const DISCARD_BYTES: usize = 1 << 20;

/// See the module.
pub(super) struct Inward {
    key: StreamKey,
    shape: Shape,
    /// Framed, and not read yet.
    buffer: Vec<u8>,
    /// The last chunk was framed.
    is_framed: bool,
    /// Bytes of a request that was answered before it ended.
    discarded: usize,
}

impl Inward {
    pub(super) const fn new(key: StreamKey, shape: Shape) -> Self {
        Inward { key, shape, buffer: Vec::new(), is_framed: false, discarded: 0 }
    }

    /// Whether a read would bring something.
    pub(super) fn is_ready(&self, h2: &Connection) -> bool {
        let is_more = match (h2.remote(self.key), self.shape) {
            (RemoteEnd::Reset, _) | (RemoteEnd::Ended, Shape::Tunnel) => true,
            (RemoteEnd::Ended, Shape::Chunked) => !self.is_framed,
            // What follows the request is the client's own business.
            (RemoteEnd::Open, _) | (RemoteEnd::Ended, Shape::Plain) => false,
        };
        is_more || !self.buffer.is_empty() || !h2.body(self.key).is_empty()
    }

    /// The driver is woken with the stream.
    pub(super) fn poll_read(&mut self, h2: &mut Connection, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.is_ready(h2) {
            return Poll::Pending;
        }
        if h2.remote(self.key) == RemoteEnd::Reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.shape == Shape::Chunked {
            self.frame(h2);
            let fits = self.buffer.len().min(read.remaining());
            read.put_slice(&self.buffer[..fits]);
            self.buffer.drain(..fits);
        } else {
            let body = h2.body(self.key);
            let fits = body.len().min(read.remaining());
            read.put_slice(&body[..fits]);
            h2.consume(self.key, fits);
        }
        Poll::Ready(Ok(()))
    }

    /// Makes a chunk of what came, where none is left.
    fn frame(&mut self, h2: &mut Connection) {
        if !self.buffer.is_empty() {
            return;
        }
        let body = h2.body(self.key);
        let count = body.len().min(FRAMED_BYTES);
        let is_all = count == body.len();
        if count > 0 {
            put_chunk(&mut self.buffer, &body[..count]);
        }
        h2.consume(self.key, count);
        if is_all && !self.is_framed && h2.remote(self.key) == RemoteEnd::Ended {
            self.is_framed = true;
            put_last_chunk(&mut self.buffer, &h2.take_trailers(self.key));
        }
    }

    /// Throws away what still comes. `false`: nothing more does, or too much did.
    pub(super) fn discard(&mut self, h2: &mut Connection) -> bool {
        let count = h2.body(self.key).len();
        h2.consume(self.key, count);
        self.discarded += count;
        self.discarded < DISCARD_BYTES && h2.remote(self.key) == RemoteEnd::Open
    }
}
