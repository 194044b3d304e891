//! The way back: what the upstream says, to the client as fast as it takes it.

use super::{Exchange, Step};
use crate::client::Client;
use crate::compress::Encoder;
use crate::http::cached::Copying;
use crate::http::failure::Flag;
use crate::http::forward::Link;
use crate::http::pace::await_taking;
use crate::outbound::Unprocessed;
use crate::worker::{HEADROOM, ReadBuffer};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tidegate_http::{BodyReader, Piece, put_chunk, put_last_chunk};
use tokio::io::{AsyncRead, ReadBuf};

/// The way back.
#[derive(Default)]
pub(crate) struct ResponseSide {
    /// Part of a head.
    pub(super) partial: Vec<u8>,
    /// The upstream says that it did nothing for the request.
    pub(crate) unprocessed: Option<Unprocessed>,
    /// The upstream takes no more: what it has said is all that there will be.
    pub(super) is_all: bool,
    /// `partial` is a whole head, and what came with it.
    pub(crate) is_heard: bool,
    /// What the client has not taken yet.
    pub(crate) pending: Vec<u8>,
    pub(super) pending_at: usize,
    pub(super) body: Option<BodyReader>,
    pub(super) to_chunks: bool,
    /// Grows while an answer that is kept passes.
    pub(super) copy: Option<Box<Copying>>,
    /// Compresses the body on its way.
    pub(super) encoder: Option<Box<Encoder>>,
    pub(super) status: u16,
    pub(super) is_done: bool,
    pub(super) upstream_reusable: bool,
    /// Bytes of the body that went to the client, as they came.
    pub(crate) body_bytes: u64,
    /// How long the upstream says that it keeps the connection, milliseconds.
    pub(super) kept_ms: u64,
}

impl ResponseSide {
    /// Of a try that brought so much.
    pub(crate) fn after(heard: Vec<u8>) -> ResponseSide {
        ResponseSide { partial: heard, ..ResponseSide::default() }
    }
}

