//! One request on its way to an upstream and the answer on its way back. Both
//! directions move at once, each with at most one buffer in hand: who does not
//! read is not read from.

use super::failure::Flag;
use super::forward::{self, Again, Facts, Link};
use super::outward;
use super::respond::{FailureAnswer, respond_failure};
use crate::client::{Client, Input};
use crate::compress::Encoder;
use crate::worker::{HEADROOM, ReadBuffer, WorkerPlan};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tidegate_balance::{EndpointIndex, InFlight, Tried};
use tidegate_http::{
    Body, BodyReader, HEADERS_MAX, Piece, ResponseContext, ResponseHead, Version, forward_response, parse_response,
    put_chunk, put_last_chunk, tokens,
};
use tidegate_kit::DecodeError;
use tidegate_message::Protocol;
use tidegate_resilience::{Failure as RetryFailure, Permit, RetryPermit};
use tidegate_upstream::Connection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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
}

/// The way back.
#[derive(Default)]
pub(crate) struct ResponseSide {
    /// Part of a head.
    partial: Vec<u8>,
    /// What the client has not taken yet.
    pending: Vec<u8>,
    pending_at: usize,
    body: Option<BodyReader>,
    to_chunks: bool,
    /// Compresses the body on its way.
    encoder: Option<Box<Encoder>>,
    status: u16,
    is_done: bool,
    upstream_reusable: bool,
    /// Bytes of the body that went to the client, as they came.
    pub(crate) body_bytes: u64,
    /// How long the upstream says that it keeps the connection, milliseconds.
    kept_ms: u64,
}

/// Why a try ended without an answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// See the flag.
    Flag(Flag),
    /// The client's body is malformed.
    Body(DecodeError),
    /// It is tried again.
    Again(Again),
}

/// What one look at both directions came to.
enum Step {
    Pending,
    Finished,
    Failed(Failure),
    /// Part of the answer is out: all that is left is to close.
    Aborted(Flag),
}

/// One request with its upstream.
pub(crate) struct Exchange {
    pub(crate) plan: Rc<WorkerPlan>,
    pub(crate) route: usize,
    pub(crate) upstream: usize,
    pub(crate) endpoint: EndpointIndex,
    pub(crate) tried: Tried,
    pub(crate) link: Link,
    pub(crate) facts: Facts,
    pub(crate) request: RequestSide,
    pub(crate) response: ResponseSide,
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) is_probe: bool,
    pub(crate) is_tunnel: bool,
    pub(crate) retry_permit: Option<RetryPermit>,
    pub(crate) last_flag: Option<Flag>,
    pub(crate) _permit: Permit,
}

impl Exchange {
    /// Moves both directions as far as they go. Ready: whether the client's
    /// connection can serve another request.
    pub(crate) fn poll(&mut self, client: &mut Client, cx: &mut Context<'_>) -> Poll<bool> {
        client.connection.register(cx.waker());
        loop {
            match self.step(client, cx) {
                Step::Pending => return Poll::Pending,
                Step::Finished => return Poll::Ready(self.finish(client)),
                Step::Aborted(flag) => {
                    self.account(client, Some(flag));
                    return Poll::Ready(false);
                }
                Step::Failed(failure) => {
                    if let Failure::Flag(flag) = failure {
                        self.last_flag = Some(flag);
                    }
                    if let Err(failure) = forward::recover(self, client, failure) {
                        self.answer_failure(client, &failure);
                    }
                }
            }
        }
    }

