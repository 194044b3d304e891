//! A kept answer as it goes to a client.

use crate::http::respond::{has_length, put_connection, put_fields};
use std::io::Write;
use tidegate_cache::Stored;
use tidegate_http::{Condition, Conditions, Validators, parse_http_date, reason};
use tidegate_policy::Edits;

/// To whom it goes.
pub(crate) struct Told<'t> {
    pub(crate) now_ms: u64,
    pub(crate) to_head: bool,
    pub(crate) keep_alive: bool,
    pub(crate) is_http10: bool,
    pub(crate) edits: Option<&'t Edits>,
    /// What the client knows already.
    pub(crate) conditions: &'t Conditions,
    /// For `Cache-Status` (RFC 9211).
    pub(crate) source: &'t str,
}

/// Appends the answer, or 304 where the client knows it; its status and the bytes of its body.
pub(crate) fn write_stored(stored: &Stored, told: &Told<'_>, out: &mut Vec<u8>) -> (u16, usize) {
    let own = Validators {
        etag: stored.etag.as_deref().unwrap_or_default(),
        modified: stored.last_modified.as_deref().and_then(parse_http_date).unwrap_or(u64::MAX),
    };
    let is_known = stored.status == 200 && told.conditions.evaluate(&own) == Condition::NotModified;
    let status = if is_known { 304 } else { stored.status };
    // Writing to a Vec cannot fail.
    let _ = write!(out, "HTTP/1.1 {status} {}\r\n", reason(status));
    put_fields(out, &stored.fields, told.edits);
    let body: &[u8] = if is_known { b"" } else { &stored.body };
    if has_length(status) {
        let _ = write!(out, "content-length: {}\r\n", body.len());
    }
    let age_ms = stored.age_ms(told.now_ms);
    let ttl = (stored.lifetime.fresh_ms as i64 - age_ms as i64) / 1_000;
    let _ = write!(out, "age: {}\r\ncache-status: tidegate; {}; ttl={ttl}\r\n", age_ms / 1_000, told.source);
    put_connection(out, (told.keep_alive, told.is_http10));
    out.extend_from_slice(b"\r\n");
    if told.to_head {
        return (status, 0);
    }
    out.extend_from_slice(body);
    (status, body.len())
}
