//! What a request becomes: its route, its policies, its target. All in one go
//! while its head still stands in the scratch buffer; only what has to wait leaves
//! as `Next::Later`.

use super::exchange::Exchange;
use super::failure::Flag;
use super::fetch::Fetch;
use super::forward::{self, Facts, Outgoing};
use super::local::{self, Local};
use super::outward;
use super::respond::{Answer, FailureAnswer, respond, respond_canned, respond_failure};
use super::view::{HttpView, wants_websocket};
use crate::client::{Client, Input};
use crate::decide::{Asking, Ruling, Sought, seek};
use crate::plan::{Plan, Route, Target};
use crate::worker::WorkerPlan;
use std::borrow::Cow;
use std::io::Write;
use std::mem::MaybeUninit;
use std::rc::Rc;
use tidegate_http::{BodyReader, FieldClass, HEADERS_MAX, Piece, RequestHead, classify, parse_request, reason};
use tidegate_kit::DecodeError;
use tidegate_message::Protocol;
use tidegate_policy::{Context, Edits, Verdict};
use tidegate_ring::{EventKind, EventRecord};
use tidegate_route::{Captures, canonical_path};

/// What follows a request's head.
pub(crate) enum Next {
    /// To an upstream and back.
    Exchange(Box<Exchange>),
    /// Answered; whether the connection goes on.
    Written(bool),
    /// The client does not take the whole answer yet: the rest, and whether the connection goes on.
    Flush(Vec<u8>, bool),
    /// A policy in TypeScript decides; then the request is dispatched again from there.
    Ask(Asking, Box<Resume>),
    /// A topic, an upgrade to MQTT or JSON frames, a handler.
    Local(Box<Local>),
}

/// Where a request goes on after a decision.
pub(crate) struct Resume {
    pub(crate) plan: Rc<WorkerPlan>,
    pub(crate) started_us: u64,
    /// The step behind the script.
    pub(crate) step: usize,
    pub(crate) edits: Edits,
    pub(crate) ruling: Ruling,
}

/// One request while it is dispatched.
pub(crate) struct Request<'r> {
    pub(crate) head: &'r RequestHead<'r, 'r>,
    pub(crate) view: HttpView<'r>,
    pub(crate) plan: &'r Rc<WorkerPlan>,
    pub(crate) started_us: u64,
    pub(crate) keep_alive: bool,
    /// What stands behind the head.
    pub(crate) behind: &'r [u8],
}

impl Request<'_> {
    fn to_head(&self) -> bool {
        self.head.method == "HEAD"
    }

    fn now_ms(&self) -> u64 {
        self.started_us / 1_000
    }

    /// How much of what stands behind the head is its body; `None`: not all of it is there.
    fn whole_body(&self) -> Option<usize> {
        let mut reader = BodyReader::new(self.head.body, self.plan.plan.bounds.chunk_extensions);
        let mut used = 0;
        loop {
            match reader.next(&self.behind[used..]).ok()? {
                (Piece::Data(_), count) => used += count,
                (Piece::End(_), count) => return Some(used + count),
                (Piece::NeedMore, _) => return None,
            }
        }
    }
}

/// Dispatches the request whose whole head `input` begins with.
pub(crate) fn dispatch(client: &Client, input: &mut Input, resume: Option<Box<Resume>>) -> Next {
    let (plan, started_us) = match &resume {
        Some(resume) => (Rc::clone(&resume.plan), resume.started_us),
        None => (client.worker.plan(), client.worker.clock.micros()),
    };
    let (next, used) = read(client, input.bytes(), (&plan, started_us, resume));
    input.start += used;
    next
}

/// Parses the head and finds out whom it is for. With it: how many bytes are used up.
fn read(
    client: &Client,
    bytes: &[u8],
    (plan, started_us, resume): (&Rc<WorkerPlan>, u64, Option<Box<Resume>>),
) -> (Next, usize) {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let refuse = |error: &DecodeError| (refused(client, started_us, error), bytes.len());
    let head = match parse_request(bytes, &plan.plan.bounds, &mut headers) {
        Ok(Some(head)) => head,
        Ok(None) => return refuse(&INCOMPLETE),
        Err(error) => return refuse(&error),
    };
    let canonical = if head.target == b"*" { Ok(Cow::Borrowed(&b"*"[..])) } else { canonical_path(head.path()) };
    let path: &[u8] = match &canonical {
        Ok(path) => path,
        // Empty levels are a topic's right; the topic's own rules judge the rest.
        Err(_) if local::is_topic_path(&plan.plan.broker.http_path, head.path()) => head.path(),
        Err(_) => return refuse(&BAD_PATH),
    };
    let mut host_buffer = [0; 256];
    let request = Request {
        view: HttpView {
            head: &head,
            path,
            host: lower(head.host(), &mut host_buffer),
            peer: &client.peer,
            protocol: Protocol::Http1,
        },
        head: &head,
        plan,
        started_us,
        keep_alive: head.keep_alive && !client.connection.is_leaving() && !client.worker.is_draining.get(),
        behind: &bytes[head.len..],
    };
    let mut captures = Captures::new();
    match plan.plan.table.find(&request.view, &mut captures) {
        Some(index) => routed(client, &request, (index, &captures, resume)),
        None => local::builtin(client, &request),
    }
}

