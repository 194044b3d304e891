//! In flight, both ways: packet identifiers, both phases of QoS 2, and the QoS 2 identifiers that the client has sent.

use super::{Backlog, Queued};
use tidegate_message::Qos;

/// An outbound QoS 1 or 2 delivery: `Published -> (Released ->) gone`.
#[derive(Debug)]
pub(super) enum Inflight {
    /// PUBLISH sent, no PUBACK or PUBREC yet.
    Published(u16, Queued),
    /// PUBREC came, PUBREL sent, no PUBCOMP yet: identifier, number.
    Released(u16, u64),
}

impl Inflight {
    pub(super) const fn number(&self) -> u64 {
        match self {
            Inflight::Published(_, queued) => queued.number,
            Inflight::Released(_, number) => *number,
        }
    }

    pub(super) const fn packet_id(&self) -> u16 {
        match self {
            Inflight::Published(id, _) | Inflight::Released(id, _) => *id,
        }
    }
}

/// What became of a PUBREC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// Answer with PUBREL.
    Release,
    /// The client refused the message; there is nothing to answer.
    Done,
    /// No such packet identifier: PUBREL with 0x92.
    Unknown,
}

impl Backlog {
    /// The next free identifier. They go round in the order of `inflight`, so that one
    /// in use can only be met right where the oldest stands.
    pub(super) fn next_id(&mut self) -> u16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        if self.inflight.front().is_some_and(|oldest| oldest.packet_id() == self.last_id) {
            // The oldest stayed for a whole round: look for a gap. There is one, because
            // far fewer than 65,535 are in flight.
            while self.index(self.last_id).is_some() {
                self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            }
        }
        self.last_id
    }

    fn index(&self, packet_id: u16) -> Option<usize> {
        self.inflight.iter().position(|inflight| inflight.packet_id() == packet_id)
    }

    fn remove(&mut self, index: usize) {
        self.inflight.remove(index);
        self.sent -= usize::from(index < self.sent);
    }

    /// PUBACK, or a delivery that the client cannot take: its number, if it was in flight.
    pub(crate) fn acknowledge(&mut self, packet_id: u16, qos: Option<Qos>) -> Option<u64> {
        let fits = |inflight: &Inflight| match inflight {
            Inflight::Published(id, queued) => *id == packet_id && qos.is_none_or(|qos| queued.qos == qos),
            Inflight::Released(..) => false,
        };
        let index = self.inflight.iter().position(fits)?;
        let number = self.inflight[index].number();
        self.remove(index);
        Some(number)
    }

    /// PUBREC, and the delivery's number; a second one is answered as the first.
    pub(crate) fn receive(&mut self, packet_id: u16, accepted: bool) -> (Received, u64) {
        let Some(index) = self.index(packet_id) else { return (Received::Unknown, 0) };
        let number = self.inflight[index].number();
        match &self.inflight[index] {
            Inflight::Published(_, queued) if queued.qos != Qos::ExactlyOnce => (Received::Unknown, number),
            Inflight::Published(..) if !accepted => {
                self.remove(index);
                (Received::Done, number)
            }
            _ => {
                self.inflight[index] = Inflight::Released(packet_id, number);
                (Received::Release, number)
            }
        }
    }

    /// PUBCOMP: the delivery's number, if it was awaited.
    pub(crate) fn complete(&mut self, packet_id: u16) -> Option<u64> {
        let index = self.index(packet_id).filter(|&index| matches!(self.inflight[index], Inflight::Released(..)))?;
        let number = self.inflight[index].number();
        self.remove(index);
        Some(number)
    }

    /// A QoS 2 PUBLISH comes in: `None`: there is no room, `Some(false)`: it came before.
    pub(crate) fn receive_inbound(&mut self, packet_id: u16, max: usize) -> Option<bool> {
        if self.inbound.contains(&packet_id) {
            return Some(false);
        }
        (self.inbound.len() < max).then(|| {
            self.inbound.push(packet_id);
            true
        })
    }

    /// PUBREL, or the publish was refused: whether the identifier was known.
    pub(crate) fn release_inbound(&mut self, packet_id: u16) -> bool {
        let index = self.inbound.iter().position(|&id| id == packet_id);
        index.is_some_and(|index| {
            self.inbound.swap_remove(index);
            true
        })
    }
}