impl Exchange {
    /// Reads the answer and writes it to the client.
    pub(super) fn move_response(&mut self, client: &mut Client, cx: &mut Context<'_>) -> Step {
        loop {
            if self.response.pending_at < self.response.pending.len() {
                return Step::Pending;
            }
            if self.response.is_done {
                return Step::Finished;
            }
            if self.request.is_complete && !self.watch_client(client, cx) {
                return self.failed(Flag::ClientGone);
            }
            let Link::Open { stream, .. } = &mut self.link else { return Step::Pending };
            let mut buffer = client.worker.buffers.take();
            let start = HEADROOM + self.response.partial.len();
            let mut read = ReadBuf::new(&mut buffer[start..]);
            let is_heard = std::mem::take(&mut self.response.is_heard);
            let polled = if is_heard { Poll::Ready(Ok(())) } else { Pin::new(stream).poll_read(cx, &mut read) };
            let end = start + read.filled().len();
            let step = match polled {
                Poll::Pending => Some(Step::Pending),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    Some(self.failed(Flag::Protocol))
                }
                Poll::Ready(Err(error)) => {
                    self.response.unprocessed = self.response.unprocessed.or(Unprocessed::of(&error));
                    Some(self.failed(Flag::Terminated))
                }
                Poll::Ready(Ok(())) if end == start && !is_heard => self.upstream_ended(client, cx),
                Poll::Ready(Ok(())) => {
                    client.worker.clock.micros();
                    buffer[HEADROOM..start].copy_from_slice(&self.response.partial);
                    self.response.partial.clear();
                    self.received((client, cx), &mut buffer, end)
                }
            };
            client.worker.buffers.give(buffer);
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// While an answer is awaited nothing is expected from the client: what comes is
    /// the next request (kept), the end of its sending (fine), or its death.
    fn watch_client(&self, client: &mut Client, cx: &mut Context<'_>) -> bool {
        const PIPELINED_MAX: usize = 64 << 10;
        if client.is_at_end || client.carry.len() >= PIPELINED_MAX {
            return true;
        }
        if client.connection.end.poll_read_ready(cx).is_pending() {
            return true;
        }
        match client.poll_input(cx) {
            Poll::Ready(Ok(input)) => {
                client.stash(input);
                true
            }
            Poll::Ready(Err(_)) => false,
            Poll::Pending => true,
        }
    }

    fn upstream_ended(&mut self, client: &mut Client, cx: &mut Context<'_>) -> Option<Step> {
        let response = &mut self.response;
        response.upstream_reusable = false;
        match response.body {
            Some(BodyReader::UntilClose) => {
                response.is_done = true;
                if response.to_chunks {
                    let mut out = client.worker.buffers.take_write();
                    if let Some(encoder) = response.encoder.take() {
                        put_chunk(&mut out, &encoder.finish());
                    }
                    put_last_chunk(&mut out, b"");
                    return self.write((client, cx), out);
                }
                None
            }
            _ => Some(self.failed(Flag::Terminated)),
        }
    }

    /// Writes `buffer[from..body]` (a head, or nothing) and the body that follows it.
    pub(super) fn body_received(
        &mut self,
        (client, cx): (&mut Client, &mut Context<'_>),
        buffer: &mut ReadBuffer,
        (from, body, end): (usize, usize, usize),
    ) -> Option<Step> {
        let response = &mut self.response;
        let reader = response.body.as_mut()?;
        let to_chunks = response.to_chunks;
        if to_chunks || matches!(reader, BodyReader::Chunked(_)) {
            let mut out = client.worker.buffers.take_write();
            out.extend_from_slice(&buffer[from..body]);
            let mut at = body;
            loop {
                match reader.next(&buffer[at..end]) {
                    Ok((Piece::Data(data), used)) => {
                        response.body_bytes += data.len() as u64;
                        // An HTTP/1.0 client knows no chunks: it gets the bytes alone.
                        if let Some(encoder) = &mut response.encoder {
                            encoder.write(data);
                            at += used;
                            continue;
                        }
                        copy(&mut response.copy, (client, data));
                        if to_chunks {
                            put_chunk(&mut out, data)
                        } else {
                            out.extend_from_slice(data)
                        }
                        at += used;
                    }
                    Ok((Piece::NeedMore, _)) => {
                        if let Some(encoder) = &mut response.encoder {
                            encoder.drain(|data| {
                                copy(&mut response.copy, (client, data));
                                put_chunk(&mut out, data);
                            });
                        }
                        break;
                    }
                    Ok((Piece::End(trailers), used)) => {
                        if let Some(encoder) = response.encoder.take() {
                            let rest = encoder.finish();
                            copy(&mut response.copy, (client, &rest));
                            put_chunk(&mut out, &rest);
                        }
                        if to_chunks {
                            put_last_chunk(&mut out, &trailers);
                        }
                        response.is_done = true;
                        response.upstream_reusable &= at + used == end;
                        break;
                    }
                    Err(_) => return Some(Step::Aborted(Flag::Protocol)),
                }
            }
            return self.write((client, cx), out);
        }
        let mut until = body;
        while let Ok((Piece::Data(_), used)) = reader.next(&buffer[until..end]) {
            until += used;
        }
        response.body_bytes += (until - body) as u64;
        copy(&mut response.copy, (client, &buffer[body..until]));
        if reader.is_done() {
            response.is_done = true;
            // Bytes behind the answer belong to nobody: the connection is not used again.
            response.upstream_reusable &= until == end;
        }
        let bytes = &buffer[from..until];
        match client.write_now(cx, bytes) {
            Ok(count) if count == bytes.len() => None,
            Ok(count) => self.keep_pending((client, cx), &buffer[from + count..until]),
            Err(_) => Some(Step::Aborted(Flag::ClientGone)),
        }
    }

    /// Writes `out`; what the client does not take waits.
    pub(super) fn write(&mut self, (client, cx): (&mut Client, &mut Context<'_>), out: Vec<u8>) -> Option<Step> {
        if self.response.pending_at < self.response.pending.len() {
            self.response.pending.extend_from_slice(&out);
            return None;
        }
        let step = match client.write_now(cx, &out) {
            Ok(count) if count == out.len() => None,
            Ok(count) => self.keep_pending((client, cx), &out[count..]),
            Err(_) => Some(Step::Aborted(Flag::ClientGone)),
        };
        client.worker.buffers.give_write(out);
        step
    }

    fn keep_pending(&mut self, (client, cx): (&mut Client, &mut Context<'_>), rest: &[u8]) -> Option<Step> {
        self.response.pending.clear();
        self.response.pending.extend_from_slice(rest);
        self.response.pending_at = 0;
        let now = client.worker.clock.millis();
        await_taking(client, now);
        self.deadline(client, (now, self.plan.plan.limits.stall_timeout_ms));
        (!self.flush(client, cx)).then_some(Step::Aborted(Flag::ClientGone))
    }

    /// Writes what waits. `false`: the client is gone.
    pub(super) fn flush(&mut self, client: &mut Client, cx: &mut Context<'_>) -> bool {
        let response = &mut self.response;
        while response.pending_at < response.pending.len() {
            match client.write_now(cx, &response.pending[response.pending_at..]) {
                Ok(0) => return true,
                Ok(count) => response.pending_at += count,
                Err(_) => return false,
            }
        }
        (response.pending, response.pending_at) = (Vec::new(), 0);
        self.await_body(client, client.worker.clock.millis());
        true
    }
}

/// Copies bytes of an answer that is kept; one that is too long is not.
fn copy(copying: &mut Option<Box<Copying>>, (client, data): (&Client, &[u8])) {
    if copying.as_mut().is_some_and(|copying| !copying.take(data))
        && let Some(copying) = copying.take()
    {
        copying.refuse(client.worker.clock.millis());
    }
}
