//! Where a route leads: an answer, files, a topic, a handler, an upstream.

use super::answers::{access_line, answered, failed, keep, note, write};
use super::cached::{self, Looked};
use super::dispatch::Next;
use super::failure::Flag;
use super::forward::{self, Facts, Outgoing};
use super::login::Awaited;
use super::mirror::Mirror;
use super::request::Request;
use super::respond::respond_canned;
use super::steps::{AFTER_STEPS, wait_for};
use super::view::wants_websocket;
use super::{handler, hops, local};
use crate::client::Client;
use crate::http2;
use crate::metrics::CacheOutcome;
use crate::plan::{Plan, Route, Target};
use std::borrow::Cow;
use tidegate_balance::CookiePlan;
use tidegate_http::Body;
use tidegate_message::{FieldId, View};
use tidegate_policy::Edits;
use tidegate_resilience::Concurrency;
use tidegate_route::Captures;

/// Answers a request that its policies let through, or sends it on.
pub(super) fn to_target(
    client: &Client,
    request: &Request<'_>,
    (index, captures): (usize, &Captures),
) -> (Next, usize) {
    let plan = &request.plan.plan;
    let route = &plan.routes[index];
    match &route.target {
        Target::Respond(canned) => {
            let mut out = client.worker.buffers.take_write();
            let (keep, used) = keep(client, request);
            let edits = request.edits.borrow();
            let canned = canned.coded(request.coding(route));
            if let (Some(_), Some(compression)) = (canned.coding, &route.compress) {
                compression.count(client.worker.id);
            }
            respond_canned(client, request.now_ms(), (canned, request.to_head(), keep), (&edits, &mut out));
            note(client, request, (Some(index), canned.status, None, canned.body.len()));
            (write(client, out, keep), used)
        }
        Target::Template(reply) => match reply.render(&request.template_input(captures)) {
            Some((fields, body)) => answered(client, request, (index, reply.status, &fields, &body)),
            None => failed(client, request, (index, Flag::Unfit, 0)),
        },
        Target::Directory(root) => local::to_directory(client, request, (index, root, captures)),
        Target::Topic(template) => local::to_topic(client, request, (index, template, captures)),
        Target::Handler(Some(handler)) => handler::to_handler(client, request, (index, *handler)),
        Target::Handler(None) => failed(client, request, (index, Flag::Broken, 0)),
        Target::Upstreams { .. } => to_upstream(client, request, (index, route)),
    }
}

/// The longest that a request waits for another one's answer.
const WAIT_MS: u64 = 10_000;

