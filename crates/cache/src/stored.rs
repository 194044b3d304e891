//! An answer that is kept, and what may be done with it (RFC 9111 section 4).

use httparse::Header;
use std::sync::atomic::AtomicBool;
use tidegate_http::{FieldClass, classify};

use crate::{FieldValues, Lifetime, RequestTerms};

/// An answer that is kept.
#[derive(Debug)]
pub struct Stored {
    /// Of the answer.
    pub status: u16,
    /// Field lines, each with its CR LF; no framing fields, no `Age`.
    pub fields: Vec<u8>,
    /// All of it.
    pub body: Vec<u8>,
    /// Its entity tag, as it is given to clients.
    pub etag: Option<Box<[u8]>>,
    /// What the upstream is asked with, which may be another tag than clients know.
    pub upstream_etag: Option<Box<[u8]>>,
    /// `Last-Modified`, as it came.
    pub last_modified: Option<Box<[u8]>>,
    /// What the request said in the fields that the answer depends on.
    pub vary: FieldValues,
    /// How long it is good.
    pub lifetime: Lifetime,
    /// When it came, milliseconds of the gateway's clock.
    pub received_ms: u64,
    /// Used since the store last looked for what nobody uses.
    pub used: AtomicBool,
}

/// What may be done with a stored answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// It is given.
    Fresh,
    /// It is given, and asked for anew behind.
    Behind,
    /// The upstream is asked first.
    Ask,
}

impl Stored {
    /// How old it is, milliseconds.
    pub const fn age_ms(&self, now_ms: u64) -> u64 {
        self.lifetime.age_ms + now_ms.saturating_sub(self.received_ms)
    }

    /// What a request may get of it.
    pub fn usable(&self, now_ms: u64, terms: &RequestTerms) -> Use {
        let (age, life, control) = (self.age_ms(now_ms), &self.lifetime, &terms.control);
        // `max-age=0` means: ask, also where the answer came in this millisecond.
        let is_too_old = control.max_age.is_some_and(|max| max == 0 || age > max * 1_000);
        if life.asks_always || control.no_cache || is_too_old {
            return Use::Ask;
        }
        if age < life.fresh_ms {
            let left = life.fresh_ms - age;
            return if control.min_fresh.is_some_and(|min| left < min * 1_000) { Use::Ask } else { Use::Fresh };
        }
        let over = age - life.fresh_ms;
        let forgiven = !life.forbids_stale && control.max_stale.is_some_and(|max| over <= max * 1_000);
        match forgiven {
            true => Use::Fresh,
            false if over < life.stale_while_revalidate_ms => Use::Behind,
            false => Use::Ask,
        }
    }

    /// Whether it may stand in for an upstream that fails.
    pub const fn excuses(&self, now_ms: u64) -> bool {
        !self.lifetime.asks_always && self.age_ms(now_ms) < self.lifetime.fresh_ms + self.lifetime.stale_if_error_ms
    }

    /// Whether a request gets the same answer as the one that it was made for.
    pub fn suits(&self, value: impl Fn(&str) -> Vec<u8>) -> bool {
        self.vary.iter().all(|(name, known)| value(name) == **known)
    }

    /// Bytes that it costs.
    pub fn weight(&self) -> usize {
        let vary: usize = self.vary.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
        size_of::<Stored>() + self.fields.capacity() + self.body.capacity() + vary
    }

    /// The same, confirmed by a 304 with these fields (section 4.3.4).
    pub fn refreshed(&self, headers: &[Header<'_>], (lifetime, now_ms): (Lifetime, u64)) -> Stored {
        let mut fields = Vec::with_capacity(self.fields.len());
        for line in self.fields.split_inclusive(|byte| *byte == b'\n') {
            let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
            let is_new =
                headers.iter().any(|header| header.name.as_bytes().eq_ignore_ascii_case(name) && updates(header.name));
            if !is_new {
                fields.extend_from_slice(line);
            }
        }
        headers.iter().filter(|header| updates(header.name)).for_each(|header| put(&mut fields, header));
        Stored {
            status: self.status,
            fields,
            body: self.body.clone(),
            etag: self.etag.clone(),
            upstream_etag: self.upstream_etag.clone(),
            last_modified: self.last_modified.clone(),
            vary: self.vary.clone(),
            lifetime,
            received_ms: now_ms,
            used: AtomicBool::new(true),
        }
    }
}

/// Whether a 304 has the last word on a field: not on what describes the bytes that are
/// kept, nor on what a coding of ours changed.
fn updates(name: &str) -> bool {
    classify(name) == FieldClass::EndToEnd
        && !["content-length", "content-encoding", "content-type", "content-range", "etag", "vary", "age", "set-cookie"]
            .iter()
            .any(|kept| name.eq_ignore_ascii_case(kept))
}

/// The field lines of an answer that are kept. `named`: those that `Connection` names.
pub fn stored_fields(headers: &[Header<'_>], named: impl Fn(&str) -> bool) -> Vec<u8> {
    let mut fields = Vec::with_capacity(256);
    for header in headers {
        let is_of_hop = classify(header.name) == FieldClass::HopByHop || named(header.name);
        if !is_of_hop && !["content-length", "age"].iter().any(|name| header.name.eq_ignore_ascii_case(name)) {
            put(&mut fields, header);
        }
    }
    fields
}

fn put(fields: &mut Vec<u8>, header: &Header<'_>) {
    for part in [header.name.as_bytes(), b": ", header.value, b"\r\n"] {
        fields.extend_from_slice(part);
    }
}
