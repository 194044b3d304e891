//! Peers on streams (RFC 8323): capabilities, signals, and what waits for one that does
//! not read. No de-duplication, no retransmission, no proof of an address: TCP has them.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::etag::Etags;
use crate::reply::room;
use crate::{
    Arrival, Block, Code, Endpoint, Event, Exchange, GoneReason, Handled, Message, Notified, Observe, ObserverId,
    OptionList, OptionNumber, Token, Transport, encode_frame,
};

/// Longest message that we take, bytes; announced in our CSM.
pub const STREAM_MESSAGE_MAX: usize = 32 << 10;
/// What a peer takes that has announced nothing (section 5.3.1).
const MAX_MESSAGE_DEFAULT: usize = 1_152;
/// Notifications that wait for a peer that does not read; then the oldest goes.
const HELD_MAX: usize = 64;

/// Options of signals; each signal has numbers of its own (section 5.2).
mod signal {
    pub(super) const MAX_MESSAGE_SIZE: u16 = 2;
    pub(super) const BLOCK_WISE_TRANSFER: u16 = 4;
    pub(super) const CUSTODY: u16 = 2;
    pub(super) const BAD_CSM_OPTION: u16 = 2;
}

/// One connection.
#[derive(Debug)]
pub(crate) struct StreamPeer {
    pub(crate) transport: Transport,
    /// Longest message that it takes.
    pub(crate) max_message: usize,
    /// Whether it knows Block1 and Block2, with BERT where its messages are long enough.
    pub(crate) is_blockwise: bool,
    has_csm: bool,
    is_leaving: bool,
    /// It does not read: notifications wait in `held`.
    pub(crate) is_congested: bool,
    held: VecDeque<(ObserverId, Vec<u8>)>,
}

impl StreamPeer {
    /// Keeps a notification until the peer reads again. `conflate`: in place of an older
    /// one of the same observation.
    pub(crate) fn hold(&mut self, (owner, frame): (ObserverId, Vec<u8>), conflate: bool) -> Notified {
        if let Some((_, older)) = self.held.iter_mut().find(|(own, _)| conflate && *own == owner) {
            *older = frame;
            return Notified::Replaced;
        }
        let full = self.held.len() >= HELD_MAX;
        if full {
            self.held.pop_front();
        }
        self.held.push_back((owner, frame));
        if full { Notified::Replaced } else { Notified::Queued }
    }
}

/// How a body is cut: the exponent that is named, and bytes a message.
pub(crate) struct Cut {
    pub(crate) szx: u8,
    pub(crate) bytes: usize,
    /// Longest body that need not be cut.
    pub(crate) whole: usize,
}

impl Endpoint {
    /// A connection has come. Our CSM is the first that it hears (section 5.3).
    pub fn open_stream(&mut self, peer: SocketAddr, transport: Transport) {
        let stream = StreamPeer {
            transport,
            max_message: MAX_MESSAGE_DEFAULT,
            is_blockwise: false,
            has_csm: false,
            is_leaving: false,
            is_congested: false,
            held: VecDeque::new(),
        };
        self.streams.insert(peer, stream);
        let mut options = OptionList::new();
        options.push_uint(signal::MAX_MESSAGE_SIZE, STREAM_MESSAGE_MAX as u32).push(signal::BLOCK_WISE_TRANSFER, b"");
        self.signal(peer, (Code::CSM, Token::default()), &options, b"");
    }

    /// A peer whose messages come within those of a connection, `wrapped` in so many bytes each: it
    /// takes and leaves as that does. To be called with each of its requests.
    pub fn open_within(&mut self, peer: SocketAddr, connection: SocketAddr, wrapped: usize) {
        let Some(outer) = self.streams.get(&connection) else { return };
        let mut inner = StreamPeer {
            transport: outer.transport,
            max_message: outer.max_message.saturating_sub(wrapped),
            is_blockwise: outer.is_blockwise,
            has_csm: true,
            is_leaving: outer.is_leaving,
            is_congested: outer.is_congested,
            held: VecDeque::new(),
        };
        if let Some(before) = self.streams.get_mut(&peer) {
            inner.held = std::mem::take(&mut before.held);
        }
        self.streams.insert(peer, inner);
    }

