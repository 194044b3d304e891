//! Answers of the gateway itself.

use super::failure::Flag;
use crate::client::Client;
use crate::plan::Canned;
use std::io::Write;
use tidegate_http::reason;
use tidegate_policy::Edits;

/// How an answer's body is framed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Length {
    /// The answer's `body` is all of it.
    #[default]
    Whole,
    /// So many bytes follow.
    Later(u64),
    /// Chunks follow: nobody knows how many bytes.
    Chunks,
}

/// An answer before it is written.
#[derive(Debug, Default)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// Field lines, each with its CR LF; no framing fields.
    pub(crate) fields: &'a [u8],
    pub(crate) body: &'a [u8],
    pub(crate) length: Length,
    pub(crate) to_head: bool,
    pub(crate) keep_alive: bool,
    /// What policies put on responses.
    pub(crate) edits: Option<&'a Edits>,
}

/// Appends an answer.
pub(crate) fn respond(client: &Client, now_ms: u64, answer: &Answer<'_>, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
    put_fields(out, answer.fields, answer.edits);
    // What stood behind such a head would be read as the next answer.
    let body = if has_body(answer.status) { answer.body } else { b"" };
    if has_length(answer.status) {
        let _ = match answer.length {
            Length::Whole => write!(out, "content-length: {}\r\n", body.len()),
            Length::Later(length) => write!(out, "content-length: {length}\r\n"),
            Length::Chunks => write!(out, "transfer-encoding: chunked\r\n"),
        };
    }
    finish(client, (now_ms, answer.keep_alive), out);
    if !answer.to_head {
        out.extend_from_slice(body);
    }
}

/// Whether an answer of that status may have a body (RFC 9110 section 6.4.1, 205: section 15.3.6).
pub(crate) const fn has_body(status: u16) -> bool {
    has_length(status) && status != 205
}

/// Whether it may say how long it is (RFC 9110 section 8.6).
pub(crate) const fn has_length(status: u16) -> bool {
    status >= 200 && status != 204 && status != 304
}

/// Appends field lines as policies leave them.
pub(super) fn put_fields(out: &mut Vec<u8>, fields: &[u8], edits: Option<&Edits>) {
    let Some(edits) = edits.filter(|edits| !edits.keeps_response_headers()) else {
        return out.extend_from_slice(fields);
    };
    for line in fields.split_inclusive(|byte| *byte == b'\n') {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if !edits.drops_response_header(name) {
            out.extend_from_slice(line);
        }
    }
    for (name, value) in edits.response_headers() {
        for part in [name, b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
}

/// Appends an answer that was made when the plan was compiled.
pub(crate) fn respond_canned(
    client: &Client,
    now_ms: u64,
    (canned, to_head, keep_alive): (&Canned, bool, bool),
    (edits, out): (&Edits, &mut Vec<u8>),
) {
    let (line, fields) = canned.head.split_at(canned.fields_at);
    out.extend_from_slice(line);
    put_fields(out, fields, Some(edits));
    finish(client, (now_ms, keep_alive), out);
    if !to_head {
        out.extend_from_slice(&canned.body);
    }
}

fn finish(client: &Client, (now_ms, keep_alive): (u64, bool), out: &mut Vec<u8>) {
    out.extend_from_slice(b"date: ");
    out.extend_from_slice(&client.worker.date(now_ms));
    out.extend_from_slice(b"\r\n");
    put_connection(out, (keep_alive, client.connection.is_http10.get()));
    out.extend_from_slice(b"\r\n");
}

/// Says what becomes of the connection, where that is not what the client takes for granted (RFC 9112 section 9.3).
pub(super) fn put_connection(out: &mut Vec<u8>, (keep_alive, is_http10): (bool, bool)) {
    match (keep_alive, is_http10) {
        (false, _) => out.extend_from_slice(b"connection: close\r\n"),
        (true, true) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        (true, false) => {}
    }
}

/// Appends the answer to a failure: the flag and what it means, as plain text.
/// How long its body is.
pub(crate) fn respond_failure(client: &Client, now_ms: u64, failure: &FailureAnswer<'_>, out: &mut Vec<u8>) -> usize {
    let mut fields = b"content-type: text/plain; charset=utf-8\r\n".to_vec();
    let status = failure.status;
    if status == 503 || status == 429 {
        let _ = write!(fields, "retry-after: {}\r\n", failure.retry_after_ms.div_ceil(1_000).max(1));
    }
    if let Some(flag) = failure.flag {
        // RFC 9209: what went wrong, for whoever has to find out.
        let _ = write!(fields, "proxy-status: tidegate; error={}; details=\"{}\"\r\n", flag.kind(), flag.label());
    }
    let body = format!("{} {}: {}\n", status, reason(status), failure.text);
    let answer = Answer {
        status,
        fields: &fields,
        body: body.as_bytes(),
        length: Length::Whole,
        to_head: failure.to_head,
        keep_alive: failure.keep_alive,
        edits: failure.edits,
    };
    respond(client, now_ms, &answer, out);
    body.len()
}

/// What a failure's answer says.
#[derive(Debug)]
pub(crate) struct FailureAnswer<'t> {
    pub(crate) status: u16,
    pub(crate) flag: Option<Flag>,
    pub(crate) text: &'t str,
    pub(crate) retry_after_ms: u64,
    pub(crate) to_head: bool,
    pub(crate) keep_alive: bool,
    pub(crate) edits: Option<&'t Edits>,
}

impl FailureAnswer<'_> {
    pub(crate) fn of(flag: Flag, (to_head, keep_alive): (bool, bool)) -> FailureAnswer<'static> {
        FailureAnswer {
            status: flag.status(),
            flag: Some(flag),
            text: flag.text(),
            retry_after_ms: 1_000,
            to_head,
            keep_alive,
            edits: None,
        }
    }
}
