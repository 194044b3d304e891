//! Bounds of one worker's broker.

/// Part of the plan; a new plan sets them anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrokerLimits {
    /// Messages that wait for one session. Default 1,000.
    pub max_queued: usize,
    /// Bytes that wait for one session. Default 1 MiB.
    pub max_queued_bytes: usize,
    /// Bytes that wait for all sessions of the worker. Default 256 MiB.
    pub max_queued_total_bytes: usize,
    /// Subscriptions of one subscriber. Default 1,000.
    pub max_subscriptions: usize,
    /// Unacknowledged deliveries of one session, in both phases of QoS 2; the client's
    /// receive maximum may be lower. Default 64.
    pub max_inflight: u16,
    /// QoS 2 publishes of one session between PUBREC and PUBREL. Default 1,024.
    pub max_inbound: usize,
    /// Longest session expiry, seconds; `u32::MAX`: never, which is the default.
    pub max_session_expiry: u32,
    /// Levels of a topic or filter. Default 128.
    pub topic_levels: usize,
    /// Longest that a message waits for a session, milliseconds; 0: as long as it takes,
    /// which is the default.
    pub max_queued_age_ms: u64,
    /// Publishes of one worker that wait for their time. Default 100,000.
    pub max_delayed: usize,
    /// Wills of one worker that wait for the driver to publish them, `Sink::sees_wills`. Default 100,000.
    pub max_pending_wills: usize,
    /// Whether a shared subscription keeps to one member until that goes; `false`: turns,
    /// which is the default.
    pub sticky_groups: bool,
    /// Retained messages that one subscription brings, and that a subscriber is owed. Default 100,000.
    pub max_replayed: usize,
    /// Deliveries that a publish makes at once; if it has more, they follow with `Broker::spread_on`. Default 1,024: a fraction of a
    /// millisecond.
    pub slice: usize,
    /// Deliveries that may be due to follow; beyond, `Broker::is_congested`. Default 262,144.
    pub max_pending_deliveries: usize,
}

impl Default for BrokerLimits {
    fn default() -> Self {
        BrokerLimits {
            max_queued: 1_000,
            max_queued_bytes: 16 << 20,
            max_queued_total_bytes: 256 << 20,
            max_subscriptions: 1_000,
            max_inflight: 64,
            max_inbound: 1_024,
            max_session_expiry: u32::MAX,
            topic_levels: 128,
            max_queued_age_ms: 0,
            max_delayed: 100_000,
            max_pending_wills: 100_000,
            sticky_groups: false,
            max_replayed: 100_000,
            slice: 1_024,
            max_pending_deliveries: 262_144,
        }
    }
}