/// A route was found: its policies, then its target.
fn routed(
    client: &Client,
    request: &Request<'_>,
    (index, captures, resume): (usize, &Captures, Option<Box<Resume>>),
) -> (Next, usize) {
    let plan = &request.plan.plan;
    let route = &plan.routes[index];
    if route.problem.is_some() {
        return failed(client, request, (index, Flag::Broken, 0));
    }
    let (mut edits, step) = match resume {
        None => (client.worker.take_edits(), 0),
        Some(resume) => {
            let Resume { mut edits, step, ruling, .. } = *resume;
            if let Some(refusal) = rule(client, request, (index, &ruling, &mut edits)) {
                return refusal;
            }
            (edits, step)
        }
    };
    let mut step = step;
    loop {
        let mut scratch = client.worker.buffers.take_write();
        let mut context = Context {
            route: &route.name,
            captures,
            edits: &mut edits,
            scratch: &mut scratch,
            now_ns: request.started_us * 1_000,
        };
        let verdict = if route.steps.is_empty() {
            Verdict::Continue
        } else {
            route.steps.run_from(step, &request.view, &mut context)
        };
        client.worker.buffers.give_write(scratch);
        match verdict {
            Verdict::Continue => {
                let result = to_target(client, request, (index, captures, &mut edits));
                client.worker.give_edits(edits);
                return result;
            }
            Verdict::Respond(answer) => {
                let mut fields = Vec::new();
                for (name, value) in &answer.headers {
                    let _ = write!(fields, "{name}: {value}\r\n");
                }
                return answered(client, request, (index, answer.status, &fields, &answer.body));
            }
            Verdict::Limited { retry_after_ms } => {
                return failed(client, request, (index, Flag::RateLimited, retry_after_ms));
            }
            Verdict::Unfit => return failed(client, request, (index, Flag::Unfit, 0)),
            Verdict::Script { script, next } => {
                match seek(&client.worker, request.plan, (script as usize, &request.view, &route.name, &edits)) {
                    Sought::Skipped => step = next,
                    Sought::Ruled(ruling) => {
                        if let Some(refusal) = rule(client, request, (index, &ruling, &mut edits)) {
                            return refusal;
                        }
                        step = next;
                    }
                    Sought::Asking(asking) => {
                        let (plan, started_us) = (Rc::clone(request.plan), request.started_us);
                        let resume = Resume { plan, started_us, step: next, edits, ruling: Ruling::Continue };
                        return (Next::Ask(asking, Box::new(resume)), 0);
                    }
                }
            }
        }
    }
}

/// Carries a decision out. `Some`: it refuses the request.
fn rule(
    client: &Client,
    request: &Request<'_>,
    (index, ruling, edits): (usize, &Ruling, &mut Edits),
) -> Option<(Next, usize)> {
    match ruling {
        Ruling::Continue => None,
        Ruling::Refuse => Some(failed(client, request, (index, Flag::NoDecision, 1_000))),
        Ruling::Decided(decision) => match &decision.reject {
            Some((status, body)) => Some(answered(client, request, (index, *status, b"", body.as_bytes()))),
            None => {
                decision.apply(edits);
                None
            }
        },
    }
}

fn to_target(
    client: &Client,
    request: &Request<'_>,
    (index, captures, edits): (usize, &Captures, &mut Edits),
) -> (Next, usize) {
    let plan = &request.plan.plan;
    let route = &plan.routes[index];
    match &route.target {
        Target::Respond(canned) => {
            let mut out = client.worker.buffers.take_write();
            let (keep, used) = keep(client, request);
            respond_canned(client, request.now_ms(), (canned, request.to_head(), keep), &mut out);
            note(client, request, (Some(index), canned.status, None));
            (write(client, out, keep), used)
        }
        Target::Topic(template) => local::to_topic(client, request, (index, template, captures)),
        Target::Handler(Some(handler)) => local::to_handler(client, request, (index, *handler)),
        Target::Handler(None) => failed(client, request, (index, Flag::Broken, 0)),
        Target::Upstreams { .. } => to_upstream(client, request, (index, route, edits)),
    }
}

