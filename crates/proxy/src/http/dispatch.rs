//! What a request becomes: its route, its policies, its target. All in one go
//! while its head still stands in the scratch buffer; only what has to wait leaves
//! as `Next::Later`.

use super::answers::{access_line, answered, failed, keep, note, refused, write};
use super::exchange::Exchange;
use super::failure::Flag;
use super::forward::{self, Facts, Outgoing};
use super::local::{self, Local};
use super::login::{Awaited, Looked, look};
use super::respond::respond_canned;
use super::view::{HttpView, wants_websocket};
use crate::client::{Client, Input};
use crate::decide::{Ruling, Sought, seek};
use crate::http2;
use crate::plan::{Plan, Route, Target};
use crate::worker::WorkerPlan;
use std::borrow::Cow;
use std::cell::RefCell;
use std::io::Write;
use std::mem::MaybeUninit;
use std::rc::Rc;
use tidegate_http::{Body, BodyReader, HEADERS_MAX, Piece, RequestHead, parse_request};
use tidegate_kit::DecodeError;
use tidegate_message::Peer;
use tidegate_policy::{Context, Edits, TemplateInput, Verdict};
use tidegate_route::{Captures, canonical_path};

/// What follows a request's head.
pub(crate) enum Next {
    /// To an upstream and back.
    Exchange(Box<Exchange>),
    /// Answered; whether the connection goes on.
    Written(bool),
    /// The client does not take the whole answer yet: the rest, and whether the connection goes on.
    Flush(Vec<u8>, bool),
    /// A policy in TypeScript or a password decides; then the request is dispatched again from there.
    Ask(Awaited, Box<Resume>),
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
    /// What the route's policies changed so far.
    pub(crate) edits: RefCell<Edits>,
}

impl Request<'_> {
    pub(super) fn to_head(&self) -> bool {
        self.head.method == "HEAD"
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.started_us / 1_000
    }

    /// What templates are filled in from.
    pub(super) fn template_input<'t>(&'t self, captures: &'t Captures) -> TemplateInput<'t> {
        let HttpView { path, host, head, .. } = &self.view;
        TemplateInput { path, captures, topic: b"", host, query: head.query() }
    }

    /// What policies put on the response, for an answer that comes later.
    pub(super) fn take_response_edits(&self) -> Option<Box<Edits>> {
        let keeps = self.edits.borrow().keeps_response_headers();
        (!keeps).then(|| Box::new(self.edits.take()))
    }

    /// How much of what stands behind the head is its body; `None`: not all of it is there.
    pub(super) fn whole_body(&self) -> Option<usize> {
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
    let behind = client.trust.client_behind(client.peer.address.ip(), &head);
    let peer = behind.map(|address| Peer { address: (address, 0).into(), ..client.peer.clone() });
    let request = Request {
        view: HttpView {
            head: &head,
            path,
            host: lower(head.host(), &mut host_buffer),
            peer: peer.as_ref().unwrap_or(&client.peer),
            protocol: client.protocol,
        },
        head: &head,
        plan,
        started_us,
        keep_alive: head.keep_alive && !client.connection.is_leaving() && !client.worker.is_draining.get(),
        behind: &bytes[head.len..],
        edits: RefCell::default(),
    };
    if client.worker.overload.is_shedding() {
        client.worker.dropped(request.view.protocol, "shed");
        return failed(client, &request, (usize::MAX, Flag::Shed, 1_000));
    }
    if is_misdirected(client, request.view.host) {
        return refuse(&MISDIRECTED);
    }
    let mut captures = Captures::new();
    match plan.plan.table.find(&request.view, &mut captures) {
        Some(index) => routed(client, &request, (index, &captures, resume)),
        None => local::builtin(client, &request),
    }
}

