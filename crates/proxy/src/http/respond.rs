//! Answers of the gateway itself.

use super::failure::Flag;
use crate::client::Client;
use crate::plan::Canned;
use std::io::Write;
use tidegate_http::reason;

/// An answer before it is written.
#[derive(Debug, Default)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// Field lines, each with its CR LF; no framing fields.
    pub(crate) fields: &'a [u8],
    pub(crate) body: &'a [u8],
    pub(crate) to_head: bool,
    pub(crate) keep_alive: bool,
}

/// Appends an answer.
pub(crate) fn respond(client: &Client, now_ms: u64, answer: &Answer<'_>, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
    out.extend_from_slice(answer.fields);
    if answer.status != 204 && answer.status != 304 && answer.status >= 200 {
        let _ = write!(out, "content-length: {}\r\n", answer.body.len());
    }
    finish(client, (now_ms, answer.keep_alive), out);
    if !answer.to_head {
        out.extend_from_slice(answer.body);
    }
}

/// Appends an answer that was made when the plan was compiled.
pub(crate) fn respond_canned(
    client: &Client,
    now_ms: u64,
    (canned, to_head, keep_alive): (&Canned, bool, bool),
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&canned.head);
    finish(client, (now_ms, keep_alive), out);
    if !to_head {
        out.extend_from_slice(&canned.body);
    }
}

fn finish(client: &Client, (now_ms, keep_alive): (u64, bool), out: &mut Vec<u8>) {
    out.extend_from_slice(b"date: ");
    out.extend_from_slice(&client.worker.date(now_ms));
    out.extend_from_slice(if keep_alive { b"\r\n\r\n" } else { b"\r\nconnection: close\r\n\r\n" });
}

/// Appends the answer to a failure: the flag and what it means, as plain text.
pub(crate) fn respond_failure(client: &Client, now_ms: u64, failure: &FailureAnswer<'_>, out: &mut Vec<u8>) {
    let mut fields = b"content-type: text/plain; charset=utf-8\r\n".to_vec();
    let status = failure.status;
    if status == 503 || status == 429 {
        let _ = write!(fields, "retry-after: {}\r\n", failure.retry_after_ms.div_ceil(1_000).max(1));
    }
    let body = format!("{} {}: {}\n", status, reason(status), failure.text);
    let answer = Answer {
        status,
        fields: &fields,
        body: body.as_bytes(),
        to_head: failure.to_head,
        keep_alive: failure.keep_alive,
    };
    respond(client, now_ms, &answer, out);
}

/// What a failure's answer says.
#[derive(Debug)]
pub(crate) struct FailureAnswer<'t> {
    pub(crate) status: u16,
    pub(crate) text: &'t str,
    pub(crate) retry_after_ms: u64,
    pub(crate) to_head: bool,
    pub(crate) keep_alive: bool,
}

impl FailureAnswer<'_> {
    pub(crate) fn of(flag: Flag, (to_head, keep_alive): (bool, bool)) -> FailureAnswer<'static> {
        FailureAnswer { status: flag.status(), text: flag.text(), retry_after_ms: 1_000, to_head, keep_alive }
    }
}