fn to_upstream(
    client: &Client,
    request: &Request<'_>,
    (index, route, edits): (usize, &Route, &mut Edits),
) -> (Next, usize) {
    let plan: &Plan = &request.plan.plan;
    let upstream = match edits.upstream() {
        Some(name) => plan.upstreams.iter().position(|upstream| *upstream.name == *name),
        None => forward::choose(request.plan, &route.target),
    };
    let Some(upstream) = upstream else { return failed(client, request, (index, Flag::Broken, 0)) };
    let head = request.head;
    let timeout = route.steps.timeout();
    let is_sampled = client.worker.is_sampled(plan.log.sample_every);
    let facts = Facts {
        started_us: request.started_us,
        to_head: request.to_head(),
        is_idempotent: head.is_idempotent(),
        is_upgrade: wants_websocket(head),
        version: head.version,
        keep_alive: request.keep_alive,
        timeout_ms: timeout.map_or(route.timeout_ms, |timeout| timeout.ms),
        per_try_ms: timeout.and_then(|timeout| timeout.per_try_ms),
        is_sampled,
        line: is_sampled.then(|| access_line(head).into()),
        ends_at_ms: 0,
        retries: 0,
        response_edits: None,
        key: None,
    };
    let mut target = Vec::new();
    let target = match edits.path() {
        None if *request.view.path == *head.path() => head.target,
        path => {
            target.extend_from_slice(path.unwrap_or(request.view.path));
            if head.target.len() > head.path().len() && memchr::memchr(b'?', &target).is_none() {
                target.extend_from_slice(&head.target[head.path().len()..]);
            }
            &target
        }
    };
    let host = edits.host().unwrap_or(head.authority);
    if let Some(copy) = route.mirror {
        mirror(client, request, (copy, target, host));
    }
    let outgoing = Outgoing { request, target, host, edits, route: index, upstream };
    match forward::start(client, (outgoing, facts)) {
        Ok((mut exchange, used)) => {
            if !edits.keeps_response_headers() {
                exchange.facts.response_edits = Some(Box::new(std::mem::take(edits)));
            }
            (Next::Exchange(exchange), head.len + used)
        }
        Err((flag, retry_after_ms)) => failed(client, request, (index, flag, retry_after_ms)),
    }
}

/// Sends a copy to the route's mirror, where the whole body is in hand.
fn mirror(client: &Client, request: &Request<'_>, (upstream, target, host): (usize, &[u8], &[u8])) {
    let head = request.head;
    let method =
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].into_iter().find(|known| *known == head.method);
    let mut reader = BodyReader::new(head.body, request.plan.plan.bounds.chunk_extensions);
    let (mut body, mut at) = (Vec::new(), 0);
    while let Ok((Piece::Data(data), used)) = reader.next(&request.behind[at..]) {
        body.extend_from_slice(data);
        at += used;
    }
    let (Some(method), false) = (method, wants_websocket(head)) else { return };
    if request.whole_body().is_none() {
        return;
    }
    let mut fields = Vec::new();
    let end_to_end = |name: &str| {
        classify(name) == FieldClass::EndToEnd
            && !name.eq_ignore_ascii_case("content-length")
            && !name.eq_ignore_ascii_case("host")
    };
    for header in head.headers.iter().filter(|header| end_to_end(header.name)) {
        for part in [header.name.as_bytes(), b": ", header.value, b"\r\n"] {
            fields.extend_from_slice(part);
        }
    }
    let copy = Fetch {
        method,
        target: target.to_vec(),
        host: host.to_vec(),
        fields,
        body,
        source: Some(client.peer.address.ip()),
        key: None,
        timeout_ms: 15_000,
    };
    outward::mirror(&client.worker, request.plan, (upstream, copy));
}

/// Whether the connection can go on behind an answer of ours, and what is used up then.
fn keep(client: &Client, request: &Request<'_>) -> (bool, usize) {
    match request.whole_body() {
        Some(body) => (request.keep_alive, request.head.len + body),
        // The rest of the body is read and thrown away while the connection closes.
        None => {
            client.connection.lingers.set(true);
            (false, request.head.len + request.behind.len())
        }
    }
}

/// An answer of ours with fields and body.
pub(crate) fn answered(
    client: &Client,
    request: &Request<'_>,
    (index, status, fields, body): (usize, u16, &[u8], &[u8]),
) -> (Next, usize) {
    let (keep_alive, used) = keep(client, request);
    let mut out = client.worker.buffers.take_write();
    let mut all = fields.to_vec();
    if !body.is_empty() && !contains_content_type(fields) {
        all.extend_from_slice(b"content-type: text/plain; charset=utf-8\r\n");
    }
    if (status == 503 || status == 429) && !fields.to_ascii_lowercase().starts_with(b"retry-after") {
        all.extend_from_slice(b"retry-after: 1\r\n");
    }
    respond(
        client,
        request.now_ms(),
        &Answer { status, fields: &all, body, to_head: request.to_head(), keep_alive },
        &mut out,
    );
    note(client, request, (Some(index).filter(|index| *index != usize::MAX), status, None));
    (write(client, out, keep_alive), used)
}

