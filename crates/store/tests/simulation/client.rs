//! Clients as the specification wants them: what is not acknowledged is sent again on the
//! next connection, QoS 2 is stored until PUBREL, and everything is counted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tidegate_message::Qos;

/// What a client sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ToServer {
    Publish { packet_id: u16, qos: Qos, number: u64 },
    Release(u16),
    Acknowledge(u16),
    Received(u16),
    Complete(u16),
}

/// What a client gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ToClient {
    Connack { present: bool },
    Publish { packet_id: u16, qos: Qos, number: u64 },
    Release(u16),
    Acknowledge(u16),
    Received(u16),
    Complete(u16),
}

/// A publish that is not acknowledged; `is_released`: PUBREC came.
#[derive(Clone, Copy, Debug)]
struct Unacknowledged {
    packet_id: u16,
    number: u64,
    is_released: bool,
}

/// One client with a session that is kept.
#[derive(Default, Debug)]
pub(crate) struct Client {
    /// Its connection, where it has one, and whether CONNACK came.
    pub(crate) connection: Option<usize>,
    pub(crate) is_connected: bool,
    was_connected: bool,
    /// Promise of what it publishes; subscribers publish nothing.
    publishes: Option<Qos>,
    last_id: u16,
    unacknowledged: VecDeque<Unacknowledged>,
    pub(crate) acknowledged: BTreeSet<u64>,
    stored: BTreeMap<u16, u64>,
    /// How often each message came.
    pub(crate) seen: BTreeMap<u64, u32>,
    /// The numbers that came, and the highest of each publisher.
    met: BTreeSet<u64>,
    highest: BTreeMap<usize, u64>,
    /// What came for the first time behind a later one of its publisher (section 4.6).
    pub(crate) late: Vec<(u64, u64)>,
}

impl Client {
    pub(crate) fn new(publishes: Option<Qos>) -> Self {
        Client { publishes, ..Client::default() }
    }

    /// Publishes one more, unless too many are unacknowledged.
    pub(crate) fn publish(&mut self, number: u64) -> Option<ToServer> {
        let qos = self.publishes.filter(|_| self.is_connected && self.unacknowledged.len() < 8)?;
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.unacknowledged.push_back(Unacknowledged { packet_id: self.last_id, number, is_released: false });
        Some(ToServer::Publish { packet_id: self.last_id, qos, number })
    }

    /// Whether what it publishes must not come twice.
    pub(crate) fn is_exact(&self) -> bool {
        self.publishes == Some(Qos::ExactlyOnce)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.unacknowledged.is_empty()
    }

    /// Notes the order in which messages come for the first time.
    pub(crate) fn meet(&mut self, publisher: usize, number: u64) {
        let highest = self.highest.entry(publisher).or_default();
        if self.met.insert(number) && number < *highest {
            self.late.push((number, *highest));
        }
        *highest = number.max(*highest);
    }

    /// Takes a packet: its answers.
    pub(crate) fn take(&mut self, packet: ToClient) -> Vec<ToServer> {
        match packet {
            ToClient::Connack { present } => {
                assert!(present || !self.was_connected, "a session that was kept is gone: {self:?}");
                (self.is_connected, self.was_connected) = (true, true);
                let qos = self.publishes.unwrap_or_default();
                let again = |&Unacknowledged { packet_id, number, is_released }: &Unacknowledged| match is_released {
                    true => ToServer::Release(packet_id),
                    false => ToServer::Publish { packet_id, qos, number },
                };
                self.unacknowledged.iter().map(again).collect()
            }
            ToClient::Publish { qos: Qos::ExactlyOnce, packet_id, number } => {
                self.stored.insert(packet_id, number);
                vec![ToServer::Received(packet_id)]
            }
            ToClient::Publish { packet_id, number, .. } => {
                *self.seen.entry(number).or_default() += 1;
                vec![ToServer::Acknowledge(packet_id)]
            }
            ToClient::Release(packet_id) => {
                if let Some(number) = self.stored.remove(&packet_id) {
                    *self.seen.entry(number).or_default() += 1;
                }
                vec![ToServer::Complete(packet_id)]
            }
            ToClient::Received(packet_id) => {
                let known = self.unacknowledged.iter_mut().find(|known| known.packet_id == packet_id);
                known.into_iter().for_each(|known| known.is_released = true);
                vec![ToServer::Release(packet_id)]
            }
            ToClient::Acknowledge(packet_id) | ToClient::Complete(packet_id) => {
                let done = self.unacknowledged.iter().position(|known| known.packet_id == packet_id);
                let done = done.and_then(|index| self.unacknowledged.remove(index));
                self.acknowledged.extend(done.map(|done| done.number));
                Vec::new()
            }
        }
    }
}
