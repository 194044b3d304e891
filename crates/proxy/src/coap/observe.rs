//! Observing topics (RFC 7641): an observation is a subscription whose answer is the
//! last value and whose notifications are the next ones. A filter with wildcards may
//! be observed too, which the RFC does not know: it is answered by an empty 2.05, and
//! each notification says its topic by Location-Path; of a value longer than a block
//! the rest is to be fetched there.

use super::answer::is_accepted;
use super::directory::{Looking, TOPIC as DIRECTORY_TOPIC};
use super::inbox::Finished;
use super::observations::{Observation, Pending, Relaying};
use super::server::Server;
use super::topic::put_location;
use super::waiting::Ticket;
use crate::pubsub::Outlet;
use foldhash::fast::FixedState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_broker::{Access, Options, SubscriberId, has_wildcard};
use tidegate_coap::{Code, Notification, Notified, ObserverId};
use tidegate_message::{Message, Outcome, Protocol, Qos};

/// How an observer is told.
pub(super) struct Told {
    pub(super) code: Code,
    pub(super) confirmable: bool,
    /// It is not to be missed although newer ones follow.
    pub(super) counts: bool,
}

impl Told {
    /// Of something of which only the newest matters.
    pub(super) const fn state(code: Code, confirmable: bool) -> Told {
        Told { code, confirmable, counts: false }
    }
}

/// Room for deliveries that is kept from wake-up to wake-up.
const KEPT_MAX: usize = 4_096;

impl Server {
    /// A request to observe.
    pub(super) fn observe(&mut self, ticket: Ticket, filter: &str) {
        let is_wildcard = has_wildcard(filter);
        let Some(id) = self.endpoint.observe(self.now_ms, &ticket.exchange, !is_wildcard) else {
            // RFC 7641 section 4.1: an answer without Observe says that there is none.
            return match is_wildcard {
                true => self.refuse(&ticket, Outcome::QuotaExceeded),
                false => self.last_value(&ticket, filter),
            };
        };
        let before = self.slept_through(ticket.exchange.peer, filter);
        match self.subscribe(id, self.access(ticket.exchange.peer), filter) {
            Ok(begun) => {
                before.into_iter().for_each(|before| self.endpoint.take_over(self.now_ms, before, id));
                self.begin_when_settled((ticket, Some(filter)), begun, id);
            }
            Err(outcome) => {
                self.endpoint.forget(id);
                self.forget_observation(id);
                self.refuse(&ticket, outcome);
            }
        }
    }

    /// The observation of the same by a peer that slept and begins anew: what waits for it
    /// goes to the new one.
    fn slept_through(&mut self, peer: SocketAddr, filter: &str) -> Option<ObserverId> {
        if !self.endpoint.is_asleep(peer) {
            return None;
        }
        self.deliver_observed();
        let about = FixedState::default().hash_one(filter);
        let same = |id: &&ObserverId| self.observations.about(**id) == Some(about);
        self.endpoint.observers_of(peer).iter().find(same).copied()
    }

    /// Answers once every worker knows of the observation.
    fn begin_when_settled(
        &mut self,
        (ticket, filter): (Ticket, Option<&str>),
        (place, after): (u32, u64),
        id: ObserverId,
    ) {
        if self.worker.hub.broker.borrow().settled() >= after {
            return self.begin_observation(&ticket, filter, (place, id));
        }
        let (worker, filter) = (Rc::clone(&self.worker), filter.map(Box::from));
        self.wait(ticket, async move {
            worker.settled(after).await;
            Finished::Settled(filter, place, id)
        });
    }

