//! Trying again: where nothing was sent, after the keep-alive race, or by the route's
//! policy within the upstream's budget.

use super::account::{faulted, report};
use super::link::{Link, open};
use super::{pick, set_deadline};
use crate::access::TryEnd;
use crate::client::Client;
use crate::http::exchange::{Exchange, Failure, ResponseSide};
use crate::http::failure::Flag;
use crate::outbound::Unprocessed;
use std::rc::Rc;
use tidegate_balance::{EndpointIndex, PickRequest};
use tidegate_resilience::{Failure as RetryFailure, RetryPermit};

/// Further tries of a request that connections of HTTP/2 leave out when they end.
const LEFT_OUT_TRIES: u32 = 5;

/// Tries of a request that nothing was sent for.
const CONNECT_TRIES: usize = 3;

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
    let is_over = matches!(
        failure,
        Failure::Body(_)
            | Failure::Stored(..)
            | Failure::Flag(Flag::ClientGone | Flag::SlowClient | Flag::TotalTimeout)
    );
    if let Failure::Flag(flag) = failure {
        faulted(exchange, client, flag);
        exchange.end_try(client, TryEnd::of(0, Some(flag)));
    }
    if exchange.is_racing() && !is_over {
        report(exchange, client, false);
        exchange.fall_back(client);
        set_deadline(exchange, client, client.worker.clock.millis());
        return Ok(());
    }
    let again = match failure {
        Failure::Again(again) => {
            report(exchange, client, false);
            Some(again)
        }
        Failure::Body(_) | Failure::Outdone | Failure::Stored(..) => return Err(failure),
        Failure::Flag(flag) => {
            let kind = match flag {
                Flag::ConnectFailure | Flag::ConnectTimeout => RetryFailure::Connect,
                Flag::Terminated => RetryFailure::Reset,
                Flag::Timeout => RetryFailure::Timeout,
                _ => return Err(failure),
            };
            // Once: over a shared connection of HTTP/2 each try finds one that was open already.
            // Connections that end after a number of requests leave out those that are on their way.
            let is_left_out = exchange.response.unprocessed == Some(Unprocessed::LeftOut);
            let is_first = exchange.facts.retries < if is_left_out { LEFT_OUT_TRIES } else { 1 };
            let is_unprocessed = exchange.response.unprocessed.is_some();
            let may_repeat = exchange.facts.is_idempotent || exchange.request.sent == 0 || is_unprocessed;
            let is_race = kind == RetryFailure::Reset && (is_reused || is_unprocessed) && is_first;
            let is_race = is_race && may_repeat && exchange.request.is_replayable;
            // A connection that ends in order says nothing bad of its endpoint.
            if !(is_unasked(exchange, flag) || is_race && is_left_out) {
                report(exchange, client, false);
            }
            if is_race {
                // The keep-alive race: the endpoint closed while the request was on its way. Or it says by itself
                // that it did not look at it.
                Some(Again { endpoint: exchange.endpoint, wait_ms: 0, permit: None })
            } else {
                plan_retry(exchange, client, (kind, None))
            }
        }
    };
    let Some(again) = again else { return Err(failure_of(exchange)) };
    let now_us = client.worker.clock.micros();
    let now = now_us / 1_000;
    let plan = Rc::clone(&exchange.plan);
    let upstream = &plan.plan.upstreams[exchange.upstream];
    (exchange.facts.asked_us, exchange.facts.answered_us) = (now_us + again.wait_ms * 1_000, 0);
    exchange.endpoint = again.endpoint;
    exchange.in_flight = upstream.endpoints.begin(again.endpoint);
    exchange.retry_permit = again.permit;
    exchange.response = ResponseSide::default();
    exchange.facts.retries += 1;
    exchange.next_try(client);
    open(exchange, client, again.wait_ms);
    set_deadline(exchange, client, now + again.wait_ms);
    Ok(())
}

/// Whether an upstream was late with the answer to a request that had not come to its end: that says nothing of it.
pub(super) fn is_unasked(exchange: &Exchange, flag: Flag) -> bool {
    matches!(flag, Flag::Timeout | Flag::TotalTimeout) && !exchange.request.is_complete
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
        source: Some(exchange.facts.source),
        tried: exchange.tried,
        now_ms: now,
        ..PickRequest::default()
    };
    let endpoint = pick(&plan, exchange.upstream, &request)?;
    if is_free && !wanted && exchange.tried.contains(endpoint) {
        return None;
    }
    Some(Again { endpoint, wait_ms, permit })
}
