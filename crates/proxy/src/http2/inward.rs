//! A request's body from its stream into the pipe, framed as its head said.

use super::head::{Shape, trailer_lines};
use crate::ends::Pipe;
use h2::RecvStream;
use std::task::{Context, Poll};
use tidegate_http::{put_chunk, put_last_chunk};

/// See the module.
pub(super) struct Inward {
    pub(super) body: RecvStream,
    pub(super) shape: Shape,
    pub(super) is_done: bool,
    /// Bytes of a request that was answered before it ended.
    pub(super) discarded: usize,
}

impl Inward {
    /// Moves what is there, as long as the driver takes it. Its window opens again only
    /// then: who is not read does not send.
    pub(super) fn pump(&mut self, pipe: &Pipe, cx: &mut Context<'_>) {
        while !self.is_done && !pipe.is_full() {
            match self.body.poll_data(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(data))) => {
                    pipe.put(|out| match self.shape {
                        Shape::Chunked if data.is_empty() => {}
                        Shape::Chunked => put_chunk(out, &data),
                        Shape::Plain | Shape::Tunnel => out.extend_from_slice(&data),
                    });
                    // The stream may be over by now: then there is no window to open.
                    let _ = self.body.flow_control().release_capacity(data.len());
                }
                Poll::Ready(Some(Err(_))) => return self.broken(pipe),
                Poll::Ready(None) => match self.body.poll_trailers(cx) {
                    Poll::Pending => return,
                    Poll::Ready(Err(_)) => return self.broken(pipe),
                    Poll::Ready(Ok(trailers)) => {
                        self.is_done = true;
                        match self.shape {
                            Shape::Chunked => {
                                let lines = trailers.as_ref().map(trailer_lines).unwrap_or_default();
                                pipe.put(|out| put_last_chunk(out, &lines));
                            }
                            // What follows the request is the client's own business.
                            Shape::Plain => {}
                            Shape::Tunnel => pipe.end_inward(),
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

    fn broken(&mut self, pipe: &Pipe) {
        self.is_done = true;
        pipe.break_off();
    }
}
