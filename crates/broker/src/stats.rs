//! What one worker's broker counts, and what it tells about a client.

use crate::sink::{DropReason, SubscriberId};
use std::sync::Arc;
use tidegate_message::Qos;

/// Counters (only up) and gauges of one worker. Always true: `matched` is `delivered` +
/// `queued` + the sum of `dropped`, over all workers together with `moved`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Publishes taken, wills included.
    pub accepted: u64,
    /// Publishes refused.
    pub refused: u64,
    /// Deliveries due: one for each publish and subscriber it matched.
    pub matched: u64,
    /// Deliveries handed to a connection, repetitions not counted.
    pub delivered: u64,
    /// Retained messages handed to new subscriptions.
    pub replayed: u64,
    /// Deliveries dropped, by [`DropReason`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Gauge: messages that wait.
    pub queued: u64,
    /// Gauge: their bytes.
    pub queued_bytes: usize,
    /// Messages that left with a session to another worker, minus those that came.
    pub moved: i64,
    /// Gauge: sessions with a connection.
    pub connected: usize,
    /// Gauge: sessions without one.
    pub disconnected: usize,
    /// Gauge: subscriptions of all subscribers.
    pub subscriptions: usize,
}

impl Stats {
    /// Deliveries dropped for one reason.
    pub const fn dropped_by(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }
}

/// A session as the admin API shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientInfo {
    /// Its name on this worker.
    pub id: SubscriberId,
    /// MQTT client identifier.
    pub client_id: Arc<str>,
    /// User name.
    pub user: Option<Arc<str>>,
    /// Whether a connection serves it.
    pub connected: bool,
    /// Session expiry, seconds; `u32::MAX`: never.
    pub expiry: u32,
    /// Messages that wait.
    pub queued: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// Deliveries that are not acknowledged.
    pub inflight: usize,
    /// Messages for it that were dropped since it is on this worker.
    pub dropped: u64,
    /// QoS 2 messages of it between PUBLISH and PUBREL.
    pub inbound: usize,
    /// Whether a will waits.
    pub has_will: bool,
    /// Filters with their highest promise.
    pub subscriptions: Vec<(Arc<str>, Qos)>,
}
