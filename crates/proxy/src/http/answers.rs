//! Answers that the gateway gives at once: of a step or a target, to a failure, to a
//! head that broke a rule. They carry what the route's policies put on responses.

use super::dispatch::Next;
use super::failure::Flag;
use super::request::Request;
use super::respond::{Answer, FailureAnswer, Length, respond, respond_failure};
use crate::access::{Ending, Seen};
use crate::client::Client;
use crate::compress::{INLINE_BYTES, Packed, VARY};
use tidegate_http::{RequestHead, reason};
use tidegate_kit::DecodeError;
use tidegate_ring::{EventKind, EventRecord};

/// Whether the connection can go on behind an answer of ours, and what is used up then.
pub(super) fn keep(client: &Client, request: &Request<'_>) -> (bool, usize) {
    match request.whole_body() {
        Some(body) => (request.keep_alive, request.head.len + body),
        // The rest of the body is read and thrown away while the connection closes.
        None => {
            client.connection.lingers.set(true);
            (false, request.head.len + request.behind.len())
        }
    }
}

/// An answer of ours with fields and body.
pub(crate) fn answered(
    client: &Client,
    request: &Request<'_>,
    (index, status, fields, body): (usize, u16, &[u8], &[u8]),
) -> (Next, usize) {
    let (keep_alive, used) = keep(client, request);
    let mut out = client.worker.buffers.take_write();
    let mut all = fields.to_vec();
    if !body.is_empty() && !has_field(fields, b"content-type") {
        all.extend_from_slice(b"content-type: text/plain; charset=utf-8\r\n");
    }
    if (status == 503 || status == 429) && !has_field(fields, b"retry-after") {
        all.extend_from_slice(b"retry-after: 1\r\n");
    }
    let packed = compressed(client, request, (index, status, &mut all, body));
    let (fields, body) = packed.as_ref().map_or((&*all, body), |packed| (&*packed.fields, &*packed.body));
    respond(
        client,
        request.now_ms(),
        &Answer {
            status,
            fields,
            body,
            length: Length::Whole,
            to_head: request.to_head(),
            keep_alive,
            edits: Some(&request.edits.borrow()),
        },
        &mut out,
    );
    note(client, request, (Some(index).filter(|index| *index != usize::MAX), status, None, body.len()));
    (write(client, out, keep_alive), used)
}

/// The answer as the route compresses it. `None`: as it is, with what caches have to know of that.
fn compressed(
    client: &Client,
    request: &Request<'_>,
    (index, status, fields, body): (usize, u16, &mut Vec<u8>, &[u8]),
) -> Option<Packed> {
    let route = request.plan.plan.routes.get(index)?;
    let compression = route.compress.as_ref().filter(|known| known.fits(status, fields, body.len() as u64))?;
    let coding = request.coding(route).filter(|_| body.len() <= INLINE_BYTES);
    let packed = coding.and_then(|coding| compression.pack(coding, fields, body));
    match packed {
        Some(_) => compression.count(client.worker.id),
        None => fields.extend_from_slice(VARY),
    }
    packed
}

/// Whether field lines have that name among them.
fn has_field(fields: &[u8], name: &[u8]) -> bool {
    let names = fields.split(|byte| *byte == b'\n').map(|line| line.split(|byte| *byte == b':').next());
    names.flatten().any(|own| own.eq_ignore_ascii_case(name))
}

/// A failure's answer.
pub(crate) fn failed(
    client: &Client,
    request: &Request<'_>,
    (index, flag, retry_after_ms): (usize, Flag, u64),
) -> (Next, usize) {
    let (keep_alive, used) = keep(client, request);
    let mut out = client.worker.buffers.take_write();
    let edits = request.edits.borrow();
    let answer = FailureAnswer::of(flag, (request.to_head(), keep_alive));
    let answer = FailureAnswer { retry_after_ms, edits: Some(&edits), ..answer };
    let bytes = respond_failure(client, request.now_ms(), &answer, &mut out);
    let route = Some(index).filter(|index| *index != usize::MAX);
    note(client, request, (route, flag.status(), Some(flag), bytes));
    (write(client, out, keep_alive), used)
}

