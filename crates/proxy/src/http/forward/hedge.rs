//! Hedging: where the answer of a request that may be repeated is late, the same request
//! goes to a second endpoint. The first good answer wins; the other one's connection
//! is closed, which tells its endpoint to stop.

use super::link::{Way, link_to};
use super::pick;
use super::tries::Rival;
use crate::access::TryEnd;
use crate::client::Client;
use crate::http::exchange::{Exchange, ResponseSide};
use crate::http::failure::Flag;
use crate::http::forward::Link;
use crate::metrics::HedgeOutcome;
use crate::worker::{HEADROOM, READ_BYTES};
use std::future::Future;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tidegate_balance::{EndpointIndex, InFlight, PickRequest, Sample};
use tidegate_http::{HEADERS_MAX, lower_response_version, parse_response};
use tidegate_message::Limits;
use tidegate_resilience::{Failure as RetryFailure, Permit, RetryPermit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a head that is heard beside the first try's.
const HEARD_MAX: usize = READ_BYTES / 2;

/// The second try of an exchange.
pub(crate) enum Hedge {
    /// Its time has not come.
    Waiting(Pin<Box<tokio::time::Sleep>>),
    Racing(Box<Race>),
}

/// A second try under way.
pub(crate) struct Race {
    link: Link,
    endpoint: EndpointIndex,
    in_flight: Option<InFlight>,
    sent: usize,
    heard: Vec<u8>,
    retry_permit: RetryPermit,
    permit: Permit,
    /// Where the request is sampled.
    rival: Option<Rival>,
}

/// Sets the time of a second try, where the route makes one.
pub(super) fn plan_hedge(exchange: &mut Exchange) {
    let facts = &exchange.facts;
    let upstream = &exchange.plan.plan.upstreams[exchange.upstream];
    let Some(retry) = exchange.plan.plan.routes[exchange.route].steps.retry() else { return };
    let Some(hedge) = retry.hedge().filter(|_| facts.is_idempotent && !facts.is_upgrade) else { return };
    if let Some(delay) = hedge.delay_us().filter(|_| upstream.endpoints.len() > 1) {
        exchange.hedge = Some(Hedge::Waiting(Box::pin(tokio::time::sleep(Duration::from_micros(delay)))));
    }
}

impl Exchange {
    /// Moves the second try; where its answer is the first good one it takes the exchange over.
    pub(crate) fn poll_hedge(&mut self, client: &Client, cx: &mut Context<'_>) {
        if let Some(Hedge::Waiting(sleep)) = &mut self.hedge {
            if sleep.as_mut().poll(cx).is_pending() {
                return;
            }
            self.hedge = self.begin_race(client).map(Hedge::Racing);
        }
        let Some(Hedge::Racing(race)) = &mut self.hedge else { return };
        let plan = Rc::clone(&self.plan);
        let retry = plan.plan.routes[self.route].steps.retry();
        match race.poll((client, cx), &self.request.out) {
            Poll::Pending => {}
            Poll::Ready(Ok(status)) if !retry.is_some_and(|retry| retry.retries(RetryFailure::Status(status))) => {
                let took_ms = self.micros(client) as f64 / 1_000.0;
                // The first try took longer than this: that much is known of its endpoint.
                let lost =
                    Sample { endpoint: self.endpoint, now_ms: client.worker.clock.millis(), latency_ms: took_ms };
                let upstream = &plan.plan.upstreams[self.upstream];
                plan.upstreams[self.upstream].picker.borrow_mut().on_response(&lost, &upstream.endpoints);
                self.count_hedge(client, HedgeOutcome::Won);
                self.end_try(client, TryEnd::OUTDONE);
                self.take_over();
                self.response.is_heard = true;
            }
            Poll::Ready(answer) => {
                let (endpoint, rival) = (race.endpoint, race.rival.take());
                self.hedge = None;
                let end = answer.map_or_else(|flag| TryEnd::of(0, Some(flag)), |status| TryEnd::of(status, None));
                self.end_rival(client, (rival, end));
                self.count_hedge(client, HedgeOutcome::Failed);
                let failed = Sample::failed(endpoint, client.worker.clock.millis(), None);
                let upstream = &plan.plan.upstreams[self.upstream];
                let mut picker = plan.upstreams[self.upstream].picker.borrow_mut();
                picker.on_response(&failed, &upstream.endpoints);
                if answer.is_err() {
                    picker.on_failure(endpoint);
                }
            }
        }
    }

    /// A second try is under way that may still bring an answer.
    pub(crate) fn is_racing(&self) -> bool {
        matches!(self.hedge, Some(Hedge::Racing(_)))
    }

    /// An answer came: another try is not needed any more.
    pub(crate) fn settle_hedge(&mut self, client: &Client) {
        let retry = self.plan.plan.routes[self.route].steps.retry();
        let Some(hedge) = retry.and_then(|retry| retry.hedge()) else { return };
        hedge.sample(self.micros(client));
        if self.is_racing() {
            self.count_hedge(client, HedgeOutcome::Lost);
        }
        self.end_race(client);
    }

    /// No second try is waited for any more.
    pub(super) fn end_race(&mut self, client: &Client) {
        if let Some(Hedge::Racing(race)) = self.hedge.take() {
            self.end_rival(client, (race.rival, TryEnd::OUTDONE));
        }
    }

    fn end_rival(&self, client: &Client, (rival, end): (Option<Rival>, TryEnd)) {
        if let Some(mut rival) = rival {
            self.tell_try(client, &mut rival.attempt, end);
        }
    }

    /// The first try failed: all hope is on the second one.
    pub(super) fn fall_back(&mut self, client: &Client) {
        self.count_hedge(client, HedgeOutcome::Won);
        self.take_over();
    }

    /// Since the request's head.
    fn micros(&self, client: &Client) -> u64 {
        client.worker.clock.micros().saturating_sub(self.facts.started_us)
    }

    fn take_over(&mut self) {
        let Some(Hedge::Racing(race)) = self.hedge.take() else { return };
        let Race { link, endpoint, in_flight, sent, heard, retry_permit, permit, rival } = *race;
        (self.link, self.endpoint, self.in_flight) = (link, endpoint, in_flight);
        (self.request.sent, self.retry_permit, self._permit) = (sent, Some(retry_permit), permit);
        if let Some(Rival { attempt, out }) = rival {
            self.request.out = out;
            if let Some(seen) = self.facts.seen.as_deref_mut() {
                seen.attempt = Some(attempt);
            }
        }
        self.response = ResponseSide::after(heard);
        self.facts.retries += 1;
    }

    fn begin_race(&mut self, client: &Client) -> Option<Box<Race>> {
        if !self.request.is_complete || !self.request.is_replayable {
            return None;
        }
        let plan = Rc::clone(&self.plan);
        let upstream = &plan.plan.upstreams[self.upstream];
        let now = client.worker.clock.millis();
        let wanted = PickRequest {
            key: self.facts.key.as_deref(),
            source: Some(self.facts.source),
            tried: self.tried,
            now_ms: now,
            ..PickRequest::default()
        };
        let endpoint = pick(&plan, self.upstream, &wanted).filter(|endpoint| !self.tried.contains(*endpoint))?;
        let active: u32 = upstream.endpoints.iter().map(tidegate_balance::Endpoint::active).sum();
        let share = plan.plan.routes[self.route].steps.retry()?.share();
        let permits = upstream.budget.take(now, active, share).zip(upstream.requests.take().ok());
        let Some((retry_permit, permit)) = permits else {
            self.count_hedge(client, HedgeOutcome::Budget);
            return None;
        };
        self.tried.add(endpoint);
        let way = Way { wait_ms: 0, may_reuse: true };
        let link = link_to(client, (&plan, self.upstream, endpoint), way);
        let in_flight = upstream.endpoints.begin(endpoint);
        let rival = self.rival(client, endpoint);
        Some(Box::new(Race { link, endpoint, in_flight, sent: 0, heard: Vec::new(), retry_permit, permit, rival }))
    }

    fn count_hedge(&self, client: &Client, outcome: HedgeOutcome) {
        let upstream = &self.plan.plan.upstreams[self.upstream];
        upstream.counters[usize::from(client.worker.id)].hedges[outcome as usize].add(1);
    }
}

impl Race {
    /// Connects, sends, hears. Ready: the status of a whole head, which stands in `heard`.
    fn poll(&mut self, (client, cx): (&Client, &mut Context<'_>), request: &[u8]) -> Poll<Result<u16, Flag>> {
        ready!(self.link.poll(cx))?;
        let Link::Open { stream, .. } = &mut self.link else { return Poll::Ready(Err(Flag::Terminated)) };
        let request = self.rival.as_ref().map_or(request, |rival| &rival.out);
        while self.sent < request.len() {
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, &request[self.sent..]));
            self.sent += written.map_err(|_| Flag::Terminated)?;
        }
        loop {
            let mut buffer = client.worker.buffers.take();
            let end = HEADROOM + HEARD_MAX - self.heard.len();
            let mut read = ReadBuf::new(&mut buffer[HEADROOM..end]);
            let polled = Pin::new(&mut *stream).poll_read(cx, &mut read);
            let count = read.filled().len();
            self.heard.extend_from_slice(&buffer[HEADROOM..HEADROOM + count]);
            client.worker.buffers.give(buffer);
            match ready!(polled) {
                Ok(()) if count > 0 => {}
                _ => return Poll::Ready(Err(Flag::Terminated)),
            }
            if let Some(status) = status_of(&mut self.heard, &client.worker.plan().plan.bounds)? {
                return Poll::Ready(Ok(status));
            }
        }
    }
}

/// The status, once the whole head is there. Interim answers are not the client's: it
/// asked once.
fn status_of(heard: &mut Vec<u8>, bounds: &Limits) -> Result<Option<u16>, Flag> {
    loop {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        lower_response_version(heard);
        let head = parse_response(heard, bounds, false, &mut headers).map_err(|_| Flag::Protocol)?;
        let Some((status, len)) = head.map(|head| (head.status, head.len)) else { return Ok(None) };
        match status {
            101 => return Err(Flag::Protocol),
            ..200 => drop(heard.drain(..len)),
            status => return Ok(Some(status)),
        }
    }
}
