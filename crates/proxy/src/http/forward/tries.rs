//! The tries of a sampled request as spans. Where nothing is sampled each call is one look at a pointer.

use crate::access::{Attempt, Seen, TryEnd, readdress};
use crate::client::Client;
use crate::http::exchange::Exchange;
use crate::http::failure::Flag;
use tidegate_balance::EndpointIndex;

/// A second try of a sampled request: its span, and the request that names it.
pub(crate) struct Rival {
    pub(super) attempt: Attempt,
    pub(super) out: Vec<u8>,
}

impl TryEnd {
    /// An answer, whole or broken off, or none.
    pub(crate) fn of(status: u16, flag: Option<Flag>) -> Self {
        TryEnd { status, flag: flag.map_or("", Flag::label), is_outdone: false }
    }

    pub(super) const OUTDONE: TryEnd = TryEnd { status: 0, flag: "", is_outdone: true };
}

/// The first try of a request, before its head is written.
pub(super) fn first_try(seen: &mut Seen, client: &Client, (endpoint, began_us, target): (EndpointIndex, u64, &[u8])) {
    if let Some(span) = &seen.span {
        seen.attempt = Some(Attempt::begin(&client.worker, span, (endpoint, began_us, 0)));
        seen.sent_target = Box::from(&target[..target.len().min(Seen::FIELD_MAX)]);
    }
}

impl Exchange {
    /// The request goes out again: it names the span of this try.
    pub(super) fn next_try(&mut self, client: &Client) {
        let facts = &mut self.facts;
        let Some(seen) = facts.seen.as_deref_mut() else { return };
        let (Some(span), Some(last)) = (&seen.span, &mut seen.attempt) else { return };
        let next = Attempt::begin(&client.worker, span, (self.endpoint, facts.asked_us, facts.retries));
        readdress(&mut self.request.out, (last.span(), next.span()));
        *last = next;
    }

    /// The try under way is over.
    pub(crate) fn end_try(&mut self, client: &Client, end: TryEnd) {
        let Some(mut attempt) = self.facts.seen.as_deref_mut().and_then(|seen| seen.attempt.take()) else { return };
        self.tell_try(client, &mut attempt, end);
        if let Some(seen) = self.facts.seen.as_deref_mut() {
            seen.attempt = Some(attempt);
        }
    }

    /// Tells of one of its tries.
    pub(super) fn tell_try(&self, client: &Client, attempt: &mut Attempt, end: TryEnd) {
        if let Some(seen) = &self.facts.seen {
            attempt.tell(&client.worker, (seen, &self.plan.plan.upstreams[self.upstream]), end);
        }
    }

    /// What a second try beside the first sends.
    pub(super) fn rival(&self, client: &Client, endpoint: EndpointIndex) -> Option<Rival> {
        let seen = self.facts.seen.as_deref()?;
        let (span, first) = (seen.span.as_ref()?, seen.attempt.as_ref()?);
        let now_us = client.worker.clock.micros();
        let attempt = Attempt::begin(&client.worker, span, (endpoint, now_us, self.facts.retries + 1));
        let mut out = self.request.out.clone();
        readdress(&mut out, (first.span(), attempt.span()));
        Some(Rival { attempt, out })
    }
}
