//! The resource directory (RFC 9176): `/rd` takes registrations, `/rd-lookup` answers
//! who looks, and `/.well-known/rd` asks who registers simply. What is registered is one
//! for all workers; every change is told to JavaScript, whose registry of services
//! follows, and to those who observe a lookup.

use super::dispatch::Call;
use super::inbox::Finished;
use super::kept::Whole;
use super::server::Server;
use super::waiting::Ticket;
use crate::outbound::coap::{CoapClients, links_of};
use crate::plan::Plan;
use crate::pubsub::{Publisher, publish};
use crate::worker::Worker;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use tidegate_broker::Access;
use tidegate_coap::{Code, OptionNumber};
use tidegate_directory::{Criteria, Directory, Link, Params, Refusal, Registering};
use tidegate_message::{MessageBuilder, Outcome, Peer, Protocol};
use tidegate_ring::{EventKind, EventRecord};

/// Where registrations are, and what stands in front of lookups.
pub(super) const PATH: &str = "/rd";
const LOOKUP: &[u8] = b"rd-lookup";
/// `application/link-format`.
const LINK_FORMAT: u16 = 40;
/// Longest document of a lookup, bytes; what does not fit is on the next page.
const DOCUMENT_MAX: usize = 64 << 10;
/// Where it is told that something has changed.
pub(crate) const TOPIC: &str = "$SYS/coap/directory";

/// What is registered, locked for a request to the directory and for nothing else.
pub(crate) type Registrations = Mutex<Directory>;

/// A resource of the directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Resource {
    Register,
    Registration(u32),
    Simple,
    Endpoints,
    Resources,
}

/// What a path stands for in the directory.
pub(super) fn resource_of<'p>(mut path: impl Iterator<Item = &'p [u8]>) -> Option<Resource> {
    match (path.next()?, path.next(), path.next()) {
        (b"rd", None, None) => Some(Resource::Register),
        (b"rd", Some(id), None) => Some(Resource::Registration(id_of(id)?)),
        (b".well-known", Some(b"rd"), None) => Some(Resource::Simple),
        (LOOKUP, Some(b"ep"), None) => Some(Resource::Endpoints),
        (LOOKUP, Some(b"res"), None) => Some(Resource::Resources),
        _ => None,
    }
}

fn id_of(segment: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(segment).ok().filter(|text| text.len() == 8)?;
    u32::from_str_radix(text, 16).ok()
}

impl Server {
    /// Which resource of the directory a request is for, where there is one.
    pub(super) fn in_directory(&self, plan: &Plan, call: &Call<'_>) -> Option<Resource> {
        let is_there = plan.coap.max_registrations > 0;
        is_there.then(|| resource_of(call.message().path_segments())).flatten()
    }

    /// A request to the directory.
    pub(super) fn directory(&mut self, ticket: Ticket, call: &Call<'_>, resource: Resource) {
        if !self.is_admitted(ticket.exchange.peer) {
            return self.refuse(&ticket, Outcome::Unauthenticated);
        }
        if ticket.exchange.method != Code::GET && self.wants_rest(&ticket, call) {
            return;
        }
        match (resource, ticket.exchange.method) {
            (Resource::Register, Code::POST) => self.register(&ticket, call),
            (Resource::Registration(id), Code::POST) => self.renew(&ticket, call, id),
            (Resource::Registration(id), Code::DELETE) => self.unregister(&ticket, id),
            (Resource::Simple, Code::POST) => self.register_simply(ticket, call),
            (Resource::Endpoints | Resource::Resources, Code::GET) => self.look_up(ticket, call, resource),
            _ => self.answer(&ticket, Code::METHOD_NOT_ALLOWED, b""),
        }
    }

    fn register(&mut self, ticket: &Ticket, call: &Call<'_>) {
        if call.message().content_format().is_some_and(|format| format != LINK_FORMAT) {
            return self.answer(ticket, Code::UNSUPPORTED_CONTENT_FORMAT, b"");
        }
        match Params::parse(call.message().query()) {
            Ok(params) => {
                let entered = self.enter((ticket.exchange.peer, &source(call)), params, call.body());
                match entered {
                    Ok(id) => {
                        self.options.push(OptionNumber::LOCATION_PATH, &PATH.as_bytes()[1..]);
                        self.options.push(OptionNumber::LOCATION_PATH, format!("{id:08x}").as_bytes());
                        self.answer(ticket, Code::CREATED, b"");
                    }
                    Err(refusal) => self.refuse_registration(ticket, refusal),
                }
            }
            Err(wrong) => self.answer(ticket, Code::BAD_REQUEST, wrong.as_bytes()),
        }
    }

