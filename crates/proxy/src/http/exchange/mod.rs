//! One request on its way to an upstream and the answer on its way back. Both
//! directions move at once, each with at most one buffer in hand: who does not
//! read is not read from.

mod head;
mod request;
mod response;
mod stored;

pub(crate) use request::RequestSide;
pub(crate) use response::ResponseSide;

use super::failure::Flag;
use super::forward::{self, Again, Facts, Hedge, Link};
use super::pace::{await_taking, keeps_taking};
use super::respond::{FailureAnswer, respond_failure};
use crate::client::Client;
use crate::metrics::CacheOutcome;
use crate::worker::WorkerPlan;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use tidegate_balance::{EndpointIndex, InFlight, Tried};
use tidegate_cache::Stored;
use tidegate_kit::DecodeError;
use tidegate_resilience::{Permit, Probe, RetryPermit};
use tidegate_upstream::Connection;

/// Why a try ended without an answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// See the flag.
    Flag(Flag),
    /// The client's body is malformed.
    Body(DecodeError),
    /// It is tried again.
    Again(Again),
    /// The second try may bring a better answer than this one.
    Outdone,
    /// A kept answer goes in its place.
    Stored(Arc<Stored>, CacheOutcome),
}

/// What one look at both directions came to.
enum Step {
    Pending,
    Finished,
    /// The upstream took the upgrade, and this stood behind its head.
    Upgraded(Box<[u8]>),
    Failed(Failure),
    /// Part of the answer is out: all that is left is to close.
    Aborted(Flag),
}

/// What an exchange ended with.
pub(crate) enum Done {
    /// Whether the client's connection can serve another request.
    Over(bool),
    /// Its head waits in `response.pending`, this stood behind it.
    Upgraded(Box<[u8]>),
}

/// One request with its upstream.
pub(crate) struct Exchange {
    pub(crate) plan: Rc<WorkerPlan>,
    pub(crate) route: usize,
    pub(crate) upstream: usize,
    pub(crate) endpoint: EndpointIndex,
    pub(crate) tried: Tried,
    pub(crate) link: Link,
    pub(crate) facts: Facts,
    pub(crate) request: RequestSide,
    pub(crate) response: ResponseSide,
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) probe: Option<Probe>,
    pub(crate) retry_permit: Option<RetryPermit>,
    pub(crate) last_flag: Option<Flag>,
    /// The second try beside this one, where the route makes one.
    pub(crate) hedge: Option<Hedge>,
    pub(crate) _permit: Permit,
}

impl Exchange {
    /// Moves both directions as far as they go.
    pub(crate) fn poll(&mut self, client: &mut Client, cx: &mut Context<'_>) -> Poll<Done> {
        client.connection.register(cx.waker());
        loop {
            match self.step(client, cx) {
                Step::Pending => return Poll::Pending,
                Step::Finished => return Poll::Ready(Done::Over(self.finish(client))),
                Step::Upgraded(behind) => return Poll::Ready(Done::Upgraded(behind)),
                Step::Aborted(flag) => {
                    self.account(client, Some(flag));
                    return Poll::Ready(Done::Over(false));
                }
                Step::Failed(failure) => {
                    if let Failure::Flag(flag) = failure {
                        self.last_flag = Some(flag);
                    }
                    if let Err(failure) = forward::recover(self, client, failure) {
                        self.answer_failure(client, &failure);
                    }
                }
            }
        }
    }

    fn step(&mut self, client: &mut Client, cx: &mut Context<'_>) -> Step {
        if client.connection.timed_out.get() {
            let now = client.worker.clock.millis();
            client.connection.last_activity.set(now);
            let stall_ms = self.plan.plan.limits.stall_timeout_ms;
            if !self.is_untaken() || now >= self.facts.total_ends_at() || !keeps_taking(client, now) {
                client.worker.connections.set_deadline(&client.connection, 0);
                if self.is_untaken() {
                    client.connection.end.abandon();
                }
                return self.failed(self.timed_out(now));
            }
            self.deadline(client, (now, stall_ms));
        }
        if self.is_untaken() && !self.flush(client, cx) {
            return Step::Aborted(Flag::ClientGone);
        }
        if self.hedge.is_some() {
            self.poll_hedge(client, cx);
        }
        match self.link.poll(cx) {
            Poll::Pending => return Step::Pending,
            Poll::Ready(Err(flag)) => return self.failed(flag),
            Poll::Ready(Ok(())) => {}
        }
        if let Err(failure) = self.move_request(client, cx) {
            return match failure {
                Failure::Flag(flag) => self.failed(flag),
                body if self.response.body.is_none() => Step::Failed(body),
                _ => Step::Aborted(Flag::ClientGone),
            };
        }
        self.move_response(client, cx)
    }

    /// Whether the client has not taken all that there is for it.
    fn is_untaken(&self) -> bool {
        self.response.pending_at < self.response.pending.len()
    }