/// A head that broke a rule: its answer, then the connection closes.
/// `opening`: what was read of it.
pub(crate) fn refused(client: &Client, (started_us, opening): (u64, &[u8]), error: &DecodeError) -> Next {
    let mut out = Vec::new();
    let body = format!("{} {}: {error}\n", error.code, reason(error.code));
    client.connection.lingers.set(true);
    let fields: &[u8] = match error.code {
        // Of CONNECT: RFC 9110 section 15.5.6 wants to hear what is taken instead.
        405 => b"content-type: text/plain; charset=utf-8\r\nallow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n",
        _ => b"content-type: text/plain; charset=utf-8\r\n",
    };
    let answer = Answer { status: error.code, fields, body: body.as_bytes(), ..Answer::default() };
    respond(client, started_us / 1_000, &answer, &mut out);
    let counters = client.worker.plan();
    counters.plan.unrouted[usize::from(client.worker.id)].of(client.protocol).codes.add(error.code);
    if let Some(sink) = counters.plan.access.as_ref().filter(|sink| client.worker.access.wants(sink)) {
        let seen = Seen { client: Some(client.peer.address.ip()), ..Seen::of_line(opening) };
        let began_ms = client.worker.clock.epoch_ms() + started_us / 1_000;
        let micros = client.worker.clock.micros().saturating_sub(started_us);
        client.worker.access.put(sink, &seen, &Ending::refused((began_ms, micros), error.code, body.len()));
    }
    write(client, out, false)
}

/// Writes what the socket takes now.
pub(crate) fn write(client: &Client, mut out: Vec<u8>, keep: bool) -> Next {
    let sent = client.connection.end.try_write(&out).unwrap_or(0);
    client.connection.bytes_out.set(client.connection.bytes_out.get() + sent as u64);
    if sent == out.len() {
        client.worker.buffers.give_write(out);
        return Next::Written(keep);
    }
    out.drain(..sent);
    Next::Flush(Box::new((out, keep)))
}

/// Counts an answer of ours and writes its access record.
pub(super) fn note(
    client: &Client,
    request: &Request<'_>,
    (route, status, flag, bytes): (Option<usize>, u16, Option<Flag>, usize),
) {
    let plan = &request.plan.plan;
    let worker = usize::from(client.worker.id);
    let micros = client.worker.clock.micros().saturating_sub(request.started_us);
    let counters = route.map_or(&plan.unrouted, |index| &plan.routes[index].counters)[worker].of(client.protocol);
    counters.codes.add(status);
    counters.duration.observe(micros);
    if let Some(seen) = client.worker.seen(request) {
        let ending = Ending {
            began_ms: client.worker.clock.epoch_ms() + request.now_ms(),
            micros,
            status,
            bytes: if request.to_head() { 0 } else { bytes as u64 },
            route: route.map(|index| &*plan.routes[index].name),
            upstream: None,
            endpoint: None,
            flag: flag.map_or("-", Flag::label),
            retries: 0,
        };
        client.worker.log_access(plan, (&seen, &ending));
    }
    // Refusals are many when they come: of those only the sampled ones are told.
    if status >= 500 || client.worker.is_sampled(plan.log.sample_every) {
        client.worker.event(&EventRecord {
            kind: EventKind::Access,
            a: route.map_or(u32::MAX, |index| index as u32),
            b: u32::from(status),
            c: u32::MAX,
            time: (client.worker.clock.epoch_ms() + request.now_ms()) as f64,
            d: micros as f64,
            text: &format!("{} {}", access_line(request.head), flag.map_or("-", Flag::label)),
        });
    }
}

/// Method and path, as access records show a request.
pub(super) fn access_line(head: &RequestHead<'_, '_>) -> String {
    const PATH_MAX: usize = 256;
    let path = &head.path()[..head.path().len().min(PATH_MAX)];
    format!("{} {}", head.method, String::from_utf8_lossy(path))
}