    /// Enters an endpoint; one that says no name has that of its user (RFC 9176 section 5).
    fn enter(&self, (peer, source): (SocketAddr, &str), mut params: Params, body: &[u8]) -> Result<u32, Refusal> {
        let coap = &self.worker.plan.borrow().plan.coap;
        let owner = self.access(peer).user;
        params.endpoint = params.endpoint.or(owner.as_deref().map(Box::from));
        if body.len() > coap.max_registration_bytes {
            return Err(Refusal::Invalid("more links than an endpoint may have"));
        }
        let links = std::str::from_utf8(body).ok().and_then(Link::parse_all);
        let links = links.ok_or(Refusal::Invalid("the payload is no link-format"))?;
        let random = self.worker.random() as u32;
        let asked = Registering { params, links, source, owner, random };
        let id = self.worker.shared.directory.lock().register(self.now_ms, asked, coap.max_registrations)?;
        changed(&self.worker);
        Ok(id)
    }

    /// RFC 9176 section 5.3.1.
    fn renew(&mut self, ticket: &Ticket, call: &Call<'_>, id: u32) {
        let params = match Params::parse(call.message().query()) {
            Ok(params) if call.body().is_empty() => params,
            Ok(_) => return self.answer(ticket, Code::BAD_REQUEST, b"an update has no payload"),
            Err(wrong) => return self.answer(ticket, Code::BAD_REQUEST, wrong.as_bytes()),
        };
        let owner = self.access(ticket.exchange.peer).user;
        let update = (params, &*source(call), owner.as_deref());
        let renewed = self.worker.shared.directory.lock().update(self.now_ms, id, update);
        self.answer_changed(ticket, renewed, Code::CHANGED);
    }

    fn unregister(&mut self, ticket: &Ticket, id: u32) {
        let owner = self.access(ticket.exchange.peer).user;
        let removed = self.worker.shared.directory.lock().remove(self.now_ms, id, owner.as_deref());
        self.answer_changed(ticket, removed, Code::DELETED);
    }

    fn answer_changed(&mut self, ticket: &Ticket, result: Result<(), Refusal>, code: Code) {
        match result {
            Ok(()) => {
                changed(&self.worker);
                self.answer(ticket, code, b"");
            }
            Err(refusal) => self.refuse_registration(ticket, refusal),
        }
    }

    fn refuse_registration(&mut self, ticket: &Ticket, refusal: Refusal) {
        match refusal {
            Refusal::Invalid(wrong) => self.answer(ticket, Code::BAD_REQUEST, wrong.as_bytes()),
            Refusal::Unknown => self.answer(ticket, Code::NOT_FOUND, b"no such registration"),
            Refusal::NotOwner => self.answer(ticket, Code::FORBIDDEN, b"registered by somebody else"),
            Refusal::Full => {
                self.worker.dropped(Protocol::Coap, "coap-directory-full");
                self.refuse(ticket, Outcome::Busy);
            }
        }
    }

    /// RFC 9176 section 5.1: asks the endpoint for its links, then enters it. Only where
    /// an address is proven, or the gateway could be made to ask anybody.
    fn register_simply(&mut self, ticket: Ticket, call: &Call<'_>) {
        let peer = ticket.exchange.peer;
        if call.view.protocol != Protocol::Coap || tidegate_dtls::is_name(&peer) {
            return self.answer(&ticket, Code::NOT_IMPLEMENTED, b"over UDP without security only");
        }
        if !ticket.exchange.proven {
            return self.endpoint.demand_proof(self.now_ms, &ticket.exchange);
        }
        let params = match Params::parse(call.message().query()) {
            Ok(params) if params.base.is_none() && call.body().is_empty() => params,
            Ok(_) => return self.answer(&ticket, Code::BAD_REQUEST, b"neither a base nor a payload"),
            Err(wrong) => return self.answer(&ticket, Code::BAD_REQUEST, wrong.as_bytes()),
        };
        let (worker, source) = (Rc::clone(&self.worker), source(call));
        self.wait(ticket, async move {
            let links = CoapClients::ask(&worker, peer, links_of()).await.ok();
            let links = links.filter(|answer| answer.code == Code::CONTENT).map(|answer| answer.body);
            Finished::Asked(Box::new((params, source)), links)
        });
    }

