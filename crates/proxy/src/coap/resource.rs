//! Topics as resources: GET is the last value, POST and PUT publish, DELETE clears
//! (the mapping table of the message model).

use super::dispatch::Call;
use super::inbox::Finished;
use super::server::Server;
use super::streams::protocol_of;
use super::view::{format_of, type_of};
use super::waiting::Ticket;
use crate::hooks::{self, Subscription};
use crate::pubsub::{Publishing, publish, retains};
use std::rc::Rc;
use std::sync::Arc;
use tidegate_broker::{Published, has_wildcard, is_topic};
use tidegate_coap::{Code, Etag, Observe, OptionNumber, etag};
use tidegate_message::{Message, MessageBuilder, Outcome, Peer, Properties, Qos};

impl Server {
    /// A request for a topic or filter.
    pub(super) fn topic(&mut self, ticket: Ticket, call: &Call<'_>, topic: &str) {
        if !self.is_admitted(ticket.exchange.peer) {
            return self.refuse(&ticket, Outcome::Unauthenticated);
        }
        match (ticket.exchange.method, ticket.exchange.observe) {
            (Code::GET, Observe::Register | Observe::No) if ticket.plan.plan.hooks.on_subscribe() => {
                self.ask_to_read(ticket, topic);
            }
            (Code::GET, Observe::Register | Observe::No) => self.read(ticket, topic),
            (Code::POST | Code::PUT, _) => self.publish_body(ticket, call, topic),
            (Code::DELETE, _) => self.clear(ticket, call, topic),
            _ => self.answer(&ticket, Code::METHOD_NOT_ALLOWED, b""),
        }
    }

    /// Observes, or answers with the last value.
    fn read(&mut self, ticket: Ticket, topic: &str) {
        match ticket.exchange.observe {
            Observe::Register => self.observe(ticket, topic),
            _ if has_wildcard(topic) => {
                self.answer(&ticket, Code::BAD_REQUEST, b"a filter with + or # is for observing");
            }
            _ => self.last_value(&ticket, topic),
        }
    }

    /// Asks the broker's hooks first. What they change of a subscription is not for
    /// CoAP: its client named the resource.
    fn ask_to_read(&mut self, ticket: Ticket, topic: &str) {
        let (worker, access) = (Rc::clone(&self.worker), self.access(ticket.exchange.peer));
        let (protocol, peer) = (protocol_of(ticket.exchange.transport), Peer::new(ticket.exchange.peer));
        let topic: Box<str> = topic.into();
        let wanted = Subscription { filter: topic.clone(), qos: Qos::AtLeastOnce };
        self.wait(ticket, async move {
            let asked = hooks::subscribe(&worker, (protocol, &peer, &access), wanted).await;
            Finished::Readable(topic, asked.map(drop).map_err(|refusal| refusal.outcome()))
        });
    }

    /// Goes on with what waited for the hooks.
    pub(super) fn asked_to_read(&mut self, ticket: Ticket, topic: &str, asked: Result<(), Outcome>) {
        if let Err(outcome) = asked {
            return self.refuse(&ticket, outcome);
        }
        self.read(ticket, topic);
    }

    pub(super) fn last_value(&mut self, ticket: &Ticket, topic: &str) {
        if !is_topic(topic, ticket.plan.plan.bounds.topic_levels) {
            return self.refuse(ticket, Outcome::InvalidTopic);
        }
        match self.kept_value(ticket, topic) {
            Err(outcome) => self.refuse(ticket, outcome),
            Ok(None) => self.answer(ticket, Code::NOT_FOUND, b"the topic has no value"),
            Ok(Some(value)) => self.answer_value(ticket, &value),
        }
    }

    /// The last value, where it may be read.
    fn kept_value(&self, ticket: &Ticket, topic: &str) -> Result<Option<Arc<Message>>, Outcome> {
        let broker = self.worker.hub.broker.borrow();
        if !broker.shared().acl().may_receive(&self.access(ticket.exchange.peer), topic) {
            return Err(Outcome::Forbidden);
        }
        Ok(broker.shared().retained().get(topic, self.now_ms).map(|kept| kept.message))
    }

