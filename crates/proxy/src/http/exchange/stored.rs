//! Kept answers in an exchange: one that its upstream confirms, one that stands in for an
//! upstream that fails, and the copy of one that passes.

use super::{Exchange, Failure, Step};
use crate::access::TryEnd;
use crate::client::Client;
use crate::http::cached::{Came, Coded, Told, write_stored};
use crate::http::forward::{self, Link};
use crate::http::pace::await_taking;
use crate::metrics::CacheOutcome;
use std::sync::Arc;
use tidegate_cache::Stored;
use tidegate_http::{Body, ResponseHead, Version};

impl Exchange {
    /// Whether a kept answer goes in place of the one that begins with `head`.
    pub(super) fn instead(&mut self, client: &Client, (head, is_all): (&ResponseHead<'_, '_>, bool)) -> Option<Step> {
        let fill = self.facts.fill.as_ref()?;
        let stored = match head.status {
            304 if fill.stale.is_some() => {
                let conditions = fill.conditions.clone();
                let confirmed = self.facts.fill.take()?.confirmed(head.headers, came(client))?;
                self.facts.conditions = Some(Box::new(conditions));
                self.response.upstream_reusable = head.keep_alive && is_all;
                self.end_try(client, TryEnd::of(head.status, None));
                (confirmed, CacheOutcome::Revalidated)
            }
            500.. => {
                let stored = fill.excuse(client.worker.clock.millis())?;
                forward::excused(self, client, head.status);
                self.link = Link::Answering;
                (stored, CacheOutcome::Stale)
            }
            _ => return None,
        };
        Some(Step::Failed(Failure::Stored(stored.0, stored.1)))
    }

    /// Begins the copy of an answer that is kept.
    pub(super) fn begin_copy(&mut self, client: &Client, head: &ResponseHead<'_, '_>, coded: Coded) {
        let Some(cache) = &self.plan.plan.routes[self.route].cache else { return };
        let Some(fill) = self.facts.fill.take() else { return };
        cache.count(client.worker.id, CacheOutcome::Miss);
        let forward = if fill.stale.is_some() { "stale" } else { "uri-miss" };
        let named = |name: &str| head.has_hop_by_hop && head.connection_names(name);
        // Where only the end of the connection ends it, nobody knows that it is whole.
        self.response.copy = match head.body {
            Body::UntilClose => None,
            _ => fill.copy((head.status, head.headers), (named, coded), came(client)),
        };
        let stored = if self.response.copy.is_some() { "; stored" } else { "" };
        let edits = self.facts.response_edits.get_or_insert_default();
        edits.add_response_header("cache-status", &format!("tidegate; fwd={forward}{stored}"));
    }

    /// Answers with what is kept.
    pub(super) fn answer_stored(&mut self, client: &mut Client, stored: &Arc<Stored>, outcome: CacheOutcome) {
        if let Some(cache) = &self.plan.plan.routes[self.route].cache {
            cache.count(client.worker.id, outcome);
        }
        self.facts.keep_alive &=
            self.request.is_complete && !client.connection.is_leaving() && !client.worker.is_draining.get();
        let conditions = self.facts.conditions.take().or_else(|| {
            let fill = self.facts.fill.take()?;
            Some(Box::new(fill.conditions.clone()))
        });
        let told = Told {
            now_ms: client.worker.clock.millis(),
            to_head: self.facts.to_head,
            keep_alive: self.facts.keep_alive,
            is_http10: self.facts.version == Version::Http10,
            edits: self.facts.response_edits.as_deref(),
            conditions: &conditions.unwrap_or_default(),
            source: if outcome == CacheOutcome::Stale { "hit; detail=stale-if-error" } else { "hit; detail=confirmed" },
        };
        let mut out = Vec::new();
        let (status, bytes) = write_stored(stored, &told, &mut out);
        let response = &mut self.response;
        (response.status, response.body_bytes) = (status, bytes as u64);
        (response.pending, response.pending_at, response.is_done) = (out, 0, true);
        (self.request.is_complete, self.request.sent) = (true, self.request.out.len());
        await_taking(client, told.now_ms);
        client.deadline(told.now_ms, self.plan.plan.limits.stall_timeout_ms);
    }
}

fn came(client: &Client) -> Came {
    Came { now_us: client.worker.clock.micros(), epoch_ms: client.worker.clock.epoch_ms() }
}