    /// The endpoint's links have come, or not.
    pub(super) fn registered_simply(
        &mut self,
        ticket: &Ticket,
        (params, source): (Params, String),
        links: Option<Vec<u8>>,
    ) {
        let Some(links) = links else {
            return self.answer(ticket, Code::BAD_GATEWAY, b"/.well-known/core was not answered");
        };
        match self.enter((ticket.exchange.peer, &source), params, &links) {
            Ok(_) => self.answer(ticket, Code::CHANGED, b""),
            Err(refusal) => self.refuse_registration(ticket, refusal),
        }
    }

    fn look_up(&mut self, ticket: Ticket, call: &Call<'_>, resource: Resource) {
        if call.message().accept().is_some_and(|format| format != LINK_FORMAT) {
            return self.answer(&ticket, Code::NOT_ACCEPTABLE, b"");
        }
        let criteria = match Criteria::parse(call.message().query()) {
            Ok(criteria) => criteria,
            Err(wrong) => return self.answer(&ticket, Code::BAD_REQUEST, wrong.as_bytes()),
        };
        if ticket.exchange.observe == tidegate_coap::Observe::Register {
            return self.observe_lookup(ticket, Looking { resource, criteria });
        }
        let Some(ticket) = self.unless_kept(ticket, call) else { return };
        let document = self.document(&Looking { resource, criteria });
        let content_type = Some(b"application/link-format"[..].into());
        let answer = Whole { code: Some(Code::CONTENT), content_type, body: document.into_bytes(), ..Whole::default() };
        self.answer_and_keep(&ticket, answer);
    }

    /// What a lookup finds now.
    pub(super) fn document(&self, Looking { resource, criteria }: &Looking) -> String {
        let directory = self.worker.shared.directory.lock();
        match resource {
            Resource::Endpoints => directory.endpoints(self.now_ms, (criteria, PATH), DOCUMENT_MAX),
            _ => directory.resources(self.now_ms, criteria, DOCUMENT_MAX),
        }
    }
}

/// A lookup.
pub(super) struct Looking {
    pub(super) resource: Resource,
    pub(super) criteria: Criteria,
}

/// Tells of a change: JavaScript asks what it was, and so does who observes.
fn changed(worker: &Rc<Worker>) {
    worker.event(&EventRecord {
        kind: EventKind::Directory,
        a: 0,
        b: 0,
        c: 0,
        time: worker.clock.epoch_ms() as f64,
        d: 0.0,
        text: "",
    });
    let access = Access::superuser(None);
    let publisher =
        Publisher { session: None, access, peer: Rc::new(Peer::new(SocketAddr::from(([127, 0, 0, 1], 0)))) };
    let revision = worker.shared.directory.lock().revision().to_string();
    // At most once: the next change tells as well.
    publish(worker, &publisher, MessageBuilder::new(Protocol::Internal, TOPIC, revision.as_bytes()));
}

/// Where a request came from, as a base URI.
fn source(call: &Call<'_>) -> String {
    let scheme = match call.view.protocol {
        Protocol::CoapTcp => "coap+tcp",
        _ if tidegate_dtls::is_name(&call.view.peer.address) => "coaps",
        _ => "coap",
    };
    let address = call.view.peer.address;
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => format!("{scheme}://{ip}:{}", address.port()),
        IpAddr::V6(ip) => format!("{scheme}://[{ip}]:{}", address.port()),
    }
}

/// What is different since `since`, as JSON for the registry of services.
pub(crate) fn changes(directory: &Registrations, now_ms: u64, since: u64) -> serde_json::Value {
    let mut directory = directory.lock();
    directory.expire(now_ms);
    let changes = directory.changes(since);
    let put = changes.put.iter().map(|own| {
        serde_json::json!({
            "endpoint": own.endpoint,
            "sector": own.sector,
            "base": own.base,
            "lifetimeS": own.lifetime_s,
            "address": format!("{PATH}/{:08x}", own.id),
            "attributes": own.extra.iter().map(|(name, value)| (&**name, &**value)).collect::<BTreeMap<_, _>>(),
        })
    });
    let removed =
        changes.removed.iter().map(|(endpoint, sector)| serde_json::json!({ "endpoint": endpoint, "sector": sector }));
    serde_json::json!({
        "revision": changes.revision,
        "isWhole": changes.is_whole,
        "put": put.collect::<Vec<_>>(),
        "removed": removed.collect::<Vec<_>>(),
    })
}
