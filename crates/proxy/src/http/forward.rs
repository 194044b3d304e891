//! Choosing where a request goes, connecting, trying again, and keeping account.

use super::dispatch::Request;
use super::edits::{RequestEdits, ResponseEdits};
use super::exchange::{Exchange, Failure, RequestSide, ResponseSide};
use super::failure::Flag;
use crate::access::{Ending, Seen};
use crate::client::Client;
use crate::outbound::Outbound;
use crate::plan::{Target, Upstream};
use crate::worker::{Level, WorkerPlan};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tidegate_balance::{EndpointIndex, PickRequest, Sample, Tried};
use tidegate_http::{Body, BodyReader, Coding, Hop, RequestContext, Version, forward_request};
use tidegate_policy::{Edits, KeyInput};
use tidegate_resilience::{Admission, Failure as RetryFailure, Permit, RetryPermit};
use tidegate_ring::{EventKind, EventRecord};
use tidegate_upstream::{ConnectError, Connection, Place};

/// Tries of a request that nothing was sent for.
const CONNECT_TRIES: usize = 3;

type Connecting = Pin<Box<dyn Future<Output = Result<(Connection<Outbound>, bool), ConnectError>>>>;

/// The connection to the upstream.
pub(crate) enum Link {
    /// Being opened, after a wait where it is a retry.
    Connecting(Connecting),
    /// Open; `is_reused`: it served a request before.
    Open { stream: Outbound, place: Option<Place>, is_reused: bool },
    /// There is none: the gateway answers.
    Answering,
    /// There will be none.
    Refused(Flag),
    /// Given back or closed.
    Closed,
}

impl Link {
    /// Ready when there is a connection or none is needed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, client: &mut Client) -> Poll<Result<(), Flag>> {
        if let Link::Refused(flag) = *self {
            return Poll::Ready(Err(flag));
        }
        let Link::Connecting(connecting) = self else { return Poll::Ready(Ok(())) };
        let result = std::task::ready!(connecting.as_mut().poll(cx));
        let _ = client;
        match result {
            Ok((Connection { stream, place }, is_reused)) => {
                *self = Link::Open { stream, place, is_reused };
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                *self = Link::Closed;
                Poll::Ready(Err(match error {
                    ConnectError::Refused(_) => Flag::ConnectFailure,
                    ConnectError::TimedOut => Flag::ConnectTimeout,
                }))
            }
        }
    }

    /// Waits its time, then for a place among the upstream's connections, then connects.
    fn connect(
        acquiring: impl Future<Output = Result<(Connection<Outbound>, bool), ConnectError>> + 'static,
        (wait_ms, pending): (u64, Permit),
    ) -> Link {
        Link::Connecting(Box::pin(async move {
            let _pending = pending;
            if wait_ms > 0 {
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            }
            acquiring.await
        }))
    }
}

/// What is known of a request besides its bytes.
pub(crate) struct Facts {
    pub(crate) started_us: u64,
    pub(crate) to_head: bool,
    pub(crate) is_idempotent: bool,
    pub(crate) is_upgrade: bool,
    pub(crate) version: Version,
    pub(crate) keep_alive: bool,
    /// From the request's end to the response head.
    pub(crate) timeout_ms: u64,
    pub(crate) per_try_ms: Option<u64>,
    /// Without progress of the answer's body; 0: as long as it takes.
    pub(crate) idle_ms: u64,
    /// From the request's head to the answer's last byte; 0: as long as it takes.
    pub(crate) total_ms: u64,
    /// When the route's time is over, milliseconds of the gateway's clock.
    pub(crate) ends_at_ms: u64,
    pub(crate) is_sampled: bool,
    /// Method and path of a sampled request.
    pub(crate) line: Option<Box<str>>,
    pub(crate) retries: u32,
    /// For the access log.
    pub(crate) seen: Option<Box<Seen>>,
    /// The upstream that gets a copy, until it was sent.
    pub(crate) mirror: Option<usize>,
    /// How the answer is compressed, if it is one that is.
    pub(crate) coding: Option<Coding>,
    /// Bytes that the request's body may have.
    pub(crate) body_limit: u64,
    /// Kept only where policies change the response.
    pub(crate) response_edits: Option<Box<Edits>>,
    /// What the upstream's hash is taken of, where its strategy takes one.
    pub(crate) key: Option<Box<[u8]>>,
}

