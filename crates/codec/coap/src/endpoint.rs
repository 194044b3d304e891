//! The server's side of the message layer (RFC 7252 section 4): one per worker.
//! Datagrams go in, requests come out; `reply` and `notify` answer; what is to be sent
//! waits in the outbox. Whatever a peer sends costs bounded memory.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use foldhash::fast::RandomState;

use crate::dedup::Dedup;
use crate::echo::Echo;
use crate::observers::Observers;
use crate::peers::{Due, Peers};
use crate::stream::StreamPeer;
use crate::uploads::Uploads;
use crate::{
    Arrival, Code, EndpointConfig, Event, Gone, GoneReason, Handled, Malformed, Message, ObserverId, OptionList,
    Outbox, Type, encode_empty,
};

/// The message layer of one worker.
#[derive(Debug)]
pub struct Endpoint {
    pub(crate) config: EndpointConfig,
    pub(crate) dedup: Dedup,
    pub(crate) echo: Echo,
    pub(crate) observers: Observers,
    pub(crate) peers: Peers,
    pub(crate) uploads: Uploads,
    pub(crate) streams: HashMap<SocketAddr, StreamPeer, RandomState>,
    pub(crate) outbox: Outbox,
    pub(crate) gone: VecDeque<Gone>,
    /// Peers that slept and were heard in this wake-up.
    pub(crate) heard: Vec<SocketAddr>,
    /// Options that the layer adds; memory that is used again.
    pub(crate) added: OptionList,
}

impl Endpoint {
    /// An endpoint without peers.
    pub fn new(config: EndpointConfig) -> Self {
        Endpoint {
            dedup: Dedup::new(config.dedup_entries),
            echo: Echo::new(config.secret.clone()),
            observers: Observers::default(),
            peers: Peers::new(
                (config.ack_timeout_ms, config.max_retransmit),
                config.sleep,
                (config.secret.clone(), config.seed),
            ),
            uploads: Uploads::new(config.limits.body_collected),
            streams: HashMap::default(),
            outbox: Outbox::default(),
            gone: VecDeque::new(),
            heard: Vec::new(),
            added: OptionList::new(),
            config,
        }
    }

    /// Takes other bounds and times: for what begins from now on, and none ends that is
    /// beyond them already. The seed and the key of Echo values stay.
    pub fn configure(&mut self, config: EndpointConfig) {
        self.dedup.resize(config.dedup_entries);
        self.peers.configure((config.ack_timeout_ms, config.max_retransmit), config.sleep);
        self.uploads.limit(config.limits.body_collected);
        let EndpointConfig { seed, ref secret, .. } = self.config;
        self.config = EndpointConfig { seed, secret: secret.clone(), ..config };
    }

    /// Datagrams to be sent; the driver clears it once they are.
    pub const fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// The next observation that has ended: the driver unsubscribes it.
    pub fn poll_gone(&mut self) -> Option<Gone> {
        self.gone.pop_front()
    }

