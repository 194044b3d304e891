//! A publish on its way in: who may, what is checked, what is counted, what QoS 2 remembers.

use crate::access::Access;
use crate::broker::Broker;
use crate::delayed::split_delayed;
use crate::filter::is_topic;
use crate::record::Record;
use crate::retained::is_own;
use crate::sink::{Sink, SubscriberId};
use std::sync::Arc;
use tidegate_message::{MessageBuilder, Outcome, Protocol, Qos};

/// Who publishes.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The subscriber on this worker that it is too, for no local.
    pub subscriber: Option<SubscriberId>,
    /// For the access rules.
    pub access: &'a Access,
}

/// The same, as no local needs to know it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Source<'a> {
    /// Here.
    pub(crate) slot: Option<u32>,
    /// On other workers; `None`: its session is here, or there is none.
    pub(crate) client: Option<&'a Arc<str>>,
}

/// What became of a PUBLISH of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Published {
    /// It was new: tell the client the outcome.
    New(Outcome),
    /// Its QoS 2 identifier is in use: answer with PUBREC, it was not published again.
    Again,
}

impl Broker {
    /// Publishes for whoever `origin` is: access rules, retained store, deliveries here,
    /// forwards to other workers. A message that nobody wants is never made.
    pub fn publish<S: Sink>(
        &mut self,
        now: u64,
        origin: Origin<'_>,
        message: MessageBuilder<'_>,
        sink: &mut S,
    ) -> Outcome {
        self.refresh_acl();
        let outcome = match self.check(origin.access, &message) {
            Outcome::Success if is_delayed(&message) => self.delay(now, origin.access.clone(), message, sink),
            Outcome::Success => self.spread((now, self.source(origin)), message, sink),
            refused => refused,
        };
        self.count(outcome)
    }

    /// Who publishes, for no local: who has no subscriber at hand may still be the client of a session, on any worker.
    fn source<'a>(&self, Origin { subscriber, access }: Origin<'a>) -> Source<'a> {
        let client = access.client_id.as_ref().filter(|_| subscriber.is_none());
        let slot = subscriber.map(|id| id.slot).or_else(|| self.slot_of(client?));
        Source { slot, client }
    }

    /// Publishes what the gateway tells of itself: no rules, and no publish that counts.
    pub fn spread_own<S: Sink>(&mut self, now: u64, message: MessageBuilder<'_>, sink: &mut S) -> Outcome {
        self.refresh_acl();
        self.spread((now, Source::default()), message, sink)
    }

    /// Publishes for an MQTT session, whose access it uses. At QoS 2 the packet
    /// identifier is remembered until `pubrel`, unless the publish was refused.
    pub fn publish_from<S: Sink>(
        &mut self,
        now: u64,
        (id, packet_id): (SubscriberId, u16),
        message: MessageBuilder<'_>,
        sink: &mut S,
    ) -> Published {
        self.refresh_acl();
        let max = self.subscribers.limits.max_inbound;
        let Some(slot) = self.subscribers.get_mut(id) else { return Published::New(Outcome::Internal) };
        let once = message.qos == Qos::ExactlyOnce;
        if let (true, Some(session)) = (once, &mut slot.session) {
            match session.make_backlog().receive_inbound(packet_id, max) {
                Some(true) => {}
                Some(false) => return Published::Again,
                None => return Published::New(self.count(Outcome::QuotaExceeded)),
            }
        }
        let outcome = match self.subscribers.get(id).map(|slot| self.check(&slot.access, &message)) {
            Some(Outcome::Success) if is_delayed(&message) => {
                let access = self.subscribers.get(id).map(|slot| slot.access.clone()).unwrap_or_default();
                self.delay(now, access, message, sink)
            }
            Some(Outcome::Success) => {
                let source = Source { slot: Some(id.slot), client: None };
                self.spread((now, source), message, sink)
            }
            refused => refused.unwrap_or(Outcome::Internal),
        };
        if let (true, Some(session)) = (once, self.subscribers.get_mut(id).and_then(|slot| slot.session.as_mut())) {
            if !outcome.is_accepted() {
                session.make_backlog().release_inbound(packet_id);
            } else if session.key != 0 {
                sink.append(&Record::Inbound { key: session.key, packet_id, held: true });
            }
        }
        Published::New(self.count(outcome))
    }

    /// A publish that is taken and goes nowhere. `once`: its QoS 2 identifier is remembered
    /// until `pubrel`, as if it went.
    pub fn swallow<S: Sink>(&mut self, once: Option<(SubscriberId, u16)>, sink: &mut S) -> Published {
        let max = self.subscribers.limits.max_inbound;
        if let Some((id, packet_id)) = once
            && let Some(session) = self.subscribers.get_mut(id).and_then(|slot| slot.session.as_mut())
        {
            match session.make_backlog().receive_inbound(packet_id, max) {
                Some(true) if session.key != 0 => {
                    sink.append(&Record::Inbound { key: session.key, packet_id, held: true });
                }
                Some(true) => {}
                Some(false) => return Published::Again,
                None => return Published::New(self.count(Outcome::QuotaExceeded)),
            }
        }
        Published::New(self.count(Outcome::Success))
    }

    pub(crate) fn count(&mut self, outcome: Outcome) -> Outcome {
        let stats = &mut self.subscribers.stats;
        *(if outcome.is_accepted() { &mut stats.accepted } else { &mut stats.refused }) += 1;
        outcome
    }

    fn check(&self, access: &Access, message: &MessageBuilder<'_>) -> Outcome {
        let topic = match split_delayed(message.topic) {
            None => message.topic,
            Some(Some((_, topic))) => topic,
            Some(None) => return Outcome::InvalidTopic,
        };
        if !is_topic(topic, self.subscribers.limits.topic_levels) {
            return Outcome::InvalidTopic;
        }
        // MQTT5 section 3.3.2.3.2
        let says_text = message.properties.as_ref().is_some_and(|properties| properties.utf8_payload == Some(true));
        if says_text && std::str::from_utf8(message.payload).is_err() {
            return Outcome::Malformed;
        }
        // `$SYS` is the gateway's own (MQTT section 4.7.2).
        let ours = is_own(topic) && message.protocol != Protocol::Internal;
        if ours || !self.acl.may_publish(access, topic) { Outcome::Forbidden } else { Outcome::Success }
    }
}

fn is_delayed(message: &MessageBuilder<'_>) -> bool {
    message.topic.starts_with("$delayed/")
}
