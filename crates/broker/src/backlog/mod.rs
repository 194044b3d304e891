//! What waits for a session's client and what is in flight to it: the queue and its bounds, and what leaves when
//! there is room.

mod flight;
mod keeping;

pub use self::flight::Received;

use self::flight::Inflight;
use crate::access::Acl;
use crate::limits::BrokerLimits;
use crate::outlet::{Ids, Offer, Outlet};
use crate::record::Record;
use crate::sink::{DropReason, Sink};
use crate::stats::Stats;
use std::collections::VecDeque;
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
    /// Messages for the session that were dropped.
    pub(crate) dropped: u64,
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
            dropped: 0,
        }
    }

    /// Whether it is as it was made.
    pub(crate) fn is_blank(&self) -> bool {
        self.last_number == 0 && self.inbound.is_empty() && self.dropped == 0
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
}
