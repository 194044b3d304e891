//! The connection of an exchange to its upstream: pooled, opened, or refused.

use crate::client::Client;
use crate::http::exchange::Exchange;
use crate::http::failure::Flag;
use crate::http::pace::Pace;
use crate::outbound::{Outbound, Towards};
use crate::worker::WorkerPlan;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tidegate_balance::EndpointIndex;
use tidegate_resilience::Permit;
use tidegate_upstream::{ConnectError, Connection, Place};

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
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Flag>> {
        if let Link::Refused(flag) = *self {
            return Poll::Ready(Err(flag));
        }
        let Link::Connecting(connecting) = self else { return Poll::Ready(Ok(())) };
        let result = std::task::ready!(connecting.as_mut().poll(cx));
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
        (wait_ms, pending): (u64, Option<Permit>),
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

/// Takes a pooled connection or opens one.
pub(super) fn open(exchange: &mut Exchange, client: &Client, wait_ms: u64) {
    (exchange.request.sent, exchange.request.pace) = (0, Pace::default());
    exchange.tried.add(exchange.endpoint);
    // After a failure a connection of unknown age would only fail again.
    let way = Way { wait_ms, may_reuse: exchange.facts.retries == 0 };
    exchange.link = link_to(client, (&exchange.plan, exchange.upstream, exchange.endpoint), way);
}

/// How a connection is come by.
pub(super) struct Way {
    pub(super) wait_ms: u64,
    pub(super) may_reuse: bool,
}

/// A link to an endpoint: of the pool, or being opened.
pub(super) fn link_to(
    client: &Client,
    (plan, index, endpoint): (&WorkerPlan, usize, EndpointIndex),
    Way { wait_ms, may_reuse }: Way,
) -> Link {
    let upstream = &plan.plan.upstreams[index];
    let counters = &upstream.counters[usize::from(client.worker.id)];
    let side = &plan.upstreams[index];
    let pool = &side.pools[endpoint as usize];
    let pooled = if may_reuse { pool.take(client.worker.clock.read_millis()) } else { None };
    if let Some(Connection { stream, place }) = pooled {
        counters.reused.add(1);
        return Link::Open { stream, place, is_reused: true };
    }
    let Some(known) = upstream.endpoints.get(endpoint) else { return Link::Refused(Flag::NoHealthy) };
    counters.connects.add(1);
    let Ok(pending) = upstream.line_up() else {
        counters.overflow_pending.add(1);
        return Link::Refused(Flag::Overflow);
    };
    if upstream.places.is_full() {
        // A connection to another endpoint that nobody uses makes room.
        let _ = side.pools.iter().any(|pool| pool.make_room());
    }
    let to = Towards {
        address: known.address,
        host: upstream.hosts.get(endpoint as usize).cloned().unwrap_or_default(),
        preamble: upstream.dialing.proxy.map_or_else(Vec::new, |version| version.header(client.ends())),
    };
    let (sources, worker, dialing) = (Rc::clone(pool), Rc::clone(&client.worker), upstream.dialing.clone());
    let acquiring = async move { sources.acquire(&worker, &to, &dialing).await };
    Link::connect(acquiring, (wait_ms, pending))
}