impl Facts {
    pub(crate) fn response_edits(&self) -> ResponseEdits<'_> {
        ResponseEdits(self.response_edits.as_deref())
    }
}

/// What a request becomes before it is sent.
pub(crate) struct Outgoing<'o, 'r> {
    pub(crate) request: &'o Request<'r>,
    pub(crate) target: &'o [u8],
    pub(crate) host: &'o [u8],
    pub(crate) edits: &'o Edits,
    pub(crate) route: usize,
    pub(crate) upstream: usize,
}

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
    let is_probe = match upstream.gate.as_ref().map(|gate| gate.admit(now)) {
        Some(Admission::Reject { retry_after_ms }) => return Err((Flag::Overflow, retry_after_ms)),
        Some(Admission::Probe) => true,
        Some(Admission::Admit) | None => false,
    };
    let permit = upstream.requests.take().map_err(|_| {
        upstream.counters[usize::from(client.worker.id)].overflow_requests.add(1);
        (Flag::Overflow, 1_000)
    })?;
    if let Some(key) = &upstream.key {
        let mut bytes = Vec::new();
        let input = KeyInput { route: &plan.plan.routes[route].name, hash_key: edits.hash_key() };
        if key.write(&request.view, &input, &mut bytes) {
            facts.key = Some(bytes.into());
        }
    }
    let source = request.view.peer.address.ip();
    let wanted = PickRequest { key: facts.key.as_deref(), source: Some(source), tried: Tried::new(), now_ms: now };
    let endpoint = pick(plan, index, &wanted).ok_or((Flag::NoHealthy, 1_000))?;
    if plan.plan.routes[route].steps.retry().is_some() {
        upstream.budget.record_request(now);
    }
    facts.ends_at_ms = now + facts.timeout_ms;
    let mut out = client.worker.buffers.take_write();
    let settings = &plan.plan.forward;
    let (mut id, mut trace) = ([0; 32], [0; 55]);
    let absent = |name: &str| request.head.header(name).is_none();
    let hop = Hop {
        via: settings.via,
        forwarded: settings.forwarded,
        request_id: (settings.request_id && absent("x-request-id")).then(|| client.worker.write_id(&mut id)),
        traceparent: (settings.traceparent && absent("traceparent")).then(|| client.worker.write_trace(&mut trace)),
    };
    if let (Some(seen), Some(id)) = (&mut facts.seen, hop.request_id) {
        seen.request_id = id.into();
    }
    let context = RequestContext {
        target,
        host,
        client: client.peer.address.ip(),
        scheme: if client.names.is_some() { "https" } else { "http" },
        trusted: client.trust.trusts(client.peer.address.ip()),
        upgrade: facts.is_upgrade,
        hop,
        edits: &RequestEdits(edits),
    };
    forward_request(&mut out, request.head, &context);
    let body = request.head.body;
    let mut side = RequestSide {
        out,
        sent: 0,
        body: BodyReader::new(body, plan.plan.bounds.chunk_extensions),
        is_chunked: body == Body::Chunked,
        is_complete: body == Body::None,
        is_replayable: true,
        room: facts.body_limit,
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
        is_probe,
        is_tunnel: false,
        retry_permit: None,
        last_flag: None,
        _permit: permit,
    });
    open(&mut exchange, client, 0);
    set_deadline(&exchange, client, now);
    Ok((exchange, used))
}

fn pick(plan: &WorkerPlan, upstream: usize, request: &PickRequest<'_>) -> Option<EndpointIndex> {
    plan.upstreams[upstream].picker.borrow_mut().pick(request, &plan.plan.upstreams[upstream].endpoints)
}

