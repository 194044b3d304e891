//! Our own confirmable messages: one in flight per peer (NSTART, RFC 7252 section
//! 4.7), sent again with doubled waits, the others queued behind it. Only peers that
//! observe or wait for a separate response have an entry.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::RandomState;
use std::net::SocketAddr;

use smallvec::SmallVec;

use crate::exchange::UNPROVEN_BYTES;
use crate::message_ids::MessageIds;
use crate::waiting::{Queue, Queued};
use crate::{ObserverId, Sleep};

/// A confirmable message, encoded.
#[derive(Clone, Debug)]
pub(crate) struct Confirmable {
    pub(crate) message_id: u16,
    /// The observation it notifies; `None`: a separate response.
    pub(crate) owner: Option<ObserverId>,
    pub(crate) bytes: Vec<u8>,
    /// It is not to be missed, as a state is that a newer one follows.
    pub(crate) counts: bool,
    /// When it was made.
    pub(crate) at_ms: u64,
}

#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) message: Confirmable,
    tries: u32,
    wait_ms: u64,
    due: u64,
}

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) observers: SmallVec<[ObserverId; 2]>,
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) queue: Queue,
    /// It is known to be where it says, so that it may be waited for.
    pub(crate) proven: bool,
    /// Until when it is waited for; it has fallen silent.
    pub(crate) asleep_until: Option<u64>,
    /// When its entry of the heap is due; any other entry of this peer is stale.
    pub(crate) timer: Option<u64>,
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
    /// There is no room.
    Refused,
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
    pub(crate) map: HashMap<SocketAddr, Peer, foldhash::fast::RandomState>,
    pub(crate) ids: MessageIds,
    pub(crate) timers: BinaryHeap<Reverse<(u64, SocketAddr)>>,
    ack_timeout_ms: u64,
    max_retransmit: u32,
    pub(crate) sleep: Sleep,
    /// Peers that sleep, and the bytes that wait for all peers.
    pub(crate) asleep: usize,
    pub(crate) waiting_bytes: usize,
    /// Notifications that will reach nobody.
    pub(crate) lost: usize,
    random: u64,
}

impl Peers {
    /// Times that hold for what is sent from now on.
    pub(crate) fn configure(&mut self, (ack_timeout_ms, max_retransmit): (u64, u32), sleep: Sleep) {
        self.ack_timeout_ms = ack_timeout_ms.max(1);
        (self.max_retransmit, self.sleep) = (max_retransmit, sleep);
    }

