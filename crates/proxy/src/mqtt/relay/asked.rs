//! A packet of a proxied client that a policy is asked about: `onAuthorize`, `onPublish`
//! and the steps of its route, or `onSubscribe`. What comes behind it on that connection waits.

use super::super::packets::Handled;
use super::super::serve::Connection;
use super::super::taking::Rest;
use crate::hooks::{self, Fate, First, Subscription};
use crate::plan::Route;
use crate::pubsub::{Charge, Publisher, policies};
use crate::worker::{Worker, WorkerPlan};
use std::rc::Rc;
use tidegate_kit::Codec;
use tidegate_message::{Message, Outcome, Protocol, Qos};
use tidegate_mqtt::{DeliveryHead, FilterList, Options, Packet, Subscribe, reason};

/// What is asked about.
pub(crate) enum Asked {
    Publish {
        message: Message,
        first: Option<First>,
        packet_id: u16,
        dup: bool,
    },
    /// The whole SUBSCRIBE.
    Subscribe {
        packet: Vec<u8>,
        packet_id: u16,
    },
}

impl Asked {
    /// Asks, then passes it on or answers. `false`: the connection ends.
    pub(in crate::mqtt) async fn run(self, connection: &mut Connection, rest: &mut Rest) -> bool {
        match self {
            Asked::Publish { message, first, packet_id, dup } => {
                connection.ask_publish((message, first), (packet_id, dup), rest).await
            }
            Asked::Subscribe { packet, packet_id } => connection.ask_subscribe((&packet, packet_id), rest).await,
        }
    }
}

impl Connection {
    async fn ask_publish(
        &mut self,
        (mut message, first): (Message, Option<First>),
        (packet_id, dup): (u16, bool),
        rest: &mut Rest,
    ) -> bool {
        let qos = message.qos;
        let (worker, plan) = (Rc::clone(&self.client.worker), self.client.worker.plan());
        let publisher = self.seat.publisher.clone();
        let route = self.relay.as_ref().and_then(|relay| relay.route(&plan));
        let asking = fate((&worker, &plan), (route, &publisher, Charge::Counted), (&mut message, first));
        match self.answering(asking, rest).await {
            Fate::GoesOn => {}
            Fate::Dropped => {
                self.client.worker.dropped(Protocol::Mqtt, "policy");
                return self.answered((packet_id, qos), Outcome::Success);
            }
            Fate::Refused(outcome) => return self.answered((packet_id, qos), outcome),
        }
        let worker = &self.client.worker;
        if !worker.shared.broker.acl().may_publish(&self.seat.publisher.access, message.topic()) {
            return self.answered((packet_id, qos), Outcome::Forbidden);
        }
        let head = DeliveryHead { dup, qos, retain: message.retain, packet_id, ..Default::default() };
        if let Some(relay) = &mut self.relay {
            relay.gather_message(&head, (&message, worker.clock.millis()));
        }
        true
    }

    fn answered(&mut self, promise: (u16, Qos), outcome: Outcome) -> bool {
        matches!(self.answer_publish(promise, outcome, 0), Handled::Used(_))
    }

    async fn ask_subscribe(&mut self, (packet, packet_id): (&[u8], u16), rest: &mut Rest) -> bool {
        let Some(mut codec) = self.relay.as_ref().map(|relay| relay.codec) else { return false };
        let Ok(Some((Packet::Subscribe(subscribe), _))) = codec.decode(packet) else { return false };
        let (mut codes, mut filters) = (Vec::new(), FilterList::default());
        let (worker, publisher) = (Rc::clone(&self.client.worker), self.seat.publisher.clone());
        for wanted in subscribe.filters.iter() {
            let who = (Protocol::Mqtt, &*publisher.peer, &publisher.access);
            let asked = Subscription { filter: wanted.filter.into(), qos: wanted.options.qos };
            match self.answering(hooks::subscribe(&worker, who, asked), rest).await {
                Ok(Subscription { filter, qos }) => {
                    codes.push(self.code_of(&filter));
                    filters.push(&filter, Options { qos, ..wanted.options });
                }
                Err(refusal) => codes.push(refusal.code.max(reason::UNSPECIFIED)),
            }
        }
        let granted = self.grants(packet_id, codes);
        if granted == Some(true)
            && let Some(relay) = &mut self.relay
        {
            let changed = Subscribe { filters: filters.subscriptions(), ..subscribe };
            relay.gather_packet(&Packet::Subscribe(changed));
        }
        granted.is_some()
    }
}

/// What hooks, then the steps of its route make of a publish.
pub(super) async fn fate(
    (worker, plan): (&Rc<Worker>, &Rc<WorkerPlan>),
    (route, publisher, charge): (Option<&Route>, &Publisher, Charge),
    (message, first): (&mut Message, Option<First>),
) -> Fate {
    if let Some(first) = first {
        match hooks::ask(worker, plan, (publisher, message, first)).await {
            Fate::GoesOn => {}
            fate => return fate,
        }
    }
    match route {
        Some(route) if !route.steps.is_empty() => policies(worker, plan, (route, publisher, message, charge)).await,
        _ => Fate::GoesOn,
    }
}
