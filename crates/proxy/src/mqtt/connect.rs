//! CONNECT: who it is, then its session, here or from another worker.

use super::enhanced::Proven;
use super::relay::{self, Opening, Takes, Wanted};
use super::seat::Ending;
use super::serve::Connection;
use crate::auth::{Claimed, Credentials, authenticate};
use crate::hooks::{self, HookView, Refusal, Terms, flag};
use crate::pubsub::Outlet;
use crate::worker::{Level, Worker, WorkerPlan};
use std::rc::Rc;
use std::sync::Arc;
use tidegate_broker::{Access, Connect as Placed, ConnectRequest, Connected, Will};
use tidegate_message::{Outcome, Peer, Protocol};
use tidegate_mqtt::{Accepted, Connect, Version, reason};

/// A CONNECT on its way to a session.
pub(crate) struct Connecting {
    client_id: Option<Arc<str>>,
    clean_start: bool,
    expiry: u32,
    receive_maximum: u16,
    will: Option<Will>,
    credentials: Option<(String, Vec<u8>)>,
    /// Its bytes, where a broker of an upstream may have to get them.
    packet: Vec<u8>,
    takes: Takes,
    has_method: bool,
    /// It asked for a method of enhanced authentication that is not there.
    wants_method: bool,
    /// What enhanced authentication came to.
    pub(crate) proven: Option<Proven>,
    version: Version,
    keep_alive: u16,
    will_topic: Option<Box<str>>,
    wants_response_information: bool,
}

impl Connecting {
    /// `packet`: the whole of it. `is_relayed`: to a broker of an upstream.
    pub(crate) fn new(connect: &Connect<'_>, packet: &[u8], is_relayed: bool) -> Self {
        let will = connect.will.as_ref().and_then(|will| {
            let (message, expiry) = will.message();
            Some(Will { message: message.build()?, expiry, delay: will.delay() })
        });
        Connecting {
            client_id: (!connect.client_id.is_empty()).then(|| connect.client_id.into()),
            clean_start: connect.clean_start,
            expiry: connect.session_expiry(),
            receive_maximum: connect.receive_maximum(),
            will,
            credentials: connect.user_name.map(|user| (user.to_owned(), connect.password.unwrap_or_default().to_vec())),
            wants_method: !is_relayed
                && connect.auth_method().is_some_and(|method| super::enhanced::method(method).is_none()),
            proven: None,
            packet: packet.to_vec(),
            takes: Takes::of(connect),
            has_method: connect.auth_method().is_some(),
            version: connect.version,
            keep_alive: connect.keep_alive,
            wants_response_information: connect.wants_response_information(),
            will_topic: connect.will.as_ref().map(|will| will.topic.into()),
        }
    }

