//! What leaves the broker: deliveries, messages for other workers, changes of
//! interest, goodbyes and drops. The driver implements `Sink`; it must not block.

use crate::record::Record;
use smallvec::SmallVec;
use std::sync::Arc;
use tidegate_message::{Message, Protocol, Qos};

/// Whoever receives messages, whatever the protocol. `generation` tells a subscriber
/// from an earlier one in the same slot, and a connection from the one that it replaced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SubscriberId {
    /// The worker it lives on.
    pub worker: u16,
    /// Its place there; small and used again, so that a driver can index by it.
    pub slot: u32,
    /// Never the same twice in a slot.
    pub generation: u32,
}

/// How one message goes to one subscriber.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivery<'a> {
    /// The lower of the publish's and the subscription's.
    pub qos: Qos,
    /// MQTT packet identifier; 0 at QoS 0 and for subscribers without a session.
    pub packet_id: u16,
    /// Whether it was sent before, on an earlier connection.
    pub dup: bool,
    /// The RETAIN flag to send.
    pub retain: bool,
    /// Identifiers of all matching subscriptions that have one.
    pub subscription_ids: &'a [u32],
}

/// A message for the subscribers of another worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forward {
    /// The message.
    pub message: Arc<Message>,
    /// Its number among retained messages, 0 where it is not retained.
    pub sequence: u64,
    /// Its name in the logs; 0: nobody there keeps it.
    pub name: u64,
    /// Whether it is for that worker's ordinary subscribers.
    pub plain: bool,
    /// Shared subscriptions (`$share/group/filter`) of which one member there gets it.
    pub groups: SmallVec<[Arc<str>; 1]>,
    /// The client that published it, for no local, where its session may be on that worker.
    pub client: Option<Arc<str>>,
}

/// What one worker tells all others about its subscribers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterestChange {
    /// Goes up by one with each change of this worker; acknowledge it after applying.
    pub number: u64,
    /// Filter; with its share name for a shared subscription.
    pub filter: Arc<str>,
    /// Subscribers there; an ordinary filter knows 0 and 1 only.
    pub members: u32,
    /// Of these the connected ones (shared subscriptions only).
    pub connected: u32,
    /// Whether a session that outlives its connection is among them.
    pub durable: bool,
}

/// Why the broker wants a connection closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CloseReason {
    /// Another connection uses its client identifier. MQTT 0x8E.
    TakenOver,
    /// An administrator ended it. MQTT 0x98.
    Administrative,
}

/// Why a matched message was not delivered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum DropReason {
    /// The subscriber's queue is full: the newest message is the one that goes.
    QueueFull,
    /// All queues of the worker together are full.
    TotalFull,
    /// QoS 0 for a session that is not connected.
    Disconnected,
    /// It expired in the queue.
    Expired,
    /// The session ended with messages in its queue.
    SessionEnded,
    /// The access rules do not allow it any more.
    Forbidden,
    /// The members of a shared subscription left while the message was on its way.
    NoMember,
    /// A newer retained message of its topic was delivered already.
    Superseded,
    /// It reached a session on both workers while the session moved; one copy is kept.
    Duplicate,
    /// It waited longer than messages may.
    TooOld,
    /// The session ended, and another member of its shared subscription gets it.
    Reassigned,
    /// A will for which there is no room among those that the driver is to publish.
    WillsFull,
}

impl DropReason {
    /// Every reason, in the order of the discriminants.
    pub const ALL: [DropReason; 12] = [
        DropReason::QueueFull,
        DropReason::TotalFull,
        DropReason::Disconnected,
        DropReason::Expired,
        DropReason::SessionEnded,
        DropReason::Forbidden,
        DropReason::NoMember,
        DropReason::Superseded,
        DropReason::Duplicate,
        DropReason::TooOld,
        DropReason::Reassigned,
        DropReason::WillsFull,
    ];

    /// The `reason` label of `tidegate_dropped_total`.
    pub const fn label(self) -> &'static str {
        match self {
            DropReason::QueueFull => "queue-full",
            DropReason::TotalFull => "total-full",
            DropReason::Disconnected => "disconnected",
            DropReason::Expired => "expired",
            DropReason::SessionEnded => "session-ended",
            DropReason::Forbidden => "forbidden",
            DropReason::NoMember => "no-member",
            DropReason::Superseded => "superseded",
            DropReason::Duplicate => "duplicate",
            DropReason::Reassigned => "reassigned",
            DropReason::TooOld => "too-old",
            DropReason::WillsFull => "wills-full",
        }
    }
}

/// Where the broker's output goes. Generic, so that a delivery costs no dynamic call.
pub trait Sink {
    /// A message for a connected subscriber.
    fn send(&mut self, to: SubscriberId, message: &Arc<Message>, delivery: Delivery<'_>);
    /// Whether the subscriber's connection has room for something that can wait. The driver that says no calls
    /// `Broker::replay_on` once it has.
    fn has_room(&mut self, to: SubscriberId) -> bool {
        let _ = to;
        true
    }
    /// A will is due: whether the driver publishes it. Then `Broker::poll_delayed` has it once this call is over.
    fn sees_wills(&mut self) -> bool {
        false
    }
    /// PUBREL again, for a resumed session.
    fn release(&mut self, to: SubscriberId, packet_id: u16);
    /// A message for another worker: its `handle_forward` takes it.
    fn forward(&mut self, worker: u16, forward: Forward);
    /// For every other worker: its `handle_interest` takes it and its driver acknowledges.
    fn interest(&mut self, change: InterestChange);
    /// The subscriber's connection is to be closed. Its id is void from now on.
    fn close(&mut self, to: SubscriberId, reason: CloseReason);
    /// Keep it: nothing that this call put out may reach anybody before it is kept.
    fn append(&mut self, record: &Record<'_>);
    /// What output of this moment depends on, for `lean`; a sink that keeps nothing needs neither.
    fn standing(&self) -> u64 {
        0
    }
    /// Until the next `lean` output depends on what it did at an earlier `standing`; 0: on nothing of before.
    fn lean(&mut self, standing: u64) {
        let _ = standing;
    }
    /// A session that moved here is kept here, by what this call appended: then the
    /// worker it came from may forget it, with its `forget`.
    fn parted(&mut self, from: u16, key: u64);
    /// Messages that matched and are not delivered; to whom, where one subscriber is meant.
    fn dropped(&mut self, to: Option<SubscriberId>, protocol: Protocol, reason: DropReason, count: u32);
}