    /// A request to observe a lookup in the directory, which tells its changes as a topic.
    pub(super) fn observe_lookup(&mut self, ticket: Ticket, looking: Looking) {
        let Some(id) = self.endpoint.observe(self.now_ms, &ticket.exchange, true) else {
            let document = self.document(&looking);
            self.put_content_type(Some("application/link-format"));
            return self.answer(&ticket, Code::CONTENT, document.as_bytes());
        };
        // Whoever may ask the directory may be told of it.
        let access = Access::superuser(None);
        match self.subscribe(id, access, DIRECTORY_TOPIC) {
            Ok((place, after)) => {
                if let Some(observation) = self.observations.get(place) {
                    observation.looking = Some(Box::new((looking, 0)));
                }
                self.begin_when_settled((ticket, None), (place, after), id);
            }
            Err(outcome) => {
                self.endpoint.forget(id);
                self.forget_observation(id);
                self.refuse(&ticket, outcome);
            }
        }
    }

    /// What an observed lookup finds; `None`: the same as before, or it is none.
    fn found_newly(&mut self, place: u32) -> Option<String> {
        let mut looking = self.observations.get(place)?.looking.take()?;
        let document = self.document(&looking.0);
        // Zero is what nothing has been found under yet.
        let hash = FixedState::default().hash_one(&document) | 1;
        let is_new = std::mem::replace(&mut looking.1, hash) != hash;
        self.observations.get(place)?.looking = Some(looking);
        is_new.then_some(document)
    }

    /// The place of the new observation, and the interest that has to be settled.
    fn subscribe(&mut self, id: ObserverId, access: Access, filter: &str) -> Result<(u32, u64), Outcome> {
        let hub = &self.worker.hub;
        let subscriber = hub.broker.borrow_mut().add_subscriber(Protocol::Coap, access);
        let is_wildcard = has_wildcard(filter);
        let pending = Some(Pending::default());
        let about = FixedState::default().hash_one(filter);
        let subscribed = Some(subscriber);
        let observation =
            Observation { id, subscriber: subscribed, relaying: None, about, is_wildcard, looking: None, pending };
        let Some(place) = self.observations.insert(observation) else {
            self.unsubscribe(subscriber);
            return Err(Outcome::QuotaExceeded);
        };
        hub.outlets.borrow_mut().insert(subscriber, Outlet::Coap(place));
        let options = Options { qos: Qos::AtLeastOnce, ..Options::default() };
        let granted = self.worker.with_broker(|broker, sink| broker.subscribe(subscriber, filter, options, sink))?;
        let after = granted.after;
        if let Some(pending) = self.observations.get(place).and_then(|observation| observation.pending.as_mut()) {
            pending.granted = Some(granted);
        }
        Ok((place, after))
    }

    /// Every worker knows of the observation: answers with what there is.
    pub(super) fn begin_observation(&mut self, ticket: &Ticket, filter: Option<&str>, (place, id): (u32, ObserverId)) {
        let own = |observation: &&mut Observation| observation.id == id;
        let Some(observation) = self.observations.get(place).filter(own) else {
            // The peer has ended it meanwhile, and has asked for the value all the same.
            return match filter.filter(|filter| !has_wildcard(filter)) {
                Some(topic) => self.last_value(ticket, topic),
                None => self.answer(ticket, Code::CONTENT, b""),
            };
        };
        let (subscriber, is_wildcard) = (observation.subscriber, observation.is_wildcard);
        let granted = observation.pending.as_mut().and_then(|pending| pending.granted.take());
        if let (Some(subscriber), Some(granted)) = (subscriber, granted) {
            let now = self.now_ms;
            self.worker.with_broker(|broker, sink| broker.replay(now, subscriber, &granted, sink));
        }
        self.deliver_observed();
        let pending = self.observations.get(place).and_then(|observation| observation.pending.take());
        let collected = pending.map(|pending| pending.collected).unwrap_or_default();
        if let Some(document) = self.found_newly(place) {
            self.put_content_type(Some("application/link-format"));
            return self.answer_observer(ticket, (Code::CONTENT, Some(id)), document.as_bytes());
        }
        let value = collected.last().filter(|_| !is_wildcard);
        if !value.is_none_or(|value| is_accepted(ticket, value)) {
            // The answer ends the observation.
            let text = b"the value has another Content-Format";
            return self.answer_observer(ticket, (Code::NOT_ACCEPTABLE, Some(id)), text);
        }
        if let Some(value) = value {
            self.put_value_options(value);
        }
        let payload = value.map_or(&b""[..], |value| value.payload());
        self.answer_observer(ticket, (Code::CONTENT, Some(id)), payload);
        if is_wildcard {
            // Many at once: sent once each, as no queue of a peer holds them.
            collected.iter().for_each(|message| self.notify_value(id, (message, true), false));
        }
    }

