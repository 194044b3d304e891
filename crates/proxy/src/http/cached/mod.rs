//! Answers that are kept: a route with `cache` looks here before it asks its upstream
//! (RFC 9111; `tidegate-cache` decides what may be kept and how long). Off, it costs a look
//! at an option.

mod behind;
mod fill;
mod write;

pub(crate) use fill::{Came, Coded, Copying, Fill};
pub(crate) use write::{Told, write_stored};

use super::answers::{answered, keep, note, write as send};
use super::dispatch::Next;
use super::request::Request;
use crate::client::Client;
use crate::metrics::CacheOutcome;
use crate::plan::{Route, RouteCache};
use httparse::Header;
use std::sync::Arc;
use tidegate_cache::{Begun, Key, RequestTerms, Stored, Ticket, Use, Waiting};
use tidegate_http::{Body, Conditions, Version};

/// What looking came to.
pub(super) enum Looked {
    /// Answered.
    Answer((Next, usize)),
    /// Another request fetches the same.
    Wait(Waiting),
    /// On to the upstream; with what is to become of the answer.
    Forward(Option<Box<Fill>>),
}

/// Looks for an answer.
pub(super) fn look(
    client: &Client,
    request: &Request<'_>,
    (index, route, cache): (usize, &Route, &RouteCache),
) -> Looked {
    let pass = || {
        cache.count(client.worker.id, CacheOutcome::Pass);
        Looked::Forward(None)
    };
    let head = request.head;
    let has = |name: &str| head.header(name).is_some();
    let is_plain = matches!(head.method, "GET" | "HEAD") && head.body == Body::None && head.upgrade.is_none();
    if !is_plain || has("range") || has("if-match") || has("if-unmodified-since") {
        return pass();
    }
    let terms = RequestTerms::of(head.headers);
    let (store, key) = (&client.worker.shared.cache, key_of(client, request, (route, index)));
    let found = store.find(&key, |name| value_of(head.headers, name));
    // Not the request's own beginning: it may have waited.
    let now_ms = client.worker.clock.millis();
    match found.as_ref().map(|stored| stored.usable(now_ms, &terms)) {
        Some(Use::Fresh) => {
            let Some(stored) = &found else { return pass() };
            return Looked::Answer(respond(client, request, (index, cache, stored), (now_ms, CacheOutcome::Hit)));
        }
        Some(Use::Behind) => {
            let Some(stored) = &found else { return pass() };
            behind::fetch_behind(client, request, (index, route, cache), (&key, stored));
            return Looked::Answer(respond(client, request, (index, cache, stored), (now_ms, CacheOutcome::Stale)));
        }
        Some(Use::Ask) | None => {}
    }
    if terms.control.only_if_cached {
        // RFC 9111 section 5.2.1.7.
        return Looked::Answer(answered(client, request, (index, 504, b"", b"504 Gateway Timeout: nothing is kept\n")));
    }
    if head.method == "HEAD" || terms.control.no_store {
        return pass();
    }
    match Ticket::begin(store, &key, now_ms) {
        Begun::Fetch(ticket) => {
            let fill = Fill::new(request, (ticket, terms, cache.policy.clone()), found);
            fill.prepare(&mut request.edits.borrow_mut());
            Looked::Forward(Some(Box::new(fill)))
        }
        Begun::Wait(waiting) if !request.has_waited.get() => Looked::Wait(waiting),
        Begun::Wait(_) | Begun::Pass => pass(),
    }
}

fn key_of(client: &Client, request: &Request<'_>, (route, index): (&Route, usize)) -> Key {
    let mut form = Vec::with_capacity(64);
    form.extend_from_slice(route.name.as_bytes());
    form.push(b'\n');
    debug_assert!(index < request.plan.plan.routes.len());
    if let Some(coding) = request.coding(route) {
        form.extend_from_slice(coding.name().as_bytes());
    }
    form.push(b'\n');
    request.edits.borrow().put_request_changes(&mut form);
    // A proxy in front says by what scheme and name its client came, and services answer by that (a redirect to
    // https, addresses in a page).
    if client.trust().trusts(client.peer.address.ip()) {
        for name in ["x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix"] {
            form.extend_from_slice(&value_of(request.head.headers, name));
            form.push(b'\n');
        }
    }
    Key { uri: uri_of(client, request), form: form.into() }
}

/// What a change of the resource makes invalid.
pub(super) fn uri_of(client: &Client, request: &Request<'_>) -> Box<[u8]> {
    let scheme = if client.names.is_some() { "https" } else { "http" };
    Key::uri(scheme, request.head.authority, (request.view.path, request.head.query()))
}

/// All that a request says in a field, in one line (RFC 9110 section 5.3).
fn value_of(headers: &[Header<'_>], name: &str) -> Vec<u8> {
    let mut value = Vec::new();
    for (at, header) in headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).enumerate() {
        if at > 0 {
            value.extend_from_slice(b", ");
        }
        value.extend_from_slice(header.value.trim_ascii());
    }
    value
}

/// Answers with what is kept.
pub(super) fn respond(
    client: &Client,
    request: &Request<'_>,
    (index, cache, stored): (usize, &RouteCache, &Arc<Stored>),
    (now_ms, outcome): (u64, CacheOutcome),
) -> (Next, usize) {
    cache.count(client.worker.id, outcome);
    let (keep_alive, used) = keep(client, request);
    let told = Told {
        now_ms,
        to_head: request.to_head(),
        keep_alive,
        is_http10: request.head.version == Version::Http10,
        edits: Some(&request.edits.borrow()),
        conditions: &Conditions::of(request.head.headers),
        source: "hit",
    };
    let mut out = client.worker.buffers.take_write();
    let (status, bytes) = write_stored(stored, &told, &mut out);
    note(client, request, (Some(index), status, None, bytes));
    (send(client, out, keep_alive), used)
}
