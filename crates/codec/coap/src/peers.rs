//! Our own confirmable messages: one in flight per peer (NSTART, RFC 7252 section
//! 4.7), sent again with doubled waits, the others queued behind it. Only peers that
//! observe or wait for a separate response have an entry.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use crate::ObserverId;

/// Messages that wait behind the one in flight of a peer.
const QUEUE_MAX: usize = 16;

/// A confirmable message, encoded.
#[derive(Clone, Debug)]
pub(crate) struct Confirmable {
    pub(crate) message_id: u16,
    /// The observation it notifies; `None`: a separate response.
    pub(crate) owner: Option<ObserverId>,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug)]
struct InFlight {
    message: Confirmable,
    tries: u32,
    wait_ms: u64,
    due: u64,
}

#[derive(Debug)]
pub(crate) struct Peer {
    next_id: u16,
    pub(crate) observers: SmallVec<[ObserverId; 2]>,
    in_flight: Option<InFlight>,
    queue: VecDeque<Confirmable>,
    /// When its entry of the heap is due; any other entry of this peer is stale.
    timer: Option<u64>,
}

impl Peer {
    /// The next message id.
    pub(crate) fn take_id(&mut self) -> u16 {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        id
    }
}

/// What became of a confirmable message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pushed {
    /// It is to be sent now.
    Send,
    /// It waits.
    Queued,
    /// It waits in place of an older one, which is dropped.
    Replaced,
}

/// What a timer asks for.
#[derive(Debug)]
pub(crate) enum Due {
    /// Send this again.
    Again(SocketAddr, Vec<u8>),
    /// The peer is given up; these observed.
    GivenUp(SmallVec<[ObserverId; 2]>),
}

#[derive(Debug)]
pub(crate) struct Peers {
    map: HashMap<SocketAddr, Peer, RandomState>,
    timers: BinaryHeap<Reverse<(u64, SocketAddr)>>,
    ack_timeout_ms: u64,
    max_retransmit: u32,
    random: u64,
}

impl Peers {
    pub(crate) fn new(ack_timeout_ms: u64, max_retransmit: u32, seed: u64) -> Self {
        Peers {
            map: HashMap::default(),
            timers: BinaryHeap::new(),
            ack_timeout_ms: ack_timeout_ms.max(1),
            max_retransmit,
            random: seed | 1,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn get(&self, peer: SocketAddr) -> Option<&Peer> {
        self.map.get(&peer)
    }

    /// The entry of a peer; a new one begins at a random message id (section 4.4).
    pub(crate) fn entry(&mut self, peer: SocketAddr) -> &mut Peer {
        let next_id = self.random() as u16;
        self.map.entry(peer).or_insert_with(|| Peer {
            next_id,
            observers: SmallVec::new(),
            in_flight: None,
            queue: VecDeque::new(),
            timer: None,
        })
    }

    /// Takes a confirmable message. `conflate`: it replaces one of its owner that waits.
    pub(crate) fn push(&mut self, now_ms: u64, (to, message): (SocketAddr, Confirmable), conflate: bool) -> Pushed {
        let peer = self.entry(to);
        if peer.in_flight.is_none() {
            self.start(now_ms, to, message);
            return Pushed::Send;
        }
        let older = peer.queue.iter_mut().find(|queued| conflate && queued.owner == message.owner);
        if let Some(older) = older {
            *older = message;
            return Pushed::Replaced;
        }
        let full = peer.queue.len() >= QUEUE_MAX;
        if full {
            peer.queue.pop_front();
        }
        peer.queue.push_back(message);
        if full { Pushed::Replaced } else { Pushed::Queued }
    }

    /// Whether that message is in flight.
    pub(crate) fn awaits(&self, to: SocketAddr, message_id: u16) -> bool {
        let in_flight = self.map.get(&to).and_then(|peer| peer.in_flight.as_ref());
        in_flight.is_some_and(|flight| flight.message.message_id == message_id)
    }

    /// Whether messages of this owner wait, behind which a newer one has to go.
    pub(crate) fn is_waiting(&self, to: SocketAddr, owner: ObserverId) -> bool {
        self.map.get(&to).is_some_and(|peer| peer.queue.iter().any(|queued| queued.owner == Some(owner)))
    }

    /// Takes an acknowledgement or reset: the message in flight, if it names it, and
    /// the next one to send.
    pub(crate) fn settle(
        &mut self,
        now_ms: u64,
        from: SocketAddr,
        message_id: u16,
    ) -> Option<(Confirmable, Option<Vec<u8>>)> {
        let peer = self.map.get_mut(&from)?;
        let settled = peer.in_flight.take_if(|flight| flight.message.message_id == message_id)?;
        let next = peer.queue.pop_front();
        let bytes = next.as_ref().map(|next| next.bytes.clone());
        match next {
            Some(next) => self.start(now_ms, from, next),
            None => self.forget_idle(from),
        }
        Some((settled.message, bytes))
    }

    /// Takes an observation and what it still wanted to say off a peer.
    pub(crate) fn detach(&mut self, from: SocketAddr, observer: ObserverId) {
        let Some(peer) = self.map.get_mut(&from) else { return };
        peer.observers.retain(|own| *own != observer);
        peer.queue.retain(|queued| queued.owner != Some(observer));
        self.forget_idle(from);
    }

    pub(crate) fn next_timeout(&self) -> Option<u64> {
        self.timers.peek().map(|Reverse((due, _))| *due)
    }

    /// The next thing that is due, if any is.
    pub(crate) fn poll_due(&mut self, now_ms: u64) -> Option<Due> {
        while let Some(Reverse((due, to))) = self.pop_due(now_ms) {
            let Some(peer) = self.map.get_mut(&to).filter(|peer| peer.timer == Some(due)) else { continue };
            peer.timer = None;
            let Some(flight) = &mut peer.in_flight else { continue };
            let over = flight.due <= now_ms;
            if over && flight.tries >= self.max_retransmit {
                return self.map.remove(&to).map(|peer| Due::GivenUp(peer.observers));
            }
            if over {
                flight.tries += 1;
                flight.wait_ms *= 2;
                flight.due = now_ms + flight.wait_ms;
            }
            peer.timer = Some(flight.due);
            self.timers.push(Reverse((flight.due, to)));
            if over {
                return Some(Due::Again(to, flight.message.bytes.clone()));
            }
        }
        None
    }

    fn pop_due(&mut self, now_ms: u64) -> Option<Reverse<(u64, SocketAddr)>> {
        let due = self.next_timeout().is_some_and(|due| due <= now_ms);
        due.then(|| self.timers.pop()).flatten()
    }

    /// The first wait is uniform between ACK_TIMEOUT and 1.5 times it (section 4.2).
    fn start(&mut self, now_ms: u64, to: SocketAddr, message: Confirmable) {
        let wait_ms = self.ack_timeout_ms + self.random() % (self.ack_timeout_ms / 2 + 1);
        let due = now_ms + wait_ms;
        let peer = self.entry(to);
        peer.in_flight = Some(InFlight { message, tries: 0, wait_ms, due });
        if peer.timer.is_none() {
            peer.timer = Some(due);
            self.timers.push(Reverse((due, to)));
        }
    }

    fn forget_idle(&mut self, peer: SocketAddr) {
        let idle = |peer: &Peer| peer.in_flight.is_none() && peer.queue.is_empty() && peer.observers.is_empty();
        if self.map.get(&peer).is_some_and(idle) {
            self.map.remove(&peer);
        }
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }
}
