//! Acknowledgements of what a broker sends to a proxied client: the client's, and the gateway's for what a
//! policy withholds. A broker sees them in the order of the publishes (MQTT-4.6.0-2, MQTT-4.6.0-3), so that
//! one of the gateway's stands behind those that the client still owes.

use foldhash::fast::RandomState;
use std::collections::{HashSet, VecDeque};
use tidegate_message::Qos;
use tidegate_mqtt::{AckKind, Version, put_ack, reason};

/// Who acknowledges a publish first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    Client,
    Gateway,
}

/// What is owed to a broker, of one connection.
#[derive(Debug)]
pub(super) struct Acks {
    version: Version,
    /// Publishes of one promise that may be unacknowledged, as the client said (65,535 before version 5).
    maximum: usize,
    /// PUBACKs and PUBRECs that are due, in order.
    due: [VecDeque<(u16, By)>; 2],
    /// How many of them are the gateway's.
    own: usize,
    /// QoS 2 publishes that were withheld and whose PUBREL has not come: as many as there are identifiers at most.
    withheld: HashSet<u16, RandomState>,
}

/// More publishes are unacknowledged than the client takes (MQTT-3.3.4-9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooMany;

const fn kind(qos: Qos) -> AckKind {
    if matches!(qos, Qos::ExactlyOnce) { AckKind::PubRec } else { AckKind::PubAck }
}

impl Acks {
    pub(super) fn new(version: Version, receive_maximum: u16) -> Self {
        let (due, withheld) = (Default::default(), HashSet::default());
        Acks { version, maximum: usize::from(receive_maximum), due, own: 0, withheld }
    }

    /// Whether the gateway owes nothing: what passes then need not be remembered.
    pub(super) fn is_idle(&self) -> bool {
        self.own == 0 && self.withheld.is_empty()
    }

    /// Nothing is withheld any more: forgets what the client owes.
    pub(super) fn rest(&mut self) {
        self.due.iter_mut().filter(|due| !due.is_empty()).for_each(|due| *due = VecDeque::new());
    }

    fn put(&self, out: &mut Vec<u8>, kind: AckKind, packet_id: u16) {
        put_ack(out, (self.version, kind), packet_id, reason::SUCCESS);
    }

    fn due(&mut self, qos: Qos) -> Option<&mut VecDeque<(u16, By)>> {
        self.due.get_mut((qos as usize).checked_sub(1)?)
    }

    fn push(&mut self, (packet_id, qos): (u16, Qos), by: By) -> Result<(), TooMany> {
        let maximum = self.maximum;
        let Some(due) = self.due(qos) else { return Ok(()) };
        if due.len() >= maximum {
            return Err(TooMany);
        }
        due.push_back((packet_id, by));
        Ok(())
    }

    /// A publish went to the client, which acknowledges it.
    pub(super) fn passed(&mut self, promise: (u16, Qos)) -> Result<(), TooMany> {
        self.push(promise, By::Client)
    }

    /// A publish was withheld: it is acknowledged as if the client had taken it, now or in its turn.
    pub(super) fn withhold(&mut self, promise: (u16, Qos), out: &mut Vec<u8>) -> Result<(), TooMany> {
        let (packet_id, qos) = promise;
        if qos == Qos::ExactlyOnce {
            self.withheld.insert(packet_id);
        }
        match self.due(qos).map(|due| due.is_empty()) {
            Some(true) => self.put(out, kind(qos), packet_id),
            Some(false) => {
                self.push(promise, By::Gateway)?;
                self.own += 1;
            }
            None => {}
        }
        Ok(())
    }

    /// The client acknowledged a publish: the gateway's acknowledgements behind it are due.
    pub(super) fn acknowledged(&mut self, (packet_id, qos): (u16, Qos), out: &mut Vec<u8>) {
        let Some(due) = self.due(qos) else { return };
        if let Some(at) = due.iter().position(|entry| *entry == (packet_id, By::Client)) {
            due.remove(at);
        }
        while let Some(&(own, By::Gateway)) = self.due(qos).and_then(|due| due.front()) {
            self.due(qos).and_then(VecDeque::pop_front);
            self.own -= 1;
            self.put(out, kind(qos), own);
        }
    }

