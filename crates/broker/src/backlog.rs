//! What waits for a session's client and what is in flight to it: the queue, packet
//! identifiers, both phases of QoS 2, and the QoS 2 identifiers that it has sent.

use crate::access::Acl;
use crate::limits::BrokerLimits;
use crate::outlet::{Ids, Offer, Outlet};
use crate::record::{Record, StoredDelivery};
use crate::sink::{DropReason, Sink};
use crate::stats::Stats;
use foldhash::fast::RandomState;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tidegate_message::{Message, Qos};

/// A delivery that waits or is in flight.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    message: Arc<Message>,
    qos: Qos,
    retain: bool,
    ids: Ids,
    name: u64,
    /// The session's number for it.
    number: u64,
    /// When it began to wait.
    since: u64,
}

impl Offer<'_> {
    fn keep(&self, number: u64, since: u64) -> Queued {
        let Offer { message, qos, retain, ids, name } = *self;
        Queued { message: message.clone(), qos, retain, ids: Ids::from_slice(ids), name, number, since }
    }
}

impl Queued {
    fn cost(&self) -> usize {
        self.message.cost() + size_of::<Queued>()
    }

    /// Why it is not to be sent any more.
    fn past(&self, now: u64, limits: &BrokerLimits) -> Option<DropReason> {
        let oldest = limits.max_queued_age_ms;
        if oldest != 0 && now.saturating_sub(self.since) > oldest {
            return Some(DropReason::TooOld);
        }
        self.message.is_expired(now).then_some(DropReason::Expired)
    }

    /// From when on `past` has a reason; `u64::MAX`: never.
    fn past_at(&self, limits: &BrokerLimits) -> u64 {
        let oldest = match limits.max_queued_age_ms {
            0 => u64::MAX,
            age => self.since.saturating_add(age + 1),
        };
        self.message.expires_at.unwrap_or(u64::MAX).min(oldest)
    }

    fn offer(&self) -> Offer<'_> {
        let Queued { message, qos, retain, ids, name, .. } = self;
        Offer { message, qos: *qos, retain: *retain, ids, name: *name }
    }

    fn record(&self, key: u64, packet_id: u16) -> Record<'_> {
        let Queued { message, qos, retain, ids, name, number, .. } = self;
        Record::Queue { key, number: *number, id: *name, message, qos: *qos, retain: *retain, ids, packet_id }
    }
}

/// An outbound QoS 1 or 2 delivery: `Published -> (Released ->) gone`.
#[derive(Debug)]
enum Inflight {
    /// PUBLISH sent, no PUBACK or PUBREC yet.
    Published(u16, Queued),
    /// PUBREC came, PUBREL sent, no PUBCOMP yet: identifier, number.
    Released(u16, u64),
}

impl Inflight {
    const fn number(&self) -> u64 {
        match self {
            Inflight::Published(_, queued) => queued.number,
            Inflight::Released(_, number) => *number,
        }
    }

    const fn packet_id(&self) -> u16 {
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

/// The parts that move with a session to another worker.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    /// In the order they were sent; the first `sent` were sent on this connection.
    inflight: VecDeque<Inflight>,
    sent: usize,
    last_id: u16,
    /// The number of the delivery that came last.
    last_number: u64,
    /// QoS 2 identifiers received and not released.
    inbound: Vec<u16>,
    /// Nothing in the queue is past its time before; 0: nobody has looked.
    past_at: u64,
}

impl Backlog {
    /// Nothing waits.
    pub(crate) const fn new() -> Backlog {
        Backlog {
            queue: VecDeque::new(),
            queued_bytes: 0,
            inflight: VecDeque::new(),
            sent: 0,
            last_id: 0,
            last_number: 0,
            inbound: Vec::new(),
            past_at: 0,
        }
    }

