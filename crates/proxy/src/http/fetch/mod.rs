//! One whole request to an upstream and its whole answer, for what does not stream:
//! CoAP requests and topics that are routed to an upstream. Balanced, admitted and
//! counted as a forwarded request is.

mod incoming;

use super::failure::Flag;
use super::mirror::Rest;
use crate::outbound::{Outbound, Towards};
use crate::plan::Upstream;
use crate::worker::{Level, Worker, WorkerPlan};
use incoming::Incoming;
use std::io::Write;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tidegate_balance::{EndpointIndex, PickRequest, Tried};
use tidegate_resilience::{Admission, Probe};
use tidegate_upstream::Connection;
use tokio::io::AsyncWriteExt;

/// Endpoints that are tried as long as nothing was sent.
const CONNECT_TRIES: usize = 3;

/// A request; whoever makes it answers for the bytes: no CR or LF but those of `fields`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fetch {
    pub(crate) method: &'static str,
    /// Path and query.
    pub(crate) target: Vec<u8>,
    /// Empty: the endpoint's address.
    pub(crate) host: Vec<u8>,
    /// Field lines, each with its CR LF; no framing fields, no `Host`.
    pub(crate) fields: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// Everything, in place of target, host, fields and body; empty: it is put together.
    pub(crate) raw: Vec<u8>,
    /// Who asks, for the balancer.
    pub(crate) source: Option<IpAddr>,
    /// What the upstream's hash is taken of.
    pub(crate) key: Option<Box<[u8]>>,
    /// Until the whole answer is there.
    pub(crate) timeout_ms: u64,
    /// Nobody wants the answer's body, however long it is.
    pub(crate) discards: bool,
}

/// An answer.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(Box<str>, Box<[u8]>)>,
    pub(crate) body: Vec<u8>,
}

impl Fetched {
    /// The first field of that name, without regard to case.
    pub(crate) fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }
}

/// One request while it is under way.
struct Try<'f> {
    worker: &'f Rc<Worker>,
    plan: &'f Rc<WorkerPlan>,
    index: usize,
    request: &'f Fetch,
    rest: Option<&'f Rest>,
    tried: Tried,
    endpoint: Option<EndpointIndex>,
    probe: Option<Probe>,
    retries: u32,
}

/// Why a try failed, and whether another one does no harm.
struct Failed {
    flag: Flag,
    again: bool,
}

/// Sends a request and collects its answer.
///
/// # Errors
/// The flag to answer with.
pub(crate) async fn fetch(
    worker: &Rc<Worker>,
    plan: &Rc<WorkerPlan>,
    index: usize,
    request: &Fetch,
) -> Result<Fetched, Flag> {
    send(worker, (plan, index), (request, None)).await
}

/// The same for a request that is still on its way here: `rest` follows, and its time begins with its end.
///
/// # Errors
/// As [`fetch`]; `ClientGone`: the rest did not come.
pub(super) async fn fetch_flowing(
    worker: &Rc<Worker>,
    upstream: (&Rc<WorkerPlan>, usize),
    (request, rest): (&Fetch, &Rest),
) -> Result<Fetched, Flag> {
    send(worker, upstream, (request, Some(rest))).await
}

async fn send(
    worker: &Rc<Worker>,
    (plan, index): (&Rc<WorkerPlan>, usize),
    (request, rest): (&Fetch, Option<&Rest>),
) -> Result<Fetched, Flag> {
    let upstream = plan.plan.upstreams.get(index).filter(|upstream| upstream.problem.is_none()).ok_or(Flag::Broken)?;
    let (now, started_us) = (worker.clock.millis(), worker.clock.micros());
    let probe = match upstream.gate.as_ref().map(|gate| (gate, gate.admit(now))) {
        Some((_, Admission::Reject { .. })) => return Err(Flag::Overflow),
        Some((gate, Admission::Probe)) => Some(Probe::new(Arc::clone(gate))),
        Some((_, Admission::Admit)) | None => None,
    };
    let counters = &upstream.counters[usize::from(worker.id)];
    let Ok(_permit) = upstream.admit() else {
        counters.overflow_requests.add(1);
        return Err(Flag::Overflow);
    };
    upstream.budget.record_request(now);
    let (tried, endpoint, retries) = (Tried::new(), None, 0);
    let mut attempt = Try { worker, plan, index, request, rest, tried, endpoint, probe, retries };
    let result = tokio::select! {
        biased;
        result = attempt.run() => result,
        flag = time_is_over(request, rest) => Err(flag),
    };
    // Who broke off is not the upstream's fault.
    if !matches!(result, Err(Flag::ClientGone)) {
        attempt.report(result.as_ref().is_ok_and(|fetched| fetched.status < 500));
    }
    if attempt.retries > 0 {
        counters.retries[usize::from(result.is_err())].add(1);
    }
    if let Ok(fetched) = &result {
        counters.codes.add(fetched.status);
        counters.duration.observe(worker.clock.micros().saturating_sub(started_us));
    }
    result
}

async fn time_is_over(request: &Fetch, rest: Option<&Rest>) -> Flag {
    if let Some(rest) = rest {
        return rest.given_up(request.timeout_ms).await;
    }
    tokio::time::sleep(Duration::from_millis(request.timeout_ms)).await;
    Flag::Timeout
}

