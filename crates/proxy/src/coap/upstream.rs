//! Requests that leave as something else: to an upstream as HTTP (RFC 8075 read from
//! the other side), or to a handler in TypeScript.

use super::answer::is_unacceptable;
use super::dispatch::Call;
use super::inbox::Finished;
use super::kept::Whole;
use super::server::Server;
use super::view::CoapView;
use super::waiting::Ticket;
use crate::handle::{self, HandlerFailure, HandlerReply};
use crate::http::{Fetch, Fetched, Flag, choose, fetch};
use crate::outbound::Wire;
use crate::outbound::coap::{
    ASKED_BY_COAP, CODE_FIELD, HOST_FIELD, NO_HOP_LIMIT, OPTIONS_FIELD, location_of, read_options, write_options,
};
use crate::worker::Worker;
use httparse::Header;
use std::fmt::Write;
use std::rc::Rc;
use tidegate_cache::fresh_for_s;
use tidegate_coap::{Code, Message, Observe, ObserverId, OptionNumber, OptionRef};
use tidegate_http::parse_http_date;
use tidegate_message::Protocol;
use tidegate_policy::{Edits, KeyInput};

impl Server {
    pub(super) fn forward(&mut self, ticket: Ticket, call: &Call<'_>, (index, edits): (usize, &Edits)) {
        // RFC 8768 section 3.
        if call.message().uint(OptionNumber::HOP_LIMIT) == Some(1) {
            return self.answer(&ticket, Code::HOP_LIMIT_REACHED, NAME);
        }
        let Some(ticket) = self.unless_kept(ticket, call) else { return };
        let plan = Rc::clone(&ticket.plan);
        let route = &plan.plan.routes[index];
        let upstream = match edits.upstream() {
            Some(name) => plan.plan.upstreams.iter().position(|upstream| *upstream.name == *name),
            None => choose(&plan, &route.target),
        };
        let Some(upstream) = upstream else { return self.fail(&ticket, (Flag::Broken, 0)) };
        let wire = plan.plan.upstreams[upstream].dialing.wire;
        // RFC 7252 section 5.7.1; HTTP has no place for what is only unknown.
        let unfit = call.message().unfit_option(true).filter(|_| wire == Wire::Coap);
        if let Some(number) = unfit {
            return self.reject_option(&ticket, &format!("option {number}"));
        }
        if wire != Wire::Coap && self.is_strange(&ticket, call) {
            return;
        }
        // A tag is what we called the answer of HTTP, which knows nothing of it.
        if wire != Wire::Coap && !tags(call.message()).is_empty() {
            return self.answer(&ticket, Code::BAD_OPTION, b"If-Match with a tag does not cross to HTTP");
        }
        let mut key = Vec::new();
        let input = KeyInput { route: &route.name, hash_key: edits.hash_key() };
        let keyed =
            plan.plan.upstreams[upstream].key.as_ref().is_some_and(|own| own.write(&call.view, &input, &mut key));
        let request = Fetch {
            method: http_method(ticket.exchange.method, wire),
            target: target(call, edits),
            host: edits.host().or(call.view.host()).unwrap_or_default().to_vec(),
            fields: fields((call, ticket.exchange.if_none_match), edits, (wire, plan.plan.coap.hop_limit)),
            body: call.body().to_vec(),
            source: Some(ticket.exchange.peer.ip().to_canonical()),
            key: keyed.then(|| key.into()),
            timeout_ms: route.steps.timeout().map_or(route.timeout_ms, |timeout| timeout.ms),
            discards: false,
            raw: Vec::new(),
        };
        if ticket.exchange.observe == Observe::Register && wire == Wire::Coap {
            return self.observe_upstream(ticket, upstream, request);
        }
        let worker = Rc::clone(&self.worker);
        self.wait(ticket, async move {
            let fetched = fetch(&worker, &plan, upstream, &request).await;
            // RFC 7252 section 5.7.1: an endpoint that is silent breaks no connection, it is late.
            let is_silent = |flag: &Flag| wire == Wire::Coap && *flag == Flag::Terminated;
            Finished::Fetched(fetched.map_err(|flag| if is_silent(&flag) { Flag::Timeout } else { flag }))
        });
    }

