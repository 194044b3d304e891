//! A request's body out of its stream, framed as its head said. What is there is taken at once:
//! `h2` keeps each frame by itself, however little it brings. Its window opens again only when
//! the driver has read it, so that what waits here is bounded by that.

use super::end::END_BYTES;
use super::head::{Shape, trailer_lines};
use h2::RecvStream;
use http::HeaderMap;
use std::io;
use std::task::{Context, Poll};
use tidegate_http::{put_chunk, put_last_chunk};
use tokio::io::ReadBuf;

/// Bytes that are framed at once: a reader has room for them and their chunk's size.
const FRAMED_BYTES: usize = END_BYTES - 16;

/// See the module.
pub(super) struct Inward {
    body: RecvStream,
    shape: Shape,
    /// What came, and how much of it has been framed.
    came: Vec<u8>,
    framed: usize,
    /// Framed, and not read yet.
    buffer: Vec<u8>,
    /// The last chunk is due behind what came.
    last_chunk: Option<Vec<u8>>,
    is_done: bool,
    /// The client said that nothing more comes, and the driver sees it as the end of its connection.
    is_ended: bool,
    is_broken: bool,
    /// Bytes of a request that was answered before it ended.
    discarded: usize,
}

impl Inward {
    pub(super) fn new(body: RecvStream, shape: Shape) -> Self {
        // A request without a body has nothing to wait for.
        let is_done = shape == Shape::Plain && body.is_end_stream();
        Inward {
            body,
            shape,
            came: Vec::new(),
            framed: 0,
            buffer: Vec::new(),
            last_chunk: None,
            is_done,
            is_ended: false,
            is_broken: false,
            discarded: 0,
        }
    }

    /// Whether a read would bring something.
    pub(super) fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        self.pull(cx);
        self.is_broken || self.is_ended || self.has_more()
    }

    fn has_more(&self) -> bool {
        !self.buffer.is_empty() || !self.came.is_empty() || self.last_chunk.is_some()
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.has_more() {
            self.pull(cx);
        }
        if self.is_broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if !self.has_more() && !self.is_ended {
            return Poll::Pending;
        }
        if self.buffer.is_empty() {
            self.frame();
        }
        let fits = self.buffer.len().min(read.remaining());
        read.put_slice(&self.buffer[..fits]);
        if fits == self.buffer.len() {
            self.buffer = Vec::new();
        } else {
            self.buffer.drain(..fits);
        }
        Poll::Ready(Ok(()))
    }

    /// Frames a buffer of what came: its window opens again.
    fn frame(&mut self) {
        let end = self.came.len().min(self.framed + FRAMED_BYTES);
        let count = end - self.framed;
        if self.shape == Shape::Chunked {
            put_chunk(&mut self.buffer, &self.came[self.framed..end]);
        } else if count == self.came.len() {
            self.buffer = std::mem::take(&mut self.came);
        } else {
            self.buffer.extend_from_slice(&self.came[self.framed..end]);
        }
        self.framed = end;
        if self.framed >= self.came.len() {
            (self.came, self.framed) = (Vec::new(), 0);
            if let Some(trailers) = self.last_chunk.take() {
                put_last_chunk(&mut self.buffer, &trailers);
            }
        }
        // The stream may be over by now: then there is no window to open.
        let _ = self.body.flow_control().release_capacity(count);
    }

    /// Takes what is there.
    pub(super) fn pull(&mut self, cx: &mut Context<'_>) {
        while !self.is_done {
            match self.body.poll_data(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(data))) => self.came.extend_from_slice(&data),
                Poll::Ready(Some(Err(_))) => (self.is_done, self.is_broken) = (true, true),
                Poll::Ready(None) => match self.body.poll_trailers(cx) {
                    Poll::Pending => return,
                    Poll::Ready(Err(_)) => (self.is_done, self.is_broken) = (true, true),
                    Poll::Ready(Ok(trailers)) => self.ends(trailers.unwrap_or_default()),
                },
            }
        }
    }

    fn ends(&mut self, trailers: HeaderMap) {
        self.is_done = true;
        match self.shape {
            Shape::Chunked => self.last_chunk = Some(trailer_lines(&trailers)),
            // What follows the request is the client's own business.
            Shape::Plain => {}
            Shape::Tunnel => self.is_ended = true,
        }
    }

    /// Throws away what still comes. `false`: nothing more does, or too much did.
    pub(super) fn discard(&mut self, cx: &mut Context<'_>) -> bool {
        const DISCARD_BYTES: usize = 1 << 20;
        let mut count = std::mem::take(&mut self.came).len() - std::mem::take(&mut self.framed);
        loop {
            self.discarded += count;
            let _ = self.body.flow_control().release_capacity(count);
            if self.is_done || self.discarded >= DISCARD_BYTES {
                return false;
            }
            count = match self.body.poll_data(cx) {
                Poll::Pending => return true,
                Poll::Ready(Some(Ok(data))) => data.len(),
                Poll::Ready(_) => {
                    self.is_done = true;
                    0
                }
            };
        }
    }
}