/// Takes a pooled connection or opens one.
fn open(exchange: &mut Exchange, client: &Client, wait_ms: u64) {
    let plan = Rc::clone(&exchange.plan);
    let upstream = &plan.plan.upstreams[exchange.upstream];
    let counters = &upstream.counters[usize::from(client.worker.id)];
    exchange.request.sent = 0;
    exchange.tried.add(exchange.endpoint);
    // After a failure a connection of unknown age would only fail again.
    let side = &plan.upstreams[exchange.upstream];
    let pool = &side.pools[exchange.endpoint as usize];
    let pooled = if exchange.facts.retries == 0 { pool.take(client.worker.clock.millis()) } else { None };
    exchange.link = match (pooled, upstream.endpoints.get(exchange.endpoint)) {
        (Some(Connection { stream, place }), _) => {
            counters.reused.add(1);
            Link::Open { stream, place, is_reused: true }
        }
        (None, Some(endpoint)) => {
            counters.connects.add(1);
            match upstream.pending.take() {
                Ok(pending) => {
                    if upstream.places.is_full() {
                        // A connection to another endpoint that nobody uses makes room.
                        let _ = side.pools.iter().any(|pool| pool.make_room());
                    }
                    let host = upstream.hosts.get(exchange.endpoint as usize).cloned().unwrap_or_default();
                    let (sources, worker) = (Rc::clone(pool), Rc::clone(&client.worker));
                    let (to, dialing) = ((endpoint.address, host), upstream.dialing.clone());
                    let acquiring = async move { sources.acquire(&worker, to, &dialing).await };
                    Link::connect(acquiring, (wait_ms, pending))
                }
                Err(_) => {
                    counters.overflow_pending.add(1);
                    Link::Refused(Flag::Overflow)
                }
            }
        }
        (None, None) => Link::Refused(Flag::NoHealthy),
    };
}

/// A retry that was decided on.
#[derive(Debug)]
pub(crate) struct Again {
    endpoint: EndpointIndex,
    wait_ms: u64,
    permit: Option<RetryPermit>,
}

/// Tries again where that does no harm. `false`: the failure stands.
pub(crate) fn recover(exchange: &mut Exchange, client: &Client, failure: Failure) -> Result<(), Failure> {
    let is_reused = matches!(exchange.link, Link::Open { is_reused: true, .. });
    let again = match failure {
        Failure::Again(again) => {
            report(exchange, client, false);
            Some(again)
        }
        Failure::Body(_) => return Err(failure),
        Failure::Flag(flag) => {
            let kind = match flag {
                Flag::ConnectFailure | Flag::ConnectTimeout => RetryFailure::Connect,
                Flag::Terminated => RetryFailure::Reset,
                Flag::Timeout => RetryFailure::Timeout,
                _ => return Err(failure),
            };
            report(exchange, client, false);
            let is_race = kind == RetryFailure::Reset && is_reused && exchange.request.is_replayable;
            if is_race && (exchange.facts.is_idempotent || exchange.request.sent == 0) {
                // The keep-alive race: the endpoint closed while the request was on its way.
                Some(Again { endpoint: exchange.endpoint, wait_ms: 0, permit: None })
            } else {
                plan_retry(exchange, client, (kind, None))
            }
        }
    };
    let Some(again) = again else { return Err(failure_of(exchange)) };
    let now = client.worker.clock.millis();
    let plan = Rc::clone(&exchange.plan);
    let upstream = &plan.plan.upstreams[exchange.upstream];
    exchange.endpoint = again.endpoint;
    exchange.in_flight = upstream.endpoints.begin(again.endpoint);
    exchange.retry_permit = again.permit;
    exchange.response = ResponseSide::default();
    exchange.facts.retries += 1;
    open(exchange, client, again.wait_ms);
    set_deadline(exchange, client, now + again.wait_ms);
    Ok(())
}