    /// The ticket, unless the request is for a later block of an answer that was given.
    pub(super) fn unless_kept(&mut self, mut ticket: Ticket, call: &Call<'_>) -> Option<Ticket> {
        let continuation = self.kept.continuation(&ticket.exchange, &call.view);
        ticket.continuation = Some(continuation);
        if call.message().block(OptionNumber::BLOCK2).flatten().is_none_or(|block| block.num == 0) {
            return Some(ticket);
        }
        match self.kept.find(self.now_ms, continuation) {
            Some(answer) => self.answer_whole(&ticket, &answer, None),
            None if ticket.exchange.method == Code::GET => return Some(ticket),
            // One that comes without its body is not the same question.
            None if ticket.exchange.method == Code::FETCH && !call.body().is_empty() => return Some(ticket),
            // RFC 7959 section 2.9.2: what the first block came from is gone.
            None => self.answer(&ticket, Code::REQUEST_ENTITY_INCOMPLETE, b"the answer is not kept any more"),
        }
        None
    }

    /// Answers, and keeps the answer for later blocks where there will be some.
    pub(super) fn answer_and_keep(&mut self, ticket: &Ticket, answer: Whole) {
        let answer = Rc::new(answer);
        if let Some(continuation) = ticket.continuation {
            self.kept.keep(self.now_ms, continuation, &answer);
        }
        self.answer_whole(ticket, &answer, None);
    }

    pub(super) fn answer_whole(&mut self, ticket: &Ticket, answer: &Whole, observer: Option<ObserverId>) {
        let code = answer.code(ticket.exchange.method);
        // An upstream of CoAP has judged it by itself.
        if answer.code.is_none() && is_unacceptable(ticket, (code, answer.content_type.as_deref())) {
            return self.answer_unacceptable(ticket);
        }
        self.put_whole_options(code, answer);
        self.answer_observer(ticket, (code, observer), &answer.body);
    }

    pub(super) fn answer_fetched(&mut self, ticket: &Ticket, result: Result<Fetched, Flag>) {
        match result {
            Ok(fetched) => self.answer_and_keep(ticket, Whole::of(&self.worker, fetched)),
            Err(flag) => self.fail(ticket, (flag, 0)),
        }
    }

    pub(super) fn call_handler(&mut self, ticket: Ticket, call: &Call<'_>, handler: usize) {
        let Some(ticket) = self.unless_kept(ticket, call) else { return };
        let plan = Rc::clone(&ticket.plan);
        let limit = plan.plan.handlers.get(handler).map_or(0, |handler| handler.max_body_bytes);
        if call.body().len() > limit {
            return self.answer(&ticket, Code::REQUEST_ENTITY_TOO_LARGE, b"");
        }
        let mut query = Vec::new();
        call.message().write_query(&mut query);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = [("content-type", call.view.content_type()), ("accept", call.view.accept())];
        let headers: Vec<_> = headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let head = serde_json::json!({
            "protocol": call.view.protocol.label(),
            "kind": "request",
            "method": call.view.method(),
            "path": text(call.view.path),
            "query": text(&query),
            "host": call.view.host().map(text),
            "source": ticket.exchange.peer.ip().to_canonical().to_string(),
            "contentType": call.view.content_type(),
            "headers": headers,
        });
        let (worker, body) = (Rc::clone(&self.worker), call.body().to_vec());
        self.wait(ticket, async move {
            Finished::Handled(handle::call(&worker, &plan.plan, (handler, &head, &body)).await)
        });
    }

