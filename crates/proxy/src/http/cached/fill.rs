//! A fetch whose answer is kept, if it may be: what its request said, what was kept
//! before, and the copy that grows while the answer passes.

use super::value_of;
use crate::compress::{VARY, coded_fields};
use crate::http::request::Request;
use httparse::Header;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tidegate_cache::{CachePolicy, FieldValues, Lifetime, RequestTerms, Stored, Ticket, judge, stored_fields, vary_of};
use tidegate_http::{Coding, Conditions, http_date};
use tidegate_policy::Edits;

/// A fetch under way.
pub(crate) struct Fill {
    ticket: Ticket,
    terms: RequestTerms,
    policy: CachePolicy,
    /// What the request said, since its head is gone when the answer comes.
    said: FieldValues,
    /// What the client knows already.
    pub(crate) conditions: Conditions,
    /// What is kept, and must not be given without asking.
    pub(crate) stale: Option<Arc<Stored>>,
    began_us: u64,
}

/// The clock when an answer came: milliseconds of the gateway's, seconds since 1970.
#[derive(Clone, Copy)]
pub(crate) struct Came {
    pub(crate) now_us: u64,
    pub(crate) epoch_ms: u64,
}

/// How an answer is changed for the client.
#[derive(Clone, Copy)]
pub(crate) enum Coded {
    /// The route does not compress.
    No,
    /// It does, but not this one.
    Plain,
    As(Coding),
}

impl Fill {
    pub(super) fn new(
        request: &Request<'_>,
        (ticket, terms, policy): (Ticket, RequestTerms, CachePolicy),
        stale: Option<Arc<Stored>>,
    ) -> Fill {
        let said = request.head.headers.iter().map(|header| (header.name.into(), header.value.into())).collect();
        let conditions = Conditions::of(request.head.headers);
        Fill { ticket, terms, policy, said, conditions, stale, began_us: request.started_us }
    }

    /// Asks the upstream about what is kept, and not about what the client knows: it is the
    /// whole answer that is wanted.
    pub(super) fn prepare(&self, edits: &mut Edits) {
        for (name, own) in [
            ("if-none-match", self.stale.as_ref().and_then(|stored| stored.upstream_etag.as_deref())),
            ("if-modified-since", self.stale.as_ref().and_then(|stored| stored.last_modified.as_deref())),
        ] {
            match own.and_then(|own| std::str::from_utf8(own).ok()) {
                Some(own) => edits.set_request_header(name, own),
                None if self.said.iter().any(|(said, _)| said.eq_ignore_ascii_case(name)) => {
                    edits.remove_request_header(name);
                }
                None => {}
            }
        }
    }

    /// What is kept, where it may stand in for an upstream that fails.
    pub(crate) fn excuse(&self, now_ms: u64) -> Option<Arc<Stored>> {
        self.stale.clone().filter(|stored| stored.excuses(now_ms))
    }

    fn judge(&self, (status, headers): (u16, &[Header<'_>]), came: Came) -> Option<Lifetime> {
        let now_s = (came.epoch_ms + came.now_us / 1_000) / 1_000;
        let took_ms = came.now_us.saturating_sub(self.began_us) / 1_000;
        judge((status, headers), &self.terms, &self.policy, (now_s, took_ms))
    }

    /// The upstream says that what is kept is still right; what is kept from now on.
    pub(crate) fn confirmed(self, headers: &[Header<'_>], came: Came) -> Option<Arc<Stored>> {
        let stale = self.stale.clone()?;
        // A 304 that says nothing of its time leaves what the answer said (RFC 9111 section 4.3.4).
        let kept: Vec<Header<'_>> = lines(&stale.fields).filter(|old| !says(headers, old.name)).collect();
        let all: Vec<Header<'_>> = headers.iter().copied().chain(kept).collect();
        let Some(lifetime) = self.judge((stale.status, &all), came) else {
            self.ticket.refuse(came.now_us / 1_000);
            return Some(stale);
        };
        let stored = Arc::new(stale.refreshed(headers, (lifetime, came.now_us / 1_000)));
        self.ticket.keep(Arc::clone(&stored));
        Some(stored)
    }

    /// Begins the copy of an answer. `None`: it is not kept.
    pub(crate) fn copy(
        self,
        (status, headers): (u16, &[Header<'_>]),
        (named, coded): (impl Fn(&str) -> bool, Coded),
        came: Came,
    ) -> Option<Box<Copying>> {
        let Some(lifetime) = self.judge((status, headers), came) else {
            self.ticket.refuse(came.now_us / 1_000);
            return None;
        };
        let mut plain = stored_fields(headers, named);
        let find = |name: &str| headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        if find("date").is_none() {
            // RFC 9110 section 6.6.1: who keeps it says when it came.
            let date = http_date((came.epoch_ms + came.now_us / 1_000) / 1_000);
            plain.extend_from_slice(&[b"date: ", &date[..], b"\r\n"].concat());
        }
        let upstream_etag: Option<Box<[u8]>> = find("etag").map(|header| header.value.into());
        let (fields, etag) = match coded {
            Coded::No => (plain, upstream_etag.clone()),
            Coded::Plain => ([&plain[..], VARY].concat(), upstream_etag.clone()),
            Coded::As(coding) => {
                let weak = |tag: &[u8]| if tag.starts_with(b"W/") { tag.into() } else { [b"W/", tag].concat().into() };
                (coded_fields(coding, &plain), upstream_etag.as_deref().map(weak))
            }
        };
        let value = |name: &str| {
            let said: Vec<Header<'_>> = self.said.iter().map(|(name, value)| Header { name, value }).collect();
            value_of(&said, name)
        };
        let stored = Stored {
            status,
            fields,
            body: Vec::new(),
            etag,
            upstream_etag,
            last_modified: find("last-modified").map(|header| header.value.into()),
            vary: vary_of(headers, value),
            lifetime,
            received_ms: came.now_us / 1_000,
            used: AtomicBool::new(false),
        };
        Some(Box::new(Copying { ticket: self.ticket, stored }))
    }
}

/// An answer that is copied while it passes; dropped before its end, nothing is kept.
pub(crate) struct Copying {
    ticket: Ticket,
    stored: Stored,
}

impl Copying {
    /// Takes bytes of the body. `false`: there are more than are kept.
    pub(crate) fn take(&mut self, data: &[u8]) -> bool {
        let fits = self.stored.body.len() + data.len() <= self.ticket.entry_bytes();
        if fits {
            self.stored.body.extend_from_slice(data);
        }
        fits
    }

    /// It was too long: nobody waits for the next ones.
    pub(crate) fn refuse(self, now_ms: u64) {
        self.ticket.refuse(now_ms);
    }

    /// All of it is there.
    pub(crate) fn keep(mut self) {
        self.stored.body.shrink_to_fit();
        self.ticket.keep(Arc::new(self.stored));
    }
}

fn says(headers: &[Header<'_>], name: &str) -> bool {
    headers.iter().any(|header| header.name.eq_ignore_ascii_case(name))
}

/// Field lines as headers.
fn lines(fields: &[u8]) -> impl Iterator<Item = Header<'_>> {
    fields.split(|byte| *byte == b'\n').filter_map(|line| {
        let (name, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
        Some(Header { name: std::str::from_utf8(name).ok()?, value: value[1..].trim_ascii() })
    })
}
