//! The server's side of the message layer (RFC 7252 section 4): one per worker.
//! Datagrams go in, requests come out; `reply` and `notify` answer; what is to be sent
//! waits in the outbox. Whatever a peer sends costs bounded memory.

use std::collections::VecDeque;
use std::hash::RandomState;
use std::net::SocketAddr;

use tidegate_message::Limits;

use crate::dedup::{Dedup, Seen};
use crate::echo::Echo;
use crate::observers::Observers;
use crate::peers::{Due, Peers};
use crate::uploads::{Taken, Uploads};
use crate::{
    Block, Code, Exchange, Gone, GoneReason, Malformed, Message, Observe, ObserverId, OptionList, OptionNumber, Outbox,
    Reply, Type, encode_empty,
};

/// Bounds and times of an endpoint.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Bounds of messages and bodies.
    pub limits: Limits,
    /// Largest block, bytes. Default 1,024; rounded down to 16 to 1,024.
    pub max_block: usize,
    /// Observations in all. Default 10,000.
    pub max_observers: usize,
    /// Observations of one peer. Default 100.
    pub max_observers_per_peer: usize,
    /// Messages that are remembered for de-duplication. Default 16,384.
    pub dedup_entries: usize,
    /// First wait for an acknowledgement, milliseconds. Default 2,000.
    pub ack_timeout_ms: u64,
    /// How often a message is sent again. Default 4.
    pub max_retransmit: u32,
    /// For message ids and waits.
    pub seed: u64,
    /// Key of Echo values; workers of one gateway share it.
    pub secret: RandomState,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        EndpointConfig {
            limits: Limits::default(),
            max_block: 1_024,
            max_observers: 10_000,
            max_observers_per_peer: 100,
            dedup_entries: 16_384,
            ack_timeout_ms: 2_000,
            max_retransmit: 4,
            seed: 1,
            secret: RandomState::new(),
        }
    }
}

/// Where a datagram comes from.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Milliseconds of the gateway's clock.
    pub now_ms: u64,
    /// Source address.
    pub peer: SocketAddr,
    /// Whether its network is trusted not to forge addresses; loopback always is.
    pub trusted: bool,
}

impl Arrival {
    fn is_trusted(&self) -> bool {
        self.trusted || self.peer.ip().to_canonical().is_loopback()
    }
}

/// What a datagram was.
#[derive(Debug)]
pub enum Event<'a> {
    /// A request to be answered by [`Endpoint::reply`].
    Request(Request<'a>),
    /// Something that is done with.
    Handled(Handled),
}

/// A request.
#[derive(Debug)]
pub struct Request<'a> {
    /// What `reply` needs.
    pub exchange: Exchange,
    /// The message.
    pub message: Message<'a>,
    /// The joined body of a block-wise upload.
    pub upload: Option<Vec<u8>>,
}

impl Request<'_> {
    /// The body, however it came.
    pub fn body(&self) -> &[u8] {
        self.upload.as_deref().unwrap_or(self.message.payload)
    }
}