    /// Decides and answers. `false`: refused, or the client is gone.
    pub(crate) async fn run(mut self, connection: &mut Connection) -> bool {
        let worker = Rc::clone(&connection.client.worker);
        let refuse = |connection: &Connection, code: u8| {
            connection.link.session.borrow_mut().refuse(code, &mut connection.link.out.borrow_mut());
            false
        };
        let per_second = worker.plan().plan.mqtt.max_connects_per_s;
        if let Err(seconds) = worker.shared.pace.admit(worker.clock.micros(), per_second, worker.random()) {
            connection.client.trust().counters[usize::from(worker.id)].refused_rate.add(1);
            let mut session = connection.link.session.borrow_mut();
            session.refuse_for(reason::CONNECTION_RATE_EXCEEDED, seconds, &mut connection.link.out.borrow_mut());
            return false;
        }
        if let Some(redirect) = worker.plan().plan.mqtt.redirect.as_ref().filter(|redirect| redirect.always) {
            let mut session = connection.link.session.borrow_mut();
            session.redirect((&redirect.to, redirect.permanent), &mut connection.link.out.borrow_mut());
            return false;
        }
        if self.wants_method {
            return refuse(connection, reason::BAD_AUTHENTICATION_METHOD);
        }
        let plan = worker.plan();
        let asked_as = self.client_id.clone();
        let mut terms = Terms::default();
        if !plan.plan.hooks.connect.is_empty() {
            let asked = hooks::connect(&worker, &plan, &self.view(&connection.client.peer, "connect")).await;
            match asked {
                Ok(granted) => terms = granted,
                Err(refusal) => return refuse_because(connection, &refusal),
            }
        }
        if let Some(client_id) = terms.client_id.take() {
            self.client_id = Some((&*client_id).into());
        }
        self.expiry = self.expiry.min(terms.session_expiry_s.unwrap_or(u32::MAX));
        if let Some(tenant) = terms.tenant.take() {
            connection.client.know(|known| known.tenant = Some(tenant));
        }
        let access = match self.identity(connection, &plan).await {
            Ok(access) => access,
            Err(refusal) => return refuse_because(connection, &refusal),
        };
        if plan.plan.brokers.is_some() {
            let peer = self.known_as(&connection.client.peer, &access);
            let topic = self.will_topic.as_deref();
            let wanted = Wanted { client_id: asked_as.as_deref().unwrap_or_default(), peer: &peer, topic };
            if let Some((route, upstream)) = connection.broker_of(&wanted) {
                let Some(upstream) = broker_named(&worker, terms.upstream.as_deref(), upstream) else {
                    return refuse(connection, reason::SERVER_UNAVAILABLE);
                };
                return self.hand_over(connection, (route, upstream), (access, peer)).await;
            }
            if self.has_method && self.proven.is_none() {
                return refuse(connection, reason::BAD_AUTHENTICATION_METHOD);
            }
        }
        let assigned = self.client_id.is_none();
        let client_id = self.client_id.unwrap_or_else(|| format!("tidegate-{:016x}", worker.random()).into());
        let access = access.as_client(Some(Arc::clone(&client_id)));
        let is_users = access.user.as_ref().is_some_and(|user| plan.plan.users.contains_key(&**user));
        connection.client.connection.is_users.set(is_users);
        connection.seat.publisher.access = access.clone();
        if connection.client.peer.user() != access.user.as_ref() {
            connection.client.know(|known| known.user.clone_from(&access.user));
        }
        connection.seat.publisher.peer = Rc::clone(&connection.client.peer);
        let information = plan.plan.mqtt.response_information.as_deref().filter(|_| self.wants_response_information);
        let information = information.map(|information| information.replace("%c", &client_id));
        let longest = plan.plan.mqtt.max_session_expiry_s;
        let mut accepted = Accepted {
            session_present: false,
            assigned_client_id: assigned.then_some(&*client_id),
            session_expiry: (self.expiry > longest).then_some(longest),
            auth: self.proven.as_ref().map(|proven| (proven.method, proven.proof.as_bytes())),
            keep_alive: terms.keep_alive_s.unwrap_or(0),
            user_properties: &terms.user_properties,
            response_information: information.as_deref(),
        };
        if !connection.link.session.borrow().takes_connack(&accepted) {
            return refuse(connection, reason::PACKET_TOO_LARGE);
        }
        let request = ConnectRequest {
            client_id: Arc::clone(&client_id),
            clean_start: self.clean_start,
            expiry: self.expiry,
            receive_maximum: self.receive_maximum,
            will: self.will,
            access,
        };
        let now = worker.clock.millis();
        let placed = worker.with_broker(|broker, sink| broker.connect(now, request, sink));
        let connected = match placed {
            Placed::Ready(connected) => connected,
            Placed::Wait { claim } => {
                let guard = Abandon { worker: &worker, claim: Some(claim) };
                let claimed = worker.claimed(claim).await;
                guard.keep();
                match claimed {
                    Ok(connected) => connected,
                    Err(present) => {
                        accepted.session_present = present;
                        return overtaken(connection, &accepted);
                    }
                }
            }
            Placed::Refused(Outcome::QuotaExceeded) => return refuse(connection, reason::QUOTA_EXCEEDED),
            Placed::Refused(_) => return refuse(connection, reason::UNSPECIFIED),
        };
        let asked = if self.version.is_v5() { self.expiry } else { connected.expiry };
        accepted.session_present = connected.present;
        accepted.session_expiry = (connected.expiry != asked).then_some(connected.expiry);
        accept(connection, &connected, &accepted);
        let _ = connection.client.connection.client_id.set(client_id);
        true
    }
}

