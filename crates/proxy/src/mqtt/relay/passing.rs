//! From a client to its broker: what passes is gathered, what may not is answered here, and
//! what a policy or a step of the route has to be asked about waits.

use super::super::packets::{Handled, Later};
use super::super::seat::Ending;
use super::super::serve::Connection;
use super::{Asked, Relay};
use crate::hooks;
use crate::plan::Route;
use crate::worker::WorkerPlan;
use std::rc::Rc;
use tidegate_kit::Codec;
use tidegate_message::{Outcome, Protocol, Qos};
use tidegate_mqtt::{Ack, AckKind, DeliveryHead, Packet, Publish, Subscribe, encode_publish, reason};

impl Relay {
    /// The route that led here, as the plan in force has it; found again by its name when that is another plan.
    pub(super) fn route<'p>(&self, plan: &'p WorkerPlan) -> Option<&'p Route> {
        let (mut place, version) = self.route.get();
        if plan.plan.version != version {
            place = plan.plan.routes.iter().position(|route| route.name == self.route_name);
            self.route.set((place, plan.plan.version));
        }
        plan.plan.routes.get(place?)
    }

    pub(super) fn gather(&mut self, bytes: &[u8]) {
        self.gathered.borrow_mut().extend_from_slice(bytes);
    }

    /// Pings that came behind a packet that waits: its broker answers them, and hears that the client is there.
    pub(in crate::mqtt) fn ping(&mut self, count: usize) {
        (0..count).for_each(|_| self.gather_packet(&Packet::PingReq));
        // What does not go at once, or not at all, is found out where the packet goes on.
        let _ = self.flush_now();
    }

    pub(super) fn gather_packet(&mut self, packet: &Packet<'_>) {
        packet.encode(self.version, &mut self.gathered.borrow_mut());
    }

    /// A publish under another topic, or changed.
    pub(super) fn gather_message(
        &mut self,
        head: &DeliveryHead<'_>,
        (message, now): (&tidegate_message::Message, u64),
    ) {
        encode_publish(&mut self.gathered.borrow_mut(), self.version, (head, now), message);
    }

    /// The client acknowledged a delivery: what the gateway withheld behind it is acknowledged, too.
    fn acknowledged(&self, kind: AckKind, packet_id: u16) {
        let qos = if kind == AckKind::PubRec { Qos::ExactlyOnce } else { Qos::AtLeastOnce };
        self.acks.borrow_mut().acknowledged((packet_id, qos), &mut self.gathered.borrow_mut());
    }

    /// Remembers that a publish of QoS 2 was answered here with success, so that its PUBREL is, too.
    pub(super) fn answered(&mut self, (packet_id, qos): (u16, Qos), outcome: Outcome) {
        if qos == Qos::ExactlyOnce && (outcome.is_accepted() || !self.version.is_v5()) {
            self.answered.insert(packet_id);
        }
    }
}

impl Connection {
    /// Handles the first packet that a proxied client sent.
    pub(in crate::mqtt) fn pass(&mut self, bytes: &[u8]) -> Handled {
        let Some(relay) = &mut self.relay else { return Handled::End };
        let (packet, used) = match relay.codec.decode(bytes) {
            Ok(Some(found)) => found,
            Ok(None) => return Handled::More,
            Err(error) => {
                self.link.session.borrow_mut().fail(&error, &mut self.link.out.borrow_mut());
                return self.broke();
            }
        };
        let now = self.client.worker.clock.millis();
        if self.link.session.borrow_mut().check(now, &packet, &mut self.link.out.borrow_mut()).is_err() {
            return self.broke();
        }
        match &packet {
            Packet::Publish(publish) => return self.pass_publish(publish, &bytes[..used]),
            Packet::Subscribe(subscribe) => return self.pass_subscribe(subscribe, &bytes[..used]),
            Packet::Ack(Ack { kind: AckKind::PubRel, packet_id, .. }) if relay.answered.remove(packet_id) => {
                self.link.session.borrow_mut().pubcomp(*packet_id, true, &mut self.link.out.borrow_mut());
                return Handled::Used(used);
            }
            Packet::Ack(Ack { kind: kind @ (AckKind::PubAck | AckKind::PubRec), packet_id, .. }) => {
                relay.gather(&bytes[..used]);
                relay.acknowledged(*kind, *packet_id);
            }
            _ => relay.gather(&bytes[..used]),
        }
        if let Packet::Disconnect(_) = packet {
            self.seat.ended = Ending::Client;
            return Handled::End;
        }
        Handled::Used(used)
    }

    /// Ends the connection of a client that broke a rule and was told so.
    fn broke(&mut self) -> Handled {
        self.seat.ended = Ending::ProtocolError;
        Handled::End
    }

