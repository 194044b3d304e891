//! The client's side of the message layer towards one endpoint (RFC 7252 sections 4 and
//! 5): requests go in, datagrams come out, answers come back whole. Confirmable, sent
//! again with doubled waits, at most NSTART at once; bodies in blocks both ways (RFC
//! 7959); an Echo that is asked for is given (RFC 9175).

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use crate::observing::Observed;
use crate::transfer::Transfer;
use crate::{Answer, Code, Failure, Message, OptionList, Token, Type, encode_empty};

/// How long a response is waited for after its acknowledgement: EXCHANGE_LIFETIME.
const SEPARATE_MS: u64 = 247_000;
/// Message ids of the endpoint's that are acknowledged again without being looked at.
const RECENT: usize = 32;

/// Times and bounds towards an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct RequesterConfig {
    /// First wait for an acknowledgement, milliseconds.
    pub ack_timeout_ms: u64,
    /// How often a message is sent again.
    pub max_retransmit: u32,
    /// Requests that are neither acknowledged nor answered at once (RFC 7252 section 4.7).
    pub nstart: usize,
    /// Largest answer that is put together, bytes.
    pub max_body: usize,
    /// Options of one message.
    pub max_options: usize,
    /// For message ids, tokens and waits.
    pub seed: u64,
}

/// What an outstanding message waits for.
#[derive(Debug)]
enum State {
    /// Its turn.
    Queued,
    /// An acknowledgement; then it is sent again.
    Sent { message_id: u16, tries: u32, wait_ms: u64, due: u64, bytes: Vec<u8> },
    /// Its response, which comes as a message of its own.
    Acknowledged { until: u64 },
}

/// What an outstanding message is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// Its answer.
    Answer,
    /// To observe, under its own token.
    Register,
    /// The blocks of a notification behind its first, of that token.
    Rest(Token),
    /// To observe no longer.
    Deregister,
}

#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) id: u64,
    pub(crate) purpose: Purpose,
    state: State,
    pub(crate) transfer: Transfer,
}

impl Exchange {
    pub(crate) const fn new(id: u64, purpose: Purpose, transfer: Transfer) -> Self {
        Exchange { id, purpose, state: State::Queued, transfer }
    }
}

/// The requests to one endpoint.
#[derive(Debug)]
pub struct Requester {
    pub(crate) config: RequesterConfig,
    pub(crate) exchanges: HashMap<Token, Exchange, RandomState>,
    pub(crate) observed: HashMap<Token, Observed, RandomState>,
    queue: VecDeque<Token>,
    in_flight: usize,
    next_id: u16,
    random: u64,
    recent: VecDeque<u16>,
    outbox: VecDeque<Vec<u8>>,
    pub(crate) done: VecDeque<(u64, Result<Answer, Failure>)>,
}

impl Requester {
    /// No request yet.
    pub fn new(config: RequesterConfig) -> Self {
        Requester {
            exchanges: HashMap::default(),
            observed: HashMap::default(),
            queue: VecDeque::new(),
            in_flight: 0,
            next_id: (config.seed >> 16) as u16,
            random: config.seed | 1,
            recent: VecDeque::new(),
            outbox: VecDeque::new(),
            done: VecDeque::new(),
            config,
        }
    }

    /// Takes other times and bounds, for what is sent from now on.
    pub fn configure(&mut self, config: RequesterConfig) {
        self.config = RequesterConfig { seed: self.config.seed, ..config };
    }

    /// Begins a request; its answer comes under `id`. The options are without those of
    /// the message layer: Block1, Block2, Size1, Echo.
    pub fn request(&mut self, now_ms: u64, id: u64, (method, options, body): (Code, OptionList, Vec<u8>)) {
        let transfer = Transfer::new((method, options, body), self.config.max_body);
        let token = self.new_token();
        self.enqueue(now_ms, token, Exchange::new(id, Purpose::Answer, transfer));
    }