    /// Tells observers what the broker had for them, and forgets those who left.
    pub(super) fn take_observed(&mut self) {
        self.deliver_observed();
        self.deliver_relayed();
        // Behind the deliveries: nothing under way names a place that becomes free.
        while let Some(gone) = self.endpoint.poll_gone() {
            self.forget_observation(gone.observer);
        }
    }

    /// Delivers what is for this socket; what is for others stays, in its order.
    fn deliver_observed(&mut self) {
        let mut observed = std::mem::take(&mut *self.worker.observed.borrow_mut());
        for _ in 0..observed.len() {
            match observed.pop_front() {
                Some((place, message)) if self.observations.owns(place) => self.deliver(place, &message),
                Some(other) => observed.push_back(other),
                None => {}
            }
        }
        observed.shrink_to(KEPT_MAX);
        *self.worker.observed.borrow_mut() = observed;
    }

    fn deliver(&mut self, place: u32, message: &Arc<Message>) {
        let Some(observation) = self.observations.get(place) else {
            return self.worker.undelivered(Protocol::Coap, "coap-gone");
        };
        if observation.pending.is_some() {
            if !observation.collect(message) {
                self.worker.undelivered(Protocol::Coap, "coap-observe-full");
            }
            return;
        }
        let (id, is_wildcard) = (observation.id, observation.is_wildcard);
        if observation.looking.is_some() {
            if let Some(document) = self.found_newly(place) {
                self.put_content_type(Some("application/link-format"));
                self.notify(id, Told::state(Code::CONTENT, true), document.as_bytes());
            }
            return;
        }
        self.notify_value(id, (message, is_wildcard), message.qos > Qos::AtMostOnce);
    }

    fn notify_value(&mut self, id: ObserverId, (message, is_wildcard): (&Message, bool), confirmable: bool) {
        self.put_value_options(message);
        if is_wildcard {
            put_location(&self.worker.plan.borrow().plan.broker.http_path, message.topic(), &mut self.options);
        }
        // A message that is not retained is no state which the next one follows.
        let counts = confirmable && !message.retain;
        self.notify(id, Told { code: Code::CONTENT, confirmable, counts }, message.payload());
    }

    /// Sends a notification with the options that have been gathered.
    pub(super) fn notify(&mut self, id: ObserverId, told: Told, payload: &[u8]) {
        let Told { code, confirmable, counts } = told;
        let notification = Notification { code, options: &self.options, payload, confirmable, counts };
        let notified = self.endpoint.notify(self.now_ms, id, &notification);
        self.options.clear();
        match notified {
            Notified::Sent | Notified::Queued => {}
            Notified::Replaced => self.worker.undelivered(Protocol::Coap, "coap-replaced"),
            Notified::Refused => self.worker.undelivered(Protocol::Coap, "coap-asleep-full"),
            Notified::Gone => self.worker.undelivered(Protocol::Coap, "coap-gone"),
        }
    }

    fn forget_observation(&mut self, id: ObserverId) {
        let Some(observation) = self.observations.remove(id) else { return };
        if let Some(subscriber) = observation.subscriber {
            self.unsubscribe(subscriber);
        }
        if let Some(Relaying { relay, place, .. }) = observation.relaying {
            relay.leave(place);
        }
    }

    fn unsubscribe(&self, subscriber: SubscriberId) {
        self.worker.hub.outlets.borrow_mut().remove(subscriber);
        self.worker.with_broker(|broker, sink| broker.remove_subscriber(subscriber, sink));
    }
}
