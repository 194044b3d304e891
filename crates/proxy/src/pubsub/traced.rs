//! Spans of messages: one that carries a sampled `traceparent` goes on as a child of it, so
//! that a trace does not break at the broker. Messages without one begin no trace.

use super::publish::{Publisher, Publishing};
use crate::access::{Parent, Span, SpanRecord, tell};
use crate::worker::Worker;
use tidegate_broker::Published;
use tidegate_message::MessageBuilder;

/// A message whose span is under way.
pub(super) struct Traced {
    span: Span,
    topic: Box<str>,
    protocol: &'static str,
    client: String,
    client_id: String,
    began_us: u64,
}

impl Traced {
    /// `None`: nobody traces it.
    pub(super) fn begin(worker: &Worker, publisher: &Publisher, message: &mut MessageBuilder<'_>) -> Option<Traced> {
        let properties = message.properties.as_mut()?;
        let state = properties.user("tracestate").unwrap_or_default().as_bytes().to_vec();
        let (_, value) = properties.user.iter_mut().find(|(name, _)| &**name == "traceparent")?;
        let parent = Parent::parse(value.as_bytes()).filter(Parent::is_sampled)?;
        let span = Span::below(worker, &parent, &state);
        *value = String::from_utf8_lossy(&span.header()).into();
        Some(Traced {
            span,
            topic: message.topic.into(),
            protocol: message.protocol.label(),
            client: publisher.peer.address.ip().to_string(),
            client_id: publisher.access.client_id.as_deref().unwrap_or_default().to_owned(),
            began_us: worker.clock.micros(),
        })
    }

    /// Tells of it. What waits for a policy or a target is told as taken.
    pub(super) fn end(self, worker: &Worker, publishing: &Publishing) {
        let refused = match publishing {
            Publishing::Done(Published::New(outcome)) if !outcome.is_accepted() => Some(outcome.label()),
            _ => None,
        };
        let record = SpanRecord {
            protocol: self.protocol,
            method: "publish",
            target: &self.topic,
            client: &self.client,
            agent: &self.client_id,
            flag: refused.unwrap_or_default(),
            status: if refused.is_some() { 128 } else { 0 },
            start_us: worker.clock.epoch_ms() * 1_000 + self.began_us,
            duration_us: worker.clock.micros().saturating_sub(self.began_us),
            ..SpanRecord::default()
        };
        tell(worker, &self.span, record);
    }
}