    pub(super) fn answer_handled(&mut self, ticket: &Ticket, result: Result<HandlerReply, HandlerFailure>) {
        match result {
            Ok(reply) => {
                let typed = reply.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
                let content_type = typed.map(|(_, value)| value.as_bytes().into());
                let answer = Whole { status: reply.status, content_type, body: reply.body, ..Whole::default() };
                self.answer_and_keep(ticket, answer);
            }
            Err(HandlerFailure::Unavailable) => self.fail(ticket, (Flag::NoDecision, 1_000)),
            Err(HandlerFailure::TimedOut) => self.fail(ticket, (Flag::Timeout, 0)),
        }
    }
}

/// What we are called in the list of those that a request has passed.
const NAME: &[u8] = b"tidegate";

impl Whole {
    /// An answer of HTTP, or of what stands behind it.
    pub(super) fn of(worker: &Worker, fetched: Fetched) -> Whole {
        let code = fetched.field(CODE_FIELD).and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        let code = code.map(Code);
        let now_s = (worker.clock.epoch_ms() + worker.clock.read_millis()) / 1_000;
        let (max_age, content_type) = (max_age(&fetched, now_s), fetched.field("content-type").map(Box::from));
        let mut passed_on = fetched.field(OPTIONS_FIELD).map(read_options).unwrap_or_default();
        if fetched.status == 201 && code.is_none() {
            passed_on = fetched.field("location").map(location_of).unwrap_or_default();
        }
        // RFC 8768 section 4: whoever asked finds the way to the loop.
        let body = match code {
            Some(Code::HOP_LIMIT_REACHED) => [NAME, b" ", &fetched.body].concat(),
            _ => fetched.body,
        };
        Whole { status: fetched.status, code, content_type, max_age, passed_on, body, confirmable: false }
    }
}

/// The tags of If-Match as a field has them, for an upstream that has given them.
fn tags(request: &Message<'_>) -> String {
    let tagged = |option: &OptionRef<'_>| option.number == OptionNumber::IF_MATCH && !option.value.is_empty();
    let mut out = String::new();
    for option in request.options().filter(tagged) {
        out.push_str(if out.is_empty() { "\"" } else { ",\"" });
        for byte in option.value {
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02x}");
        }
        out.push('"');
    }
    out
}

/// What If-Match says; one that is empty fits whatever there is.
fn if_match(request: &Message<'_>) -> Option<String> {
    let mut wanted = request.options().filter(|option| option.number == OptionNumber::IF_MATCH).peekable();
    wanted.peek()?;
    Some(if wanted.any(|option| option.value.is_empty()) { "*".to_owned() } else { tags(request) })
}

/// RFC 8132 section 5: iPATCH is PATCH that may be repeated; the others keep their names.
fn http_method(method: Code, wire: Wire) -> &'static str {
    if method == Code::IPATCH && wire == Wire::Coap {
        "IPATCH"
    } else if method == Code::IPATCH {
        "PATCH"
    } else {
        method.method().unwrap_or("GET")
    }
}

fn target(call: &Call<'_>, edits: &Edits) -> Vec<u8> {
    let mut target = edits.path().unwrap_or(call.view.path).to_vec();
    let mut query = Vec::new();
    if !target.contains(&b'?') && call.message().write_query(&mut query) {
        target.push(b'?');
        target.extend_from_slice(&query);
    }
    target
}

