//! Which answers are compressed, and what their heads say then (RFC 9110 sections 7.7,
//! 8.4 and 8.8.3.3).

use super::Encoder;
use crate::http::Facts;
use crate::metrics::{PerWorker, PolicyCounters, PolicyOutcome, Registry};
use tidegate_http::{Body, Coding, RequestHead, ResponseHead, Version, has_token, preferred_coding};
use tidegate_policy::{CompressPlan, Edits};

/// What is said of the bytes as they came (RFC 9530, RFC 3230, RFC 1864).
pub(super) const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

/// Whether a field of an answer asks for its bytes to be left alone (RFC 9110 section 7.7).
pub(super) fn forbids_change(name: &[u8], value: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"cache-control") && has_token(value, "no-transform")
}

/// A route's `compress`.
#[derive(Debug)]
pub(crate) struct Compression {
    codings: Box<[Coding]>,
    min_bytes: u64,
    types: Box<[Box<str>]>,
    counters: PerWorker<PolicyCounters>,
}

impl Compression {
    pub(crate) fn compile(plan: &CompressPlan, registry: &Registry) -> Compression {
        Compression {
            codings: plan.codings.iter().filter_map(|name| Coding::of(name)).collect(),
            min_bytes: plan.min_bytes,
            types: plan.types.iter().map(|kind| kind.to_ascii_lowercase().into()).collect(),
            counters: registry.policy("compress"),
        }
    }

    /// The coding that the client prefers.
    pub(crate) fn choose(&self, head: &RequestHead<'_, '_>) -> Option<Coding> {
        let asks_for_none = head.list("cache-control").is_some_and(|control| has_token(&control, "no-transform"));
        preferred_coding(&head.list("accept-encoding")?, &self.codings).filter(|_| !asks_for_none)
    }

    /// Whether an answer has a compressed form besides the plain one: also where it is told of
    /// (HEAD, 304) and does not come, or goes to a client that can only have it plain.
    pub(crate) fn varies(&self, head: &ResponseHead<'_, '_>, to_head: bool) -> bool {
        if head.status == 304 {
            // It says what the 200 would (RFC 9110 section 15.4.5), and seldom of which type that is.
            return true;
        }
        let is_long = match head.body {
            Body::None if to_head => head.header("content-length").is_none_or(|length| self.is_long(length)),
            Body::None => false,
            Body::Length(length) => length >= self.min_bytes,
            Body::Chunked | Body::UntilClose => true,
        };
        let is_fixed = head.headers.iter().any(|header| forbids_change(header.name.as_bytes(), header.value));
        is_long && !is_fixed && self.suits(head.status, |name| head.header(name))
    }

    fn is_long(&self, length: &[u8]) -> bool {
        std::str::from_utf8(length).ok().and_then(|length| length.parse::<u64>().ok()) >= Some(self.min_bytes)
    }

    /// The coding of an answer that [varies](Self::varies), for its client.
    pub(crate) fn coding_for(head: &ResponseHead<'_, '_>, facts: &Facts) -> Option<Coding> {
        // An HTTP/1.0 client knows no chunks, and the length is not known before.
        facts.coding.filter(|_| head.status != 304 && facts.version == Version::Http11)
    }

    /// Whether status and fields are those of an answer that is compressed.
    pub(super) fn suits<'f>(&self, status: u16, field: impl Fn(&str) -> Option<&'f [u8]>) -> bool {
        !matches!(status, ..200 | 204 | 206 | 304)
            && field("content-encoding").is_none()
            && field("content-range").is_none()
            && field("content-type").is_some_and(|kind| self.names(kind))
    }

    pub(crate) fn codings(&self) -> &[Coding] {
        &self.codings
    }

    pub(super) const fn min_bytes(&self) -> u64 {
        self.min_bytes
    }

    fn names(&self, content_type: &[u8]) -> bool {
        let kind = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        self.types.iter().any(|known| match known.strip_suffix('*') {
            Some(prefix) => kind.get(..prefix.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(prefix.as_bytes())),
            None => kind.eq_ignore_ascii_case(known.as_bytes()),
        })
    }

    /// What the head says of it, also where this client gets the plain form. A strong
    /// entity tag becomes weak: the bytes are others now.
    pub(crate) fn edit(&self, head: &ResponseHead<'_, '_>, coding: Option<Coding>, edits: &mut Edits) {
        edits.add_response_header("vary", "accept-encoding");
        let Some(coding) = coding else { return };
        edits.set_response_header("content-encoding", coding.name());
        edits.remove_response_header("accept-ranges");
        DIGESTS.iter().for_each(|digest| edits.remove_response_header(digest));
        let tag = head.header("etag").and_then(|tag| std::str::from_utf8(tag).ok());
        if let Some(tag) = tag.filter(|tag| tag.starts_with('"')) {
            edits.set_response_header("etag", &format!("W/{tag}"));
        }
    }

    /// An encoder, counted. `None`: there is no memory for one; the answer goes on as it came.
    pub(crate) fn encoder(&self, worker: u16, coding: Coding) -> Option<Encoder> {
        self.count(worker);
        Encoder::new(coding)
    }

    /// Counts an answer that is compressed.
    pub(crate) fn count(&self, worker: u16) {
        self.counters[usize::from(worker)].count(PolicyOutcome::Compiled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_named_whole_or_by_their_beginning() {
        let plan = CompressPlan {
            codings: vec!["zstd".into(), "nothing".into()],
            min_bytes: 10,
            types: vec!["text/*".into(), "application/json".into()],
        };
        let rules = Compression::compile(&plan, &Registry::new(1));
        assert_eq!(&*rules.codings, [Coding::Zstd]);
        assert!(rules.names(b"TEXT/html; charset=utf-8") && rules.names(b"application/json"));
        assert!(!rules.names(b"application/jsonp") && !rules.names(b"image/png") && !rules.names(b"text"));
    }
}