    /// Whether a QoS 2 publish is one that was withheld and that its broker sends again; acknowledges it again.
    pub(super) fn comes_again(&self, (packet_id, qos): (u16, Qos), out: &mut Vec<u8>) -> bool {
        let again = qos == Qos::ExactlyOnce && self.withheld.contains(&packet_id);
        let is_waiting = self.due[1].contains(&(packet_id, By::Gateway));
        if again && !is_waiting {
            self.put(out, AckKind::PubRec, packet_id);
        }
        again
    }

    /// A broker's PUBREL: whether it is for what was withheld, and was answered.
    pub(super) fn released(&mut self, packet_id: u16, out: &mut Vec<u8>) -> bool {
        let is_withheld = self.withheld.remove(&packet_id);
        if is_withheld {
            self.put(out, AckKind::PubComp, packet_id);
        }
        is_withheld
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [u8; 0] = [];

    fn bytes(act: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        act(&mut out);
        out
    }

    fn withheld(acks: &mut Acks, promise: (u16, Qos)) -> Vec<u8> {
        bytes(|out| assert_eq!(acks.withhold(promise, out), Ok(())))
    }

    #[test]
    fn a_withheld_publish_is_acknowledged_at_once_where_the_client_owes_nothing() {
        let mut acks = Acks::new(Version::V5, 10);
        assert_eq!(withheld(&mut acks, (7, Qos::AtLeastOnce)), [0x40, 2, 0, 7]);
        assert!(acks.is_idle());
        assert_eq!(withheld(&mut acks, (0, Qos::AtMostOnce)), NOTHING);
    }

    #[test]
    fn acknowledgements_keep_the_order_of_the_publishes() {
        let mut acks = Acks::new(Version::V311, 10);
        let qos = Qos::AtLeastOnce;
        assert_eq!(acks.passed((1, qos)), Ok(()));
        assert_eq!(withheld(&mut acks, (2, qos)), NOTHING);
        assert_eq!((acks.passed((3, qos)), acks.passed((9, Qos::ExactlyOnce))), (Ok(()), Ok(())));
        assert_eq!(withheld(&mut acks, (4, qos)), NOTHING);
        assert_eq!(bytes(|out| acks.acknowledged((9, Qos::ExactlyOnce), out)), NOTHING);
        assert_eq!(bytes(|out| acks.acknowledged((1, qos), out)), [0x40, 2, 0, 2]);
        assert!(!acks.is_idle());
        assert_eq!(bytes(|out| acks.acknowledged((3, qos), out)), [0x40, 2, 0, 4]);
        assert!(acks.is_idle());
    }

    #[test]
    fn a_withheld_publish_of_qos_2_is_released_here_and_only_once() {
        let mut acks = Acks::new(Version::V5, 10);
        let promise = (5, Qos::ExactlyOnce);
        assert_eq!(withheld(&mut acks, promise), [0x50, 2, 0, 5]);
        assert_eq!(bytes(|out| assert!(acks.comes_again(promise, out))), [0x50, 2, 0, 5]);
        assert_eq!(bytes(|out| assert!(acks.released(5, out))), [0x70, 2, 0, 5]);
        assert_eq!(bytes(|out| assert!(!acks.released(5, out) && !acks.comes_again(promise, out))), NOTHING);
        assert!(acks.is_idle());
    }

    #[test]
    fn a_broker_that_sends_more_than_the_client_takes_is_found_out() {
        let mut acks = Acks::new(Version::V5, 2);
        let qos = Qos::AtLeastOnce;
        assert_eq!((acks.passed((1, qos)), acks.passed((2, qos))), (Ok(()), Ok(())));
        assert_eq!(acks.passed((3, qos)), Err(TooMany));
        assert_eq!(acks.withhold((4, qos), &mut Vec::new()), Err(TooMany));
        acks.rest();
        assert_eq!(acks.passed((3, qos)), Ok(()));
    }
}