    pub(crate) fn new(
        (ack_timeout_ms, max_retransmit): (u64, u32),
        sleep: Sleep,
        (secret, seed): (RandomState, u64),
    ) -> Self {
        Peers {
            ids: MessageIds::new(secret, seed),
            sleep,
            asleep: 0,
            waiting_bytes: 0,
            lost: 0,
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

    /// The entry of a peer.
    pub(crate) fn entry(&mut self, peer: SocketAddr) -> &mut Peer {
        self.map.entry(peer).or_insert_with(|| Peer {
            observers: SmallVec::new(),
            in_flight: None,
            queue: Queue::default(),
            proven: false,
            asleep_until: None,
            timer: None,
        })
    }

    /// Takes a confirmable message.
    pub(crate) fn push(&mut self, now_ms: u64, (to, message): (SocketAddr, Confirmable)) -> Pushed {
        let (sleep, total) = (self.sleep, self.waiting_bytes);
        let peer = self.entry(to);
        if peer.in_flight.is_none() && peer.asleep_until.is_none() {
            self.start(now_ms, to, message);
            return Pushed::Send;
        }
        let before = peer.queue.bytes;
        let queued = peer.queue.push(message, (&sleep, total));
        let after = peer.queue.bytes;
        self.waiting_bytes = total + after - before;
        match queued {
            Queued::Kept => Pushed::Queued,
            Queued::Replaced => Pushed::Replaced,
            Queued::Refused => Pushed::Refused,
        }
    }

    /// Whether that message is in flight.
    pub(crate) fn awaits(&self, to: SocketAddr, message_id: u16) -> bool {
        let in_flight = self.map.get(&to).and_then(|peer| peer.in_flight.as_ref());
        in_flight.is_some_and(|flight| flight.message.message_id == message_id)
    }

    /// Whether messages of this owner wait, behind which a newer one has to go.
    pub(crate) fn is_waiting(&self, to: SocketAddr, owner: ObserverId) -> bool {
        let waits =
            |peer: &Peer| peer.asleep_until.is_some() || peer.queue.iter().any(|queued| queued.owner == Some(owner));
        self.map.get(&to).is_some_and(waits)
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
        peer.proven = true;
        let next = self.start_next(now_ms, from);
        Some((settled.message, next))
    }

    /// Begins with what waits; its bytes.
    pub(crate) fn start_next(&mut self, now_ms: u64, to: SocketAddr) -> Option<Vec<u8>> {
        let peer = self.map.get_mut(&to)?;
        let before = peer.queue.bytes;
        let lost = &mut self.lost;
        let next = std::iter::from_fn(|| peer.queue.pop()).find_map(|next| {
            let aged = next.aged(now_ms);
            *lost += usize::from(aged.is_none());
            aged
        });
        self.waiting_bytes -= before - peer.queue.bytes;
        let bytes = next.as_ref().map(|next| next.bytes.clone());
        match next {
            Some(next) => self.start(now_ms, to, next),
            None => self.forget_idle(to),
        }
        bytes
    }

    /// Takes an observation and what it still wanted to say off a peer.
    pub(crate) fn detach(&mut self, from: SocketAddr, observer: ObserverId) {
        let Some(peer) = self.map.get_mut(&from) else { return };
        peer.observers.retain(|own| *own != observer);
        let before = peer.queue.bytes;
        peer.queue.retain(|queued| queued.owner != Some(observer));
        self.waiting_bytes -= before - peer.queue.bytes;
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
            if peer.asleep_until.is_some_and(|until| until <= now_ms) {
                return self.give_up(to);
            }
            let Some(flight) = &mut peer.in_flight else { continue };
            let over = flight.due <= now_ms;
            if over && flight.tries >= self.max_retransmit {
                if self.fall_asleep(now_ms, to) {
                    continue;
                }
                return self.give_up(to);
            }
            if over {
                flight.tries += 1;
                flight.wait_ms *= 2;
                flight.due = now_ms + flight.wait_ms;
            }
            peer.timer = Some(flight.due);
            self.timers.push(Reverse((flight.due, to)));
            let bytes = &flight.message.bytes;
            if over && (peer.proven || bytes.len() * (flight.tries as usize + 1) <= UNPROVEN_BYTES) {
                return Some(Due::Again(to, bytes.clone()));
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

    pub(crate) fn give_up(&mut self, to: SocketAddr) -> Option<Due> {
        let peer = self.map.remove(&to)?;
        self.asleep -= usize::from(peer.asleep_until.is_some());
        self.waiting_bytes -= peer.queue.bytes;
        let waited = peer.in_flight.iter().map(|flight| &flight.message).chain(peer.queue.iter());
        self.lost += waited.filter(|message| message.owner.is_some()).count();
        Some(Due::GivenUp(peer.observers))
    }

    fn forget_idle(&mut self, peer: SocketAddr) {
        let idle = |peer: &Peer| peer.in_flight.is_none() && peer.queue.len() == 0 && peer.observers.is_empty();
        if self.map.get(&peer).is_some_and(idle) {
            self.give_up(peer);
        }
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_not_proven_gets_256_bytes_of_a_message_that_nobody_acknowledges() {
        for (len, is_proven, sent) in
            [(51, false, 5), (52, false, 4), (129, false, 1), (256, false, 1), (1_000, true, 5)]
        {
            let mut peers = Peers::new((2_000, 4), Sleep::default(), (RandomState::new(), 7));
            let to = SocketAddr::from(([192, 0, 2, 1], 5_683));
            peers.entry(to).proven = is_proven;
            let message = Confirmable { message_id: 1, owner: None, bytes: vec![0; len], counts: false, at_ms: 0 };
            assert_eq!(peers.push(0, (to, message)), Pushed::Send);
            let mut times = 1;
            let mut now = 0;
            while let Some(due) = peers.next_timeout() {
                now = now.max(due);
                match peers.poll_due(now) {
                    Some(Due::Again(..)) => times += 1,
                    Some(Due::GivenUp(_)) => break,
                    None => {}
                }
            }
            // Given up as late as anybody.
            assert!(now >= 2_000 * 31, "{now}");
            assert_eq!(times, sent, "{len} bytes");
        }
    }
}
