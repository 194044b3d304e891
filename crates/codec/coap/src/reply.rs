//! Responses, piggybacked or separate, and the blocks of bodies that are too large for
//! one datagram or for an address that is not proven.

use crate::peers::{Confirmable, Pushed};
use crate::stream::StreamPeer;
use crate::{
    Block, Code, Endpoint, Exchange, GoneReason, Head, ObserverId, OptionList, OptionNumber, Transport, Type, encode,
    encode_empty, encode_frame, etag,
};

/// Peers with confirmable messages in flight; beyond, and where an address is not
/// proven, separate responses are not confirmable and so are sent only once.
const MAX_PEERS: usize = 65_536;
/// Bytes around the options and the payload: header, token, marker, and what the layer
/// adds (ETag, Observe, Block2, Block1, Size2, Echo).
const OVERHEAD: usize = 4 + 8 + 1 + 6 + 4 + 5 + 5 + 6 + 15;

/// A response.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// Its code.
    pub code: Code,
    /// Its options, without those of the message layer: Observe, Block1, Block2.
    pub options: &'a OptionList,
    /// The whole body, whichever block was asked for.
    pub payload: &'a [u8],
    /// The observation that [`Endpoint::observe`] has made for this request.
    pub observer: Option<ObserverId>,
}

impl<'a> Reply<'a> {
    /// A response that observes nothing.
    pub const fn new(code: Code, options: &'a OptionList, payload: &'a [u8]) -> Self {
        Reply { code, options, payload, observer: None }
    }
}

/// What is cut from a body, or what is said instead.
struct Slice<'a> {
    code: Code,
    payload: &'a [u8],
    /// Whether the caller's options go with it.
    keeps_options: bool,
}

impl Endpoint {
    /// Acknowledges a request whose response takes longer than the peer should wait
    /// (half of ACK_TIMEOUT); the response is then a message of its own.
    pub fn accept(&mut self, exchange: &mut Exchange) {
        if exchange.confirmable && !exchange.accepted && exchange.transport == Transport::Datagram {
            exchange.accepted = true;
            self.dedup.accept(exchange.place);
            let message_id = exchange.message_id;
            self.outbox.queue(exchange.peer, |out| encode_empty(out, Type::Acknowledgement, message_id));
        }
    }

    /// Answers a request.
    pub fn reply(&mut self, now_ms: u64, exchange: &Exchange, reply: &Reply<'_>) {
        if exchange.is_unwanted(reply.code) {
            return self.reply_nothing(exchange);
        }
        self.added.clear();
        if let Some(observer) = reply.observer {
            self.add_observe(observer, (reply.code, reply.options));
        }
        let bound = exchange.answer_max();
        let slice = match self.is_known(exchange, reply) {
            true => self.valid(reply),
            false => self.slice(now_ms, exchange, (reply, bound)),
        };
        if let Some(block) = exchange.block1 {
            // RFC 7959 section 2.3: `more` says whether the next one is waited for.
            let more = slice.code == Code::CONTINUE;
            self.added.push_uint(OptionNumber::BLOCK1, Block { more, ..block }.to_uint());
        }
        self.send(now_ms, exchange, (&slice, reply.options));
    }

    /// Answers that the peer has to show first that it receives where it sends from.
    pub fn demand_proof(&mut self, now_ms: u64, exchange: &Exchange) {
        let slice = self.challenge(now_ms, exchange, None);
        self.send(now_ms, exchange, (&slice, &OptionList::new()));
    }

    /// Gives a representation a tag, where it has none; whether the peer has it already.
    fn is_known(&mut self, exchange: &Exchange, reply: &Reply<'_>) -> bool {
        if reply.code != Code::CONTENT {
            return false;
        }
        self.add_etag(reply.options, reply.payload);
        let tag = reply.options.get(OptionNumber::ETAG).or(self.added.get(OptionNumber::ETAG));
        tag.is_some_and(|tag| exchange.etags.contain(tag))
    }

