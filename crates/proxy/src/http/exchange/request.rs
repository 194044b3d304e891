//! The way to the upstream: the head, then the body as it comes, kept whole while it
//! may be sent again.

use super::{Exchange, Failure};
use crate::client::{Client, Input};
use crate::http::failure::Flag;
use crate::http::forward::{Facts, Link};
use crate::http::pace::Pace;
use crate::outbound::{UNSAYABLE, Unprocessed};
use std::pin::Pin;
use std::task::{Context, Poll};
use tidegate_http::{BodyReader, Piece, put_chunk, put_last_chunk};
use tidegate_kit::DecodeError;
use tokio::io::AsyncWrite;

/// A request of at most so many bytes can be sent again.
const REPLAY_BYTES: usize = 64 << 10;

/// The way to the upstream.
pub(crate) struct RequestSide {
    /// The head and what is known of the body; kept whole while it may be sent again.
    pub(crate) out: Vec<u8>,
    pub(crate) sent: usize,
    pub(crate) body: BodyReader,
    pub(crate) is_chunked: bool,
    pub(crate) is_complete: bool,
    pub(crate) is_replayable: bool,
    /// Bytes that may still come.
    pub(crate) room: u64,
    /// The client does not wait for a 100 before it sends.
    pub(crate) is_invited: bool,
    /// How fast the client sends while nothing else is waited for.
    pub(crate) pace: Pace,
}

impl Exchange {
    /// Sends what is in hand and reads more of the body as long as the upstream takes it.
    pub(super) fn move_request(&mut self, client: &mut Client, cx: &mut Context<'_>) -> Result<(), Failure> {
        let Link::Open { stream, .. } = &mut self.link else { return Ok(()) };
        if self.response.is_all {
            return Ok(());
        }
        let request = &mut self.request;
        loop {
            while request.sent < request.out.len() {
                match Pin::new(&mut *stream).poll_write(cx, &request.out[request.sent..]) {
                    Poll::Ready(Ok(count)) => request.sent += count,
                    // What the client sends is not taken to its end.
                    Poll::Ready(Err(_)) if self.response.body.is_some() => {
                        (request.sent, request.is_complete) = (request.out.len(), true);
                        self.facts.mirror = None;
                    }
                    Poll::Ready(Err(error)) if error.kind() == UNSAYABLE => return Err(Failure::Body(CANNOT_GO_ON)),
                    // An early answer may stand in the socket even so: let it be read.
                    Poll::Ready(Err(error)) => {
                        (self.response.unprocessed, self.response.is_all) = (Unprocessed::of(&error), true);
                        return Ok(());
                    }
                    Poll::Pending => {
                        request.pace = Pace::default();
                        return Ok(());
                    }
                }
            }
            if request.is_complete {
                if let Some(mirror) = self.facts.mirror.take() {
                    mirror.all_sent(client, (&self.plan, request, self.facts.seen.as_deref()));
                }
                return Ok(());
            }
            if request.out.len() > REPLAY_BYTES {
                let is_copied = match self.facts.mirror.take() {
                    Some(mirror) => {
                        let sent = (&self.plan, &mut *request, self.facts.seen.as_deref());
                        self.facts.mirror = mirror.part_sent(client, sent);
                        self.facts.mirror.is_some()
                    }
                    None => false,
                };
                request.out.clear();
                (request.sent, request.is_replayable) = (0, false);
                if is_copied {
                    // It gets its turn; whether it uses it is its own affair.
                    cx.waker().wake_by_ref();
                    return Ok(());
                }
            }
            let input = match client.carried().map_or_else(|| client.poll_input(cx), |input| Poll::Ready(Ok(input))) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(_)) => return Err(Failure::Flag(Flag::ClientGone)),
                Poll::Ready(Ok(input)) => input,
            };
            if client.is_at_end && input.is_empty() {
                client.worker.buffers.give(input.buffer);
                return Err(Failure::Flag(Flag::ClientGone));
            }
            let now_us = client.worker.clock.micros();
            let now = now_us / 1_000;
            let window_ms = self.plan.plan.limits.stall_timeout_ms;
            // What has no length may come as it likes: who streams has nothing to send at times.
            if request.has_length() && !request.pace.is_kept((now, window_ms), input.bytes().len()) {
                client.worker.buffers.give(input.buffer);
                return Err(Failure::Flag(Flag::SlowClient));
            }
            let (Facts { timeout_ms, idle_ms, .. }, ends_at) = (&self.facts, self.facts.total_ends_at());
            // With an answer both streams flow: whoever sends keeps the call alive.
            let after_ms = if self.response.body.is_none() { *timeout_ms } else { *idle_ms };
            if after_ms > 0 {
                client.worker.connections.set_deadline(&client.connection, (now + after_ms).min(ends_at).max(now + 1));
            }
            if self.response.body.is_none() {
                self.facts.asked_us = now_us;
            }
            request.is_invited = true;
            request.feed(client, input).map_err(Failure::Body)?;
        }
    }
}

impl RequestSide {
    const fn has_length(&self) -> bool {
        matches!(self.body, BodyReader::Length(_))
    }

    /// Whether all that came was sent, and more of what was announced is due.
    pub(super) fn is_due(&self) -> bool {
        self.is_invited && !self.is_complete && self.sent == self.out.len() && self.has_length()
    }

    /// What was not sent yet.
    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.out);
        out.drain(..self.sent);
        if out.is_empty() { Vec::new() } else { out }
    }

    /// Takes bytes of the body; what lies behind it goes back to the client's carry.
    fn feed(&mut self, client: &mut Client, mut input: Input) -> Result<(), DecodeError> {
        let result = self.take_body(input.bytes());
        input.start += result.as_ref().map_or(input.end - input.start, |used| *used);
        client.stash(input);
        result.map(|_| ())
    }

    /// Moves body bytes to `out`, framed for the upstream; how many were used.
    pub(crate) fn take_body(&mut self, bytes: &[u8]) -> Result<usize, DecodeError> {
        let mut at = 0;
        loop {
            let (piece, used) = self.body.next(&bytes[at..])?;
            at += used;
            match piece {
                Piece::Data(data) => {
                    self.room = self.room.checked_sub(data.len() as u64).ok_or(BODY_TOO_LONG)?;
                    if self.is_chunked {
                        put_chunk(&mut self.out, data);
                    } else {
                        self.out.extend_from_slice(data);
                    }
                }
                Piece::NeedMore => return Ok(at),
                Piece::End(trailers) => {
                    if self.is_chunked {
                        put_last_chunk(&mut self.out, &trailers);
                    }
                    self.is_complete = true;
                    return Ok(at);
                }
            }
        }
    }
}

const CANNOT_GO_ON: DecodeError =
    DecodeError::close(400, "RFC 9110 section 15.5.1", "the request cannot be said in what its upstream speaks");
const BODY_TOO_LONG: DecodeError =
    DecodeError::close(413, "RFC 9110 section 15.5.14", "the body is longer than this route takes");
