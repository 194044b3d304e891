//! Spans of tries: each try at an upstream of a sampled request is one of kind CLIENT below the
//! request's own, and the upstream is told its id (OpenTelemetry, "HTTP client span").

use super::Seen;
use super::span::{Span, SpanKind, SpanRecord, tell};
use crate::plan::Upstream;
use crate::worker::Worker;
use tidegate_balance::EndpointIndex;

/// A try under way, or the last one.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    span: Span,
    endpoint: EndpointIndex,
    /// Microseconds of the gateway's clock.
    began_us: u64,
    /// Tries before it.
    resend: u32,
    is_told: bool,
}

/// How a try ended.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct TryEnd {
    /// 0: no answer came.
    pub(crate) status: u16,
    /// What went wrong; empty: nothing.
    pub(crate) flag: &'static str,
    /// Another try was faster.
    pub(crate) is_outdone: bool,
}

impl Attempt {
    /// A try of a request with this span.
    pub(crate) fn begin(worker: &Worker, span: &Span, (endpoint, began_us, resend): (EndpointIndex, u64, u32)) -> Self {
        Attempt { span: span.child(worker), endpoint, began_us, resend, is_told: false }
    }

    /// The `traceparent` that its endpoint gets.
    pub(crate) const fn span(&self) -> &Span {
        &self.span
    }

    /// Tells of it, once.
    pub(crate) fn tell(&mut self, worker: &Worker, (seen, upstream): (&Seen, &Upstream), end: TryEnd) {
        if std::mem::replace(&mut self.is_told, true) {
            return;
        }
        let endpoint = upstream.endpoints.get(self.endpoint);
        let peer = endpoint.map(|endpoint| endpoint.address.to_string()).unwrap_or_default();
        let name = upstream.hosts.get(self.endpoint as usize).filter(|name| !name.is_empty());
        let host = match (name, endpoint) {
            (Some(name), Some(endpoint)) if name.contains(':') => format!("[{name}]:{}", endpoint.address.port()),
            (Some(name), Some(endpoint)) => format!("{name}:{}", endpoint.address.port()),
            _ => peer.clone(),
        };
        let record = SpanRecord {
            kind: SpanKind::Client,
            protocol: seen.protocol,
            method: &String::from_utf8_lossy(&seen.method),
            target: &String::from_utf8_lossy(&seen.sent_target),
            host: &host,
            scheme: if upstream.dialing.tls.is_some() { "https" } else { "http" },
            upstream: &upstream.name,
            endpoint: endpoint.map_or("", |endpoint| &endpoint.id),
            peer: &peer,
            resend: self.resend,
            is_outdone: end.is_outdone,
            flag: end.flag,
            status: end.status,
            start_us: worker.clock.epoch_ms() * 1_000 + self.began_us,
            duration_us: worker.clock.micros().saturating_sub(self.began_us),
            ..SpanRecord::default()
        };
        tell(worker, &self.span, record);
    }
}

/// Names another span in a head that is written: both ids are as long. Whose steps removed the field finds none.
pub(crate) fn readdress(head: &mut [u8], (from, to): (&Span, &Span)) {
    let (from, to) = (from.header(), to.header());
    if let Some(at) = head.windows(from.len()).position(|part| part == from) {
        head[at..at + to.len()].copy_from_slice(&to);
    }
}