    /// 2.03 (RFC 7252 section 5.9.1.3): the peer's representation is still fresh, and for how long.
    fn valid<'a>(&mut self, reply: &Reply<'_>) -> Slice<'a> {
        if let Some(tag) = reply.options.get(OptionNumber::ETAG) {
            self.added.push(OptionNumber::ETAG, tag);
        }
        if let Some(seconds) = reply.options.uint(OptionNumber::MAX_AGE) {
            self.added.push_uint(OptionNumber::MAX_AGE, seconds);
        }
        Slice { code: Code::VALID, payload: b"", keeps_options: false }
    }

    /// RFC 7641 section 3.1: only a success carries the sequence; an error ends it.
    fn add_observe(&mut self, id: ObserverId, (code, options): (Code, &OptionList)) {
        match self.observers.get(id) {
            Some(observer) if code.class() == 2 => {
                observer.takes(options.uint(OptionNumber::CONTENT_FORMAT));
                let (first, peer) = (observer.first, observer.peer);
                self.added.push_uint(OptionNumber::OBSERVE, first);
                self.hear(peer);
            }
            _ => self.end(id, GoneReason::Error),
        }
    }

    /// RFC 7967 section 2: a confirmable request is acknowledged all the same.
    fn reply_nothing(&mut self, exchange: &Exchange) {
        if exchange.confirmable && !exchange.accepted {
            let mut exchange = *exchange;
            self.accept(&mut exchange);
        }
    }

    /// The block of the body that was asked for, or all of it; the options that say so
    /// are added. A small block is the cheapest proof against amplification: what
    /// follows is asked for by whoever received it.
    fn slice<'a>(&mut self, now_ms: u64, exchange: &Exchange, (reply, bound): (&Reply<'a>, usize)) -> Slice<'a> {
        let whole = Slice { code: reply.code, payload: reply.payload, keeps_options: true };
        let room = self.room_for(exchange.peer, bound, reply.options);
        let cut = self.cut(exchange.peer, wish(exchange.block2), room);
        let offset = exchange.block2.filter(|_| reply.code.class() == 2).map_or(0, Block::offset);
        if room < 16 && !reply.payload.is_empty() {
            return match exchange.transport {
                Transport::Datagram => self.challenge(now_ms, exchange, reply.observer),
                Transport::Tcp | Transport::WebSocket => {
                    self.instead(reply.observer, (Code::INTERNAL_SERVER_ERROR, b""))
                }
            };
        }
        if offset > 0 && offset >= reply.payload.len() {
            return self.instead(reply.observer, (Code::BAD_REQUEST, b"no such block"));
        }
        if offset == 0 && reply.payload.len() <= cut.whole {
            return whole;
        }
        let is_able = |stream: &StreamPeer| stream.is_blockwise || exchange.block2.is_some();
        if !self.streams.get(&exchange.peer).is_none_or(is_able) {
            return self.instead(reply.observer, (Code::INTERNAL_SERVER_ERROR, b"longer than Max-Message-Size"));
        }
        let end = (offset + cut.bytes).min(reply.payload.len());
        let block = Block { num: 0, more: end < reply.payload.len(), szx: cut.szx };
        let block = Block { num: (offset / block.size()) as u32, ..block };
        self.added.push_uint(OptionNumber::BLOCK2, block.to_uint());
        if offset == 0 {
            self.added.push_uint(OptionNumber::SIZE2, reply.payload.len() as u32);
        }
        if !exchange.proven {
            let value = self.echo.value(now_ms, exchange.peer);
            self.added.push(OptionNumber::ECHO, &value);
        }
        Slice { code: reply.code, payload: &reply.payload[offset..end], keeps_options: true }
    }

    /// 4.01 with Echo (RFC 9175 section 2.3): come again with this.
    fn challenge<'a>(&mut self, now_ms: u64, exchange: &Exchange, observer: Option<ObserverId>) -> Slice<'a> {
        let slice = self.instead(observer, (Code::UNAUTHORIZED, b""));
        let value = self.echo.value(now_ms, exchange.peer);
        self.added.push(OptionNumber::ECHO, &value);
        slice
    }

    /// An error in place of an answer, which ends the observation that it would have begun.
    fn instead<'a>(&mut self, observer: Option<ObserverId>, (code, payload): (Code, &'a [u8])) -> Slice<'a> {
        self.added.clear();
        if let Some(observer) = observer {
            self.end(observer, GoneReason::Error);
        }
        Slice { code, payload, keeps_options: false }
    }

    /// Names a representation, so that a change between its blocks is noticed and what a
    /// peer has already need not be sent again; one that has a name keeps it.
    pub(crate) fn add_etag(&mut self, options: &OptionList, payload: &[u8]) {
        if !options.contains(OptionNumber::ETAG) {
            let format = options.uint(OptionNumber::CONTENT_FORMAT).and_then(|format| u16::try_from(format).ok());
            self.added.push(OptionNumber::ETAG, &etag(format, payload));
        }
    }

    fn send(&mut self, now_ms: u64, exchange: &Exchange, (slice, options): (&Slice<'_>, &OptionList)) {
        let none = OptionList::new();
        let options = if slice.keeps_options { options } else { &none };
        if exchange.transport != Transport::Datagram {
            let head = (exchange.transport, slice.code, exchange.token);
            let added = &self.added;
            self.outbox.queue(exchange.peer, |out| encode_frame(out, head, [options, added], slice.payload));
            return;
        }
        let piggyback = exchange.confirmable && !exchange.accepted;
        let separate = exchange.confirmable && exchange.accepted && exchange.proven && self.peers.len() < MAX_PEERS;
        let (kind, message_id) = match (piggyback, separate) {
            (true, _) => (Type::Acknowledgement, exchange.message_id),
            (_, true) => (Type::Confirmable, self.peers.ids.take(exchange.peer)),
            _ => (Type::NonConfirmable, self.peers.ids.take(exchange.peer)),
        };
        let head = Head { kind, code: slice.code, message_id, token: exchange.token };
        let added = &self.added;
        if separate {
            let mut bytes = Vec::new();
            encode(&mut bytes, &head, [options, added], slice.payload);
            return self.send_separate(
                now_ms,
                exchange,
                Confirmable { message_id, owner: None, bytes, counts: true, at_ms: now_ms },
            );
        }
        let sent = self.outbox.queue(exchange.peer, |out| encode(out, &head, [options, added], slice.payload));
        if piggyback {
            self.dedup.answer(now_ms, exchange.place, sent);
        }
    }

    fn send_separate(&mut self, now_ms: u64, exchange: &Exchange, message: Confirmable) {
        let bytes = message.bytes.clone();
        if self.peers.push(now_ms, (exchange.peer, message)) == Pushed::Send {
            self.outbox.queue(exchange.peer, |out| out.extend_from_slice(&bytes));
        }
    }
}

/// The greatest block that a peer asked for; without one the greatest that there is.
pub(crate) fn wish(asked: Option<Block>) -> u8 {
    asked.map_or(Block::BERT, |block| block.szx)
}

/// Bytes that are left for a payload within a bound.
pub(crate) fn room(bound: usize, options: &OptionList) -> usize {
    bound.saturating_sub(OVERHEAD + options.encoded_max())
}