    fn pass_publish(&mut self, publish: &Publish<'_>, whole: &[u8]) -> Handled {
        let worker = Rc::clone(&self.client.worker);
        let counters = worker.counters.of(Protocol::Mqtt);
        counters.messages_in[publish.qos as usize].add(1);
        counters.message_bytes_in.add(publish.payload.len() as u64);
        let Some(relay) = &mut self.relay else { return Handled::End };
        let known = match relay.aliases.resolve(publish) {
            Ok(known) => known,
            Err(code) => {
                self.link.session.borrow_mut().disconnect(code, &mut self.link.out.borrow_mut());
                return self.broke();
            }
        };
        let topic = known.as_ref().map_or(publish.topic, |(topic, _)| topic);
        let plan = worker.plan();
        let route = relay.route(&plan);
        if route.and_then(|route| route.steps.body_limit()).is_some_and(|limit| publish.payload.len() as u64 > limit) {
            return self.answer_publish((publish.packet_id, publish.qos), Outcome::TooLarge, whole.len());
        }
        let now = worker.clock.millis();
        let has_steps = route.is_some_and(|route| !route.steps.is_empty());
        if plan.plan.hooks.on_publish() || has_steps {
            let message = publish.message(topic, now);
            let first = hooks::first(&worker, &plan, (&self.seat.publisher, &message));
            if first.is_some() || has_steps {
                let Some(message) = message.build() else {
                    return self.answer_publish((publish.packet_id, publish.qos), Outcome::InvalidTopic, whole.len());
                };
                let asked = Asked::Publish { message, first, packet_id: publish.packet_id, dup: publish.dup };
                return Handled::Later(Later::Passing(Box::new(asked)), whole.len());
            }
        }
        if !worker.shared.broker.acl().may_publish(&self.seat.publisher.access, topic) {
            return self.answer_publish((publish.packet_id, publish.qos), Outcome::Forbidden, whole.len());
        }
        if known.as_ref().is_none_or(|(_, is_there)| *is_there) {
            relay.gather(whole);
            relay.aliases.passed(publish);
        } else if let Some(message) = publish.message(topic, now).build() {
            let Publish { dup, qos, retain, packet_id, .. } = *publish;
            relay.gather_message(&DeliveryHead { dup, qos, retain, packet_id, ..Default::default() }, (&message, now));
        }
        Handled::Used(whole.len())
    }

    /// A publish that goes no further.
    pub(super) fn answer_publish(&mut self, promise: (u16, Qos), outcome: Outcome, used: usize) -> Handled {
        let worker = &self.client.worker;
        if !outcome.is_accepted() {
            worker.counters.of(Protocol::Mqtt).refused.add(1);
        }
        if outcome == Outcome::Forbidden {
            worker.counters.auth(Protocol::Mqtt, "publish-forbidden");
        }
        if let Some(relay) = &mut self.relay {
            relay.answered(promise, outcome);
        }
        let closes = self.link.session.borrow_mut().publish_outcome(promise, outcome, &mut self.link.out.borrow_mut());
        if closes { Handled::End } else { Handled::Used(used) }
    }

    /// A SUBSCRIBE passes whole or not at all: each filter that is forbidden is told so, the
    /// others that they stood beside one.
    fn pass_subscribe(&mut self, subscribe: &Subscribe<'_>, whole: &[u8]) -> Handled {
        let worker = &self.client.worker;
        if worker.plan.borrow().plan.hooks.on_subscribe() {
            let asked = Asked::Subscribe { packet: whole.to_vec(), packet_id: subscribe.packet_id };
            return Handled::Later(Later::Passing(Box::new(asked)), whole.len());
        }
        let codes: Vec<u8> = subscribe.filters.iter().map(|wanted| self.code_of(wanted.filter)).collect();
        match (self.grants(subscribe.packet_id, codes), &mut self.relay) {
            (Some(true), Some(relay)) => relay.gather(whole),
            (Some(false), _) => {}
            _ => return Handled::End,
        }
        Handled::Used(whole.len())
    }

    /// What the rules say of a filter.
    pub(super) fn code_of(&self, filter: &str) -> u8 {
        let plain = tidegate_broker::split_share(filter).map_or(filter, |(_, plain)| plain);
        let may = self.client.worker.shared.broker.acl().may_subscribe(&self.seat.publisher.access, plain);
        if may { reason::SUCCESS } else { reason::NOT_AUTHORIZED }
    }

    /// Whether all filters may pass; otherwise they are answered. `None`: the connection ends.
    pub(super) fn grants(&mut self, packet_id: u16, mut codes: Vec<u8>) -> Option<bool> {
        if codes.iter().all(|code| *code == reason::SUCCESS) {
            return Some(true);
        }
        self.client.worker.counters.auth(Protocol::Mqtt, "subscribe-forbidden");
        let mut session = self.link.session.borrow_mut();
        for code in &mut codes {
            *code = match *code {
                _ if !session.version().is_v5() => reason::UNSPECIFIED,
                reason::SUCCESS => reason::IMPLEMENTATION_SPECIFIC,
                code => reason::for_suback(code),
            };
        }
        session.suback(packet_id, &codes, &mut self.link.out.borrow_mut()).then_some(false)
    }
}
