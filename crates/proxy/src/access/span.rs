//! Spans (W3C Trace Context, OpenTelemetry): whether a request or message is sampled, the
//! ids it goes on with, and the record that JavaScript sends to a collector.

use super::{Ending, Seen};
use crate::worker::Worker;
use serde::Serialize;
use tidegate_ring::{EventKind, EventRecord};

/// `tracing` of the plan.
#[derive(serde::Deserialize, Clone, Copy, PartialEq, Debug)]
pub(crate) struct TracingDto {
    /// Of requests that begin a trace here, 0 to 1; for the others their parent has decided.
    pub(crate) ratio: f64,
}

/// Bit 0 of the flags.
const SAMPLED: u8 = 1;

/// A `traceparent` (section 3.2): version, trace, parent, flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Parent {
    trace: [u8; 32],
    id: [u8; 16],
    flags: u8,
}

/// What a sampled request goes on as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    trace: [u8; 32],
    id: [u8; 16],
    parent: Option<[u8; 16]>,
    flags: u8,
    /// `tracestate`, as it goes on.
    state: Box<[u8]>,
}

impl Parent {
    /// Reads a field's value. `None`: it is none, and the trace begins anew.
    pub(crate) fn parse(value: &[u8]) -> Option<Parent> {
        let is_hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let (version, rest) = value.split_at_checked(2)?;
        // Later versions may have more behind another dash.
        let is_framed = value.len() == 55 || (value.len() > 55 && version != b"00" && value[55] == b'-');
        if !is_framed || !is_hex(version) || version == b"ff" {
            return None;
        }
        let (trace, id, flags) = (&rest[1..33], &rest[34..50], &rest[51..53]);
        let dashes = [rest[0], rest[33], rest[50]];
        let valid = dashes == *b"---" && is_hex(trace) && is_hex(id) && is_hex(flags);
        if !valid || trace.iter().all(|byte| *byte == b'0') || id.iter().all(|byte| *byte == b'0') {
            return None;
        }
        Some(Parent {
            trace: trace.try_into().ok()?,
            id: id.try_into().ok()?,
            flags: u8::from_str_radix(std::str::from_utf8(flags).ok()?, 16).ok()?,
        })
    }

    pub(crate) const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

impl Span {
    /// A span of a sampled parent.
    pub(crate) fn below(worker: &Worker, parent: &Parent, state: &[u8]) -> Span {
        let mut span = Span {
            trace: parent.trace,
            id: [0; 16],
            parent: Some(parent.id),
            flags: parent.flags,
            state: state.into(),
        };
        worker.fill_hex(&mut span.id);
        span
    }

    /// The first span of a trace, if it is that one's turn.
    fn first(worker: &Worker, ratio: f64) -> Option<Span> {
        let unit = (worker.random() >> 11) as f64 / (1_u64 << 53) as f64;
        let mut span = Span { trace: [0; 32], id: [0; 16], parent: None, flags: SAMPLED, state: Box::default() };
        worker.fill_hex(&mut span.trace);
        worker.fill_hex(&mut span.id);
        (unit < ratio).then_some(span)
    }

    /// Decides on a request: its parent's word counts, else the ratio.
    pub(crate) fn begin(
        worker: &Worker,
        tracing: &TracingDto,
        (parent, state): (Option<&[u8]>, &[u8]),
    ) -> Option<Span> {
        match parent.and_then(Parent::parse) {
            Some(parent) if parent.is_sampled() => Some(Span::below(worker, &parent, state)),
            Some(_) => None,
            None => Span::first(worker, tracing.ratio),
        }
    }

    /// A span below this one.
    pub(crate) fn child(&self, worker: &Worker) -> Span {
        let mut child = Span { parent: Some(self.id), ..self.clone() };
        worker.fill_hex(&mut child.id);
        child
    }

    /// Whether the trace begins here: what came as `tracestate` is then of another one.
    pub(crate) const fn is_first(&self) -> bool {
        self.parent.is_none()
    }

    /// The `traceparent` that goes on.
    pub(crate) fn header(&self) -> [u8; 55] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
        out[3..35].copy_from_slice(&self.trace);
        out[36..52].copy_from_slice(&self.id);
        // Of version 00 only the lowest bits have a meaning.
        out[54] = HEX[usize::from(self.flags & 0xf)];
        out
    }
}