    /// The upstream has so long for more of the body, within what the whole exchange may take.
    fn await_body(&self, client: &Client, now: u64) {
        let idles_at = if self.facts.idle_ms == 0 { u64::MAX } else { now + self.facts.idle_ms };
        let at = self.facts.total_ends_at().min(idles_at);
        // A time that is over stays over: the wheel tells of it with its next turn.
        if at > now {
            client.worker.connections.set_deadline(&client.connection, if at == u64::MAX { 0 } else { at });
        }
    }

    /// So long for what is due now, within what the whole exchange may take.
    pub(crate) fn deadline(&self, client: &Client, (now, after_ms): (u64, u64)) {
        let at = (now + after_ms).min(self.facts.total_ends_at());
        client.worker.connections.set_deadline(&client.connection, at.max(now + 1));
    }

    /// Which of the times is over. Whom the client keeps waiting is not to blame for it: else whoever
    /// announces bodies and does not send them opens the breakers of others' upstreams.
    fn timed_out(&self, now: u64) -> Flag {
        let owes_body = self.response.body.is_none() && self.request.is_due();
        if owes_body || self.is_untaken() {
            return Flag::SlowClient;
        }
        if now >= self.facts.total_ends_at() {
            return Flag::TotalTimeout;
        }
        if self.response.body.is_some() { Flag::Stalled } else { Flag::Timeout }
    }

    fn failed(&self, flag: Flag) -> Step {
        if self.response.body.is_some() || self.response.is_done {
            Step::Aborted(flag)
        } else {
            Step::Failed(Failure::Flag(flag))
        }
    }

    fn finish(&mut self, client: &mut Client) -> bool {
        if let Some(copying) = self.response.copy.take() {
            copying.keep();
        }
        self.account(client, None);
        let now = client.worker.clock.read_millis();
        let reusable =
            self.response.upstream_reusable && self.request.is_complete && self.request.sent == self.request.out.len();
        if let Link::Open { stream, place, .. } = std::mem::replace(&mut self.link, Link::Closed)
            && reusable
        {
            let kept_ms = self.plan.plan.upstreams[self.upstream].idle_timeout_ms.min(self.response.kept_ms);
            let pool = &self.plan.upstreams[self.upstream].pools[self.endpoint as usize];
            pool.give(Connection { stream, place }, now + kept_ms);
        }
        if !self.request.is_complete {
            client.connection.lingers.set(true);
        }
        // Who sends no more may have sent the next request already.
        self.facts.keep_alive && !(client.is_at_end && client.carry.is_empty())
    }

    /// Counts the request, tells the breaker, writes the access record.
    pub(super) fn account(&mut self, client: &Client, flag: Option<Flag>) {
        forward::account(self, client, (self.response.status, flag));
        self.in_flight = None;
    }

    fn answer_failure(&mut self, client: &mut Client, failure: &Failure) {
        let fill = self.facts.fill.as_ref().filter(|_| matches!(failure, Failure::Flag(_)));
        if let Some(stored) = fill.and_then(|fill| fill.excuse(client.worker.clock.millis())) {
            if let Failure::Flag(flag) = failure {
                forward::failed(self, client, Some(*flag));
            }
            self.link = Link::Answering;
            return self.answer_stored(client, &stored, CacheOutcome::Stale);
        }
        let (status, text, flag) = match failure {
            Failure::Flag(flag) => (flag.status(), flag.text().to_owned(), Some(*flag)),
            Failure::Body(error) => (error.code, error.to_string(), None),
            Failure::Stored(stored, outcome) => return self.answer_stored(client, stored, *outcome),
            Failure::Again(_) | Failure::Outdone => (500, String::new(), None),
        };
        if !self.request.is_complete || flag.is_none() {
            client.connection.lingers.set(true);
        }
        self.facts.keep_alive &= self.request.is_complete && flag.is_some();
        let answer = FailureAnswer {
            status,
            flag,
            text: &text,
            retry_after_ms: 1_000,
            to_head: self.facts.to_head,
            keep_alive: self.facts.keep_alive,
            edits: self.facts.response_edits.as_deref(),
        };
        let mut out = Vec::new();
        let bytes = respond_failure(client, client.worker.clock.millis(), &answer, &mut out);
        self.response.body_bytes = if self.facts.to_head { 0 } else { bytes as u64 };
        self.response.status = status;
        forward::failed(self, client, flag);
        self.response.pending = out;
        (self.response.pending_at, self.response.is_done) = (0, true);
        (self.request.is_complete, self.request.sent) = (true, self.request.out.len());
        self.response.upstream_reusable = false;
        self.link = Link::Answering;
        let now = client.worker.clock.millis();
        await_taking(client, now);
        client.deadline(now, self.plan.plan.limits.stall_timeout_ms);
    }
}