    /// Nobody waits for the answer any more, or nothing will come.
    pub fn forget(&mut self, now_ms: u64, id: u64) {
        let own = |(token, exchange): (&Token, &Exchange)| (exchange.id == id).then_some(*token);
        let tokens: Vec<Token> = self.exchanges.iter().filter_map(own).collect();
        tokens.into_iter().for_each(|token| drop(self.take(token)));
        self.observed.retain(|_, observed| observed.id != id);
        self.start_queued(now_ms);
    }

    /// The next datagram to be sent.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        self.outbox.pop_front()
    }

    /// The next request that is over.
    pub fn poll_done(&mut self) -> Option<(u64, Result<Answer, Failure>)> {
        self.done.pop_front()
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.exchanges.is_empty() && self.observed.is_empty()
    }

    /// When [`Requester::handle_timeout`] is to be called, milliseconds.
    pub fn next_timeout(&self) -> Option<u64> {
        let due = |exchange: &Exchange| match exchange.state {
            State::Queued => None,
            State::Sent { due, .. } => Some(due),
            State::Acknowledged { until } => Some(until),
        };
        self.exchanges.values().filter_map(due).min()
    }

    /// Sends again what was not acknowledged, and gives up what never is.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        let mut over = Vec::new();
        for (token, exchange) in &mut self.exchanges {
            match &mut exchange.state {
                State::Sent { tries, wait_ms, due, bytes, .. } if *due <= now_ms => {
                    if *tries >= self.config.max_retransmit {
                        over.push(*token);
                        continue;
                    }
                    *tries += 1;
                    *wait_ms *= 2;
                    *due = now_ms + *wait_ms;
                    self.outbox.push_back(bytes.clone());
                }
                State::Acknowledged { until } if *until <= now_ms => over.push(*token),
                _ => {}
            }
        }
        for token in over {
            self.give_up(token, Failure::Timeout);
        }
        self.start_queued(now_ms);
    }

    /// Takes a datagram of the endpoint.
    pub fn handle_datagram(&mut self, now_ms: u64, datagram: &[u8]) {
        let Ok(message) = Message::decode(datagram, self.config.max_options) else { return };
        let is_response = message.code.is_response();
        match message.kind {
            Type::Reset => self.fail(message.message_id, Failure::Reset),
            Type::Acknowledgement if message.code == Code::EMPTY => self.acknowledged(now_ms, message.message_id),
            Type::Acknowledgement if is_response => self.answered(now_ms, &message),
            Type::NonConfirmable if is_response => match self.is_unwanted(&message) {
                true => self.reply_empty(Type::Reset, message.message_id),
                false => self.answered(now_ms, &message),
            },
            Type::Confirmable if is_response => self.answered_separately(now_ms, &message),
            // RFC 7252 section 4.2: a ping, or what a client has no context for.
            Type::Confirmable => self.reply_empty(Type::Reset, message.message_id),
            _ => {}
        }
        self.start_queued(now_ms);
    }

    fn answered_separately(&mut self, now_ms: u64, message: &Message<'_>) {
        if self.recent.contains(&message.message_id) {
            return self.reply_empty(Type::Acknowledgement, message.message_id);
        }
        if self.is_unwanted(message) || !self.knows(message.token) {
            return self.reply_empty(Type::Reset, message.message_id);
        }
        // RFC 7252 section 5.4.1: one that cannot be understood is rejected, and is no answer.
        let kind = if message.unfit_option(true).is_some() { Type::Reset } else { Type::Acknowledgement };
        self.reply_empty(kind, message.message_id);
        self.recent.push_back(message.message_id);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        self.answered(now_ms, message);
    }

    fn knows(&self, token: Token) -> bool {
        self.exchanges.contains_key(&token) || self.observed.contains_key(&token)
    }

    fn reply_empty(&mut self, kind: Type, message_id: u16) {
        let mut bytes = Vec::with_capacity(4);
        encode_empty(&mut bytes, kind, message_id);
        self.outbox.push_back(bytes);
    }

    fn find_sent(&self, message_id: u16) -> Option<Token> {
        let names =
            |exchange: &Exchange| matches!(&exchange.state, State::Sent { message_id: own, .. } if *own == message_id);
        self.exchanges.iter().find(|(_, exchange)| names(exchange)).map(|(token, _)| *token)
    }

    fn fail(&mut self, message_id: u16, failure: Failure) {
        if let Some(token) = self.find_sent(message_id) {
            self.give_up(token, failure);
        }
    }

    fn acknowledged(&mut self, now_ms: u64, message_id: u16) {
        let token = self.find_sent(message_id);
        if let Some(exchange) = token.and_then(|token| self.exchanges.get_mut(&token)) {
            exchange.state = State::Acknowledged { until: now_ms + SEPARATE_MS };
            self.in_flight -= 1;
        }
    }

    /// A response: the token says to what (RFC 7252 section 5.3.2); one in an
    /// acknowledgement has to name the message, too.
    fn answered(&mut self, now_ms: u64, message: &Message<'_>) {
        if message.kind == Type::Acknowledgement && self.find_sent(message.message_id) != Some(message.token) {
            return;
        }
        let is_past = |exchange: &Exchange| exchange.transfer.has_taken(message);
        if message.kind != Type::Acknowledgement && self.exchanges.get(&message.token).is_some_and(is_past) {
            return;
        }
        let Some(mut exchange) = self.take(message.token) else { return self.notified(now_ms, message) };
        if exchange.purpose == Purpose::Register && self.registered(now_ms, &exchange, message) {
            return;
        }
        if exchange.purpose == Purpose::Deregister {
            return;
        }
        match exchange.transfer.handle(message) {
            Some(result) => self.finish(exchange, result),
            None => {
                exchange.state = State::Queued;
                // Some servers know what belongs together by the token alone; what begins
                // anew has another.
                let token = if exchange.transfer.is_midway() { message.token } else { self.new_token() };
                self.begin_rest(&exchange, token);
                self.enqueue(now_ms, token, exchange);
            }
        }
    }

    fn give_up(&mut self, token: Token, failure: Failure) {
        if let Some(exchange) = self.take(token) {
            self.observed.remove(&token);
            self.finish(exchange, Err(failure));
        }
    }

    fn finish(&mut self, exchange: Exchange, result: Result<Answer, Failure>) {
        match exchange.purpose {
            Purpose::Answer | Purpose::Register => self.done.push_back((exchange.id, result)),
            Purpose::Rest(of) => self.whole(exchange.id, of, result),
            Purpose::Deregister => {}
        }
    }

    pub(crate) fn take(&mut self, token: Token) -> Option<Exchange> {
        let exchange = self.exchanges.remove(&token)?;
        match exchange.state {
            State::Sent { .. } => self.in_flight -= 1,
            State::Queued => self.queue.retain(|own| *own != token),
            State::Acknowledged { .. } => {}
        }
        Some(exchange)
    }

    /// Each request has a token of its own that nobody can guess, for all of its blocks.
    pub(crate) fn new_token(&mut self) -> Token {
        loop {
            let bytes = self.random().to_be_bytes();
            match Token::new(&bytes) {
                Some(token) if !self.knows(token) => return token,
                _ => {}
            }
        }
    }

    pub(crate) fn enqueue(&mut self, now_ms: u64, token: Token, exchange: Exchange) {
        self.exchanges.insert(token, exchange);
        self.queue.push_back(token);
        self.start_queued(now_ms);
    }

    fn start_queued(&mut self, now_ms: u64) {
        while self.in_flight < self.config.nstart.max(1) {
            let Some(token) = self.queue.pop_front() else { return };
            let message_id = self.next_id;
            self.next_id = message_id.wrapping_add(1);
            // RFC 7252 section 4.2: between ACK_TIMEOUT and 1.5 times it.
            let wait_ms = self.config.ack_timeout_ms + self.random() % (self.config.ack_timeout_ms / 2 + 1);
            let Some(exchange) = self.exchanges.get_mut(&token) else { continue };
            let bytes = exchange.transfer.encode(message_id, token);
            self.outbox.push_back(bytes.clone());
            exchange.state = State::Sent { message_id, tries: 0, wait_ms, due: now_ms + wait_ms, bytes };
            self.in_flight += 1;
        }
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
