//! What of an MQTT client outlives its connection.

use crate::backlog::Backlog;
use crate::limits::BrokerLimits;
use crate::outlet::{Offer, Outlet};
use crate::sink::{DropReason, Sink};
use std::sync::Arc;
use tidegate_message::{Message, Qos};

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

/// A client's session on the worker that holds it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client_id: Arc<str>,
    /// Its name in the log; 0: it is not kept.
    pub(crate) key: u64,
    pub(crate) epoch: u64,
    pub(crate) connected: bool,
    pub(crate) receive_maximum: u16,
    /// Seconds.
    pub(crate) expiry: u32,
    pub(crate) ends_at: Option<u64>,
    pub(crate) will: Option<Box<Will>>,
    pub(crate) will_at: Option<u64>,
    /// The earliest timer of this session that still runs.
    pub(crate) timer_at: Option<u64>,
    /// Messages for it that were dropped, since it is on this worker.
    pub(crate) dropped: u64,
    pub(crate) backlog: Backlog,
}

impl Session {
    /// Nobody is connected, nothing waits, it does not end by itself.
    pub(crate) fn new(client_id: Arc<str>, epoch: u64) -> Self {
        Session {
            client_id,
            key: 0,
            epoch,
            connected: false,
            receive_maximum: u16::MAX,
            expiry: u32::MAX,
            ends_at: None,
            will: None,
            will_at: None,
            timer_at: None,
            dropped: 0,
            backlog: Backlog::default(),
        }
    }

    /// Deliveries that may be in flight; `None` while nobody is connected.
    pub(crate) fn window(&self, limits: &BrokerLimits) -> Option<usize> {
        self.connected.then(|| usize::from(self.receive_maximum.min(limits.max_inflight)).max(1))
    }

    /// When something happens to it while nobody is connected.
    pub(crate) fn due_at(&self) -> Option<u64> {
        self.will_at.into_iter().chain(self.ends_at).min().filter(|_| !self.connected)
    }

    /// Takes one delivery.
    pub(crate) fn offer<S: Sink>(&mut self, offer: Offer<'_>, outlet: &mut Outlet<'_, S>) {
        let window = self.window(outlet.limits);
        if offer.qos != Qos::AtMostOnce {
            self.backlog.offer(offer, window, outlet);
        } else if self.connected {
            outlet.stats.delivered += 1;
            outlet.send(offer, 0, false);
        } else {
            outlet.drop(DropReason::Disconnected, 1);
        }
    }

    /// Sends what waits and fits.
    pub(crate) fn pump<S: Sink>(&mut self, outlet: &mut Outlet<'_, S>) {
        if let Some(window) = self.window(outlet.limits) {
            self.backlog.pump(window, outlet);
        }
    }
}
