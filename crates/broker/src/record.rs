//! What a restart must not forget, as the broker tells it: one record for each change
//! of a session that outlives its connection. The driver keeps them in order, and lets
//! nothing out that depends on one before it is kept. Sessions that end with their
//! connection make no records.

use crate::access::Rule;
use crate::session::Will;
use crate::subscribers::Options;
use std::sync::Arc;
use tidegate_message::{Message, Qos};

/// One change. `key` names a session in the log of its worker; `id` a message among
/// those of all workers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Record<'a> {
    /// A session is as this says; what it holds stays.
    Session {
        /// Its name.
        key: u64,
        /// MQTT client identifier.
        client_id: &'a str,
        /// The user it belongs to.
        user: Option<&'a str>,
        /// The highest of a client counts. 0: it is on its way from another worker, and what it
        /// holds belongs to the one that counts.
        epoch: u64,
        /// Session expiry, seconds.
        expiry: u32,
        /// When it ends, on the gateway's clock; `None`: a connection serves it, or it never ends.
        ends_at: Option<u64>,
        /// Whether a connection serves it.
        connected: bool,
    },
    /// What its identity brought, behind the session it belongs to; a session without one
    /// is nobody in particular.
    Identity {
        /// Whose.
        key: u64,
        /// Everything is allowed to it.
        is_superuser: bool,
        /// Its own rules.
        rules: Option<&'a [Rule]>,
    },
    /// Its will, or that it has none; when the will is due.
    Will {
        /// Whose.
        key: u64,
        /// The will.
        will: Option<&'a Will>,
        /// On the gateway's clock; `None`: a connection serves the session.
        due_at: Option<u64>,
    },
    /// A subscription is made or changed.
    Filter {
        /// Whose.
        key: u64,
        /// With its share name.
        filter: &'a str,
        /// Options.
        options: Options,
    },
    /// A subscription ends.
    Unfilter {
        /// Whose.
        key: u64,
        /// With its share name.
        filter: &'a str,
    },
    /// A delivery is due.
    Queue {
        /// Whose.
        key: u64,
        /// The session's number for it; deliveries go out in this order.
        number: u64,
        /// The message's id: all deliveries of one publish have the same.
        id: u64,
        /// The message.
        message: &'a Arc<Message>,
        /// Promise.
        qos: Qos,
        /// RETAIN flag.
        retain: bool,
        /// Subscription identifiers.
        ids: &'a [u32],
        /// Its packet identifier; 0: it waits.
        packet_id: u16,
    },
    /// A delivery that waited is sent.
    Sent {
        /// Whose.
        key: u64,
        /// Which.
        number: u64,
        /// Its packet identifier.
        packet_id: u16,
    },
    /// PUBREC came: only the packet identifier is left of a delivery.
    Released {
        /// Whose.
        key: u64,
        /// Which.
        number: u64,
        /// Its packet identifier.
        packet_id: u16,
    },
    /// A delivery is over: acknowledged, or dropped.
    Done {
        /// Whose.
        key: u64,
        /// Which.
        number: u64,
    },
    /// A publish for many: each of these sessions gets it, by a `Queue` that follows, or is told that it does
    /// not, by `Missed`. What has neither when everything ends is still due then.
    Spread {
        /// The message's id.
        id: u64,
        /// The message.
        message: &'a Arc<Message>,
        /// The sessions.
        keys: &'a [u64],
    },
    /// A session of a publish for many had no room for it.
    Missed {
        /// Whose.
        key: u64,
        /// The message's id.
        id: u64,
    },
    /// All sessions of a publish for many have been dealt with.
    SpreadOver {
        /// The message's id.
        id: u64,
    },
    /// A QoS 2 packet identifier of the client is in use (`held`), or free again.
    Inbound {
        /// Whose.
        key: u64,
        /// The identifier.
        packet_id: u16,
        /// Between PUBLISH and PUBREL.
        held: bool,
    },
    /// The session left for another worker: from here on, what comes for it comes there.
    Left {
        /// Whose.
        key: u64,
        /// The worker.
        to: u16,
    },
    /// The session is over.
    End {
        /// Whose.
        key: u64,
    },
    /// The last message of its topic; an empty payload clears it.
    Retain {
        /// The message.
        message: &'a Arc<Message>,
        /// The highest of a topic counts.
        sequence: u64,
    },
    /// A publish waits for its time.
    Delay {
        /// Its name.
        id: u64,
        /// The user that published it.
        user: Option<&'a str>,
        /// The client that published it.
        client_id: Option<&'a str>,
        /// What is to be published.
        message: &'a Arc<Message>,
        /// When, on the gateway's clock.
        due_at: u64,
    },
    /// What the identity brought of who published something that waits: rules, everything allowed. Said
    /// behind `Delay`, of those to whom it applies.
    DelayIdentity {
        /// Its name.
        id: u64,
        /// Everything is allowed to it.
        is_superuser: bool,
        /// Rules of its own.
        rules: Option<&'a [Rule]>,
    },
    /// What waits is a will. Said behind `Delay`.
    DelayWill {
        /// Its name.
        id: u64,
    },
    /// A publish that waited was published.
    Undelay {
        /// Its name.
        id: u64,
    },
}

/// A delivery as it was kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredDelivery {
    /// The message; `None`: PUBREC came, only the packet identifier counts.
    pub message: Option<Arc<Message>>,
    /// Promise.
    pub qos: Qos,
    /// RETAIN flag.
    pub retain: bool,
    /// Subscription identifiers.
    pub ids: Vec<u32>,
    /// 0: it was never sent.
    pub packet_id: u16,
    /// The message's id from now on: the same for all that share it.
    pub id: u64,
}

/// A session as it was kept, for `Broker::restore`.
#[derive(Clone, PartialEq, Debug)]
pub struct StoredSession {
    /// MQTT client identifier.
    pub client_id: Arc<str>,
    /// The user it belongs to.
    pub user: Option<Arc<str>>,
    /// Everything is allowed to it.
    pub is_superuser: bool,
    /// Rules that its identity brought.
    pub rules: Option<Arc<[Rule]>>,
    /// Session expiry, seconds.
    pub expiry: u32,
    /// When it ends, on the gateway's clock; `None`: `expiry` from now on.
    pub ends_at: Option<u64>,
    /// The will, and when it is due; `None`: its delay from now on.
    pub will: Option<(Will, Option<u64>)>,
    /// Subscriptions.
    pub filters: Vec<(Arc<str>, Options)>,
    /// In flight first, in their order.
    pub deliveries: Vec<StoredDelivery>,
    /// QoS 2 packet identifiers of the client that are in use.
    pub inbound: Vec<u16>,
}