fn to_upstream(client: &Client, request: &Request<'_>, (index, route): (usize, &Route)) -> (Next, usize) {
    let plan: &Plan = &request.plan.plan;
    hops::pass_hop(request);
    let fill = match route.cache.as_ref().map(|cache| cached::look(client, request, (index, route, cache))) {
        None => None,
        Some(Looked::Forward(fill)) => fill,
        Some(Looked::Answer(answer)) => return answer,
        Some(Looked::Wait(waiting)) => {
            let ms = route.timeout_ms.min(WAIT_MS);
            return wait_for(request, (Awaited::Answer(waiting, ms), AFTER_STEPS));
        }
    };
    let excuse = fill.as_ref().and_then(|fill| fill.excuse(client.worker.clock.millis()));
    let edits = request.edits.borrow();
    let upstream = match edits.upstream() {
        Some(name) => plan.upstreams.iter().position(|upstream| *upstream.name == *name),
        None => forward::choose(request.plan, &route.target),
    };
    let Some(upstream) = upstream else {
        drop(edits);
        return failed(client, request, (index, Flag::Broken, 0));
    };
    let head = request.head;
    let body_limit = route.steps.body_limit();
    if body_limit.is_some_and(|limit| matches!(head.body, Body::Length(length) if length > limit)) {
        drop(edits);
        return failed(client, request, (index, Flag::TooLarge, 0));
    }
    drop(edits);
    let bulkhead = match route.bulkhead.as_ref().map(Concurrency::take) {
        None => None,
        Some(Ok(permit)) => Some(permit),
        Some(Err(_)) => {
            client.worker.dropped(request.view.protocol, "bulkhead");
            return failed(client, request, (index, Flag::Overflow, 1_000));
        }
    };
    let key = plan.upstreams[upstream].affinity.as_ref().and_then(|cookie| give_cookie(client, request, cookie));
    let edits = request.edits.borrow();
    let timeout = route.steps.timeout();
    let is_sampled = client.worker.is_sampled(plan.log.sample_every);
    let facts = Facts {
        started_us: request.started_us,
        source: request.view.peer.address.ip(),
        asked_us: request.started_us,
        answered_us: 0,
        to_head: request.to_head(),
        is_idempotent: head.is_idempotent(),
        is_upgrade: wants_websocket(head),
        version: head.version,
        keep_alive: request.keep_alive,
        timeout_ms: http2::timeout_ms(head.header("content-type"), head.header("grpc-timeout"))
            .unwrap_or_else(|| timeout.map_or(route.timeout_ms, |timeout| timeout.ms)),
        per_try_ms: timeout.and_then(|timeout| timeout.per_try_ms),
        idle_ms: timeout.and_then(|timeout| timeout.idle_ms).unwrap_or(BODY_IDLE_MS),
        total_ms: timeout.and_then(|timeout| timeout.total_ms).unwrap_or(0),
        is_sampled,
        // What its upstream is asked for is told else, from what is sent.
        line: (is_sampled || edits.path().is_some()).then(|| access_line(head).into()),
        seen: client.worker.seen(request),
        ends_at_ms: 0,
        retries: 0,
        response_edits: None,
        coding: request.coding(route),
        _bulkhead: bulkhead,
        body_limit: body_limit.unwrap_or(u64::MAX),
        fill,
        conditions: None,
        changes: (plan.has_cache && !head.is_safe()).then(|| cached::uri_of(client, request)),
        mirror: route.mirror.filter(|_| !wants_websocket(head)).map(Mirror::Wanted),
        key,
    };
    let target = &*outgoing_target(request, &edits);
    let host = edits.host().unwrap_or(head.authority);
    let outgoing = Outgoing { request, target, host, edits: &edits, route: index, upstream };
    let started = forward::start(client, (outgoing, facts));
    drop(edits);
    match started {
        Ok((mut exchange, used)) => {
            exchange.facts.response_edits = request.take_response_edits();
            (Next::Exchange(exchange), head.len + used)
        }
        Err((flag, retry_after_ms)) => match (excuse, &route.cache) {
            (Some(stored), Some(cache)) => {
                let now_ms = client.worker.clock.millis();
                cached::respond(client, request, (index, cache, &stored), (now_ms, CacheOutcome::Stale))
            }
            _ => failed(client, request, (index, flag, retry_after_ms)),
        },
    }
}

/// Path and query for the upstream.
pub(super) fn outgoing_target<'o>(request: &Request<'o>, edits: &Edits) -> Cow<'o, [u8]> {
    let head = request.head;
    match edits.path() {
        None if *request.view.path == *head.path() => Cow::Borrowed(head.target),
        path => {
            let mut target = path.unwrap_or(request.view.path).to_vec();
            if head.target.len() > head.path().len() && memchr::memchr(b'?', &target).is_none() {
                target.extend_from_slice(&head.target[head.path().len()..]);
            }
            Cow::Owned(target)
        }
    }
}

/// Gives a client that has none the cookie by which it stays with its endpoint: its value, from which the endpoint
/// is chosen now.
fn give_cookie(client: &Client, request: &Request<'_>, cookie: &CookiePlan) -> Option<Box<[u8]>> {
    if request.view.field(FieldId::Cookie(&cookie.name)).is_some_and(|value| !value.is_empty()) {
        return None;
    }
    let mut id = [0; 32];
    let value = client.worker.write_id(&mut id);
    let secure = if cookie.secure.unwrap_or(client.names.is_some()) { "; Secure" } else { "" };
    let line = format!("{}={}{}{secure}", cookie.name, String::from_utf8_lossy(value), cookie.attributes);
    request.edits.borrow_mut().add_response_header("set-cookie", &line);
    Some(value.into())
}

/// Default of a body without progress: as Envoy's streams.
const BODY_IDLE_MS: u64 = 300_000;