/// What a failed exchange ended with, for its answer.
fn failure_of(exchange: &Exchange) -> Failure {
    Failure::Flag(exchange.last_flag.unwrap_or(Flag::Terminated))
}

/// Whether and where a try is made again: by the route's policy and the upstream's
/// budget, or, where nothing was sent, at another endpoint.
pub(crate) fn plan_retry(
    exchange: &mut Exchange,
    client: &Client,
    (kind, retry_after): (RetryFailure, Option<u64>),
) -> Option<Again> {
    let now = client.worker.clock.millis();
    let plan = Rc::clone(&exchange.plan);
    let upstream = &plan.plan.upstreams[exchange.upstream];
    let policy = plan.plan.routes[exchange.route].steps.retry();
    let repeatable = exchange.facts.is_idempotent && exchange.request.is_replayable;
    let tries = exchange.facts.retries + 1;
    let wanted = policy.is_some_and(|policy| exchange.request.is_replayable && policy.allows(tries, kind, repeatable));
    let is_free = kind == RetryFailure::Connect && exchange.tried.len() < CONNECT_TRIES.min(upstream.endpoints.len());
    if (!wanted && !is_free) || now >= exchange.facts.ends_at_ms {
        return None;
    }
    let (mut permit, mut wait_ms) = (None, 0);
    if let Some(policy) = policy.filter(|_| wanted) {
        let active: u32 = upstream.endpoints.iter().map(tidegate_balance::Endpoint::active).sum();
        permit = upstream.budget.take(now, active, policy.share());
        if permit.is_none() {
            upstream.counters[usize::from(client.worker.id)].retries[2].add(1);
            return None;
        }
        let unit = (client.worker.random() >> 11) as f64 / (1_u64 << 53) as f64;
        wait_ms = policy.wait_ms(tries, retry_after, unit);
        if now + wait_ms >= exchange.facts.ends_at_ms {
            return None;
        }
    }
    let request = PickRequest {
        key: exchange.facts.key.as_deref(),
        source: Some(client.peer.address.ip()),
        tried: exchange.tried,
        now_ms: now,
    };
    let endpoint = pick(&plan, exchange.upstream, &request)?;
    if is_free && !wanted && exchange.tried.contains(endpoint) {
        return None;
    }
    Some(Again { endpoint, wait_ms, permit })
}

/// The time of one try: its own, within what is left of the route's.
fn set_deadline(exchange: &Exchange, client: &Client, now: u64) {
    let left = exchange.facts.ends_at_ms.saturating_sub(now).max(1);
    client.deadline(now, exchange.facts.per_try_ms.unwrap_or(u64::MAX).min(left));
}

/// Tells the breaker and the outlier detection how a try went.
fn report(exchange: &mut Exchange, client: &Client, ok: bool) {
    let upstream: &Upstream = &exchange.plan.plan.upstreams[exchange.upstream];
    let now = exchange.facts.started_us / 1_000;
    let took_ms = (client.worker.clock.micros().saturating_sub(exchange.facts.started_us)) as f64 / 1_000.0;
    {
        let mut picker = exchange.plan.upstreams[exchange.upstream].picker.borrow_mut();
        let sample = match ok {
            true => Sample { endpoint: exchange.endpoint, now_ms: now, latency_ms: took_ms },
            false => Sample::failed(exchange.endpoint, now, None),
        };
        picker.on_response(&sample, &upstream.endpoints);
        if !ok {
            picker.on_failure(exchange.endpoint);
        }
    }
    if let Some(adaptive) = &upstream.adaptive {
        let learnt = adaptive.sample((took_ms * 1_000.0) as u64, upstream.requests.active());
        upstream.requests.set_max(learnt.min(upstream.max_requests));
    }
    if let Some(gate) = &upstream.gate {
        let now = client.worker.clock.millis();
        if exchange.is_probe {
            gate.report_probe(now, ok);
        } else if gate.report(now, ok) {
            client.worker.log(Level::Warn, &format!("breaker of upstream {} opened", upstream.name));
        }
    }
    if let Some(outlier) = &upstream.outlier
        && outlier.report(now, exchange.endpoint, ok)
    {
        upstream.endpoints.set_ejected(exchange.endpoint, true);
        client
            .worker
            .log(Level::Warn, &format!("endpoint {} of upstream {} was ejected", exchange.endpoint, upstream.name));
    }
}

