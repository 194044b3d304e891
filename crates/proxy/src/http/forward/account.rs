//! Keeping account: what breaker, outlier detection and balancer learn of a try, what
//! counters, access log and events say of a request.

use crate::access::{Ending, TryEnd};
use crate::client::Client;
use crate::http::exchange::Exchange;
use crate::http::failure::Flag;
use crate::http::forward::Link;
use crate::http::forward::retry::is_unasked;
use crate::plan::Upstream;
use crate::worker::Level;
use std::rc::Rc;
use tidegate_balance::Sample;
use tidegate_ring::{EventKind, EventRecord};

/// Tells the breaker and the outlier detection how a try went.
pub(super) fn report(exchange: &mut Exchange, client: &Client, ok: bool) {
    let upstream: &Upstream = &exchange.plan.plan.upstreams[exchange.upstream];
    let now = exchange.facts.started_us / 1_000;
    let took_us = exchange.facts.took_us(client.worker.clock.read_micros());
    let took_ms = took_us as f64 / 1_000.0;
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
        let learnt = adaptive.sample(took_us, upstream.requests.active());
        upstream.requests.set_max(learnt.min(upstream.max_requests));
    }
    if let Some(gate) = &upstream.gate {
        let now = client.worker.clock.read_millis();
        if let Some(probe) = &exchange.probe {
            probe.report(now, ok);
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

/// An upgrade was taken: what its upstream did well. How long it lives then says nothing.
pub(crate) fn opened(exchange: &mut Exchange, client: &Client) {
    report(exchange, client, true);
}

/// Counts a try whose answer did not come, or not all of it.
pub(super) fn faulted(exchange: &Exchange, client: &Client, flag: Flag) {
    if let Some(fault) = flag.fault() {
        let upstream = &exchange.plan.plan.upstreams[exchange.upstream];
        upstream.counters[usize::from(client.worker.id)].failures[fault].add(1);
    }
}

/// Counts a request that got no answer from its upstream.
pub(crate) fn failed(exchange: &mut Exchange, client: &Client, flag: Option<Flag>) {
    let upstream = &exchange.plan.plan.upstreams[exchange.upstream];
    let Some(flag) = flag else { return };
    if exchange.facts.retries > 0 {
        upstream.counters[usize::from(client.worker.id)].retries[1].add(1);
    }
    // What may be tried again was reported where that was decided.
    if matches!(flag, Flag::Protocol | Flag::TotalTimeout) && !is_unasked(exchange, flag) {
        report(exchange, client, false);
    }
}

/// Counts an upstream's failure that the client does not see.
pub(crate) fn excused(exchange: &mut Exchange, client: &Client, status: u16) {
    let plan = Rc::clone(&exchange.plan);
    plan.plan.upstreams[exchange.upstream].counters[usize::from(client.worker.id)].codes.add(status);
    report(exchange, client, false);
    exchange.end_try(client, TryEnd::of(status, None));
}

/// Counts an answered request, on its route and its upstream.
pub(crate) fn account(exchange: &mut Exchange, client: &Client, (status, flag): (u16, Option<Flag>)) {
    let from_upstream = !matches!(exchange.link, Link::Answering);
    // Before the request: its span holds theirs.
    exchange.end_race(client);
    exchange.end_try(client, TryEnd::of(if from_upstream { status } else { 0 }, flag));
    let micros = client.worker.clock.read_micros().saturating_sub(exchange.facts.started_us);
    let plan = Rc::clone(&exchange.plan);
    let worker = usize::from(client.worker.id);
    let route = &plan.plan.routes[exchange.route];
    let counters = route.counters[worker].of(client.protocol);
    counters.codes.add(status);
    counters.duration.observe(micros);
    if from_upstream {
        let upstream = &plan.plan.upstreams[exchange.upstream].counters[worker];
        upstream.codes.add(status);
        upstream.duration.observe(exchange.facts.took_us(exchange.facts.started_us + micros));
        if exchange.facts.retries > 0 {
            upstream.retries[0].add(1);
        }
        if let Some(flag) = flag {
            faulted(exchange, client, flag);
            if flag.fault().is_some() {
                upstream.broken.add(status);
            }
        }
        let broke = matches!(flag, Some(Flag::Terminated | Flag::Protocol | Flag::Stalled | Flag::TotalTimeout));
        if status != 101 {
            report(exchange, client, status < 500 && !broke);
        }
    }
    if let Some(uri) = exchange.facts.changes.take().filter(|_| status < 400) {
        client.worker.shared.cache.invalidate(&uri);
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

/// Method and path of a request that is still in hand.
pub(crate) fn first_line(out: &[u8]) -> &str {
    const LINE_MAX: usize = 256;
    let line = out.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = line.strip_suffix(b" HTTP/1.1").unwrap_or(line);
    let line = line.split(|byte| *byte == b'?').next().unwrap_or_default();
    std::str::from_utf8(&line[..line.len().min(LINE_MAX)]).ok().filter(|line| !line.is_empty()).unwrap_or("- -")
}