impl Connecting {
    /// The peer with the user that it has proven to be; where nobody asks for proof, with
    /// the one that it says.
    fn known_as(&self, peer: &Peer, access: &Access) -> Peer {
        let said = self.credentials.as_ref().map(|(user, _)| &**user);
        let user = access.user.clone().or_else(|| said.map(Arc::from));
        let mut peer = peer.clone();
        if peer.user() != user.as_ref() {
            peer.known_mut().user = user;
        }
        peer
    }

    /// Hands the client to a broker of an upstream.
    async fn hand_over(
        mut self,
        connection: &mut Connection,
        to: (usize, usize),
        (access, peer): (Access, Peer),
    ) -> bool {
        let access = access.as_client(self.client_id.clone());
        if let Some(will) = self.will.take() {
            let packet = (std::mem::take(&mut self.packet), self.version, will.message);
            match relay::judged(connection, (to.0, &access, &peer), packet).await {
                Ok(packet) => self.packet = packet,
                Err(outcome) => {
                    let refusal = Refusal { code: reason::of_outcome(outcome), text: "the will is refused".into() };
                    return refuse_because(connection, &refusal);
                }
            }
        }
        let id = self.client_id.as_deref().unwrap_or_default();
        let wanted = Wanted { client_id: id, peer: &peer, topic: self.will_topic.as_deref() };
        let (version, takes) = (self.version, self.takes);
        let opening = Opening { wanted, version, connect: &self.packet, takes, access: &access };
        let Some(relay) = relay::open(connection, to, opening).await else {
            let mut session = connection.link.session.borrow_mut();
            session.refuse(reason::SERVER_UNAVAILABLE, &mut connection.link.out.borrow_mut());
            return false;
        };
        if let Some(client_id) = &self.client_id {
            let _ = connection.client.connection.client_id.set(Arc::clone(client_id));
        }
        connection.seat.publisher.access = access;
        let peer = Rc::new(peer);
        connection.client.connection.know(&peer);
        connection.seat.publisher.peer = peer;
        connection.relay = Some(Box::new(relay));
        connection.link.session.borrow_mut().relay();
        connection.client.limit_to(connection.seat.publisher.access.until());
        // Its broker watches the keep-alive.
        connection.client.worker.connections.set_deadline(&connection.client.connection, 0);
        true
    }

