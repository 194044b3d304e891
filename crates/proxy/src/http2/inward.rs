//! A request's body out of its stream, framed as its head said.

use super::end::END_BYTES;
use super::head::{Shape, trailer_lines};
use h2::RecvStream;
use std::io;
use std::task::{Context, Poll};
use tidegate_http::{put_chunk, put_last_chunk};
use tokio::io::ReadBuf;

/// See the module.
pub(super) struct Inward {
    body: RecvStream,
    shape: Shape,
    /// Framed, and not read yet.
    buffer: Vec<u8>,
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
        Inward { body, shape, buffer: Vec::new(), is_done, is_ended: false, is_broken: false, discarded: 0 }
    }

    /// Whether a read would bring something.
    pub(super) fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        self.pull(cx);
        self.is_broken || self.is_ended || !self.buffer.is_empty()
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.buffer.is_empty() {
            self.pull(cx);
        }
        if self.is_broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.buffer.is_empty() && !self.is_ended {
            return Poll::Pending;
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

    /// Takes what is there, as far as there is room. Its window opens again only then: who
    /// is not read does not send.
    fn pull(&mut self, cx: &mut Context<'_>) {
        while !self.is_done && self.buffer.len() < END_BYTES {
            match self.body.poll_data(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(data))) => {
                    match self.shape {
                        Shape::Chunked if data.is_empty() => {}
                        Shape::Chunked => put_chunk(&mut self.buffer, &data),
                        Shape::Plain | Shape::Tunnel => self.buffer.extend_from_slice(&data),
                    }
                    // The stream may be over by now: then there is no window to open.
                    let _ = self.body.flow_control().release_capacity(data.len());
                }
                Poll::Ready(Some(Err(_))) => (self.is_done, self.is_broken) = (true, true),
                Poll::Ready(None) => match self.body.poll_trailers(cx) {
                    Poll::Pending => return,
                    Poll::Ready(Err(_)) => (self.is_done, self.is_broken) = (true, true),
                    Poll::Ready(Ok(trailers)) => {
                        self.is_done = true;
                        match self.shape {
                            Shape::Chunked => {
                                let lines = trailers.as_ref().map(trailer_lines).unwrap_or_default();
                                put_last_chunk(&mut self.buffer, &lines);
                            }
                            // What follows the request is the client's own business.
                            Shape::Plain => {}
                            Shape::Tunnel => self.is_ended = true,
                        }
                    }
                },
            }
        }
    }

    /// Throws away what still comes. `false`: nothing more does, or too much did.
    pub(super) fn discard(&mut self, cx: &mut Context<'_>) -> bool {
        const DISCARD_BYTES: usize = 1 << 20;
        while !self.is_done && self.discarded < DISCARD_BYTES {
            match self.body.poll_data(cx) {
                Poll::Pending => return true,
                Poll::Ready(Some(Ok(data))) => {
                    self.discarded += data.len();
                    let _ = self.body.flow_control().release_capacity(data.len());
                }
                Poll::Ready(_) => self.is_done = true,
            }
        }
        false
    }
}
