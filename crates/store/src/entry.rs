//! The entries of a frame, as they stand on disk.

use crate::stored::{StoredMessage, StoredWill};
use serde::{Deserialize, Serialize};
use tidegate_broker::{Action, Options, Record, Replay, Rule};

/// One change. New kinds go to the end: the number of a kind is what stands on disk.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) enum Entry<'a> {
    /// A message that deliveries name.
    Body {
        id: u64,
        #[serde(borrow)]
        message: StoredMessage<'a>,
    },
    Session {
        key: u64,
        client_id: &'a str,
        user: Option<&'a str>,
        epoch: u64,
        expiry: u32,
        ends_at: Option<u64>,
        connected: bool,
    },
    Will {
        key: u64,
        #[serde(borrow)]
        will: Option<StoredWill<'a>>,
        due_at: Option<u64>,
    },
    Filter {
        key: u64,
        filter: &'a str,
        options: StoredOptions,
    },
    Unfilter {
        key: u64,
        filter: &'a str,
    },
    Queue {
        key: u64,
        number: u64,
        id: u64,
        qos: u8,
        retain: bool,
        ids: Vec<u32>,
        packet_id: u16,
    },
    Sent {
        key: u64,
        number: u64,
        packet_id: u16,
    },
    Released {
        key: u64,
        number: u64,
        packet_id: u16,
    },
    Done {
        key: u64,
        number: u64,
    },
    Inbound {
        key: u64,
        packet_id: u16,
        held: bool,
    },
    End {
        key: u64,
    },
    Retain {
        sequence: u64,
        #[serde(borrow)]
        message: StoredMessage<'a>,
    },
    /// The message `id` is on its way to a worker whose sessions keep it.
    Outgoing {
        id: u64,
        worker: u16,
        plain: bool,
        groups: Vec<&'a str>,
    },
    /// All messages on their way up to `id` have arrived there.
    Arrived {
        worker: u16,
        id: u64,
    },
    /// The message `id` of another worker has been delivered here.
    Taken {
        id: u64,
    },
    /// A publish waits for its time.
    Delay {
        id: u64,
        user: Option<&'a str>,
        client_id: Option<&'a str>,
        /// Milliseconds since 1970.
        due_at: u64,
        #[serde(borrow)]
        message: StoredMessage<'a>,
    },
    /// It was published.
    Undelay {
        id: u64,
    },
    /// What the identity of a session brought.
    Identity {
        key: u64,
        is_superuser: bool,
        #[serde(borrow)]
        rules: Option<Vec<StoredRule<'a>>>,
    },
    /// The session went to another worker.
    Left {
        key: u64,
        to: u16,
    },
    /// The message `id` is due to these sessions, as far as no `Queue` or `Missed` follows for them.
    Spread {
        id: u64,
        keys: Vec<u64>,
    },
    /// A session did not take the message `id`.
    Missed {
        key: u64,
        id: u64,
    },
    /// No session of `Spread` is left.
    SpreadOver {
        id: u64,
    },
    /// What the identity of a publisher brought whose publish waits for its time.
    DelayIdentity {
        id: u64,
        is_superuser: bool,
        #[serde(borrow)]
        rules: Option<Vec<StoredRule<'a>>>,
    },
    /// What waits is a will.
    DelayWill {
        id: u64,
    },
    /// Who published the message `id` that is on its way to a worker, where its session may be there.
    OutgoingOf {
        id: u64,
        worker: u16,
        client_id: &'a str,
    },
}

/// A rule of an identity.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct StoredRule<'a> {
    /// 0: publish, 1: subscribe, 2: both.
    action: u8,
    allow: bool,
    topic: &'a str,
}

impl<'a> StoredRule<'a> {
    fn new(rule: &'a Rule) -> Self {
        StoredRule { action: rule.action as u8, allow: rule.allow, topic: &rule.topic }
    }

