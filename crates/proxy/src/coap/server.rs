//! The state of one socket, or of the streams of one listener: the message layer, who
//! observes, who waits. Knows no socket: messages come in by `handle` and
//! `handle_frame`, what is to be sent stands in the outbox.

use super::dispatch::Parked;
use super::inbox::{Finished, Inbox};
use super::kept::KeptAnswers;
use super::observations::Observations;
use super::observe::Told;
use super::waiting::{Served, Ticket, Waiting};
use crate::decide::Ruling;
use crate::plan::{ListenerDto, Plan};
use crate::pubsub::Publisher;
use crate::worker::Worker;
use std::collections::HashMap;
use std::future::Future;
use std::hash::RandomState;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::OnceLock;
use tidegate_broker::Access;
use tidegate_coap::{
    Arrival, Code, Endpoint, EndpointConfig, Event, Handled, Message, OptionList, OptionNumber, Request, Sleep,
    Transport,
};
use tidegate_message::{Limits, Outcome, Peer, Protocol};

/// Most seconds after which observers register again when the gateway leaves; the
/// time is random, so that they do not all come back at once.
const COME_BACK_S: u64 = 10;

/// What the listener says about its peers.
pub(super) struct Listener {
    /// Networks whose addresses are not forged.
    trusted: Vec<ipnet::IpNet>,
    /// Whether peers need not say who they are: CoAP without security cannot.
    pub(super) anonymous: bool,
    /// Whether it takes messages without security.
    is_plain: bool,
    /// Where its messages arrive.
    pub(super) local: Option<SocketAddr>,
}

impl Listener {
    pub(super) fn new(listener: &ListenerDto, local: Option<SocketAddr>) -> Self {
        let trusted = listener.trusted_proxies.iter().filter_map(|network| network.parse().ok()).collect();
        let is_plain = listener.protocols.iter().any(|protocol| protocol == Protocol::Coap.label());
        Listener { trusted, anonymous: listener.anonymous, is_plain, local }
    }

    /// Of streams, whose addresses TCP has proven.
    pub(super) const fn of_streams(anonymous: bool, local: Option<SocketAddr>) -> Self {
        Listener { trusted: Vec::new(), anonymous, is_plain: true, local }
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&peer))
    }
}

/// One socket's side of CoAP.
pub(super) struct Server {
    pub(super) worker: Rc<Worker>,
    pub(super) listener: Listener,
    /// Whom the peers of streams have proven to be.
    logged_in: HashMap<SocketAddr, Access, foldhash::fast::RandomState>,
    pub(super) endpoint: Endpoint,
    pub(super) observations: Observations,
    pub(super) waiting: Waiting,
    pub(super) inbox: Rc<Inbox>,
    pub(super) kept: KeptAnswers,
    /// Options of the answer that is being made.
    pub(super) options: OptionList,
    /// Memory for topics.
    pub(super) topic: String,
    /// The time of this wake-up.
    pub(super) now_ms: u64,
    is_leaving: bool,
    /// The plan whose numbers hold.
    version: u64,
}

impl Server {
    pub(super) fn new(worker: Rc<Worker>, (listener, socket): (Listener, u32)) -> Self {
        let config = config(&worker.plan().plan, worker.random());
        Server {
            endpoint: Endpoint::new(config),
            listener,
            logged_in: HashMap::default(),
            observations: Observations::new(socket),
            waiting: Waiting::default(),
            inbox: Rc::default(),
            kept: KeptAnswers::default(),
            options: OptionList::new(),
            topic: String::new(),
            now_ms: worker.clock.millis(),
            is_leaving: false,
            version: worker.plan().plan.version,
            worker,
        }
    }

    /// Takes the bounds and times of the plan that is in force.
    pub(super) fn adopt(&mut self) {
        let version = self.worker.plan.borrow().plan.version;
        if std::mem::replace(&mut self.version, version) != version {
            let config = config(&self.worker.plan().plan, 0);
            self.endpoint.configure(config);
        }
    }

    /// Takes a datagram.
    pub(super) fn handle(&mut self, peer: SocketAddr, datagram: &[u8]) {
        if !self.listener.is_plain {
            return self.worker.dropped(Protocol::Coap, "coap-plain");
        }
        let trusted = self.listener.trusts(peer.ip());
        self.take_datagram(&Arrival { now_ms: self.now_ms, peer, trusted }, datagram);
    }