/// Whether the connection was made to somebody else: the host is neither the name that
/// TLS asked for nor covered by the certificate that was shown (RFC 9110 section 15.5.20).
fn is_misdirected(client: &Client, host: &[u8]) -> bool {
    let (Some(names), Some(sni)) = (&client.names, &client.peer.sni) else { return false };
    sni.as_bytes() != host && !std::str::from_utf8(host).is_ok_and(|host| names.cover(host))
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
    let mut step = 0;
    match resume {
        None if route.steps.is_empty() => {}
        None => drop(request.edits.replace(client.worker.take_edits())),
        Some(resume) => {
            let Resume { edits, step: next, ruling, .. } = *resume;
            request.edits.replace(edits);
            step = next;
            if let Some(refusal) = rule(client, request, (index, &ruling)) {
                return refusal;
            }
        }
    }
    let result = loop {
        match run_steps(client, request, (index, captures, step)) {
            Verdict::Continue => break to_target(client, request, (index, captures)),
            Verdict::Respond(answer) => {
                let mut fields = Vec::new();
                for (name, value) in &answer.headers {
                    let _ = write!(fields, "{name}: {value}\r\n");
                }
                break answered(client, request, (index, answer.status, &fields, &answer.body));
            }
            Verdict::Limited { retry_after_ms } => {
                break failed(client, request, (index, Flag::RateLimited, retry_after_ms));
            }
            Verdict::Unfit => break failed(client, request, (index, Flag::Unfit, 0)),
            Verdict::Login { auth, next } => {
                step = next;
                match look(client, request.head, auth) {
                    Looked::Ruled(ruling) => {
                        if let Some(refusal) = rule(client, request, (index, &ruling)) {
                            break refusal;
                        }
                    }
                    Looked::Awaited(login) => return wait_for(request, (Awaited::Login(login), step)),
                }
            }
            Verdict::Script { script, next } => {
                let sought = {
                    let edits = request.edits.borrow();
                    seek(&client.worker, request.plan, (script as usize, &request.view, &route.name, &edits))
                };
                step = next;
                match sought {
                    Sought::Skipped => {}
                    Sought::Ruled(ruling) => {
                        if let Some(refusal) = rule(client, request, (index, &ruling)) {
                            break refusal;
                        }
                    }
                    Sought::Asking(asking) => return wait_for(request, (Awaited::Script(asking), step)),
                }
            }
        }
    };
    if !route.steps.is_empty() {
        client.worker.give_edits(request.edits.take());
    }
    result
}

/// The request waits for a ruling and goes on at `step`.
fn wait_for(request: &Request<'_>, (awaited, step): (Awaited, usize)) -> (Next, usize) {
    let (plan, started_us, edits) = (Rc::clone(request.plan), request.started_us, request.edits.take());
    (Next::Ask(awaited, Box::new(Resume { plan, started_us, step, edits, ruling: Ruling::Continue })), 0)
}

/// Runs the route's steps from one on, until one has the last word or has to ask.
fn run_steps<'p>(
    client: &Client,
    request: &'p Request<'_>,
    (index, captures, step): (usize, &Captures, usize),
) -> Verdict<'p> {
    let route = &request.plan.plan.routes[index];
    if route.steps.is_empty() {
        return Verdict::Continue;
    }
    let mut scratch = client.worker.buffers.take_write();
    let mut context = Context {
        route: &route.name,
        captures,
        edits: &mut request.edits.borrow_mut(),
        scratch: &mut scratch,
        now_ns: request.started_us * 1_000,
        ran: step,
    };
    let verdict = route.steps.run_from(step, &request.view, &mut context);
    route.count_compiled(client.worker.id, step..context.ran);
    client.worker.buffers.give_write(scratch);
    verdict
}

/// Carries a decision out. `Some`: it refuses the request.
fn rule(client: &Client, request: &Request<'_>, (index, ruling): (usize, &Ruling)) -> Option<(Next, usize)> {
    match ruling {
        Ruling::Continue => None,
        Ruling::Refuse => Some(failed(client, request, (index, Flag::NoDecision, 1_000))),
        Ruling::Known(header, user) => {
            if let Some(header) = header {
                request.edits.borrow_mut().set_request_header(header, user);
            }
            None
        }
        Ruling::Stranger(realm) => {
            let fields = format!("www-authenticate: Basic realm=\"{realm}\", charset=\"UTF-8\"\r\n");
            let text = b"401 Unauthorized: say who you are: user and password\n";
            Some(answered(client, request, (index, 401, fields.as_bytes(), text)))
        }
        Ruling::Decided(decision) => match &decision.reject {
            Some((status, body)) => Some(answered(client, request, (index, *status, b"", body.as_bytes()))),
            None => {
                decision.apply(&mut request.edits.borrow_mut());
                None
            }
        },
    }
}