    /// Whether the request's conditions hold for the topic's value; answered where not.
    /// A value that another client publishes in the same moment is not noticed: topics
    /// have no lock.
    fn holds(&mut self, ticket: &Ticket, call: &Call<'_>, topic: &str) -> bool {
        let is_new_only = ticket.exchange.if_none_match;
        if !call.message().is_conditional() && !is_new_only {
            return true;
        }
        match self.kept_value(ticket, topic) {
            Err(outcome) => self.refuse(ticket, outcome),
            Ok(value) if !(is_new_only && value.is_some()) && call.message().holds(value.as_deref().map(tag_of)) => {
                return true;
            }
            Ok(_) => self.answer(ticket, Code::PRECONDITION_FAILED, b"the topic's value is another"),
        }
        false
    }

    /// Publishes a request's body; only what publishes may.
    pub(super) fn publish_body(&mut self, ticket: Ticket, call: &Call<'_>, topic: &str) {
        if !matches!(ticket.exchange.method, Code::POST | Code::PUT) {
            return self.answer(&ticket, Code::METHOD_NOT_ALLOWED, b"");
        }
        let request = call.message();
        let Some(retain) = retains(request.query_value("retain")) else {
            return self.answer(&ticket, Code::BAD_REQUEST, b"retain in the query is true or false");
        };
        if self.wants_rest(&ticket, call) || !self.holds(&ticket, call, topic) {
            return;
        }
        let lives = request.uint(OptionNumber::MAX_AGE).map(|seconds| u64::from(seconds) * 1_000);
        let message = MessageBuilder {
            qos: if ticket.exchange.confirmable { Qos::AtLeastOnce } else { Qos::AtMostOnce },
            retain,
            expires_at: lives.map(|lives| self.now_ms + lives),
            properties: properties(call),
            ..MessageBuilder::new(protocol_of(ticket.exchange.transport), topic, call.body())
        };
        self.publish(ticket, message, Code::CHANGED);
    }

    /// RFC 7252 section 5.8.4: done is done, whether there was a value or not.
    fn clear(&mut self, ticket: Ticket, call: &Call<'_>, topic: &str) {
        if self.wants_rest(&ticket, call) || !self.holds(&ticket, call, topic) {
            return;
        }
        let message = MessageBuilder {
            qos: if ticket.exchange.confirmable { Qos::AtLeastOnce } else { Qos::AtMostOnce },
            retain: true,
            ..MessageBuilder::new(protocol_of(ticket.exchange.transport), topic, b"")
        };
        self.publish(ticket, message, Code::DELETED);
    }

    fn publish(&mut self, ticket: Ticket, message: MessageBuilder<'_>, code: Code) {
        // Who publishes at least once comes again when the other workers keep up.
        if message.qos > Qos::AtMostOnce && self.worker.hub.links.is_congested() {
            return self.refuse(&ticket, Outcome::Busy);
        }
        match publish(&self.worker, &self.publisher(&ticket), message) {
            Publishing::Done(published) => self.answer_published(&ticket, published, code),
            Publishing::Later(work) => self.wait(ticket, async move { Finished::Published(work.await, code) }),
        }
    }

    pub(super) fn answer_published(&mut self, ticket: &Ticket, published: Published, code: Code) {
        match published {
            Published::New(outcome) if !outcome.is_accepted() => self.refuse(ticket, outcome),
            Published::New(_) | Published::Again => self.answer(ticket, code, b""),
        }
    }
}

fn tag_of(value: &Message) -> Etag {
    etag(value.content_type().and_then(format_of), value.payload())
}

/// What a message keeps of its request besides the body.
fn properties(call: &Call<'_>) -> Option<Box<Properties>> {
    let content_type = call.message().content_format().map(|format| type_of(format).into());
    let trace = call.view.trace().and_then(|trace| std::str::from_utf8(trace).ok());
    if content_type.is_none() && trace.is_none() {
        return None;
    }
    let user = trace.map(|trace| ("traceparent".into(), trace.into())).into_iter().collect();
    Some(Box::new(Properties { content_type, user, ..Properties::default() }))
}
