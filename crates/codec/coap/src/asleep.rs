//! Peers that fall silent while they observe: where they are waited for (`Sleep`), what
//! is for them is kept and nothing is sent, until they are heard again. RFC 7641 section
//! 4.5 lets a server forget such an observer; it need not do so at once.

use std::cmp::Reverse;
use std::net::SocketAddr;

use crate::peers::Peers;
use crate::{Endpoint, GoneReason, ObserverId, Token};

impl Peers {
    /// How many sleep.
    pub(crate) const fn asleep(&self) -> usize {
        self.asleep
    }

    /// A peer has acknowledged nothing: what was in flight waits, too. `false`: it is not
    /// waited for.
    pub(crate) fn fall_asleep(&mut self, now_ms: u64, to: SocketAddr) -> bool {
        let until = now_ms + self.sleep.age_ms;
        let Some(peer) = self.map.get_mut(&to) else { return false };
        if self.sleep.age_ms == 0 || !peer.proven || peer.observers.is_empty() {
            return false;
        }
        let before = peer.queue.bytes;
        if let Some(flight) = peer.in_flight.take() {
            peer.queue.unpop(flight.message);
        }
        // Who asked for a response of its own asks again.
        peer.queue.retain(|queued| queued.owner.is_some());
        self.waiting_bytes = self.waiting_bytes + peer.queue.bytes - before;
        (peer.asleep_until, peer.timer) = (Some(until), Some(until));
        self.asleep += 1;
        self.timers.push(Reverse((until, to)));
        true
    }

    pub(crate) fn is_asleep(&self, peer: SocketAddr) -> bool {
        self.map.get(&peer).is_some_and(|peer| peer.asleep_until.is_some())
    }

    /// Hands what waits for one observation to another of its peer, with the token of that
    /// and numbers behind `sequence`; it goes on to wait. The last number.
    fn adopt(&mut self, now_ms: u64, to: SocketAddr, (before, after): (ObserverId, (ObserverId, Token, u32))) -> u32 {
        let (id, token, mut sequence) = after;
        let Some(peer) = self.map.get_mut(&to) else { return sequence };
        let before_bytes = peer.queue.bytes;
        if let Some(flight) = peer.in_flight.take_if(|flight| flight.message.owner == Some(before)) {
            peer.queue.unpop(flight.message);
        }
        let mut waiting = std::mem::take(&mut peer.queue);
        while let Some(mut message) = waiting.pop() {
            if message.owner == Some(before) {
                sequence = sequence.wrapping_add(1) & 0x00ff_ffff;
                message.owner = Some(id);
                message.message_id = self.ids.take(to);
                message.readdress(token, sequence);
            }
            peer.queue.append(message);
        }
        self.waiting_bytes = self.waiting_bytes + peer.queue.bytes - before_bytes;
        if peer.in_flight.is_none() && peer.queue.len() > 0 && peer.asleep_until.is_none() {
            let until = now_ms + self.sleep.age_ms;
            (peer.asleep_until, peer.timer) = (Some(until), Some(until));
            self.asleep += 1;
            self.timers.push(Reverse((until, to)));
        }
        sequence
    }

    /// A peer was heard. What has waited for it begins again.
    fn wake(&mut self, now_ms: u64, from: SocketAddr) -> Option<Vec<u8>> {
        let peer = self.map.get_mut(&from)?;
        peer.asleep_until.take()?;
        peer.timer = None;
        self.asleep -= 1;
        self.start_next(now_ms, from)
    }
}

impl Endpoint {
    /// Peers that sleep.
    pub const fn asleep(&self) -> usize {
        self.peers.asleep()
    }

    /// Whether that peer sleeps, as far as it was not heard in an earlier wake-up.
    pub fn is_asleep(&self, peer: SocketAddr) -> bool {
        self.peers.asleep() > 0 && self.peers.is_asleep(peer)
    }

    /// Notifications that waited for observers until these were given up or their time was
    /// over, since it was asked.
    pub const fn take_lost(&mut self) -> usize {
        std::mem::replace(&mut self.peers.lost, 0)
    }

    /// Something has come from a peer.
    pub(crate) fn hear(&mut self, peer: SocketAddr) {
        if self.is_asleep(peer) {
            self.heard.push(peer);
        }
    }

    pub(crate) fn wake_heard(&mut self, now_ms: u64) {
        while let Some(peer) = self.heard.pop() {
            if let Some(bytes) = self.peers.wake(now_ms, peer) {
                self.outbox.queue(peer, |out| out.extend_from_slice(&bytes));
            }
        }
    }

    /// Ends an observation for another one of the same peer, which gets what waits for the
    /// first, behind the answer to its registration.
    pub fn take_over(&mut self, now_ms: u64, before: ObserverId, id: ObserverId) {
        let ended = self.observers.get(before).copied();
        let begun = self.observers.get(id).copied();
        if let (Some(ended), Some(begun)) = (ended, begun) {
            // RFC 7641 section 4.4: the numbers of a token go on.
            let first = ended.sequence.wrapping_add(1) & 0x00ff_ffff;
            let sequence = match self.config.sleep.age_ms {
                0 => first,
                _ => self.peers.adopt(now_ms, begun.peer, (before, (id, begun.token, first))),
            };
            if let Some(begun) = self.observers.get(id) {
                (begun.first, begun.sequence) = (first, sequence);
            }
            // Its answer comes first.
            self.heard.retain(|peer| *peer != begun.peer);
        }
        self.end(before, GoneReason::Deregistered);
    }
}