    /// The CONNECT as hooks see it.
    fn view<'v>(&'v self, peer: &'v Peer, hook: &'static str) -> HookView<'v> {
        let version = [&b"3.1"[..], b"3.1.1", b"5"];
        let version = version[usize::from(self.version >= Version::V311) + usize::from(self.version.is_v5())];
        let mut view = HookView::new(Protocol::Mqtt, peer, self.client_id.as_deref())
            .with("hook", hook.as_bytes())
            .with("version", version)
            .with("cleanStart", flag(self.clean_start))
            .with("keepAlive", self.keep_alive.to_string().into_bytes())
            .with("sessionExpiry", self.expiry.to_string().into_bytes());
        if let Some((user, password)) = &self.credentials {
            view = view.with("username", user.as_bytes()).with("password", &password[..]);
        }
        match &self.will_topic {
            Some(topic) => view.with("willTopic", topic.as_bytes()),
            None => view,
        }
    }

    /// Who it is. `Err`: nobody who may come in.
    async fn identity(&self, connection: &mut Connection, plan: &Rc<WorkerPlan>) -> Result<Access, Refusal> {
        let worker = Rc::clone(&connection.client.worker);
        if self.proven.is_none() && !plan.plan.hooks.authenticate.is_empty() {
            let view = self.view(&connection.client.peer, "authenticate");
            if let Some((access, tenant)) = hooks::authenticate(&worker, plan, &view).await? {
                if tenant.is_some() {
                    connection.client.know(|known| known.tenant = tenant);
                }
                return Ok(access);
            }
        }
        let anonymous = connection.client.trust().anonymous;
        let peer = Rc::clone(&connection.client.peer);
        let certified = || {
            let user = peer.user()?.clone();
            worker.counters.auth(Protocol::Mqtt, "certificate");
            Some(Claimed { user, ..Claimed::default() }.access(&plan.plan))
        };
        let access = match (&self.proven, &self.credentials) {
            (Some(proven), _) => Some(proven.access.clone()),
            // A name alone proves nothing; a certificate does.
            (None, Some((_, password))) if password.is_empty() && peer.user().is_some() => certified(),
            (None, Some((user, password))) => {
                let client_id = self.client_id.as_deref().unwrap_or_default();
                let (protocol, peer) = (Protocol::Mqtt, peer.address);
                let credentials = Credentials { protocol, client_id, user, password, peer };
                authenticate(&worker, credentials, connection.client.left()).await
            }
            // Who the handshake proved it to be, by its certificate.
            (None, None) => certified(),
        };
        let allowed = match (&self.credentials, &access) {
            (_, Some(_)) => true,
            // Wrong credentials are an error even where none are needed, once there are users.
            (Some(_), None) => !plan.plan.knows_users() && anonymous,
            (None, None) => anonymous,
        };
        if allowed {
            return Ok(access.unwrap_or_default());
        }
        if self.credentials.is_none() {
            worker.counters.auth(Protocol::Mqtt, "no-credentials");
        }
        let code = if self.credentials.is_some() { reason::BAD_CREDENTIALS } else { reason::NOT_AUTHORIZED };
        Err(Refusal { code, text: "".into() })
    }
}

/// The upstream that `onConnect` named instead of the route's. `None`: there is no such one.
fn broker_named(worker: &Worker, name: Option<&str>, upstream: usize) -> Option<usize> {
    let Some(name) = name else { return Some(upstream) };
    let plan = worker.plan();
    let other = plan.plan.upstreams.iter().position(|known| *known.name == *name && known.is_broker);
    if other.is_none() {
        worker.log(Level::Warn, &format!("onConnect: there is no upstream {name} of protocol mqtt"));
    }
    other
}

/// CONNACK with what a hook refuses with.
fn refuse_because(connection: &Connection, refusal: &Refusal) -> bool {
    let mut session = connection.link.session.borrow_mut();
    session.refuse_because(refusal.code, &refusal.text, &mut connection.link.out.borrow_mut());
    false
}

/// It was served for no time at all: a DISCONNECT may only follow a CONNACK (MQTT-3.14.0-1), and no CONNACK
/// has the code that says why.
fn overtaken(connection: &mut Connection, accepted: &Accepted<'_>) -> bool {
    connection.seat.ended = Ending::TakenOver;
    let (mut session, mut out) = (connection.link.session.borrow_mut(), connection.link.out.borrow_mut());
    session.connack(accepted, &mut out);
    session.disconnect(reason::SESSION_TAKEN_OVER, &mut out);
    false
}

/// CONNACK, then what waited for the session.
fn accept(connection: &mut Connection, connected: &Connected, accepted: &Accepted<'_>) {
    let worker = Rc::clone(&connection.client.worker);
    let now = worker.clock.millis();
    connection.seat.publisher.session = Some((connected.id, 0));
    connection.link.need(worker.hub.keeper.appended());
    worker.hub.outlets.borrow_mut().insert(connected.id, Outlet::Mqtt(Rc::clone(&connection.link)));
    connection.link.session.borrow_mut().connack(accepted, &mut connection.link.out.borrow_mut());
    connection.limit_to(connection.seat.publisher.access.until());
    worker.with_broker(|broker, sink| broker.resume(now, connected.id, sink));
    connection.mark();
}

/// Gives a claim up when the connection goes away while it waits.
struct Abandon<'w> {
    worker: &'w Rc<Worker>,
    claim: Option<u64>,
}

impl Abandon<'_> {
    fn keep(mut self) {
        self.claim = None;
    }
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if let Some(claim) = self.claim {
            self.worker.abandon(claim);
        }
    }
}