    /// `None`: there is no such action.
    pub(crate) fn rule(&self) -> Option<Rule> {
        let action = match self.action {
            0 => Action::Publish,
            1 => Action::Subscribe,
            2 => Action::All,
            _ => return None,
        };
        Some(Rule { user: None, client_id: None, action, topic: self.topic.into(), allow: self.allow })
    }
}

/// Options of a subscription in few bytes.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub(crate) struct StoredOptions {
    /// QoS, no local, retain as published, replay: as the subscription options byte of MQTT 5.
    bits: u8,
    id: u32,
}

impl From<Options> for StoredOptions {
    fn from(options: Options) -> Self {
        let replay = match options.replay {
            Replay::Always => 0,
            Replay::IfNew => 1,
            Replay::Never => 2,
        };
        let flags = u8::from(options.no_local) << 2 | u8::from(options.retain_as_published) << 3;
        StoredOptions { bits: options.qos as u8 | flags | replay << 4, id: options.id }
    }
}

impl StoredOptions {
    pub(crate) fn options(self) -> Option<Options> {
        Some(Options {
            qos: crate::stored::qos(self.bits & 3)?,
            no_local: self.bits & 4 != 0,
            retain_as_published: self.bits & 8 != 0,
            replay: match self.bits >> 4 {
                0 => Replay::Always,
                1 => Replay::IfNew,
                2 => Replay::Never,
                _ => return None,
            },
            id: self.id,
        })
    }
}

impl<'a> Entry<'a> {
    /// A record with its times on the wall clock.
    pub(crate) fn of(record: &Record<'a>, epoch_ms: u64) -> Self {
        let wall = |at: Option<u64>| at.map(|at| at.saturating_add(epoch_ms));
        match *record {
            Record::Session { key, client_id, user, epoch, expiry, ends_at, connected } => {
                Entry::Session { key, client_id, user, epoch, expiry, ends_at: wall(ends_at), connected }
            }
            Record::Identity { key, is_superuser, rules } => {
                let rules = rules.map(|rules| rules.iter().map(StoredRule::new).collect());
                Entry::Identity { key, is_superuser, rules }
            }
            Record::Will { key, will, due_at } => {
                Entry::Will { key, will: will.map(StoredWill::new), due_at: wall(due_at) }
            }
            Record::Filter { key, filter, options } => Entry::Filter { key, filter, options: options.into() },
            Record::Unfilter { key, filter } => Entry::Unfilter { key, filter },
            Record::Queue { key, number, id, qos, retain, ids, packet_id, .. } => {
                Entry::Queue { key, number, id, qos: qos as u8, retain, ids: ids.to_vec(), packet_id }
            }
            Record::Sent { key, number, packet_id } => Entry::Sent { key, number, packet_id },
            Record::Released { key, number, packet_id } => Entry::Released { key, number, packet_id },
            Record::Done { key, number } => Entry::Done { key, number },
            Record::Spread { id, keys, .. } => Entry::Spread { id, keys: keys.to_vec() },
            Record::Missed { key, id } => Entry::Missed { key, id },
            Record::SpreadOver { id } => Entry::SpreadOver { id },
            Record::Inbound { key, packet_id, held } => Entry::Inbound { key, packet_id, held },
            Record::Left { key, to } => Entry::Left { key, to },
            Record::End { key } => Entry::End { key },
            Record::Delay { id, user, client_id, message, due_at } => {
                let (message, due_at) = (StoredMessage::new(message, epoch_ms), due_at.saturating_add(epoch_ms));
                Entry::Delay { id, user, client_id, due_at, message }
            }
            Record::DelayIdentity { id, is_superuser, rules } => {
                let rules = rules.map(|rules| rules.iter().map(StoredRule::new).collect());
                Entry::DelayIdentity { id, is_superuser, rules }
            }
            Record::DelayWill { id } => Entry::DelayWill { id },
            Record::Undelay { id } => Entry::Undelay { id },
            Record::Retain { message, sequence } => {
                Entry::Retain { sequence, message: StoredMessage::new(message, epoch_ms) }
            }
        }
    }
}