/// Whose side of a request a span tells.
#[derive(Serialize, Default, Clone, Copy)]
#[serde(rename_all = "camelCase")]
pub(crate) enum SpanKind {
    /// The gateway was asked.
    #[default]
    Server,
    /// It asked an upstream.
    Client,
}

/// The record, as `src/tracing/span.ts` reads it.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SpanRecord<'s> {
    pub(crate) kind: SpanKind,
    pub(crate) trace: &'s str,
    pub(crate) span: &'s str,
    pub(crate) parent: &'s str,
    pub(crate) state: &'s str,
    pub(crate) flags: u8,
    pub(crate) protocol: &'s str,
    pub(crate) method: &'s str,
    pub(crate) target: &'s str,
    pub(crate) host: &'s str,
    pub(crate) scheme: &'s str,
    pub(crate) client: &'s str,
    pub(crate) agent: &'s str,
    pub(crate) route: &'s str,
    pub(crate) upstream: &'s str,
    pub(crate) endpoint: &'s str,
    pub(crate) peer: &'s str,
    pub(crate) resend: u32,
    pub(crate) is_outdone: bool,
    pub(crate) flag: &'s str,
    pub(crate) retries: u32,
    pub(crate) status: u16,
    pub(crate) start_us: u64,
    pub(crate) duration_us: u64,
}

/// Tells of a request that is answered.
pub(crate) fn tell_request(worker: &Worker, span: &Span, (seen, ending): (&Seen, &Ending<'_>)) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let client = seen.client.map(|client| client.to_string()).unwrap_or_default();
    tell(
        worker,
        span,
        SpanRecord {
            protocol: seen.protocol,
            method: &text(&seen.method),
            target: &text(&seen.target),
            host: &text(&seen.host),
            scheme: seen.scheme,
            client: &client,
            agent: &text(&seen.agent),
            route: ending.route.unwrap_or_default(),
            upstream: ending.upstream.unwrap_or_default(),
            endpoint: ending.endpoint.unwrap_or_default(),
            flag: if ending.flag == "-" { "" } else { ending.flag },
            retries: ending.retries,
            status: ending.status,
            start_us: seen.began_us,
            duration_us: ending.micros,
            ..SpanRecord::default()
        },
    );
}

/// Puts a record on the ring, where somebody reads them.
pub(crate) fn tell(worker: &Worker, span: &Span, record: SpanRecord<'_>) {
    let id = |bytes: &'_ [u8]| std::str::from_utf8(bytes).unwrap_or_default().to_owned();
    let (trace, own, parent) = (id(&span.trace), id(&span.id), span.parent.map(|parent| id(&parent)));
    let record = SpanRecord {
        trace: &trace,
        span: &own,
        parent: parent.as_deref().unwrap_or_default(),
        state: &id(&span.state),
        flags: span.flags,
        ..record
    };
    // Numbers and texts: nothing in it can fail.
    let text = serde_json::to_string(&record).unwrap_or_default();
    worker.event(&EventRecord { kind: EventKind::Span, a: 0, b: 0, c: 0, time: 0.0, d: 0.0, text: &text });
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_parent_is_read_as_the_recommendation_says() {
        let parent = Parent::parse(PARENT.as_bytes()).expect("valid");
        assert_eq!((&parent.id, parent.is_sampled()), (b"00f067aa0ba902b7", true));
        assert!(!Parent::parse(PARENT.replace("-01", "-00").as_bytes()).expect("valid").is_sampled());
        let later = PARENT.replace("00-4b", "cc-4b");
        assert!(Parent::parse(later.as_bytes()).is_some());
        assert!(Parent::parse(format!("{later}-what-ever").as_bytes()).is_some());
        let wrong = [
            String::new(),
            PARENT.to_uppercase(),
            PARENT.replace("00-4b", "ff-4b"),
            format!("{PARENT}-more"),
            format!("{later}more"),
            PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            PARENT.replace("00f067aa0ba902b7", "0000000000000000"),
            PARENT.replace('-', "_"),
            PARENT[..54].to_owned(),
        ];
        for value in wrong {
            assert_eq!(Parent::parse(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn what_goes_on_has_the_trace_and_the_flags_of_its_parent() {
        let parent = Parent::parse(PARENT.as_bytes()).expect("valid");
        let span = Span {
            trace: parent.trace,
            id: *b"1111111111111111",
            parent: Some(parent.id),
            flags: 3,
            state: Box::default(),
        };
        assert_eq!(&span.header()[..], b"00-4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-03");
    }
}