    fn step(&mut self, client: &mut Client, cx: &mut Context<'_>) -> Step {
        if client.connection.timed_out.get() {
            let now = client.worker.clock.millis();
            client.worker.connections.set_deadline(&client.connection, 0);
            client.connection.last_activity.set(now);
            return self.failed(self.timed_out(now));
        }
        if self.response.pending_at < self.response.pending.len() && !self.flush(client, cx) {
            return Step::Aborted(Flag::ClientGone);
        }
        match self.link.poll(cx, client) {
            Poll::Pending => return Step::Pending,
            Poll::Ready(Err(flag)) => return self.failed(flag),
            Poll::Ready(Ok(())) => {}
        }
        if let Err(failure) = self.move_request(client, cx) {
            return match failure {
                Failure::Flag(flag) => self.failed(flag),
                body if self.response.body.is_none() => Step::Failed(body),
                _ => Step::Aborted(Flag::ClientGone),
            };
        }
        let step = self.move_response(client, cx);
        // What the client sent behind its upgrade was held until the 101: no socket tells of it again.
        if self.is_tunnel && matches!(step, Step::Pending) && !client.carry.is_empty() {
            return self.move_request(client, cx).map_or(Step::Aborted(Flag::ClientGone), |()| step);
        }
        step
    }

    /// The upstream has so long for more of the body, within what the whole exchange may take.
    fn await_body(&self, client: &Client) {
        if self.is_tunnel {
            return;
        }
        let Facts { idle_ms, total_ms, started_us, .. } = self.facts;
        let now = client.worker.clock.millis();
        let ends_at = if total_ms == 0 { u64::MAX } else { started_us / 1_000 + total_ms };
        let idles_at = if idle_ms == 0 { u64::MAX } else { now + idle_ms };
        let at = ends_at.min(idles_at);
        // A time that is over stays over: the wheel tells of it with its next turn.
        if at > now {
            client.worker.connections.set_deadline(&client.connection, if at == u64::MAX { 0 } else { at });
        }
    }

    /// Which of the times is over.
    fn timed_out(&self, now: u64) -> Flag {
        let Facts { total_ms, started_us, .. } = self.facts;
        if total_ms > 0 && now >= started_us / 1_000 + total_ms {
            return Flag::TotalTimeout;
        }
        if self.response.body.is_some() { Flag::Stalled } else { Flag::Timeout }
    }

    fn failed(&self, flag: Flag) -> Step {
        if self.response.body.is_some() || self.response.is_done {
            Step::Aborted(flag)
        } else {
            Step::Failed(Failure::Flag(flag))
        }
    }