    /// Takes a datagram.
    pub fn handle_datagram<'a>(&mut self, arrival: &Arrival, datagram: &'a [u8]) -> Event<'a> {
        let message = match Message::decode(datagram, self.config.limits.coap_options) {
            Ok(message) => message,
            Err(malformed) => return Event::Handled(self.reject_malformed(arrival.peer, malformed)),
        };
        self.hear(arrival.peer);
        match (message.kind, message.code) {
            (Type::Acknowledgement, code) if code == Code::EMPTY || code.is_response() => {
                Event::Handled(self.handle_ack(arrival, message.message_id))
            }
            (Type::Reset, Code::EMPTY) => Event::Handled(self.handle_reset(arrival, message.message_id)),
            // Section 4.2: a reset is empty, an acknowledgement too or has a response.
            (Type::Acknowledgement | Type::Reset, _) => Event::Handled(Handled::Ignored("settles nothing")),
            (Type::Confirmable, Code::EMPTY) => {
                self.reset(arrival.peer, message.message_id);
                Event::Handled(Handled::Ping)
            }
            (_, code) if code.is_request() => self.handle_request(arrival, (message, datagram.len())),
            (Type::Confirmable, _) => {
                self.reset(arrival.peer, message.message_id);
                Event::Handled(Handled::Reset("not a request"))
            }
            _ => Event::Handled(Handled::Ignored("not a request")),
        }
    }

    /// Forgets what a message id of a peer was used for: what comes is known to be new.
    pub fn renew(&mut self, peer: SocketAddr, message_id: u16) {
        self.dedup.forget(peer, message_id);
    }

    /// Whether an acknowledgement or reset of that id would be one of ours.
    pub fn awaits(&mut self, peer: SocketAddr, message_id: u16) -> bool {
        self.peers.awaits(peer, message_id) || self.owner_of(peer, message_id).is_some()
    }

    /// The time of [`Endpoint::handle_timeout`], milliseconds.
    pub fn next_timeout(&self) -> Option<u64> {
        self.peers.next_timeout()
    }

    /// Sends again what was not acknowledged, and gives up peers that never do; those that
    /// slept and were heard get what has waited. To be called behind all datagrams.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        self.wake_heard(now_ms);
        while let Some(due) = self.peers.poll_due(now_ms) {
            match due {
                Due::Again(to, bytes) => {
                    self.outbox.queue(to, |out| out.extend_from_slice(&bytes));
                }
                Due::GivenUp(observers) => {
                    observers.into_iter().for_each(|observer| self.end(observer, GoneReason::Timeout));
                }
            }
        }
    }

    fn reject_malformed(&mut self, peer: SocketAddr, malformed: Malformed) -> Handled {
        match malformed.header {
            Some((Type::Confirmable, message_id)) => {
                self.reset(peer, message_id);
                Handled::Reset(malformed.what)
            }
            _ => Handled::Ignored(malformed.what),
        }
    }

    fn reset(&mut self, peer: SocketAddr, message_id: u16) {
        self.outbox.queue(peer, |out| encode_empty(out, Type::Reset, message_id));
    }

    fn handle_ack(&mut self, arrival: &Arrival, message_id: u16) -> Handled {
        let Some((settled, next)) = self.peers.settle(arrival.now_ms, arrival.peer, message_id) else {
            return Handled::Ignored("acknowledges nothing of ours");
        };
        // Who acknowledges our random message id has received it there.
        if !arrival.is_trusted() {
            self.echo.prove(arrival.now_ms, arrival.peer);
        }
        if let Some(observer) = settled.owner.and_then(|owner| self.observers.get(owner)) {
            (observer.confirmed_at, observer.proven) = (arrival.now_ms, true);
        }
        self.send_next(arrival.peer, next);
        Handled::Acknowledged
    }

    fn handle_reset(&mut self, arrival: &Arrival, message_id: u16) -> Handled {
        let settled = self.peers.settle(arrival.now_ms, arrival.peer, message_id);
        let known = settled.is_some();
        let owner = match settled {
            Some((settled, next)) => {
                self.send_next(arrival.peer, next);
                settled.owner
            }
            None => self.owner_of(arrival.peer, message_id),
        };
        if let Some(owner) = owner {
            self.end(owner, GoneReason::Reset);
        }
        if known || owner.is_some() { Handled::Rejected } else { Handled::Ignored("resets nothing of ours") }
    }

    fn send_next(&mut self, peer: SocketAddr, next: Option<Vec<u8>>) {
        if let Some(bytes) = next {
            self.outbox.queue(peer, |out| out.extend_from_slice(&bytes));
        }
    }

    /// The observation whose last notification had this id.
    fn owner_of(&mut self, peer: SocketAddr, message_id: u16) -> Option<ObserverId> {
        let candidates = &self.peers.get(peer)?.observers;
        let observers = &mut self.observers;
        candidates.iter().copied().find(|id| observers.get(*id).is_some_and(|own| own.last_id == message_id))
    }

    /// Ends an observation and tells the driver.
    pub(crate) fn end(&mut self, observer: ObserverId, reason: GoneReason) {
        if let Some(ended) = self.observers.remove(observer) {
            self.peers.detach(ended.peer, observer);
            self.gone.push_back(Gone { observer, reason });
        }
    }
}
