//! An answer's head: interim ones, whether it is tried again, how its body goes on.

use super::{Exchange, Failure, Step};
use crate::access::TryEnd;
use crate::client::Client;
use crate::compress::Compression;
use crate::http::cached::Coded;
use crate::http::explain::{EXPLAIN, explain_outcome};
use crate::http::failure::Flag;
use crate::http::forward::{self, Again};
use crate::worker::{HEADROOM, ReadBuffer};
use std::mem::MaybeUninit;
use std::task::Context;
use tidegate_http::{
    Body, BodyReader, HEADERS_MAX, Piece, ResponseContext, ResponseHead, Version, forward_response, has_token,
    lower_response_version, parse_response, tokens,
};
use tidegate_resilience::Failure as RetryFailure;
use tidegate_websocket::accept_key;

impl Exchange {
    /// Bytes of the upstream stand in `buffer` from [`HEADROOM`] to `end`.
    pub(super) fn received(
        &mut self,
        (client, cx): (&mut Client, &mut Context<'_>),
        buffer: &mut ReadBuffer,
        end: usize,
    ) -> Option<Step> {
        if self.response.body.is_some() {
            self.await_body(client, client.worker.clock.read_millis());
            return self.body_received((client, cx), buffer, (HEADROOM, HEADROOM, end));
        }
        let mut start = HEADROOM;
        loop {
            let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
            let bounds = &self.plan.plan.bounds;
            lower_response_version(&mut buffer[start..end]);
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
                self.request.is_invited |= head.status == 100;
                // RFC 9110 section 15.2: interim answers go to clients that can read them.
                if self.facts.version == Version::Http11 {
                    let mut anew = Vec::new();
                    let context = ResponseContext {
                        version: Version::Http11,
                        keep_alive: true,
                        body: Body::None,
                        upgrade: false,
                        edits: &(),
                    };
                    let changed = forward_response(&mut anew, &head, &context);
                    let interim = if changed { &anew } else { &buffer[start..start + len] };
                    if client.write_now(cx, interim).ok() != Some(interim.len()) {
                        return Some(Step::Aborted(Flag::ClientGone));
                    }
                }
                start += len;
                continue;
            }
            if head.status == 101 {
                return Some(self.upgraded(client, &head, &buffer[start + len..end]));
            }
            // Nothing has been sent to the client yet: it can still be told. What is found wrong
            // behind the head later can only end its connection, or its stream.
            if is_malformed(head.body, bounds.chunk_extensions, &buffer[start + len..end]) {
                return Some(Step::Failed(Failure::Flag(Flag::Protocol)));
            }
            if self.is_racing() && self.is_worth_a_retry(head.status) {
                self.end_try(client, TryEnd::of(head.status, None));
                return Some(Step::Failed(Failure::Outdone));
            }
            if let Some(again) = self.try_again(client, &head) {
                self.end_try(client, TryEnd::of(head.status, None));
                return Some(Step::Failed(Failure::Again(again)));
            }
            self.settle_hedge(client);
            if let Some(step) = self.instead(client, (&head, start + len == end)) {
                return Some(step);
            }
            let body_start = start + len;
            let new_head = match self.head_received(client, (&head, end - body_start)) {
                Onward::AsItCame => return self.body_received((client, cx), buffer, (start, body_start, end)),
                Onward::Begun => return self.body_received((client, cx), buffer, (body_start, body_start, end)),
                Onward::Gone => return Some(Step::Aborted(Flag::ClientGone)),
                Onward::Anew(new_head) => new_head,
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

    /// Whether the route's policy names this status among those it tries again for.
    fn is_worth_a_retry(&self, status: u16) -> bool {
        let retry = self.plan.plan.routes[self.route].steps.retry();
        retry.is_some_and(|retry| retry.retries(RetryFailure::Status(status)))
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

    /// The upstream took the upgrade: from here on bytes are passed on, in both directions.
    fn upgraded(&mut self, client: &mut Client, head: &ResponseHead<'_, '_>, behind: &[u8]) -> Step {
        // RFC 9110 section 7.8: to what was asked for, and to nothing else.
        let is_taken = head.header("upgrade").is_some_and(|protocol| has_token(protocol, "websocket"));
        // A client of HTTP/2 has no key (RFC 8441 section 5): that of this hop is ours to check.
        let is_ours = client.connection.end.as_stream().is_some();
        if !self.facts.is_upgrade || !is_taken || is_ours && !is_accepted(&self.request.out, head) {
            return Step::Failed(Failure::Flag(Flag::Protocol));
        }
        self.response.status = head.status;
        self.facts.answered_us = client.worker.clock.read_micros();
        self.facts.line.get_or_insert_with(|| forward::first_line(&self.request.out).into());
        let mut out = client.worker.buffers.take_write();
        let context = ResponseContext {
            version: self.facts.version,
            keep_alive: true,
            body: head.body,
            upgrade: true,
            edits: &self.facts.response_edits(),
        };
        forward_response(&mut out, head, &context);
        self.response.pending = out;
        Step::Upgraded(behind.into())
    }

    /// Where an answer explains, it says where the request went.
    fn explain(&mut self, client: &Client) {
        let upstream = &self.plan.plan.upstreams[self.upstream];
        let endpoint = upstream.endpoints.get(self.endpoint).map_or("", |endpoint| &*endpoint.id);
        let micros = client.worker.clock.read_micros().saturating_sub(self.facts.started_us);
        let edits = self.facts.response_edits.as_mut();
        if let Some(edits) = edits.filter(|edits| edits.drops_response_header(EXPLAIN.as_bytes())) {
            explain_outcome(edits, (&upstream.name, endpoint), (self.facts.retries, micros));
        }
    }

    /// Says when the answer came (RFC 9110 section 6.6.1), unless a policy wants that unsaid.
    fn date(&mut self, client: &Client) {
        let edits = self.facts.response_edits.get_or_insert_default();
        let date = client.worker.date(client.worker.clock.read_millis());
        if let (false, Ok(date)) = (edits.drops_response_header(b"date"), std::str::from_utf8(&date)) {
            edits.add_response_header("date", date);
        }
    }

    /// Decides how the answer goes on; `in_hand`: bytes of its body that came with it.
    fn head_received(&mut self, client: &mut Client, (head, in_hand): (&ResponseHead<'_, '_>, usize)) -> Onward {
        let facts = &mut self.facts;
        facts.keep_alive &=
            self.request.is_complete && !client.connection.is_leaving() && !client.worker.is_draining.get();
        let compression = self.plan.plan.routes[self.route].compress.as_ref();
        let varies = compression.is_some_and(|compression| compression.varies(head, facts.to_head));
        let mut is_coded = false;
        if let Some(compression) = compression.filter(|_| varies) {
            let coding = Compression::coding_for(head, facts);
            // What GET would say is said to HEAD (RFC 9110 section 9.3.2): there is nothing to compress.
            let bodied = coding.filter(|_| !facts.to_head);
            let encoder = bodied.and_then(|coding| compression.encoder(client.worker.id, coding));
            let coding = coding.filter(|_| facts.to_head || encoder.is_some());
            compression.edit(head, coding, facts.response_edits.get_or_insert_default());
            is_coded = coding.is_some();
            self.response.encoder = encoder.map(Box::new);
        }
        if !self.plan.plan.explain.is_empty() {
            self.explain(client);
        }
        if head.header("date").is_none() {
            self.date(client);
        }
        if self.facts.fill.is_some() {
            let coded = match (varies, &self.response.encoder, self.facts.coding) {
                (true, Some(_), Some(coding)) => Coded::As(coding),
                (true, ..) => Coded::Plain,
                (false, ..) => Coded::No,
            };
            self.begin_copy(client, head, coded);
        }
        let facts = &mut self.facts;
        let body = match (head.body, facts.version) {
            _ if self.response.encoder.is_some() => Body::Chunked,
            (Body::UntilClose, Version::Http11) => Body::Chunked,
            (Body::UntilClose | Body::Chunked, Version::Http10) => {
                facts.keep_alive = false;
                Body::UntilClose
            }
            (body, _) => body,
        };
        self.response.status = head.status;
        self.response.to_chunks = body == Body::Chunked;
        self.response.upstream_reusable = head.keep_alive && !self.facts.is_upgrade;
        self.response.kept_ms = kept_ms(head);
        let extensions = self.plan.plan.bounds.chunk_extensions;
        self.response.body = Some(BodyReader::new(head.body, extensions));
        self.facts.answered_us = client.worker.clock.read_micros();
        self.await_body(client, self.facts.answered_us / 1_000);
        let goes_on = match head.body {
            Body::None => false,
            Body::Length(length) => length > in_hand as u64,
            Body::Chunked | Body::UntilClose => true,
        };
        if self.facts.line.is_none() && (head.status >= 500 || goes_on) {
            self.facts.line = Some(forward::first_line(&self.request.out).into());
        }
        if self.request.is_complete {
            client.worker.buffers.give_write(std::mem::take(&mut self.request.out));
            self.request.sent = 0;
        }
        // A length of other bytes is no length of these.
        let body = if is_coded { Body::Chunked } else { body };
        let edits = self.facts.response_edits();
        if let Some(stream) = client.connection.end.as_stream() {
            let begun = stream.begin(head, (body, &edits));
            return if begun.is_ok() { Onward::Begun } else { Onward::Gone };
        }
        let (version, keep_alive) = (self.facts.version, self.facts.keep_alive);
        let context = ResponseContext { version, keep_alive, body, upgrade: false, edits: &edits };
        let mut out = client.worker.buffers.take_write();
        if forward_response(&mut out, head, &context) {
            return Onward::Anew(out);
        }
        client.worker.buffers.give_write(out);
        Onward::AsItCame
    }
}

/// Whether a WebSocket was accepted by the key that the request went out with (RFC 6455 section 4.1).
fn is_accepted(request: &[u8], head: &ResponseHead<'_, '_>) -> bool {
    let mut lines = request.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let key = lines.find_map(|line| {
        let (name, value) = line.split_at_checked(KEY.len())?;
        name.eq_ignore_ascii_case(KEY).then(|| value.trim_ascii())
    });
    key.is_some_and(|key| head.header("sec-websocket-accept") == Some(accept_key(key).as_bytes()))
}

const KEY: &[u8] = b"sec-websocket-key:";

/// How an answer's head goes on.
enum Onward {
    AsItCame,
    Anew(Vec<u8>),
    /// It went as fields of HTTP/2 already.
    Begun,
    /// There is nobody to take it.
    Gone,
}

/// Whether the chunks that came with a head break a rule (RFC 9112 section 7.1).
fn is_malformed(body: Body, extensions: usize, mut bytes: &[u8]) -> bool {
    if body != Body::Chunked {
        return false;
    }
    let mut reader = BodyReader::new(body, extensions);
    loop {
        match reader.next(bytes) {
            Ok((Piece::Data(_), used)) => bytes = &bytes[used..],
            Ok(_) => return false,
            Err(_) => return true,
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