impl Try<'_> {
    fn upstream(&self) -> &Upstream {
        &self.plan.plan.upstreams[self.index]
    }

    async fn run(&mut self) -> Result<Fetched, Flag> {
        loop {
            let failed = match self.once().await {
                Ok(fetched) => return Ok(fetched),
                Err(failed) => failed,
            };
            if !failed.again || self.tried.len() >= CONNECT_TRIES || self.retries >= CONNECT_TRIES as u32 {
                return Err(failed.flag);
            }
            self.report(false);
            self.retries += 1;
        }
    }

    async fn once(&mut self) -> Result<Fetched, Failed> {
        let picked = PickRequest {
            key: self.request.key.as_deref(),
            source: self.request.source,
            tried: self.tried,
            now_ms: self.worker.clock.millis(),
            ..PickRequest::default()
        };
        let picked = self.plan.upstreams[self.index].picker.borrow_mut().pick(&picked, &self.upstream().endpoints);
        let endpoint = picked.ok_or(Failed { flag: Flag::NoHealthy, again: false })?;
        self.endpoint = Some(endpoint);
        let _in_flight = self.upstream().endpoints.begin(endpoint);
        let (mut connection, is_reused) = self.open(endpoint).await?;
        let mut answer = Incoming::default();
        let sent = self.exchange(&mut connection.stream, &mut answer).await;
        match sent {
            Ok((fetched, reusable)) => {
                if reusable {
                    let until = self.worker.clock.millis() + self.upstream().idle_timeout_ms;
                    self.plan.upstreams[self.index].pools[endpoint as usize].give(connection, until);
                }
                Ok(fetched)
            }
            // The keep-alive race: the endpoint closed while the request was on its way.
            Err(flag) => {
                let idempotent = matches!(self.request.method, "GET" | "PUT" | "DELETE" | "HEAD");
                let at_hand = !self.rest.is_some_and(Rest::was_taken);
                let again = flag == Flag::Terminated && is_reused && idempotent && at_hand && answer.bytes.is_empty();
                Err(Failed { flag, again })
            }
        }
    }

    /// A pooled connection, or a new one; after a failure always a new one.
    async fn open(&mut self, endpoint: EndpointIndex) -> Result<(Connection<Outbound>, bool), Failed> {
        let upstream = &self.plan.plan.upstreams[self.index];
        let counters = &upstream.counters[usize::from(self.worker.id)];
        let pool = &self.plan.upstreams[self.index].pools[endpoint as usize];
        let now = self.worker.clock.millis();
        if let Some(connection) = if self.retries == 0 { pool.take(now) } else { None } {
            counters.reused.add(1);
            return Ok((connection, true));
        }
        let Some(known) = upstream.endpoints.get(endpoint) else {
            return Err(Failed { flag: Flag::NoHealthy, again: false });
        };
        counters.connects.add(1);
        let Ok(_pending) = upstream.line_up() else {
            counters.overflow_pending.add(1);
            return Err(Failed { flag: Flag::Overflow, again: false });
        };
        let to = Towards {
            address: known.address,
            host: upstream.hosts.get(endpoint as usize).cloned().unwrap_or_default(),
            // Nobody's but the gateway's own.
            preamble: upstream.dialing.proxy.map_or_else(Vec::new, |version| version.header(None)),
        };
        match pool.acquire(self.worker, &to, &upstream.dialing).await {
            Ok(acquired) => Ok(acquired),
            Err(_) => {
                self.tried.add(endpoint);
                Err(Failed { flag: Flag::ConnectFailure, again: self.tried.len() < upstream.endpoints.len() })
            }
        }
    }

    /// The answer, and whether the connection serves another request.
    async fn exchange(&self, stream: &mut Outbound, answer: &mut Incoming) -> Result<(Fetched, bool), Flag> {
        let head = self.head();
        stream.write_all(&head).await.map_err(|_| Flag::Terminated)?;
        if let Some(rest) = self.rest {
            while let Some(part) = rest.next().await {
                stream.write_all(&part).await.map_err(|_| Flag::Terminated)?;
                rest.sent(part.len());
            }
            if !rest.is_whole() {
                return Err(Flag::ClientGone);
            }
        }
        let to_head = self.request.method == "HEAD";
        answer.read(stream, (&self.plan.plan.bounds, to_head, self.request.discards)).await
    }

    fn head(&self) -> Vec<u8> {
        if !self.request.raw.is_empty() {
            return self.request.raw.clone();
        }
        let Fetch { method, target, host, fields, body, .. } = self.request;
        let mut out = Vec::with_capacity(256 + fields.len() + body.len());
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{method} ");
        out.extend_from_slice(target);
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        match self.endpoint.and_then(|endpoint| self.upstream().endpoints.get(endpoint)) {
            Some(endpoint) if host.is_empty() => drop(write!(out, "{}", endpoint.address)),
            _ => out.extend_from_slice(host),
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(fields);
        if !body.is_empty() || matches!(*method, "POST" | "PUT" | "PATCH") {
            let _ = write!(out, "Content-Length: {}\r\n", body.len());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        out
    }

    /// Tells breaker, outlier detection and balancer how it went.
    fn report(&self, ok: bool) {
        let (upstream, now) = (self.upstream(), self.worker.clock.millis());
        let opened = match &upstream.gate {
            Some(gate) => match &self.probe {
                Some(probe) => {
                    probe.report(now, ok);
                    false
                }
                None => gate.report(now, ok),
            },
            None => false,
        };
        if opened {
            self.worker.log(Level::Warn, &format!("breaker of upstream {} opened", upstream.name));
        }
        let Some(endpoint) = self.endpoint else { return };
        if !ok {
            self.plan.upstreams[self.index].picker.borrow_mut().on_failure(endpoint);
        }
        if upstream.outlier.as_ref().is_some_and(|outlier| outlier.report(now, endpoint, ok)) {
            upstream.endpoints.set_ejected(endpoint, true);
            let text = format!("endpoint {endpoint} of upstream {} was ejected", upstream.name);
            self.worker.log(Level::Warn, &text);
        }
    }
}