fn contains_content_type(fields: &[u8]) -> bool {
    memchr::memmem::find(&fields.to_ascii_lowercase(), b"content-type:").is_some()
}

/// A failure's answer.
pub(crate) fn failed(
    client: &Client,
    request: &Request<'_>,
    (index, flag, retry_after_ms): (usize, Flag, u64),
) -> (Next, usize) {
    let (keep_alive, used) = keep(client, request);
    let mut out = client.worker.buffers.take_write();
    let answer = FailureAnswer { retry_after_ms, ..FailureAnswer::of(flag, (request.to_head(), keep_alive)) };
    respond_failure(client, request.now_ms(), &answer, &mut out);
    note(client, request, (Some(index).filter(|index| *index != usize::MAX), flag.status(), Some(flag)));
    (write(client, out, keep_alive), used)
}

/// A head that broke a rule: its answer, then the connection closes.
pub(crate) fn refused(client: &Client, started_us: u64, error: &DecodeError) -> Next {
    let mut out = Vec::new();
    let body = format!("{} {}: {error}\n", error.code, reason(error.code));
    client.connection.lingers.set(true);
    let fields = b"content-type: text/plain; charset=utf-8\r\n";
    let answer = Answer { status: error.code, fields, body: body.as_bytes(), to_head: false, keep_alive: false };
    respond(client, started_us / 1_000, &answer, &mut out);
    let counters = client.worker.plan();
    counters.plan.unrouted[usize::from(client.worker.id)].of(Protocol::Http1).codes.add(error.code);
    write(client, out, false)
}

/// Writes what the socket takes now.
pub(crate) fn write(client: &Client, mut out: Vec<u8>, keep: bool) -> Next {
    let sent = client.write.try_write(&out).unwrap_or(0);
    client.connection.bytes_out.set(client.connection.bytes_out.get() + sent as u64);
    if sent == out.len() {
        client.worker.buffers.give_write(out);
        return Next::Written(keep);
    }
    out.drain(..sent);
    Next::Flush(out, keep)
}

/// Counts an answer of ours and writes its access record.
fn note(client: &Client, request: &Request<'_>, (route, status, flag): (Option<usize>, u16, Option<Flag>)) {
    let plan = &request.plan.plan;
    let worker = usize::from(client.worker.id);
    let micros = client.worker.clock.micros().saturating_sub(request.started_us);
    let counters = route.map_or(&plan.unrouted, |index| &plan.routes[index].counters)[worker].of(Protocol::Http1);
    counters.codes.add(status);
    counters.duration.observe(micros);
    // Refusals are many when they come: of those only the sampled ones are told.
    if status >= 500 || client.worker.is_sampled(plan.log.sample_every) {
        client.worker.event(&EventRecord {
            kind: EventKind::Access,
            a: route.map_or(u32::MAX, |index| index as u32),
            b: u32::from(status),
            c: u32::MAX,
            time: (client.worker.clock.epoch_ms() + request.now_ms()) as f64,
            d: micros as f64,
            text: &format!("{} {}", access_line(request.head), flag.map_or("-", Flag::label)),
        });
    }
}

/// Method and path, as access records show a request.
fn access_line(head: &RequestHead<'_, '_>) -> String {
    const PATH_MAX: usize = 256;
    let path = &head.path()[..head.path().len().min(PATH_MAX)];
    format!("{} {}", head.method, String::from_utf8_lossy(path))
}

/// A host in lower case, without its final dot. Longer ones than DNS allows stay as they are.
fn lower<'h>(host: &'h [u8], buffer: &'h mut [u8; 256]) -> &'h [u8] {
    let host = host.strip_suffix(b".").unwrap_or(host);
    if host.len() > buffer.len() || !host.iter().any(u8::is_ascii_uppercase) {
        return host;
    }
    let lower = &mut buffer[..host.len()];
    lower.copy_from_slice(host);
    lower.make_ascii_lowercase();
    lower
}

const INCOMPLETE: DecodeError = DecodeError::close(400, "RFC 9112 section 2.2", "the request head is malformed");
const BAD_PATH: DecodeError =
    DecodeError::close(400, "RFC 3986 section 6", "the path can be read in more than one way, or leaves the root");
