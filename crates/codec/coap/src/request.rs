//! Requests on their way to the driver: de-duplicated, checked, proven, and their
//! bodies joined.

use crate::dedup::Seen;
use crate::etag::Etags;
use crate::uploads::Taken;
use crate::{
    Arrival, Block, Code, Endpoint, Event, Exchange, GoneReason, Handled, Message, Observe, OptionList, OptionNumber,
    OptionRef, Reply, Request, Transport, Type, encode_empty,
};

/// Why a request is not taken.
#[derive(Debug)]
pub(crate) struct Refusal {
    code: Code,
    /// Diagnostic payload (RFC 7252 sections 5.4.1 and 5.5.2); empty where the code says it all.
    what: String,
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Refusal { code, what: String::new() }
    }
}

impl Endpoint {
    pub(crate) fn handle_request<'a>(&mut self, arrival: &Arrival, (message, len): (Message<'a>, usize)) -> Event<'a> {
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
            transport: Transport::Datagram,
            confirmable: message.kind == Type::Confirmable,
            proven: arrival.is_trusted(),
            message_id: message.message_id,
            accepted: false,
            request_len: len as u32,
            block1: None,
            block2: None,
            unwanted: message.uint(OptionNumber::NO_RESPONSE).unwrap_or(0) as u8,
            accept: message.accept(),
            if_none_match: message.option(OptionNumber::IF_NONE_MATCH).is_some(),
            etags: Etags::of(&message),
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

    /// What a request is refused with.
    pub(crate) fn check_request(&self, exchange: &mut Exchange, message: &Message<'_>, len: usize) -> Option<Refusal> {
        if exchange.transport == Transport::Datagram && len > self.config.limits.coap_message {
            // RFC 7959 section 2.9.3: the size of the blocks in which it would be taken.
            let hint = Block { num: 0, more: false, szx: Block::szx_for(self.config.max_block) };
            exchange.block1 = message.block(OptionNumber::BLOCK1).flatten().or(Some(hint));
            return Some(Code::REQUEST_ENTITY_TOO_LARGE.into());
        }
        if message.code.method().is_none() {
            return Some(Refusal { code: Code::METHOD_NOT_ALLOWED, what: "unknown method".to_owned() });
        }
        // One that is only unknown may be for whoever it is passed on to.
        if let Some(number) = message.unfit_option(false) {
            return Some(Refusal { code: Code::BAD_OPTION, what: format!("option {number}") });
        }
        // RFC 8768 section 3.
        let is_hop_limit = |option: OptionRef<'_>| option.uint().is_some_and(|hops| (1..=255).contains(&hops));
        if message.option(OptionNumber::HOP_LIMIT).is_some_and(|option| !is_hop_limit(option)) {
            return Some(Refusal { code: Code::BAD_REQUEST, what: "Hop-Limit is 1 to 255".to_owned() });
        }
        let (block1, block2) = (message.block(OptionNumber::BLOCK1), message.block(OptionNumber::BLOCK2));
        // RFC 7959 section 2.2: the size 7 is reserved in datagrams.
        let is_reserved = |block: &Block| block.szx == Block::BERT && exchange.transport == Transport::Datagram;
        if [block1, block2].into_iter().flatten().any(|block| block.as_ref().is_none_or(is_reserved)) {
            return Some(Refusal { code: Code::BAD_REQUEST, what: "no such size of block".to_owned() });
        }
        (exchange.block1, exchange.block2) = (block1.flatten(), block2.flatten());
        None
    }

    pub(crate) fn refuse<'a>(&mut self, now_ms: u64, exchange: &Exchange, refusal: impl Into<Refusal>) -> Event<'a> {
        let Refusal { code, what } = refusal.into();
        // RFC 7252 section 5.4.1: a non-confirmable one with a bad option is rejected,
        // and section 4.3 allows to do so in silence.
        if code == Code::BAD_OPTION && !exchange.confirmable {
            return Event::Handled(Handled::Ignored("critical option that is not understood"));
        }
        let mut options = OptionList::new();
        if code == Code::REQUEST_ENTITY_TOO_LARGE {
            // Section 5.9.2.9: how much is taken, in blocks.
            options
                .push_uint(OptionNumber::SIZE1, u32::try_from(self.config.limits.body_collected).unwrap_or(u32::MAX));
        }
        self.reply(now_ms, exchange, &Reply::new(code, &options, what.as_bytes()));
        Event::Handled(Handled::Refused(code))
    }

    pub(crate) fn take_request<'a>(
        &mut self,
        arrival: &Arrival,
        mut exchange: Exchange,
        message: Message<'a>,
    ) -> Event<'a> {
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
            Taken::Whole(body, if_none_match) => {
                exchange.if_none_match |= if_none_match;
                Event::Request(Request { exchange, message, upload: Some(body) })
            }
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
}
