//! What is known of a request besides its bytes, while it is under way.

use crate::access::Seen;
use crate::http::cached::Fill;
use crate::http::edits::ResponseEdits;
use crate::http::mirror::Mirror;
use crate::http::request::Request;
use std::net::IpAddr;
use tidegate_http::{Coding, Conditions, Version};
use tidegate_policy::Edits;
use tidegate_resilience::Permit;

/// What is known of a request besides its bytes.
pub(crate) struct Facts {
    pub(crate) started_us: u64,
    /// Who asks, as trusted proxies tell it.
    pub(crate) source: IpAddr,
    /// Since when the upstream is waited for: the begin of the try, or the last of the request's body.
    pub(crate) asked_us: u64,
    /// When the answer's head came; 0: it did not yet.
    pub(crate) answered_us: u64,
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
    /// Its place among the route's requests, where those are bounded.
    pub(crate) _bulkhead: Option<Permit>,
    /// What becomes of the answer, where the route keeps them.
    pub(crate) fill: Option<Box<Fill>>,
    /// What the client knows already of an answer that its upstream confirmed.
    pub(crate) conditions: Option<Box<Conditions>>,
    /// The address of a resource that the request changes, if it ends well.
    pub(crate) changes: Option<Box<[u8]>>,
    /// The copy for a mirror, until the request was sent.
    pub(crate) mirror: Option<Mirror>,
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
    /// What the upstream took for the answer's head, or has taken so far, microseconds.
    pub(crate) fn took_us(&self, now_us: u64) -> u64 {
        let until = if self.answered_us == 0 { now_us } else { self.answered_us };
        until.saturating_sub(self.asked_us)
    }

    /// When all of it must be over, milliseconds of the gateway's clock; `u64::MAX`: never.
    pub(crate) const fn total_ends_at(&self) -> u64 {
        if self.total_ms == 0 { u64::MAX } else { self.started_us / 1_000 + self.total_ms }
    }

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