fn to_target(client: &Client, request: &Request<'_>, (index, captures): (usize, &Captures)) -> (Next, usize) {
    let plan = &request.plan.plan;
    let route = &plan.routes[index];
    match &route.target {
        Target::Respond(canned) => {
            let mut out = client.worker.buffers.take_write();
            let (keep, used) = keep(client, request);
            let edits = request.edits.borrow();
            respond_canned(client, request.now_ms(), (canned, request.to_head(), keep), (&edits, &mut out));
            note(client, request, (Some(index), canned.status, None, canned.body.len()));
            (write(client, out, keep), used)
        }
        Target::Template(reply) => match reply.render(&request.template_input(captures)) {
            Some((fields, body)) => answered(client, request, (index, reply.status, &fields, &body)),
            None => failed(client, request, (index, Flag::Unfit, 0)),
        },
        Target::Directory(root) => local::to_directory(client, request, (index, root, captures)),
        Target::Topic(template) => local::to_topic(client, request, (index, template, captures)),
        Target::Handler(Some(handler)) => local::to_handler(client, request, (index, *handler)),
        Target::Handler(None) => failed(client, request, (index, Flag::Broken, 0)),
        Target::Upstreams { .. } => to_upstream(client, request, (index, route)),
    }
}

fn to_upstream(client: &Client, request: &Request<'_>, (index, route): (usize, &Route)) -> (Next, usize) {
    let plan: &Plan = &request.plan.plan;
    let edits = request.edits.borrow();
    let upstream = match edits.upstream() {
        Some(name) => plan.upstreams.iter().position(|upstream| *upstream.name == *name),
        None => forward::choose(request.plan, &route.target),
    };
    let Some(upstream) = upstream else {
        drop(edits);
        return failed(client, request, (index, Flag::Broken, 0));
    };
    let head = request.head;
    let body_limit = route.steps.body_limit();
    if body_limit.is_some_and(|limit| matches!(head.body, Body::Length(length) if length > limit)) {
        drop(edits);
        return failed(client, request, (index, Flag::TooLarge, 0));
    }
    let timeout = route.steps.timeout();
    let is_sampled = client.worker.is_sampled(plan.log.sample_every);
    let facts = Facts {
        started_us: request.started_us,
        to_head: request.to_head(),
        is_idempotent: head.is_idempotent(),
        is_upgrade: wants_websocket(head),
        version: head.version,
        keep_alive: request.keep_alive,
        timeout_ms: http2::timeout_ms(head.header("content-type"), head.header("grpc-timeout"))
            .unwrap_or_else(|| timeout.map_or(route.timeout_ms, |timeout| timeout.ms)),
        per_try_ms: timeout.and_then(|timeout| timeout.per_try_ms),
        idle_ms: timeout.and_then(|timeout| timeout.idle_ms).unwrap_or(BODY_IDLE_MS),
        total_ms: timeout.and_then(|timeout| timeout.total_ms).unwrap_or(0),
        is_sampled,
        line: is_sampled.then(|| access_line(head).into()),
        seen: client.worker.seen(request),
        ends_at_ms: 0,
        retries: 0,
        response_edits: None,
        coding: route.compress.as_ref().and_then(|compression| compression.choose(head)),
        body_limit: body_limit.unwrap_or(u64::MAX),
        mirror: route.mirror.filter(|_| !wants_websocket(head)),
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
    let outgoing = Outgoing { request, target, host, edits: &edits, route: index, upstream };
    let started = forward::start(client, (outgoing, facts));
    drop(edits);
    match started {
        Ok((mut exchange, used)) => {
            exchange.facts.response_edits = request.take_response_edits();
            (Next::Exchange(exchange), head.len + used)
        }
        Err((flag, retry_after_ms)) => failed(client, request, (index, flag, retry_after_ms)),
    }
}

const MISDIRECTED: DecodeError =
    DecodeError::close(421, "RFC 9110 section 15.5.20", "this connection's certificate does not cover the host");

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

/// Default of a body without progress: as Envoy's streams.
const BODY_IDLE_MS: u64 = 300_000;

const INCOMPLETE: DecodeError = DecodeError::close(400, "RFC 9112 section 2.2", "the request head is malformed");
const BAD_PATH: DecodeError =
    DecodeError::close(400, "RFC 3986 section 6", "the path can be read in more than one way, or leaves the root");