    /// Sends what is in hand and reads more of the body as long as the upstream takes it.
    fn move_request(&mut self, client: &mut Client, cx: &mut Context<'_>) -> Result<(), Failure> {
        let Link::Open { stream, .. } = &mut self.link else { return Ok(()) };
        let request = &mut self.request;
        loop {
            while request.sent < request.out.len() {
                match Pin::new(&mut *stream).poll_write(cx, &request.out[request.sent..]) {
                    Poll::Ready(Ok(count)) => request.sent += count,
                    // An early answer may stand in the socket even so: let it be read.
                    Poll::Ready(Err(_)) if self.response.body.is_some() => {
                        (request.sent, request.is_complete) = (request.out.len(), true);
                    }
                    Poll::Ready(Err(_)) => return Err(Failure::Flag(Flag::Terminated)),
                    Poll::Pending => return Ok(()),
                }
            }
            if request.is_complete {
                if let Some(copy) = self.facts.mirror.take() {
                    outward::mirror(client, (copy, &self.plan), request);
                }
                return Ok(());
            }
            if request.out.len() > REPLAY_BYTES || self.is_tunnel {
                request.out.clear();
                (request.sent, request.is_replayable) = (0, false);
            }
            let input = match client.carried().map_or_else(|| client.poll_input(cx), |input| Poll::Ready(Ok(input))) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(_)) => return Err(Failure::Flag(Flag::ClientGone)),
                Poll::Ready(Ok(input)) => input,
            };
            if client.is_at_end && input.is_empty() {
                client.worker.buffers.give(input.buffer);
                if !self.is_tunnel {
                    return Err(Failure::Flag(Flag::ClientGone));
                }
                request.is_complete = true;
                let _ = Pin::new(&mut *stream).poll_shutdown(cx);
                return Ok(());
            }
            let now = client.worker.clock.millis();
            let Facts { timeout_ms, idle_ms, total_ms, .. } = self.facts;
            match self.response.body {
                _ if self.is_tunnel => client.deadline(now, self.plan.plan.limits.idle_timeout_ms),
                None => client.deadline(now, timeout_ms),
                // Both streams flow: whoever sends keeps the call alive.
                Some(_) if idle_ms > 0 && total_ms == 0 => client.deadline(now, idle_ms),
                Some(_) => {}
            }
            request.feed(client, input).map_err(Failure::Body)?;
        }
    }

    /// Reads the answer and writes it to the client.
    fn move_response(&mut self, client: &mut Client, cx: &mut Context<'_>) -> Step {
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
            let polled = Pin::new(stream).poll_read(cx, &mut read);
            let end = start + read.filled().len();
            let step = match polled {
                Poll::Pending => Some(Step::Pending),
                Poll::Ready(Err(_)) => Some(self.failed(Flag::Terminated)),
                Poll::Ready(Ok(())) if end == start => self.upstream_ended(client, cx),
                Poll::Ready(Ok(())) => {
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
        if client.read.poll_read_ready(cx).is_pending() {
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
                if self.is_tunnel {
                    client.end();
                    client.is_at_end = true;
                }
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

    /// Bytes of the upstream stand in `buffer` from [`HEADROOM`] to `end`.
    fn received(
        &mut self,
        (client, cx): (&mut Client, &mut Context<'_>),
        buffer: &mut ReadBuffer,
        end: usize,
    ) -> Option<Step> {
        if self.response.body.is_some() {
            if self.is_tunnel {
                // Whoever sends keeps the tunnel alive, on either side.
                client.deadline(client.worker.clock.millis(), self.plan.plan.limits.idle_timeout_ms);
            }
            self.await_body(client);
            return self.body_received((client, cx), buffer, (HEADROOM, HEADROOM, end));
        }
        let mut start = HEADROOM;
        loop {
            let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
            let bounds = &self.plan.plan.bounds;
            let head = match parse_response(&buffer[start..end], bounds, self.facts.to_head, &mut headers) {
                Err(_) => return Some(Step::Failed(Failure::Flag(Flag::Protocol))),
                Ok(None) => {
                    self.response.partial.extend_from_slice(&buffer[start..end]);
                    return None;
                }
                Ok(Some(head)) => head,
            };
            let len = head.len;
            if head.status < 200 && head.status != 101 {
                // RFC 9110 section 15.2: interim answers go to clients that can read them.
                if self.facts.version == Version::Http11
                    && client.write_now(cx, &buffer[start..start + len]).ok() != Some(len)
                {
                    return Some(Step::Aborted(Flag::ClientGone));
                }
                start += len;
                continue;
            }
            if let Some(again) = self.try_again(client, &head) {
                return Some(Step::Failed(Failure::Again(again)));
            }
            let Some(new_head) = self.head_received(client, &head) else {
                return Some(Step::Failed(Failure::Flag(Flag::Protocol)));
            };
            let body_start = start + len;
            let Some(new_head) = new_head else {
                return self.body_received((client, cx), buffer, (start, body_start, end));
            };
            if new_head.len() <= body_start {
                let head_start = body_start - new_head.len();
                buffer[head_start..body_start].copy_from_slice(&new_head);
                client.worker.buffers.give_write(new_head);
                return self.body_received((client, cx), buffer, (head_start, body_start, end));
            }
            // A head that outgrew its room goes first and by itself.
            if let Some(step) = self.write((client, cx), new_head) {
                return Some(step);
            }
            return self.body_received((client, cx), buffer, (body_start, body_start, end));
        }
    }

    /// Whether this answer is one that the route's policy tries again for.
    fn try_again(&mut self, client: &Client, head: &ResponseHead<'_, '_>) -> Option<Again> {
        if head.status < 400 || self.plan.plan.routes[self.route].steps.retry().is_none() {
            return None;
        }
        let retry_after =
            head.header("retry-after").and_then(|value| std::str::from_utf8(value).ok()?.parse::<u64>().ok());
        forward::plan_retry(
            self,
            client,
            (RetryFailure::Status(head.status), retry_after.map(|seconds| seconds * 1_000)),
        )
    }

    /// Decides how the answer goes on. Outer `None`: it may not; inner `None`: the
    /// head goes on as it came.
    fn head_received(&mut self, client: &mut Client, head: &ResponseHead<'_, '_>) -> Option<Option<Vec<u8>>> {
        let facts = &mut self.facts;
        self.is_tunnel = head.status == 101;
        if self.is_tunnel && !facts.is_upgrade {
            return None;
        }
        facts.keep_alive &=
            self.request.is_complete && !client.connection.is_leaving() && !client.worker.is_draining.get();
        let compression = self.plan.plan.routes[self.route].compress.as_ref();
        if let (Some(coding), Some(compression)) = (facts.coding, compression)
            && compression.applies(head, facts)
        {
            let edits = facts.response_edits.get_or_insert_default();
            compression.edit(head, coding, edits);
            self.response.encoder = compression.encoder(client.worker.id, coding).map(Box::new);
        }
        let body = match (self.is_tunnel, head.body, facts.version) {
            (true, ..) => Body::UntilClose,
            _ if self.response.encoder.is_some() => Body::Chunked,
            (_, Body::UntilClose, Version::Http11) => Body::Chunked,
            (_, Body::UntilClose | Body::Chunked, Version::Http10) => {
                facts.keep_alive = false;
                Body::UntilClose
            }
            (_, body, _) => body,
        };
        self.response.status = head.status;
        self.response.to_chunks = body == Body::Chunked;
        self.response.upstream_reusable = head.keep_alive && !self.facts.is_upgrade;
        self.response.kept_ms = kept_ms(head);
        let extensions = self.plan.plan.bounds.chunk_extensions;
        self.response.body =
            Some(BodyReader::new(if self.is_tunnel { Body::UntilClose } else { head.body }, extensions));
        self.await_body(client);
        if self.is_tunnel {
            client.deadline(client.worker.clock.millis(), self.plan.plan.limits.idle_timeout_ms);
            self.request.body = BodyReader::UntilClose;
            (self.request.is_complete, self.request.is_chunked) = (false, false);
            client.becomes(Protocol::WebSocket);
        } else if self.request.is_complete {
            client.worker.buffers.give_write(std::mem::take(&mut self.request.out));
            self.request.sent = 0;
        }
        let context = ResponseContext {
            version: self.facts.version,
            keep_alive: self.facts.keep_alive || self.is_tunnel,
            body: if self.is_tunnel { head.body } else { body },
            upgrade: self.is_tunnel,
            edits: &self.facts.response_edits(),
        };
        let mut out = client.worker.buffers.take_write();
        if forward_response(&mut out, head, &context) {
            return Some(Some(out));
        }
        client.worker.buffers.give_write(out);
        Some(None)
    }

    /// Writes `buffer[from..body]` (a head, or nothing) and the body that follows it.
    fn body_received(
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
                        } else if to_chunks {
                            put_chunk(&mut out, data)
                        } else {
                            out.extend_from_slice(data)
                        }
                        at += used;
                    }
                    Ok((Piece::NeedMore, _)) => {
                        if let Some(encoder) = &mut response.encoder {
                            encoder.drain(|data| put_chunk(&mut out, data));
                        }
                        break;
                    }
                    Ok((Piece::End(trailers), used)) => {
                        if let Some(encoder) = response.encoder.take() {
                            put_chunk(&mut out, &encoder.finish());
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
    fn write(&mut self, (client, cx): (&mut Client, &mut Context<'_>), out: Vec<u8>) -> Option<Step> {
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
        client.deadline(now, self.plan.plan.limits.stall_timeout_ms);
        (!self.flush(client, cx)).then_some(Step::Aborted(Flag::ClientGone))
    }

    /// Writes what waits. `false`: the client is gone.
    fn flush(&mut self, client: &mut Client, cx: &mut Context<'_>) -> bool {
        let response = &mut self.response;
        while response.pending_at < response.pending.len() {
            match client.write_now(cx, &response.pending[response.pending_at..]) {
                Ok(0) => return true,
                Ok(count) => response.pending_at += count,
                Err(_) => return false,
            }
            let now = client.worker.clock.millis();
            client.deadline(now, self.plan.plan.limits.stall_timeout_ms);
        }
        (response.pending, response.pending_at) = (Vec::new(), 0);
        self.await_body(client);
        true
    }

    fn finish(&mut self, client: &mut Client) -> bool {
        self.account(client, None);
        let now = client.worker.clock.millis();
        let reusable =
            self.response.upstream_reusable && self.request.is_complete && self.request.sent == self.request.out.len();
        if let Link::Open { stream, place, .. } = std::mem::replace(&mut self.link, Link::Closed)
            && reusable
        {
            let kept_ms = self.plan.plan.upstreams[self.upstream].idle_timeout_ms.min(self.response.kept_ms);
            let pool = &self.plan.upstreams[self.upstream].pools[self.endpoint as usize];
            pool.give(Connection { stream, place }, now + kept_ms);
        }
        if !self.request.is_complete {
            client.connection.lingers.set(true);
        }
        self.facts.keep_alive && !self.is_tunnel && !client.is_at_end
    }

    /// Counts the request, tells the breaker, writes the access record.
    fn account(&mut self, client: &Client, flag: Option<Flag>) {
        forward::account(self, client, (self.response.status, flag));
        self.in_flight = None;
    }

    fn answer_failure(&mut self, client: &mut Client, failure: &Failure) {
        let (status, text, flag) = match failure {
            Failure::Flag(flag) => (flag.status(), flag.text().to_owned(), Some(*flag)),
            Failure::Body(error) => (error.code, error.to_string(), None),
            Failure::Again(_) => (500, String::new(), None),
        };
        if !self.request.is_complete || flag.is_none() {
            client.connection.lingers.set(true);
        }
        self.facts.keep_alive &= self.request.is_complete && flag.is_some();
        let answer = FailureAnswer {
            status,
            flag,
            text: &text,
            retry_after_ms: 1_000,
            to_head: self.facts.to_head,
            keep_alive: self.facts.keep_alive,
            edits: self.facts.response_edits.as_deref(),
        };
        let mut out = Vec::new();
        respond_failure(client, client.worker.clock.millis(), &answer, &mut out);
        self.response.status = status;
        forward::failed(self, client, flag);
        self.response.pending = out;
        (self.response.pending_at, self.response.is_done) = (0, true);
        (self.request.is_complete, self.request.sent) = (true, self.request.out.len());
        self.response.upstream_reusable = false;
        self.link = Link::Answering;
        let now = client.worker.clock.millis();
        client.deadline(now, self.plan.plan.limits.stall_timeout_ms);
    }
}

impl RequestSide {
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

/// What `Keep-Alive: timeout=5` says, less a second: a request must not be on its way
/// when the upstream closes.
fn kept_ms(head: &ResponseHead<'_, '_>) -> u64 {
    let value = head.has_hop_by_hop.then(|| head.header("keep-alive")).flatten();
    let seconds = value.and_then(|value| {
        tokens(value).find_map(|part| std::str::from_utf8(part).ok()?.strip_prefix("timeout=")?.parse::<u64>().ok())
    });
    seconds.map_or(u64::MAX / 2, |seconds| seconds.saturating_sub(1).saturating_mul(1_000))
}

const BODY_TOO_LONG: DecodeError =
    DecodeError::close(413, "RFC 9110 section 15.5.14", "the body is longer than this route takes");