/// Counts a request that got no answer from its upstream.
pub(crate) fn failed(exchange: &mut Exchange, client: &Client, flag: Option<Flag>) {
    let upstream = &exchange.plan.plan.upstreams[exchange.upstream];
    let Some(flag) = flag else { return };
    if exchange.facts.retries > 0 {
        upstream.counters[usize::from(client.worker.id)].retries[1].add(1);
    }
    if matches!(flag, Flag::Timeout | Flag::TotalTimeout) {
        report(exchange, client, false);
    }
}

/// Counts an answered request, on its route and its upstream.
pub(crate) fn account(exchange: &mut Exchange, client: &Client, (status, flag): (u16, Option<Flag>)) {
    let micros = client.worker.clock.micros().saturating_sub(exchange.facts.started_us);
    let from_upstream = !matches!(exchange.link, Link::Answering);
    let plan = Rc::clone(&exchange.plan);
    let worker = usize::from(client.worker.id);
    let route = &plan.plan.routes[exchange.route];
    let counters = route.counters[worker].of(client.protocol);
    counters.codes.add(status);
    counters.duration.observe(micros);
    if from_upstream {
        let upstream = &plan.plan.upstreams[exchange.upstream].counters[worker];
        upstream.codes.add(status);
        upstream.duration.observe(micros);
        if exchange.facts.retries > 0 {
            upstream.retries[0].add(1);
        }
        let broke = matches!(flag, Some(Flag::Terminated | Flag::Protocol | Flag::Stalled | Flag::TotalTimeout));
        report(exchange, client, status < 500 && !broke);
    }
    client.connection.last_activity.set((exchange.facts.started_us + micros) / 1_000);
    if let Some(seen) = exchange.facts.seen.take() {
        let shown = flag.or(exchange.last_flag.filter(|_| !from_upstream));
        let upstream = &plan.plan.upstreams[exchange.upstream];
        let ending = Ending {
            began_ms: client.worker.clock.epoch_ms() + exchange.facts.started_us / 1_000,
            micros,
            status,
            bytes: exchange.response.body_bytes,
            route: Some(&route.name),
            upstream: Some(&upstream.name),
            endpoint: upstream.endpoints.get(exchange.endpoint).map(|endpoint| &*endpoint.id),
            flag: shown.map_or("-", Flag::label),
            retries: exchange.facts.retries,
        };
        client.worker.log_access(&plan.plan, (&seen, &ending));
    }
    if exchange.facts.is_sampled || status >= 500 || flag.is_some() {
        let flag = flag.or(exchange.last_flag.filter(|_| !from_upstream)).map_or("-", Flag::label);
        client.worker.event(&EventRecord {
            kind: EventKind::Access,
            a: exchange.route as u32,
            b: u32::from(status),
            c: exchange.upstream as u32,
            time: (client.worker.clock.epoch_ms() + exchange.facts.started_us / 1_000) as f64,
            d: micros as f64,
            text: &format!(
                "{} {flag}",
                exchange.facts.line.as_deref().unwrap_or_else(|| first_line(&exchange.request.out))
            ),
        });
    }
}

/// Method and target of a request that is still in hand.
fn first_line(out: &[u8]) -> &str {
    const LINE_MAX: usize = 256;
    let line = out.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = line.strip_suffix(b" HTTP/1.1").unwrap_or(line);
    std::str::from_utf8(&line[..line.len().min(LINE_MAX)]).ok().filter(|line| !line.is_empty()).unwrap_or("- -")
}