    /// Takes what a record carried; its cookie and its keys have proven the address.
    pub(super) fn handle_secured(&mut self, name: SocketAddr, plaintext: &[u8]) {
        self.take_datagram(&Arrival { now_ms: self.now_ms, peer: name, trusted: true }, plaintext);
    }

    fn take_datagram(&mut self, arrival: &Arrival, datagram: &[u8]) {
        match self.endpoint.handle_datagram(arrival, datagram) {
            Event::Request(request) => self.handle_request(&request, datagram),
            Event::Handled(handled) => self.count(Protocol::Coap, handled),
            Event::Closing => {}
        }
    }

    /// A connection has come.
    pub(super) fn open_stream(&mut self, peer: SocketAddr, transport: Transport, access: Access) {
        if access.user.is_some() {
            self.log_in(peer, access);
        }
        self.endpoint.open_stream(peer, transport);
    }

    /// A connection is gone, and what it observed with it.
    pub(super) fn close_stream(&mut self, peer: SocketAddr) {
        self.log_out(peer);
        self.endpoint.close_stream(peer);
    }

    pub(super) fn log_in(&mut self, peer: SocketAddr, access: Access) {
        self.logged_in.insert(peer, access);
    }

    pub(super) fn log_out(&mut self, peer: SocketAddr) {
        self.logged_in.remove(&peer);
    }

    /// Takes a message of a stream. `false`: the connection ends.
    pub(super) fn handle_frame(&mut self, peer: SocketAddr, frame: &[u8]) -> bool {
        let arrival = Arrival { now_ms: self.now_ms, peer, trusted: true };
        match self.endpoint.handle_frame(&arrival, frame) {
            Event::Request(request) => self.handle_request(&request, frame),
            Event::Handled(handled) => self.count(Protocol::CoapTcp, handled),
            Event::Closing => return false,
        }
        true
    }

    /// Who a peer is.
    pub(super) fn access(&self, peer: SocketAddr) -> Access {
        self.logged_in.get(&peer).cloned().unwrap_or_default()
    }

    /// Whether a peer may use topics at all.
    pub(super) fn is_admitted(&self, peer: SocketAddr) -> bool {
        self.listener.anonymous || self.logged_in.contains_key(&peer)
    }

    fn handle_request(&mut self, request: &Request<'_>, datagram: &[u8]) {
        let ticket = Ticket {
            exchange: request.exchange,
            plan: self.worker.plan(),
            served: Served::Unrouted,
            started_us: self.worker.clock.micros(),
            continuation: None,
        };
        if self.is_leaving {
            return self.refuse(&ticket, Outcome::Busy);
        }
        match request.message.is_proxied() {
            true => self.dispatch_proxied(ticket, request),
            false => self.dispatch(ticket, (&request.message, request.body(), datagram), None),
        }
    }

    fn count(&self, protocol: Protocol, handled: Handled) {
        match handled {
            Handled::Refused(code) => {
                let plan = self.worker.plan.borrow();
                plan.plan.unrouted[usize::from(self.worker.id)].of(protocol).codes.add(code.status());
            }
            Handled::Reset(_) => self.worker.dropped(protocol, "coap-malformed"),
            Handled::Ignored(_) => self.worker.dropped(protocol, "coap-ignored"),
            Handled::Duplicate
            | Handled::Ping
            | Handled::Signal
            | Handled::Acknowledged
            | Handled::Rejected
            | Handled::Block => {}
        }
    }

    /// Lets a request wait for `work`.
    pub(super) fn wait(&mut self, ticket: Ticket, work: impl Future<Output = Finished> + 'static) {
        if !self.waiting.has_room() {
            return self.refuse(&ticket, Outcome::Busy);
        }
        // RFC 7252 section 5.2.2: well before the peer sends its request again.
        let patience = ticket.plan.plan.coap.ack_timeout_ms / 4;
        let id = self.waiting.insert(ticket, self.now_ms + patience);
        let inbox = Rc::clone(&self.inbox);
        tokio::task::spawn_local(async move { inbox.push(id, work.await) });
    }