    /// Whether it is as it was made.
    pub(crate) fn is_blank(&self) -> bool {
        self.last_number == 0 && self.inbound.is_empty()
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(crate) const fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub(crate) fn inflight(&self) -> usize {
        self.inflight.len()
    }

    pub(crate) fn inbound(&self) -> usize {
        self.inbound.len()
    }

    /// Takes a QoS 1 or 2 delivery: sends it, or keeps it for later within the bounds.
    pub(crate) fn offer<S: Sink>(&mut self, offer: Offer<'_>, window: Option<usize>, outlet: &mut Outlet<'_, S>) {
        if self.is_free(window) {
            self.last_number += 1;
            return self.launch(offer.keep(self.last_number, outlet.now), false, outlet);
        }
        let cost = offer.message.cost() + size_of::<Queued>();
        if !self.has_room(cost, outlet.limits) {
            self.drop_past(outlet);
        }
        // The newest goes: what was promised first is kept, and order too.
        if !self.has_room(cost, outlet.limits) {
            outlet.drop(DropReason::QueueFull, 1);
        } else if outlet.stats.queued_bytes + cost > outlet.limits.max_queued_total_bytes {
            outlet.drop(DropReason::TotalFull, 1);
        } else {
            self.queued_bytes += cost;
            outlet.stats.queued_bytes += cost;
            outlet.stats.queued += 1;
            self.last_number += 1;
            let queued = offer.keep(self.last_number, outlet.now);
            outlet.append(|key| queued.record(key, 0));
            self.past_at = self.past_at.min(queued.past_at(outlet.limits));
            self.queue.push_back(queued);
        }
    }

    /// Whether a delivery leaves at once.
    pub(crate) fn is_free(&self, window: Option<usize>) -> bool {
        window.is_some_and(|window| self.queue.is_empty() && self.inflight.len() < window)
    }

    /// Whether the queue's bounds leave room for a message of that cost.
    pub(crate) fn has_room(&self, cost: usize, limits: &BrokerLimits) -> bool {
        self.queue.len() < limits.max_queued && self.queued_bytes + cost <= limits.max_queued_bytes
    }

    /// Drops what is past its time, so that it takes no room from what is not.
    fn drop_past<S: Sink>(&mut self, outlet: &mut Outlet<'_, S>) {
        if outlet.now < self.past_at {
            return;
        }
        self.past_at = u64::MAX;
        for _ in 0..self.queue.len() {
            let Some(queued) = self.unqueue(outlet.stats) else { break };
            match queued.past(outlet.now, outlet.limits) {
                Some(reason) => {
                    outlet.append(|key| Record::Done { key, number: queued.number });
                    outlet.drop(reason, 1);
                }
                None => {
                    self.past_at = self.past_at.min(queued.past_at(outlet.limits));
                    self.enqueue(queued, outlet.stats);
                }
            }
        }
    }

    /// Sends for the first time. The caller saw that there is room.
    fn launch<S: Sink>(&mut self, queued: Queued, has_waited: bool, outlet: &mut Outlet<'_, S>) {
        let packet_id = self.next_id();
        outlet.append(|key| match has_waited {
            true => Record::Sent { key, number: queued.number, packet_id },
            false => queued.record(key, packet_id),
        });
        outlet.stats.delivered += 1;
        outlet.send(queued.offer(), packet_id, false);
        self.inflight.push_back(Inflight::Published(packet_id, queued));
        self.sent = self.inflight.len();
    }

    /// The next free identifier. They go round in the order of `inflight`, so that one
    /// in use can only be met right where the oldest stands.
    fn next_id(&mut self) -> u16 {
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

    /// Sends what the window has room for: first again what an earlier connection left,
    /// then the queue. A right may have been taken away while something waited.
    pub(crate) fn pump<S: Sink>(&mut self, (window, acl): (usize, &Acl), outlet: &mut Outlet<'_, S>) {
        while self.sent < window {
            if let Some(again) = self.inflight.get(self.sent) {
                self.sent += 1;
                match again {
                    // MQTT-4.4.0-1
                    Inflight::Published(packet_id, queued) => outlet.send(queued.offer(), *packet_id, true),
                    Inflight::Released(packet_id, _) => outlet.sink.release(outlet.id, *packet_id),
                }
                continue;
            }
            let Some(queued) = self.unqueue(outlet.stats) else { return };
            let past = queued.past(outlet.now, outlet.limits);
            let reason = match past {
                Some(reason) => reason,
                None if !outlet.may_receive(acl, &queued.message) => DropReason::Forbidden,
                None => {
                    self.launch(queued, true, outlet);
                    continue;
                }
            };
            outlet.append(|key| Record::Done { key, number: queued.number });
            outlet.drop(reason, 1);
        }
    }

    fn unqueue(&mut self, stats: &mut Stats) -> Option<Queued> {
        let queued = self.queue.pop_front()?;
        self.queued_bytes -= queued.cost();
        stats.queued_bytes -= queued.cost();
        stats.queued -= 1;
        Some(queued)
    }

    /// Puts what an earlier place of the session held in front. What reached both places
    /// stays once: the numbers those had here, and what did not reach this one yet. The bounds may
    /// be passed by as much as waited here.
    pub(crate) fn join(&mut self, earlier: Backlog, stats: &mut Stats) -> (Vec<u64>, Vec<Arc<Message>>) {
        let later = std::mem::replace(self, earlier);
        self.past_at = 0;
        self.renumber(later.last_number);
        let address = |message: &Arc<Message>| Arc::as_ptr(message) as usize;
        let mut held: HashMap<usize, Arc<Message>, RandomState> =
            self.messages().map(|message| (address(message), message.clone())).collect();
        stats.queued += self.queue.len() as u64;
        stats.queued_bytes += self.queued_bytes;
        let mut twice = Vec::new();
        for queued in later.queue {
            if held.remove(&address(&queued.message)).is_some() {
                stats.queued -= 1;
                stats.queued_bytes -= queued.cost();
                twice.push(queued.number);
            } else {
                self.queued_bytes += queued.cost();
                self.queue.push_back(queued);
            }
        }
        (twice, held.into_values().collect())
    }

    /// Numbers from 1, below all that a session in arrival gives.
    fn renumber(&mut self, last_number: u64) {
        let mut next = 0;
        let mut count = || {
            next += 1;
            next
        };
        for inflight in &mut self.inflight {
            match inflight {
                Inflight::Published(_, queued) => queued.number = count(),
                Inflight::Released(_, number) => *number = count(),
            }
        }
        self.queue.iter_mut().for_each(|queued| queued.number = count());
        self.last_number = last_number.max(next);
    }

    /// A queue in front of which another one will be put.
    pub(crate) fn arriving() -> Backlog {
        Backlog { last_number: 1 << 32, ..Backlog::default() }
    }

    /// What was kept: in flight first, then what never left.
    pub(crate) fn restored(stored: Vec<StoredDelivery>, inbound: Vec<u16>, now: u64) -> Backlog {
        let mut backlog = Backlog { inbound, ..Backlog::default() };
        for StoredDelivery { message, qos, retain, ids, packet_id, id } in stored {
            backlog.last_number += 1;
            let number = backlog.last_number;
            let Some(message) = message else {
                backlog.inflight.push_back(Inflight::Released(packet_id, number));
                continue;
            };
            let queued = Queued { message, qos, retain, ids: Ids::from_slice(&ids), name: id, number, since: now };
            if packet_id == 0 {
                backlog.queued_bytes += queued.cost();
                backlog.queue.push_back(queued);
            } else {
                backlog.inflight.push_back(Inflight::Published(packet_id, queued));
            }
        }
        // They were given in this order.
        backlog.last_id = backlog.inflight.back().map_or(0, Inflight::packet_id);
        backlog
    }

    /// Says all of it, for a log that begins anew.
    pub(crate) fn tell(&self, key: u64, append: &mut impl FnMut(Record<'_>)) {
        for inflight in &self.inflight {
            append(match inflight {
                Inflight::Published(packet_id, queued) => queued.record(key, *packet_id),
                Inflight::Released(packet_id, number) => {
                    Record::Released { key, number: *number, packet_id: *packet_id }
                }
            });
        }
        self.queue.iter().for_each(|queued| append(queued.record(key, 0)));
        self.inbound.iter().for_each(|&packet_id| append(Record::Inbound { key, packet_id, held: true }));
    }

    /// What somebody else may have if nobody acknowledges it: of QoS 2 only what never left. The oldest first, and
    /// whether it is queued.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = (&Arc<Message>, bool)> {
        let inflight = self.inflight.iter().filter_map(|inflight| match inflight {
            Inflight::Published(_, queued) if queued.qos != Qos::ExactlyOnce => Some((&queued.message, false)),
            _ => None,
        });
        inflight.chain(self.queue.iter().map(|queued| (&queued.message, true)))
    }

    fn messages(&self) -> impl Iterator<Item = &Arc<Message>> {
        let inflight = self.inflight.iter().filter_map(|inflight| match inflight {
            Inflight::Published(_, queued) => Some(&queued.message),
            Inflight::Released(..) => None,
        });
        self.queue.iter().map(|queued| &queued.message).chain(inflight)
    }

    /// The connection is gone: everything in flight is to be sent again on the next.
    pub(crate) fn suspend(&mut self) {
        self.sent = 0;
    }

    /// Drops what the access rules do not allow any more.
    pub(crate) fn keep_allowed<S: Sink>(&mut self, acl: &Acl, outlet: &mut Outlet<'_, S>) {
        self.inflight.retain(|inflight| match inflight {
            Inflight::Published(_, queued) if !outlet.may_receive(acl, &queued.message) => {
                outlet.append(|key| Record::Done { key, number: queued.number });
                false
            }
            _ => true,
        });
        let before = self.queue.len();
        for _ in 0..before {
            let Some(queued) = self.unqueue(outlet.stats) else { break };
            if outlet.may_receive(acl, &queued.message) {
                self.enqueue(queued, outlet.stats);
            } else {
                outlet.append(|key| Record::Done { key, number: queued.number });
            }
        }
        outlet.drop(DropReason::Forbidden, before - self.queue.len());
    }

    fn enqueue(&mut self, queued: Queued, stats: &mut Stats) {
        self.queued_bytes += queued.cost();
        stats.queued_bytes += queued.cost();
        stats.queued += 1;
        self.queue.push_back(queued);
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
