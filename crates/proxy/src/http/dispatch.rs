//! What a request becomes: its route, its policies, its target. All in one go
//! while its head still stands in the scratch buffer; only what has to wait leaves
//! as `Next::Later`.

use super::answers::{failed, refused};
use super::exchange::Exchange;
use super::explain::explain_here;
use super::failure::Flag;
use super::hops;
use super::local::{self, Local};
use super::login::Awaited;
use super::request::Request;
use super::steps::routed;
use super::view::HttpView;
use crate::client::{Client, Input};
use crate::decide::Ruling;
use crate::worker::WorkerPlan;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;
use std::rc::Rc;
use tidegate_http::{HEADERS_MAX, Version, lower_request_version, parse_request};
use tidegate_kit::DecodeError;
use tidegate_policy::Edits;
use tidegate_route::{Captures, canonical_path};

/// What follows a request's head.
pub(crate) enum Next {
    /// To an upstream and back.
    Exchange(Box<Exchange>),
    /// Answered; whether the connection goes on.
    Written(bool),
    /// The client does not take the whole answer yet: the rest, and whether the connection goes on.
    Flush(Box<(Vec<u8>, bool)>),
    /// A policy in TypeScript or a password decides; then the request is dispatched again from there.
    Ask(Box<(Awaited, Box<Resume>)>),
    /// A topic, an upgrade to MQTT or JSON frames, a handler.
    Local(Box<Local>),
    /// The head has not come whole yet.
    Part,
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

/// Dispatches the request whose whole head `input` begins with.
pub(crate) fn dispatch(client: &Client, input: &mut Input, resume: Option<Box<Resume>>) -> Next {
    let (plan, started_us) = match &resume {
        Some(resume) => (Rc::clone(&resume.plan), resume.started_us),
        None => (client.worker.plan(), client.worker.clock.read_micros()),
    };
    lower_request_version(input.bytes_mut());
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
    let refuse = |error: &DecodeError| (refused(client, (started_us, bytes), error), bytes.len());
    let head = match parse_request(bytes, &plan.plan.bounds, &mut headers) {
        Ok(Some(head)) => head,
        Ok(None) => return refuse(&INCOMPLETE),
        Err(error) => return refuse(&error),
    };
    client.connection.is_http10.set(head.version == Version::Http10);
    let canonical = if head.target == b"*" { Ok(Cow::Borrowed(&b"*"[..])) } else { canonical_path(head.path()) };
    let path: &[u8] = match &canonical {
        Ok(path) => path,
        // Empty levels are a topic's right; the topic's own rules judge the rest.
        Err(_) if local::is_topic_path(&plan.plan.broker.http_path, head.path()) => head.path(),
        Err(_) => return refuse(&BAD_PATH),
    };
    let mut host_buffer = [0; 256];
    let behind = client.trust().client_behind(client.peer.address.ip(), &head);
    let peer = behind.map(|address| client.peer.at((address, 0).into()));
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
        scheme: if client.names.is_some() { "https" } else { "http" },
        behind: &bytes[head.len..],
        edits: RefCell::default(),
        has_waited: Cell::new(false),
    };
    if client.worker.overload.is_shedding() {
        client.worker.dropped(request.view.protocol, "shed");
        return failed(client, &request, (usize::MAX, Flag::Shed, 1_000));
    }
    if is_misdirected(client, request.view.host) {
        return refuse(&MISDIRECTED);
    }
    if head.wants_https && client.names.is_none() && !client.trust().trusts(client.peer.address.ip()) {
        return refuse(&NOT_SECURED);
    }
    if let Some(last) = hops::count_hop(client, &request) {
        return last;
    }
    let mut captures = Captures::new();
    match plan.plan.table.find(&request.view, &mut captures) {
        Some(index) => routed(client, &request, (index, &captures, resume)),
        None => {
            explain_here(&request, None);
            local::builtin(client, &request)
        }
    }
}

/// Whether the connection was made to somebody else: the host is neither the name that
/// TLS asked for nor covered by the certificate that was shown (RFC 9110 section 15.5.20).
fn is_misdirected(client: &Client, host: &[u8]) -> bool {
    let (Some(names), Some(sni)) = (&client.names, client.peer.sni()) else { return false };
    sni.as_bytes() != host && !std::str::from_utf8(host).is_ok_and(|host| names.cover(host))
}

const MISDIRECTED: DecodeError =
    DecodeError::close(421, "RFC 9110 section 15.5.20", "this connection's certificate does not cover the host");

const NOT_SECURED: DecodeError =
    DecodeError::close(421, "RFC 9110 section 7.4", "what https names is not asked for without TLS");

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