/// RFC 8323 section 8: what the URI of a request over a stream begins with.
fn scheme(view: &CoapView<'_>) -> &'static [u8] {
    match view.protocol {
        Protocol::CoapTcp => b"coap+tcp",
        _ if tidegate_dtls::is_name(&view.peer.address) => b"coaps",
        _ => b"coap",
    }
}

/// Every value is one that cannot break a line: the view sees to it.
fn fields((call, if_none_match): (&Call<'_>, bool), edits: &Edits, (wire, hop_limit): (Wire, u8)) -> Vec<u8> {
    let mut fields = Vec::new();
    let mut put = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, b"\r\n"] {
            fields.extend_from_slice(part);
        }
    };
    let peer = call.view.peer.address.ip().to_canonical().to_string();
    let if_match = if_match(call.message());
    let own: [(&str, Option<&[u8]>); 8] = [
        ("Content-Type", call.view.content_type().map(str::as_bytes)),
        ("Accept", call.view.accept().map(str::as_bytes)),
        ("If-Match", if_match.as_deref().map(str::as_bytes)),
        ("If-None-Match", if_none_match.then_some(&b"*"[..])),
        ("traceparent", call.view.trace()),
        ("X-Forwarded-For", Some(peer.as_bytes())),
        ("X-Forwarded-Proto", Some(scheme(&call.view))),
        ("X-Forwarded-Host", call.view.host()),
    ];
    for (name, value) in own {
        if let Some(value) = value.filter(|_| !edits.drops_request_header(name.as_bytes())) {
            put(name.as_bytes(), value);
        }
    }
    if wire == Wire::Coap {
        // RFC 8768 section 3: one that names none gets a limit, so that no loop is endless.
        let hops = call.message().uint(OptionNumber::HOP_LIMIT).map(|hops| hops.saturating_sub(1));
        let hops = hops.or(Some(u32::from(hop_limit)).filter(|hops| *hops > 0)).map(|hops| hops.to_string());
        put(ASKED_BY_COAP.as_bytes(), hops.as_deref().unwrap_or(NO_HOP_LIMIT).as_bytes());
        let unknown = call.message().options().filter(|option| !OptionNumber::is_known(option.number));
        let unknown = write_options(unknown.map(|option| (option.number, option.value)));
        if !unknown.is_empty() {
            put(OPTIONS_FIELD.as_bytes(), unknown.as_bytes());
        }
        if let Some(host) = edits.host().or(call.view.host()).filter(|_| call.view.is_proxied()) {
            put(HOST_FIELD.as_bytes(), host);
        }
    }
    edits.request_headers().for_each(|(name, value)| put(name, value));
    fields
}

/// RFC 7252 section 10.1: how long an answer is fresh, seconds; for one that says "later", when. What may
/// not be kept without asking is over at once, and what says nothing has the time that CoAP gives it.
fn max_age(fetched: &Fetched, now_s: u64) -> Option<u32> {
    let seconds = match (fetched.status, fetched.field("retry-after")) {
        (429 | 503, Some(later)) => {
            let wait = std::str::from_utf8(later).ok().and_then(|text| text.trim().parse().ok());
            wait.or_else(|| Some(parse_http_date(later)?.saturating_sub(now_s)))
        }
        (429 | 503, None) => None,
        _ => {
            let fields = fetched.fields.iter();
            let headers: Vec<_> = fields.map(|(name, value)| Header { name, value }).collect();
            fresh_for_s(&headers, now_s)
        }
    };
    seconds.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, name: &str, value: &str) -> Fetched {
        Fetched { status, fields: vec![(name.into(), value.as_bytes().into())], body: Vec::new() }
    }

    #[test]
    fn freshness_crosses_as_max_age() {
        for (status, name, value, seconds) in [
            (200, "Cache-Control", "public, max-age=30", Some(30)),
            (200, "cache-control", "no-store", Some(0)),
            (200, "cache-control", "private", Some(0)),
            (200, "cache-control", "max-age=30, no-cache", Some(0)),
            (200, "cache-control", "public", None),
            (200, "Expires", "0", Some(0)),
            (200, "retry-after", "5", None),
            (503, "Retry-After", "5", Some(5)),
            (429, "retry-after", "Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            (503, "retry-after", "soon", None),
            (503, "cache-control", "max-age=30", None),
            (200, "cache-control", "max-age=99999999999", Some(1 << 31)),
        ] {
            assert_eq!(max_age(&answer(status, name, value), 784_111_770), seconds, "{status} {name}: {value}");
        }
    }

    #[test]
    fn methods_have_their_http_names() {
        let over = |wire| [Code::GET, Code::PATCH, Code::IPATCH].map(|method| http_method(method, wire));
        assert_eq!(over(Wire::Http1), ["GET", "PATCH", "PATCH"]);
        assert_eq!(over(Wire::Coap), ["GET", "PATCH", "IPATCH"]);
    }
}
