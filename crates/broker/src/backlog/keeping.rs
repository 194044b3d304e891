//! A backlog that goes to another worker, or to a log and back.

use super::flight::Inflight;
use super::{Backlog, Queued};
use crate::outlet::Ids;
use crate::record::{Record, StoredDelivery};
use crate::stats::Stats;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::sync::Arc;
use tidegate_message::{Message, Qos};

impl Backlog {
    /// Puts what an earlier place of the session held in front. What reached both places
    /// stays once: the numbers those had here, and what did not reach this one yet. The bounds may
    /// be passed by as much as waited here.
    pub(crate) fn join(&mut self, earlier: Backlog, stats: &mut Stats) -> (Vec<u64>, Vec<Arc<Message>>) {
        let later = std::mem::replace(self, earlier);
        (self.past_at, self.dropped) = (0, self.dropped + later.dropped);
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
}