    /// A connection is gone, and with it what it observed (RFC 8323 section 7.4).
    pub fn close_stream(&mut self, peer: SocketAddr) {
        if self.streams.remove(&peer).is_some() {
            self.forget_peer(peer);
        }
    }

    /// Ends what a peer observes that is known to be gone.
    pub fn forget_peer(&mut self, peer: SocketAddr) {
        let observed = self.peers.get(peer).map(|peer| peer.observers.clone()).unwrap_or_default();
        observed.into_iter().for_each(|observer| self.end(observer, GoneReason::Timeout));
    }

    /// Takes a message as the stream carries it, whole.
    pub fn handle_frame<'a>(&mut self, arrival: &Arrival, frame: &'a [u8]) -> Event<'a> {
        let peer = arrival.peer;
        let Some(stream) = self.streams.get(&peer) else { return Event::Closing };
        let message = match Message::decode_as(stream.transport, frame, self.config.limits.coap_options) {
            Ok(message) => message,
            Err(malformed) => return self.abort(peer, None, malformed.what),
        };
        if !stream.has_csm && message.code != Code::CSM {
            return self.abort(peer, None, "a CSM comes first");
        }
        match message.code {
            code if code.class() == 7 => self.handle_signal(peer, &message),
            code if code.is_request() => self.handle_stream_request(arrival, (message, frame.len())),
            // Section 3.4: an empty message is ignored, and nothing of ours is answered.
            _ => Event::Handled(Handled::Ignored("not a request")),
        }
    }

    fn handle_stream_request<'a>(&mut self, arrival: &Arrival, (message, len): (Message<'a>, usize)) -> Event<'a> {
        let Some(stream) = self.streams.get(&arrival.peer) else { return Event::Closing };
        let is_leaving = stream.is_leaving;
        let mut exchange = Exchange {
            peer: arrival.peer,
            token: message.token,
            method: message.code,
            observe: Observe::No,
            transport: stream.transport,
            confirmable: true,
            proven: true,
            message_id: 0,
            accepted: false,
            request_len: len as u32,
            block1: None,
            block2: None,
            unwanted: message.uint(OptionNumber::NO_RESPONSE).unwrap_or(0) as u8,
            accept: message.accept(),
            if_none_match: message.option(OptionNumber::IF_NONE_MATCH).is_some(),
            etags: Etags::of(&message),
            place: crate::dedup::DedupRef::NONE,
        };
        match self.check_request(&mut exchange, &message, len) {
            None if is_leaving => self.refuse(arrival.now_ms, &exchange, Code::SERVICE_UNAVAILABLE),
            None => self.take_request(arrival, exchange, message),
            Some(code) => self.refuse(arrival.now_ms, &exchange, code),
        }
    }

    fn handle_signal(&mut self, peer: SocketAddr, message: &Message<'_>) -> Event<'static> {
        let known: &[u16] = match message.code {
            Code::CSM => &[signal::MAX_MESSAGE_SIZE, signal::BLOCK_WISE_TRANSFER],
            Code::PING | Code::PONG => &[signal::CUSTODY],
            _ => &[],
        };
        // Section 5.2: an odd number is critical here too.
        let unknown = message.options().find(|option| option.is_critical() && !known.contains(&option.number));
        if let Some(option) = unknown {
            let at_fault = (message.code == Code::CSM).then_some(option.number);
            return self.abort(peer, at_fault, "critical option that is not understood");
        }
        match message.code {
            Code::CSM => {
                let Some(stream) = self.streams.get_mut(&peer) else { return Event::Closing };
                stream.has_csm = true;
                if let Some(size) = message.uint(signal::MAX_MESSAGE_SIZE) {
                    stream.max_message = size as usize;
                }
                stream.is_blockwise |= message.option(signal::BLOCK_WISE_TRANSFER).is_some();
                Event::Handled(Handled::Signal)
            }
            Code::PING => {
                // All that came before has been taken: custody is the order of things.
                let mut options = OptionList::new();
                if message.option(signal::CUSTODY).is_some() {
                    options.push(signal::CUSTODY, b"");
                }
                self.signal(peer, (Code::PONG, message.token), &options, b"");
                Event::Handled(Handled::Ping)
            }
            Code::PONG => Event::Handled(Handled::Signal),
            // Section 5.5: what it has asked before is answered first.
            Code::RELEASE => {
                let Some(stream) = self.streams.get_mut(&peer) else { return Event::Closing };
                stream.is_leaving = true;
                Event::Handled(Handled::Signal)
            }
            Code::ABORT => Event::Closing,
            _ => self.abort(peer, None, "unknown signal"),
        }
    }

    /// Section 5.6: says why, and that nothing more comes.
    fn abort(&mut self, peer: SocketAddr, csm_option: Option<u16>, what: &'static str) -> Event<'static> {
        let mut options = OptionList::new();
        if let Some(number) = csm_option {
            options.push_uint(signal::BAD_CSM_OPTION, u32::from(number));
        }
        self.signal(peer, (Code::ABORT, Token::default()), &options, what.as_bytes());
        Event::Closing
    }

    /// Aborts a connection whose bytes cannot be taken apart.
    pub fn abort_stream(&mut self, peer: SocketAddr, what: &'static str) {
        self.abort(peer, None, what);
    }

    /// Asks a silent peer whether it is there (section 5.4).
    pub fn ping_stream(&mut self, peer: SocketAddr) {
        self.signal(peer, (Code::PING, Token::default()), &OptionList::new(), b"");
    }

    /// Asks a peer to leave (section 5.5): what is under way is answered, what comes gets 5.03.
    pub fn release_stream(&mut self, peer: SocketAddr) {
        if let Some(stream) = self.streams.get_mut(&peer) {
            stream.is_leaving = true;
            self.signal(peer, (Code::RELEASE, Token::default()), &OptionList::new(), b"");
        }
    }

    /// Whether a peer wants to leave, or was asked to.
    pub fn is_leaving(&self, peer: SocketAddr) -> bool {
        self.streams.get(&peer).is_some_and(|stream| stream.is_leaving)
    }

    /// A peer does not read: its notifications wait, of each observation the newest.
    pub fn hold_stream(&mut self, peer: SocketAddr) {
        if let Some(stream) = self.streams.get_mut(&peer) {
            stream.is_congested = true;
        }
    }

    /// A peer reads again.
    pub fn resume_stream(&mut self, peer: SocketAddr) {
        let Some(stream) = self.streams.get_mut(&peer) else { return };
        stream.is_congested = false;
        for (_, frame) in std::mem::take(&mut stream.held) {
            self.outbox.queue(peer, |out| out.extend_from_slice(&frame));
        }
    }

    fn signal(&mut self, peer: SocketAddr, (code, token): (Code, Token), options: &OptionList, payload: &[u8]) {
        let Some(stream) = self.streams.get(&peer) else { return };
        let head = (stream.transport, code, token);
        self.outbox.queue(peer, |out| encode_frame(out, head, [options, &OptionList::new()], payload));
    }

    /// How a body for `peer` is cut, whose greatest block is `2^(wish + 4)` bytes; 7: it
    /// named none, or wants several blocks a message (BERT, section 6).
    pub(crate) fn cut(&self, peer: SocketAddr, wish: u8, room: usize) -> Cut {
        let stream = self.streams.get(&peer);
        // Section 6: who takes no longer messages than the least has said nothing of BERT.
        let takes_bert = stream.is_some_and(|stream| stream.max_message > MAX_MESSAGE_DEFAULT);
        let is_stream = stream.is_some();
        if takes_bert && wish == Block::BERT && room >= 1_024 {
            return Cut { szx: Block::BERT, bytes: room & !1_023, whole: room };
        }
        let own = if is_stream { 6 } else { Block::szx_for(self.config.max_block) };
        let szx = wish.min(own).min(Block::szx_for(room));
        let bytes = 16 << szx;
        Cut { szx, bytes, whole: if is_stream && wish == Block::BERT { room } else { bytes } }
    }

    /// Bytes that a payload for a peer may have, beside `options`. `bound`: of a datagram.
    pub(crate) fn room_for(&self, peer: SocketAddr, bound: usize, options: &OptionList) -> usize {
        room(self.streams.get(&peer).map_or(bound, |stream| stream.max_message), options)
    }
}
