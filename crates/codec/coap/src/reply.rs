//! What the endpoint sends on the driver's behalf: responses, piggybacked or separate,
//! notifications of observers, and the blocks of bodies that are too large for one
//! datagram or for an address that is not proven.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::SocketAddr;

use crate::observers::Observer;
use crate::peers::{Confirmable, Pushed};
use crate::{
    Block, Code, Endpoint, Exchange, GoneReason, Head, ObserverId, OptionList, OptionNumber, Type, encode, encode_empty,
};

/// An observer that is silent for that long is asked to confirm: more often than the
/// 24 hours of RFC 7641 section 4.5, so that those who left are noticed.
const CONFIRM_EVERY_MS: u64 = 300_000;
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

/// A new state for an observer.
#[derive(Clone, Copy, Debug)]
pub struct Notification<'a> {
    /// 2.05, or the error that ends the observation.
    pub code: Code,
    /// Its options, without those of the message layer.
    pub options: &'a OptionList,
    /// The whole body.
    pub payload: &'a [u8],
    /// Whether it is to be acknowledged: at least once.
    pub confirmable: bool,
}

/// What became of a notification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notified {
    /// It is in the outbox.
    Sent,
    /// It waits for an acknowledgement of an earlier one.
    Queued,
    /// The same, and an older one that waited was dropped: count it.
    Replaced,
    /// There is no such observation any more.
    Gone,
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
        if exchange.confirmable && !exchange.accepted {
            exchange.accepted = true;
            self.dedup.accept(exchange.place);
            let message_id = exchange.message_id;
            self.outbox.queue(exchange.peer, |out| encode_empty(out, Type::Acknowledgement, message_id));
        }
    }

    /// Makes an observation for a request that asked for one. `conflate`: only the
    /// newest state matters, as it does for a single topic. `None`: there are too many;
    /// answer without it, which tells the peer so (RFC 7641 section 4.1).
    pub fn observe(&mut self, now_ms: u64, exchange: &Exchange, conflate: bool) -> Option<ObserverId> {
        // RFC 7641 section 4.1: a second registration of a token takes the place of the first.
        if let Some(before) = self.observers.find(exchange.peer, exchange.token) {
            self.end(before, GoneReason::Deregistered);
        }
        let of_peer = self.peers.get(exchange.peer).map_or(0, |peer| peer.observers.len());
        if self.observers.len() >= self.config.max_observers || of_peer >= self.config.max_observers_per_peer {
            return None;
        }
        let observer = Observer {
            peer: exchange.peer,
            token: exchange.token,
            sequence: 1,
            last_id: 0,
            confirmed_at: now_ms,
            proven: exchange.proven,
            conflate,
            szx: self.block_szx(exchange.block2),
        };
        let id = self.observers.insert(observer);
        self.peers.entry(exchange.peer).observers.push(id);
        Some(id)
    }

    /// Ends an observation from our side, in silence.
    pub fn forget(&mut self, observer: ObserverId) {
        if let Some(ended) = self.observers.remove(observer) {
            self.peers.detach(ended.peer, observer);
        }
    }

    /// Answers a request.
    pub fn reply(&mut self, now_ms: u64, exchange: &Exchange, reply: &Reply<'_>) {
        if exchange.is_unwanted(reply.code) {
            return self.reply_nothing(exchange);
        }
        self.added.clear();
        if let Some(observer) = reply.observer {
            self.add_observe(observer, reply.code);
        }
        let bound = exchange.answer_max();
        let slice = self.slice(now_ms, exchange, (reply, bound));
        if let Some(block) = exchange.block1 {
            // RFC 7959 section 2.3: `more` says whether the next one is waited for.
            let more = slice.code == Code::CONTINUE;
            self.added.push_uint(OptionNumber::BLOCK1, Block { more, ..block }.to_uint());
        }
        self.send(now_ms, exchange, (&slice, reply.options));
    }

    /// Tells an observer a new state.
    pub fn notify(&mut self, now_ms: u64, id: ObserverId, notification: &Notification<'_>) -> Notified {
        let Some(observer) = self.observers.get(id) else { return Notified::Gone };
        observer.sequence = observer.sequence.wrapping_add(1) & 0x00ff_ffff;
        let observer = *observer;
        // An address that is not proven gets one message until it acknowledges.
        let silent = now_ms.saturating_sub(observer.confirmed_at) >= CONFIRM_EVERY_MS;
        let waiting = self.peers.is_waiting(observer.peer, id);
        let confirmable = notification.confirmable || !observer.proven || silent || waiting;
        let message = self.encode_notification((id, &observer), notification, confirmable);
        let notified = if confirmable {
            self.push(now_ms, (&observer, message))
        } else {
            self.outbox.queue(observer.peer, |out| out.extend_from_slice(&message.bytes));
            Notified::Sent
        };
        if notification.code.class() != 2 {
            self.end(id, GoneReason::Error);
        }
        notified
    }

    fn push(&mut self, now_ms: u64, (observer, message): (&Observer, Confirmable)) -> Notified {
        let bytes = message.bytes.clone();
        match self.peers.push(now_ms, (observer.peer, message), observer.conflate) {
            Pushed::Queued => Notified::Queued,
            Pushed::Replaced => Notified::Replaced,
            Pushed::Send => {
                self.outbox.queue(observer.peer, |out| out.extend_from_slice(&bytes));
                Notified::Sent
            }
        }
    }

    fn encode_notification(
        &mut self,
        (id, observer): (ObserverId, &Observer),
        notification: &Notification<'_>,
        confirmable: bool,
    ) -> Confirmable {
        self.added.clear();
        let mut payload = notification.payload;
        if notification.code.class() == 2 {
            self.added.push_uint(OptionNumber::OBSERVE, observer.sequence);
            let room = if observer.proven { usize::MAX } else { room(256, notification.options) };
            let szx = observer.szx.min(Block::szx_for(room));
            if payload.len() > 16 << szx {
                self.add_etag(notification.options, payload);
                self.added.push_uint(OptionNumber::BLOCK2, Block { num: 0, more: true, szx }.to_uint());
                self.added.push_uint(OptionNumber::SIZE2, payload.len() as u32);
                payload = &payload[..16 << szx];
            }
        }
        let message_id = self.next_id_for(observer.peer);
        if let Some(observer) = self.observers.get(id) {
            observer.last_id = message_id;
        }
        let kind = if confirmable { Type::Confirmable } else { Type::NonConfirmable };
        let head = Head { kind, code: notification.code, message_id, token: observer.token };
        let mut bytes = Vec::with_capacity(payload.len() + 64);
        encode(&mut bytes, &head, [notification.options, &self.added], payload);
        Confirmable { message_id, owner: Some(id), bytes }
    }

    /// RFC 7641 section 3.1: only a success carries the sequence; an error ends it.
    fn add_observe(&mut self, id: ObserverId, code: Code) {
        match self.observers.get(id) {
            Some(observer) if code.class() == 2 => {
                let sequence = observer.sequence;
                self.added.push_uint(OptionNumber::OBSERVE, sequence);
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
        let room = room(bound, reply.options);
        let szx = self.block_szx(exchange.block2).min(Block::szx_for(room));
        let offset = exchange.block2.filter(|_| reply.code.class() == 2).map_or(0, Block::offset);
        if room < 16 && !reply.payload.is_empty() {
            return self.challenge(now_ms, exchange, reply.observer);
        }
        if offset > 0 && offset >= reply.payload.len() {
            return self.instead(Code::BAD_REQUEST, b"no such block");
        }
        if offset == 0 && reply.payload.len() <= 16 << szx {
            return whole;
        }
        let end = (offset + (16 << szx)).min(reply.payload.len());
        let block = Block { num: (offset >> (szx + 4)) as u32, more: end < reply.payload.len(), szx };
        self.add_etag(reply.options, reply.payload);
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
        let slice = self.instead(Code::UNAUTHORIZED, b"");
        let value = self.echo.value(now_ms, exchange.peer);
        self.added.push(OptionNumber::ECHO, &value);
        if let Some(observer) = observer {
            self.end(observer, GoneReason::Error);
        }
        slice
    }

    fn instead<'a>(&mut self, code: Code, payload: &'a [u8]) -> Slice<'a> {
        self.added.clear();
        Slice { code, payload, keeps_options: false }
    }

    /// Blocks of one body name it, so that a change between them is noticed.
    fn add_etag(&mut self, options: &OptionList, payload: &[u8]) {
        if !options.contains(OptionNumber::ETAG) {
            let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(payload);
            self.added.push(OptionNumber::ETAG, &hash.to_be_bytes()[..4]);
        }
    }

    fn send(&mut self, now_ms: u64, exchange: &Exchange, (slice, options): (&Slice<'_>, &OptionList)) {
        let piggyback = exchange.confirmable && !exchange.accepted;
        let separate = exchange.confirmable && exchange.accepted && exchange.proven && self.peers.len() < MAX_PEERS;
        let (kind, message_id) = match (piggyback, separate) {
            (true, _) => (Type::Acknowledgement, exchange.message_id),
            (_, true) => (Type::Confirmable, self.peers.entry(exchange.peer).take_id()),
            _ => (Type::NonConfirmable, self.next_id_for(exchange.peer)),
        };
        let none = OptionList::new();
        let options = if slice.keeps_options { options } else { &none };
        let head = Head { kind, code: slice.code, message_id, token: exchange.token };
        let added = &self.added;
        if separate {
            let mut bytes = Vec::new();
            encode(&mut bytes, &head, [options, added], slice.payload);
            return self.send_separate(now_ms, exchange, Confirmable { message_id, owner: None, bytes });
        }
        let sent = self.outbox.queue(exchange.peer, |out| encode(out, &head, [options, added], slice.payload));
        if piggyback {
            self.dedup.answer(exchange.place, sent);
        }
    }

    fn send_separate(&mut self, now_ms: u64, exchange: &Exchange, message: Confirmable) {
        let bytes = message.bytes.clone();
        if self.peers.push(now_ms, (exchange.peer, message), false) == Pushed::Send {
            self.outbox.queue(exchange.peer, |out| out.extend_from_slice(&bytes));
        }
    }

    fn next_id_for(&mut self, peer: SocketAddr) -> u16 {
        if self.peers.get(peer).is_some() {
            return self.peers.entry(peer).take_id();
        }
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }

    fn block_szx(&self, asked: Option<Block>) -> u8 {
        let own = Block::szx_for(self.config.max_block);
        asked.map_or(own, |block| block.szx.min(own))
    }
}

/// Bytes that are left for a payload within a bound.
fn room(bound: usize, options: &OptionList) -> usize {
    bound.saturating_sub(OVERHEAD + options.encoded_max())
}
