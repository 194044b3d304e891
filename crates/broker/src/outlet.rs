//! One delivery on its way out, and where it goes.

use crate::access::{Access, Acl};
use crate::limits::BrokerLimits;
use crate::record::Record;
use crate::sink::{Delivery, DropReason, Sink, SubscriberId};
use crate::stats::Stats;
use smallvec::SmallVec;
use std::sync::Arc;
use tidegate_message::{Message, Protocol, Qos};

/// Subscription identifiers of a delivery; one or two do not allocate.
pub(crate) type Ids = SmallVec<[u32; 2]>;

/// A delivery that is due; owned only if it has to wait or to be acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer<'a> {
    pub(crate) message: &'a Arc<Message>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) ids: &'a [u32],
    /// The message's name in the log; all deliveries of one publish have the same.
    pub(crate) name: u64,
}

/// Where a subscriber's deliveries go, and where they are counted.
pub(crate) struct Outlet<'a, S> {
    pub(crate) id: SubscriberId,
    pub(crate) protocol: Protocol,
    /// Who the subscriber is.
    pub(crate) access: &'a Access,
    /// The session's name in the log; 0: it is not kept.
    pub(crate) key: u64,
    pub(crate) now: u64,
    pub(crate) limits: &'a BrokerLimits,
    pub(crate) stats: &'a mut Stats,
    /// Dropped by this call.
    pub(crate) dropped: u64,
    pub(crate) sink: &'a mut S,
}

impl<S: Sink> Outlet<'_, S> {
    /// Whether the rules still let the subscriber receive what waited for it.
    pub(crate) fn may_receive(&self, acl: &Acl, message: &Message) -> bool {
        acl.is_open() || acl.may_receive(self.access, message.topic())
    }

    pub(crate) fn drop(&mut self, reason: DropReason, count: usize) {
        if count > 0 {
            self.stats.dropped[reason as usize] += count as u64;
            self.dropped += count as u64;
            self.sink.dropped(Some(self.id), self.protocol, reason, u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    /// A record, made only where the session is kept.
    pub(crate) fn append<'r>(&mut self, record: impl FnOnce(u64) -> Record<'r>) {
        if self.key != 0 {
            self.sink.append(&record(self.key));
        }
    }

    pub(crate) fn send(&mut self, offer: Offer<'_>, packet_id: u16, dup: bool) {
        let Offer { message, qos, retain, ids, .. } = offer;
        self.sink.send(self.id, message, Delivery { qos, packet_id, dup, retain, subscription_ids: ids });
    }
}
