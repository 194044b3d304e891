//! What a line says of a request, kept until it is answered: its head is gone by then.

use super::{Attempt, Span, readdress};
use crate::http::Request;
use std::net::IpAddr;
use tidegate_http::Version;

/// A request as it was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) client: Option<IpAddr>,
    pub(crate) method: Box<[u8]>,
    pub(crate) target: Box<[u8]>,
    pub(crate) version: &'static str,
    pub(crate) protocol: &'static str,
    pub(crate) host: Box<[u8]>,
    pub(crate) user: Box<[u8]>,
    pub(crate) referer: Box<[u8]>,
    pub(crate) agent: Box<[u8]>,
    pub(crate) request_id: Box<[u8]>,
    /// `traceparent`: with the request's own span, or as it came.
    pub(crate) trace: Box<[u8]>,
    pub(crate) scheme: &'static str,
    /// Microseconds since 1970.
    pub(crate) began_us: u64,
    /// It is this request's turn in the access log.
    pub(crate) is_logged: bool,
    /// It is sampled.
    pub(crate) span: Option<Span>,
    /// Of a sampled one, what its upstream is asked for, and the try that is under way.
    pub(crate) sent_target: Box<[u8]>,
    pub(crate) attempt: Option<Attempt>,
}

impl Seen {
    /// Longest text that is kept of one field.
    pub(crate) const FIELD_MAX: usize = 2_048;

    /// In a copy of a request that is sent beside it, its own span in place of its try's.
    pub(crate) fn name_own_span(&self, head: &mut [u8]) {
        if let (Some(span), Some(attempt)) = (&self.span, &self.attempt) {
            readdress(head, (attempt.span(), span));
        }
    }

    /// What a request line seems to say that broke a rule, or stood before what did.
    pub(crate) fn of_line(opening: &[u8]) -> Seen {
        let line = opening.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        let keep = |text: &[u8]| Box::from(&text[..text.len().min(Seen::FIELD_MAX)]);
        let words: Vec<&[u8]> = line.splitn(3, |byte| *byte == b' ').collect();
        let version = [Version::Http11, Version::Http10].map(Version::label);
        let version = version.into_iter().find(|known| words.get(2).is_some_and(|word| *word == known.as_bytes()));
        let [method, target] = match words[..] {
            [method, target, ..] => [method, target],
            _ => [b"", line],
        };
        Seen { method: keep(method), target: keep(target), version: version.unwrap_or("-"), ..Seen::default() }
    }

    pub(crate) fn of(request: &Request<'_>) -> Box<Seen> {
        let head = request.head;
        let keep = |text: &[u8]| Box::from(&text[..text.len().min(Seen::FIELD_MAX)]);
        let field = |name: &str| keep(head.header(name).unwrap_or_default());
        let user = head.header("authorization").and_then(crate::auth::basic).map(|(user, _)| user.into_bytes());
        Box::new(Seen {
            client: Some(request.view.peer.address.ip()),
            method: keep(head.method.as_bytes()),
            target: keep(head.target),
            version: head.version.label(),
            protocol: request.view.protocol.label(),
            host: keep(head.authority),
            user: keep(&user.unwrap_or_default()),
            referer: field("referer"),
            agent: field("user-agent"),
            request_id: field("x-request-id"),
            trace: field("traceparent"),
            scheme: request.scheme,
            ..Seen::default()
        })
    }
}
