//! What of an MQTT client outlives its connection.

use crate::access::Acl;
use crate::backlog::Backlog;
use crate::limits::BrokerLimits;
use crate::outlet::{Offer, Outlet};
use crate::sink::{DropReason, Sink};
use tidegate_message::{Message, MessageBuilder, Qos};

/// A message published when its client is gone without a goodbye.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Will {
    /// Topic, payload, QoS, RETAIN and properties.
    pub message: Message,
    /// Message expiry, seconds from its publishing on.
    pub expiry: Option<u32>,
    /// How long after the connection's end it is published, seconds.
    pub delay: u32,
}

impl Will {
    /// What is published at `now`.
    pub(crate) fn builder(&self, now: u64) -> MessageBuilder<'_> {
        let expires_at = self.expiry.map(|seconds| now.saturating_add(u64::from(seconds) * 1_000));
        MessageBuilder { expires_at, ..self.message.builder() }
    }
}

/// A point in time that may not be set, in eight bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Due(u64);

impl Due {
    /// Not set.
    pub(crate) const NEVER: Due = Due(u64::MAX);

    pub(crate) fn time(self) -> Option<u64> {
        (self != Due::NEVER).then_some(self.0)
    }

    /// Whether it is set and not after `now`.
    pub(crate) fn is_over(self, now: u64) -> bool {
        self.time().is_some_and(|at| at <= now)
    }
}

impl From<Option<u64>> for Due {
    fn from(at: Option<u64>) -> Self {
        at.map_or(Due::NEVER, Due)
    }
}

static NOTHING: Backlog = Backlog::new();

/// A client's session on the worker that holds it. Every connected client has one: what only
/// some need is made when they do.
#[derive(Debug)]
pub(crate) struct Session {
    /// Its name in the log; 0: it is not kept.
    pub(crate) key: u64,
    pub(crate) epoch: u64,
    pub(crate) connected: bool,
    /// The connection was told so, and what is sent reaches it. Between the two lies a turn of the worker where the
    /// session came from another one.
    pub(crate) is_open: bool,
    pub(crate) receive_maximum: u16,
    /// Seconds.
    pub(crate) expiry: u32,
    pub(crate) ends_at: Due,
    /// With when it is due.
    pub(crate) will: Option<Box<(Will, Due)>>,
    /// The earliest timer of this session that still runs.
    pub(crate) timer_at: Due,
    /// Made with the first delivery or publish that it has to remember.
    backlog: Option<Box<Backlog>>,
}

impl Session {
    /// Nobody is connected, nothing waits, it does not end by itself.
    pub(crate) fn new(epoch: u64) -> Self {
        Session {
            key: 0,
            epoch,
            connected: false,
            is_open: false,
            receive_maximum: u16::MAX,
            expiry: u32::MAX,
            ends_at: Due::NEVER,
            will: None,
            timer_at: Due::NEVER,
            backlog: None,
        }
    }

    /// The will.
    pub(crate) fn will(&self) -> Option<&Will> {
        self.will.as_deref().map(|(will, _)| will)
    }

    /// When the will is due.
    pub(crate) fn will_at(&self) -> Due {
        self.will.as_deref().map_or(Due::NEVER, |(_, at)| *at)
    }

    /// The will is due then, where there is one.
    pub(crate) fn set_will_at(&mut self, due: impl FnOnce(&Will) -> Due) {
        if let Some((will, at)) = self.will.as_deref_mut() {
            *at = due(will);
        }
    }

    /// What waits and what is in flight.
    pub(crate) fn backlog(&self) -> &Backlog {
        self.backlog.as_deref().unwrap_or(&NOTHING)
    }

    /// The same, where there is something to change.
    pub(crate) fn backlog_mut(&mut self) -> Option<&mut Backlog> {
        self.backlog.as_deref_mut()
    }

    /// The same, to put something in.
    pub(crate) fn make_backlog(&mut self) -> &mut Backlog {
        self.backlog.get_or_insert_default()
    }

    /// So many messages for it were dropped.
    pub(crate) fn count_dropped(&mut self, count: u64) {
        if count > 0 {
            self.make_backlog().dropped += count;
        }
    }

    pub(crate) fn put_backlog(&mut self, backlog: Backlog) {
        self.backlog = (!backlog.is_blank()).then(|| Box::new(backlog));
    }

    pub(crate) fn take_backlog(&mut self) -> Backlog {
        self.backlog.take().map(|backlog| *backlog).unwrap_or_default()
    }

    /// Deliveries that may be in flight; `None` while nothing can be sent.
    pub(crate) fn window(&self, limits: &BrokerLimits) -> Option<usize> {
        self.is_open.then(|| usize::from(self.receive_maximum.min(limits.max_inflight)).max(1))
    }

    /// When something happens to it while nobody is connected.
    pub(crate) fn due_at(&self) -> Option<u64> {
        self.will_at().time().into_iter().chain(self.ends_at.time()).min().filter(|_| !self.connected)
    }

    /// Takes one delivery.
    pub(crate) fn offer<S: Sink>(&mut self, offer: Offer<'_>, outlet: &mut Outlet<'_, S>) {
        let window = self.window(outlet.limits);
        if offer.qos != Qos::AtMostOnce {
            self.make_backlog().offer(offer, window, outlet);
        } else if self.is_open {
            outlet.stats.delivered += 1;
            outlet.send(offer, 0, false);
        } else {
            outlet.drop(DropReason::Disconnected, 1);
        }
    }

    /// Whether a delivery that costs so much can leave, or wait in the first half of the queue.
    pub(crate) fn has_room(&self, cost: usize, limits: &BrokerLimits) -> bool {
        let window = self.window(limits);
        let half = BrokerLimits {
            max_queued: limits.max_queued / 2,
            max_queued_bytes: limits.max_queued_bytes / 2,
            ..*limits
        };
        self.backlog().is_free(window) || self.backlog().has_room(cost, &half)
    }

    /// Sends what waits and fits.
    pub(crate) fn pump<S: Sink>(&mut self, acl: &Acl, outlet: &mut Outlet<'_, S>) {
        if let (Some(window), Some(backlog)) = (self.window(outlet.limits), self.backlog_mut()) {
            backlog.pump((window, acl), outlet);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_connected_client_has_does_not_grow_unnoticed() {
        assert!(size_of::<Session>() <= 56, "{}", size_of::<Session>());
    }
}