    /// Takes results of what requests have waited for.
    pub(super) fn take_finished(&mut self) {
        while let Some((id, finished)) = self.inbox.pop() {
            if let Some(ticket) = self.waiting.take(id) {
                self.finish(ticket, finished);
            }
        }
    }

    fn finish(&mut self, ticket: Ticket, finished: Finished) {
        match finished {
            Finished::Ruled(parked, ruling) => self.resume(ticket, *parked, ruling),
            Finished::Published(published, code) => self.answer_published(&ticket, published, code),
            Finished::Fetched(result) => self.answer_fetched(&ticket, result),
            Finished::Joined(result) => self.answer_joined(&ticket, result),
            Finished::Handled(result) => self.answer_handled(&ticket, result),
            Finished::Readable(topic, asked) => self.asked_to_read(ticket, &topic, asked),
            Finished::Asked(asked, links) => self.registered_simply(&ticket, *asked, links),
            Finished::Settled(filter, place, id) => self.begin_observation(&ticket, filter.as_deref(), (place, id)),
        }
    }

    /// Takes a request up again that waited for a policy.
    fn resume(&mut self, ticket: Ticket, parked: Parked, ruling: Ruling) {
        let Parked { datagram, upload, resume } = parked;
        // It was a message when it came.
        let transport = ticket.exchange.transport;
        let Ok(message) = Message::decode_as(transport, &datagram, usize::MAX - 1) else { return };
        let body = upload.as_deref().unwrap_or(message.payload);
        self.dispatch(ticket, (&message, body, &datagram), Some((resume, ruling)));
    }

    /// When something is due that no datagram brings.
    pub(super) fn next_timeout(&self) -> Option<u64> {
        [self.endpoint.next_timeout(), self.waiting.next_timeout()].into_iter().flatten().min()
    }

    pub(super) fn handle_timeouts(&mut self) {
        self.endpoint.handle_timeout(self.now_ms);
        for _ in 0..self.endpoint.take_lost() {
            self.worker.undelivered(Protocol::Coap, "coap-silent");
        }
        while self.waiting.next_timeout().is_some_and(|due| due <= self.now_ms) {
            if let Some(exchange) = self.waiting.poll_due(self.now_ms) {
                self.endpoint.accept(exchange);
            }
        }
    }

    /// Tells everybody who observes to come back later.
    pub(super) fn leave(&mut self) {
        if std::mem::replace(&mut self.is_leaving, true) {
            return;
        }
        for id in self.observations.ids() {
            let seconds = 1 + self.worker.random() % COME_BACK_S;
            self.options.push_uint(OptionNumber::MAX_AGE, seconds as u32);
            self.notify(id, Told::state(Code::SERVICE_UNAVAILABLE, false), b"");
        }
    }

    /// Whether it has left and nobody waits for an answer.
    pub(super) fn is_done(&self) -> bool {
        self.is_leaving && self.waiting.len() == 0
    }

    /// Requests that wait, and observers that sleep.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.waiting.len(), self.endpoint.asleep())
    }

    pub(super) fn publisher(&self, ticket: &Ticket) -> Publisher {
        let peer = ticket.exchange.peer;
        Publisher { session: None, access: self.access(peer), peer: Rc::new(Peer::new(peer)) }
    }
}

fn config(plan: &Plan, seed: u64) -> EndpointConfig {
    // Workers share the key: a peer may come back to another one.
    static SECRET: OnceLock<RandomState> = OnceLock::new();
    let (coap, defaults) = (&plan.coap, EndpointConfig::default());
    EndpointConfig {
        limits: Limits { body_collected: coap.max_block_bytes, ..plan.bounds },
        max_observers: coap.max_observers,
        max_observers_per_peer: coap.max_observers_per_client,
        dedup_entries: coap.dedup_entries,
        ack_timeout_ms: coap.ack_timeout_ms,
        max_retransmit: coap.max_retransmit,
        sleep: Sleep {
            age_ms: coap.max_asleep_s * 1_000,
            messages: coap.max_asleep_messages,
            bytes: coap.max_asleep_bytes,
            total_bytes: coap.max_asleep_total_bytes,
        },
        seed,
        secret: SECRET.get_or_init(RandomState::new).clone(),
        ..defaults
    }
}
