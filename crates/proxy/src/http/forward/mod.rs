//! Choosing where a request goes, connecting, trying again, and keeping account.

mod account;
mod facts;
mod hedge;
mod link;
mod retry;
mod tries;

pub(crate) use account::{account, excused, failed, first_line, opened};
pub(crate) use facts::{Facts, Outgoing};
pub(crate) use hedge::Hedge;
pub(crate) use link::Link;
pub(crate) use retry::{Again, plan_retry, recover};

use link::open;

use super::edits::RequestEdits;
use super::exchange::{Exchange, RequestSide, ResponseSide};
use super::failure::Flag;
use super::pace::Pace;
use super::request::Request;
use crate::access::{Parent, Seen};
use crate::client::Client;
use crate::plan::Target;
use crate::worker::WorkerPlan;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_balance::{EndpointIndex, PickRequest, Tried};
use tidegate_http::{Body, BodyReader, Hop, RequestContext, forward_request};
use tidegate_message::Protocol;
use tidegate_policy::{Edits, KeyInput};
use tidegate_resilience::{Admission, Probe};

/// The upstream whose turn it is in a weighted split. `None`: its share is broken.
pub(crate) fn choose(plan: &WorkerPlan, target: &Target) -> Option<usize> {
    let Target::Upstreams { split, stride } = target else { return None };
    if let [(only, _)] = split[..] {
        return only;
    }
    let total = u64::from(split.last()?.1);
    let turn = plan.turns.get();
    plan.turns.set(turn.wrapping_add(1));
    let at = (turn.wrapping_mul(u64::from(*stride)) % total.max(1)) as u32;
    split.iter().find(|(_, until)| at < *until)?.0
}

/// Admits the request to its upstream, picks an endpoint and writes the head. With
/// it: how many bytes behind the head are used up.
///
/// # Errors
/// The flag to answer with, and milliseconds for `Retry-After`.
pub(crate) fn start(
    client: &Client,
    (outgoing, mut facts): (Outgoing<'_, '_>, Facts),
) -> Result<(Box<Exchange>, usize), (Flag, u64)> {
    let Outgoing { request, target, host, edits, route, upstream: index } = outgoing;
    let plan = request.plan;
    let upstream = &plan.plan.upstreams[index];
    let now = facts.started_us / 1_000;
    if upstream.problem.is_some() {
        return Err((Flag::Broken, 0));
    }
    let probe = match upstream.gate.as_ref().map(|gate| (gate, gate.admit(now))) {
        Some((_, Admission::Reject { retry_after_ms })) => return Err((Flag::Overflow, retry_after_ms)),
        Some((gate, Admission::Probe)) => Some(Probe::new(Arc::clone(gate))),
        Some((_, Admission::Admit)) | None => None,
    };
    let permit = upstream.admit().map_err(|_| {
        upstream.counters[usize::from(client.worker.id)].overflow_requests.add(1);
        (Flag::Overflow, 1_000)
    })?;
    if let Some(key) = upstream.key.as_ref().filter(|_| facts.key.is_none()) {
        let mut bytes = Vec::new();
        let input = KeyInput { route: &plan.plan.routes[route].name, hash_key: edits.hash_key() };
        if key.write(&request.view, &input, &mut bytes) {
            facts.key = Some(bytes.into());
        }
    }
    let wanted = PickRequest {
        key: facts.key.as_deref(),
        source: Some(facts.source),
        tried: Tried::new(),
        now_ms: now,
        ..Default::default()
    };
    let endpoint = pick(plan, index, &wanted).ok_or((Flag::NoHealthy, 1_000))?;
    if plan.plan.routes[route].steps.retry().is_some() {
        upstream.budget.record_request(now);
    }
    facts.ends_at_ms = now + facts.timeout_ms;
    if let Some(seen) = facts.seen.as_deref_mut() {
        tries::first_try(seen, client, (endpoint, facts.asked_us, target));
    }
    let out = write_head(client, request, (target, host, edits), (facts.is_upgrade, facts.seen.as_deref_mut()));
    let body = request.head.body;
    let mut side = RequestSide {
        out,
        sent: 0,
        body: BodyReader::new(body, plan.plan.bounds.chunk_extensions),
        is_chunked: body == Body::Chunked,
        is_complete: body == Body::None,
        is_replayable: true,
        room: facts.body_limit,
        is_invited: !request.head.expects_continue,
        pace: Pace::default(),
    };
    let used = match side.is_complete {
        true => 0,
        false => match side.take_body(request.behind) {
            Ok(used) => used,
            Err(error) if error.code == Flag::TooLarge.status() => return Err((Flag::TooLarge, 0)),
            // A malformed body is met again, and answered, when the exchange reads on.
            Err(_) => 0,
        },
    };
    let mut exchange = Box::new(Exchange {
        plan: Rc::clone(plan),
        route,
        upstream: index,
        endpoint,
        tried: Tried::new(),
        link: Link::Closed,
        facts,
        request: side,
        response: ResponseSide::default(),
        in_flight: upstream.endpoints.begin(endpoint),
        probe,
        retry_permit: None,
        last_flag: None,
        hedge: None,
        _permit: permit,
    });
    open(&mut exchange, client, 0);
    hedge::plan_hedge(&mut exchange);
    set_deadline(&exchange, client, now);
    Ok((exchange, used))
}