/// What needed no driver; the name for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handled {
    /// A message that came already.
    Duplicate,
    /// An empty confirmable message, answered by a Reset (section 4.3).
    Ping,
    /// An acknowledgement of ours.
    Acknowledged,
    /// A Reset of ours.
    Rejected,
    /// A block of an upload, answered by 2.31.
    Block,
    /// A request that was refused with this code.
    Refused(Code),
    /// Rejected by a Reset (section 4.2).
    Reset(&'static str),
    /// Passed over in silence (section 4.3).
    Ignored(&'static str),
}

/// The message layer of one worker.
#[derive(Debug)]
pub struct Endpoint {
    pub(crate) config: EndpointConfig,
    pub(crate) dedup: Dedup,
    pub(crate) echo: Echo,
    pub(crate) observers: Observers,
    pub(crate) peers: Peers,
    uploads: Uploads,
    pub(crate) outbox: Outbox,
    pub(crate) gone: VecDeque<Gone>,
    /// For messages to peers that have no entry.
    pub(crate) next_id: u16,
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
            peers: Peers::new(config.ack_timeout_ms, config.max_retransmit, config.seed),
            uploads: Uploads::new(config.limits.body_collected),
            outbox: Outbox::default(),
            gone: VecDeque::new(),
            next_id: config.seed as u16,
            added: OptionList::new(),
            config,
        }
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
        match (message.kind, message.code) {
            (Type::Acknowledgement, _) => Event::Handled(self.handle_ack(arrival, message.message_id)),
            (Type::Reset, _) => Event::Handled(self.handle_reset(arrival, message.message_id)),
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

    /// The time of [`Endpoint::handle_timeout`], milliseconds.
    pub fn next_timeout(&self) -> Option<u64> {
        self.peers.next_timeout()
    }

    /// Sends again what was not acknowledged, and gives up peers that never do.
    pub fn handle_timeout(&mut self, now_ms: u64) {
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

    fn handle_request<'a>(&mut self, arrival: &Arrival, (message, len): (Message<'a>, usize)) -> Event<'a> {
        let peer = arrival.peer;
        let place = match self.dedup.see(arrival.now_ms, peer, message.message_id) {
            Seen::New(place) => place,
            Seen::Open => return Event::Handled(Handled::Duplicate),
            Seen::Accepted => {
                self.outbox.queue(peer, |out| encode_empty(out, Type::Acknowledgement, message.message_id));
                return Event::Handled(Handled::Duplicate);
            }
            Seen::Answered(answer) => {
                self.outbox.queue(peer, |out| out.extend_from_slice(answer));
                return Event::Handled(Handled::Duplicate);
            }
        };
        let mut exchange = Exchange {
            peer,
            token: message.token,
            method: message.code,
            observe: Observe::No,
            confirmable: message.kind == Type::Confirmable,
            proven: arrival.is_trusted(),
            message_id: message.message_id,
            accepted: false,
            request_len: len as u32,
            block1: None,
            block2: None,
            unwanted: message.uint(OptionNumber::NO_RESPONSE).unwrap_or(0) as u8,
            place,
        };
        exchange.proven = exchange.proven || self.is_proven(arrival, &message);
        match self.check_request(&mut exchange, &message, len) {
            Some(code) => self.refuse(arrival.now_ms, &exchange, code),
            None => self.take_request(arrival, exchange, message),
        }
    }

    fn is_proven(&mut self, arrival: &Arrival, message: &Message<'_>) -> bool {
        let echo = message.option(OptionNumber::ECHO).map(|option| option.value);
        let verified = echo.is_some_and(|value| self.echo.verify(arrival.now_ms, arrival.peer, value));
        if verified {
            self.echo.prove(arrival.now_ms, arrival.peer);
        }
        verified || self.echo.is_proven(arrival.now_ms, arrival.peer)
    }

    /// The code that a request is refused with.
    fn check_request(&self, exchange: &mut Exchange, message: &Message<'_>, len: usize) -> Option<Code> {
        if len > self.config.limits.coap_message {
            return Some(Code::REQUEST_ENTITY_TOO_LARGE);
        }
        if message.code.method().is_none() {
            return Some(Code::METHOD_NOT_ALLOWED);
        }
        // RFC 7252 section 5.7.2: we are no forward proxy.
        if message.option(OptionNumber::PROXY_URI).or(message.option(OptionNumber::PROXY_SCHEME)).is_some() {
            return Some(Code::PROXYING_NOT_SUPPORTED);
        }
        if message.bad_option().is_some() {
            return Some(Code::BAD_OPTION);
        }
        // RFC 7959 section 2.2: the size 7 is reserved.
        let (block1, block2) = (message.block(OptionNumber::BLOCK1), message.block(OptionNumber::BLOCK2));
        if block1 == Some(None) || block2 == Some(None) {
            return Some(Code::BAD_REQUEST);
        }
        (exchange.block1, exchange.block2) = (block1.flatten(), block2.flatten());
        None
    }

    fn refuse<'a>(&mut self, now_ms: u64, exchange: &Exchange, code: Code) -> Event<'a> {
        // RFC 7252 section 5.4.1: a non-confirmable one with a bad option is rejected,
        // and section 4.3 allows to do so in silence.
        if code == Code::BAD_OPTION && !exchange.confirmable {
            return Event::Handled(Handled::Ignored("critical option that is not understood"));
        }
        self.reply(now_ms, exchange, &Reply::new(code, &OptionList::new(), b""));
        Event::Handled(Handled::Refused(code))
    }

    fn take_request<'a>(&mut self, arrival: &Arrival, mut exchange: Exchange, message: Message<'a>) -> Event<'a> {
        let observable = matches!(message.code, Code::GET | Code::FETCH);
        match message.observe().filter(|_| observable) {
            // A later block of a notification's body is fetched without Observe.
            Some(0) if exchange.block2.is_none_or(|block| block.num == 0) => exchange.observe = Observe::Register,
            Some(1) => self.deregister(&exchange),
            _ => {}
        }
        let Some(block) = exchange.block1 else {
            return Event::Request(Request { exchange, message, upload: None });
        };
        match self.take_block(arrival, &message, block) {
            Taken::Whole(body) => Event::Request(Request { exchange, message, upload: Some(body) }),
            Taken::Refused(code) => self.refuse(arrival.now_ms, &exchange, code),
            Taken::Continue => {
                self.reply(arrival.now_ms, &exchange, &Reply::new(Code::CONTINUE, &OptionList::new(), b""));
                Event::Handled(Handled::Block)
            }
        }
    }

    fn take_block(&mut self, arrival: &Arrival, message: &Message<'_>, block: Block) -> Taken {
        let announced = message.uint(OptionNumber::SIZE1).unwrap_or(0) as usize;
        if announced > self.config.limits.body_collected {
            return Taken::Refused(Code::REQUEST_ENTITY_TOO_LARGE);
        }
        self.uploads.take(arrival.now_ms, (arrival.peer, message), block)
    }

    fn deregister(&mut self, exchange: &Exchange) {
        if let Some(observer) = self.observers.find(exchange.peer, exchange.token) {
            self.end(observer, GoneReason::Deregistered);
        }
    }

    /// Ends an observation and tells the driver.
    pub(crate) fn end(&mut self, observer: ObserverId, reason: GoneReason) {
        if let Some(ended) = self.observers.remove(observer) {
            self.peers.detach(ended.peer, observer);
            self.gone.push_back(Gone { observer, reason });
        }
    }
}