/// The head for the upstream.
pub(crate) fn write_head(
    client: &Client,
    request: &Request<'_>,
    (target, host, edits): (&[u8], &[u8], &Edits),
    (is_upgrade, seen): (bool, Option<&mut Seen>),
) -> Vec<u8> {
    let mut out = client.worker.buffers.take_write();
    let settings = &request.plan.plan.forward;
    let mut id = [0; 32];
    let trace = trace_of(client, request, seen.as_deref());
    let absent = |name: &str| request.head.header(name).is_none();
    let hop = Hop {
        via: settings.via.then(|| version_of(client, request)),
        forwarded: settings.forwarded,
        request_id: (settings.request_id && absent("x-request-id")).then(|| client.worker.write_id(&mut id)),
        certificate: settings.client_certificate.header().zip(client.peer.certificate()),
        traceparent: trace.as_ref().map(|(header, _)| &header[..]),
        begins_trace: trace.as_ref().is_some_and(|(_, begins)| *begins),
    };
    if let (Some(seen), Some(id)) = (seen, hop.request_id) {
        seen.request_id = id.into();
    }
    let context = RequestContext {
        target,
        host,
        client: client.peer.address.ip(),
        scheme: request.scheme,
        trusted: client.trust().trusts(client.peer.address.ip()),
        upgrade: is_upgrade,
        hop,
        edits: &RequestEdits(edits),
    };
    forward_request(&mut out, request.head, &context);
    out
}

/// What the request came by, as `Via` has it.
fn version_of(client: &Client, request: &Request<'_>) -> &'static str {
    match client.protocol {
        Protocol::Http2 => "2.0",
        _ => &request.head.version.label()["HTTP/".len()..],
    }
}

/// The `traceparent` that goes on in place of what came, and whether the trace begins with
/// it. `None`: what came goes on, or there is none.
fn trace_of(client: &Client, request: &Request<'_>, seen: Option<&Seen>) -> Option<([u8; 55], bool)> {
    if let Some((seen, span)) = seen.and_then(|seen| seen.span.as_ref().map(|span| (seen, span))) {
        let told = seen.attempt.as_ref().map_or(span, |attempt| attempt.span());
        return Some((told.header(), span.is_first()));
    }
    let came = request.head.header("traceparent");
    let plan = &request.plan.plan;
    match &plan.tracing {
        // Whoever comes next must not decide anew.
        Some(_) if came.and_then(Parent::parse).is_none() => Some((client.worker.new_trace(false), true)),
        Some(_) => None,
        None => (plan.forward.traceparent && came.is_none()).then(|| (client.worker.new_trace(true), true)),
    }
}

fn pick(plan: &WorkerPlan, upstream: usize, request: &PickRequest<'_>) -> Option<EndpointIndex> {
    plan.upstreams[upstream].picker.borrow_mut().pick(request, &plan.plan.upstreams[upstream].endpoints)
}

/// The time of one try: its own, within what is left of the route's.
fn set_deadline(exchange: &Exchange, client: &Client, now: u64) {
    let left = exchange.facts.ends_at_ms.saturating_sub(now).max(1);
    exchange.deadline(client, (now, exchange.facts.per_try_ms.unwrap_or(u64::MAX).min(left)));
}
