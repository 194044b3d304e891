//! Where the broker's output goes on this worker.

use super::{Between, Line, MqttLink, Outlet, Outlets, Owed, Queued};
use crate::worker::Worker;
use std::cell::RefMut;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_broker::{CloseReason, Delivery, DropReason, Forward, InterestChange, Record, Sink, SubscriberId};
use tidegate_message::{Message, Protocol, Qos};
use tidegate_mqtt::{DeliveryHead, Encoded, Version, prepare};
use tidegate_ring::{EventKind, EventRecord};
use tidegate_store::Pending;

/// Messages that wait for the CoAP driver's next turn on one worker.
const OBSERVED_MAX: usize = 65_536;

/// The sink of one call of the broker.
pub(crate) struct HubSink<'w> {
    worker: &'w Rc<Worker>,
    outlets: RefMut<'w, Outlets>,
    encoded: RefMut<'w, Encoded>,
    now: u64,
    /// The message sent last: from its second receiver on it is copied, not encoded.
    last: *const Message,
    prepared: Option<(Version, Qos)>,
}

impl<'w> HubSink<'w> {
    pub(crate) fn new(worker: &'w Rc<Worker>) -> Self {
        HubSink {
            worker,
            outlets: worker.hub.outlets.borrow_mut(),
            encoded: worker.hub.encoded.borrow_mut(),
            now: worker.clock.millis(),
            last: std::ptr::null(),
            prepared: None,
        }
    }

    /// The way out to a subscriber.
    pub(crate) fn outlet(&self, to: SubscriberId) -> Option<Outlet> {
        self.outlets.get(to)
    }

    /// Sends what a policy let pass. What it made of a message is no message of others.
    pub(crate) fn send_now(&mut self, to: SubscriberId, message: &Arc<Message>, delivery: Delivery<'_>) {
        self.send_out(to, message, delivery);
        self.last = std::ptr::null();
    }

    /// A policy did not let it pass: as if the client had taken it.
    pub(crate) fn withhold(&mut self, to: SubscriberId, message: &Message, delivery: &Delivery<'_>) {
        let Some(outlet) = self.outlet(to) else { return };
        if let Outlet::Mqtt(link) = &outlet {
            self.trace((link, message, delivery), ("dropped", Some("policy")));
        }
        self.worker.undelivered(message.protocol, "policy");
        if delivery.packet_id != 0 {
            self.worker.hub.discards.borrow_mut().push((to, delivery.packet_id));
        }
    }

    fn send_out(&mut self, to: SubscriberId, message: &Arc<Message>, delivery: Delivery<'_>) {
        let Some(outlet) = self.outlets.get(to) else { return };
        match outlet {
            Outlet::Mqtt(link) => {
                let bound = self.worker.plan.borrow().plan.broker.max_waiting_bytes;
                if delivery.qos == Qos::AtMostOnce && link.waiting() > bound {
                    self.worker.name_slow(&link);
                    self.trace((&link, message, &delivery), ("dropped", Some("slow-consumer")));
                    return self.worker.undelivered(Protocol::Mqtt, "slow-consumer");
                }
                self.trace((&link, message, &delivery), ("out", None));
                link.need(self.worker.hub.keeper.needs());
                if self.deliver_mqtt(&link, message, &delivery) {
                    self.count(Protocol::Mqtt, message, delivery.qos);
                } else {
                    self.worker.undelivered(Protocol::Mqtt, "packet-too-large");
                    if delivery.packet_id != 0 {
                        self.worker.hub.discards.borrow_mut().push((to, delivery.packet_id));
                    }
                }
                self.worker.hub.flusher.mark(&link);
            }
            Outlet::Stream(queue) => {
                let queued = Queued { message: Arc::clone(message), qos: delivery.qos, retain: delivery.retain };
                queue.push(queued);
            }
            Outlet::Coap(observer) => {
                let mut observed = self.worker.observed.borrow_mut();
                if observed.len() >= OBSERVED_MAX {
                    return self.worker.undelivered(Protocol::Coap, "coap-queue-full");
                }
                observed.push_back((observer, Arc::clone(message)));
                drop(observed);
                self.worker.wake_coap();
                self.count(Protocol::Coap, message, delivery.qos);
            }
            Outlet::Api(subscription) => {
                self.count(Protocol::Internal, message, delivery.qos);
                self.worker.event(&EventRecord {
                    kind: EventKind::Message,
                    a: subscription,
                    b: 0,
                    c: 0,
                    time: (self.worker.clock.epoch_ms() + self.now) as f64,
                    d: 0.0,
                    text: &message_json(message, &delivery),
                });
            }
        }
    }

    fn deliver_mqtt(&mut self, link: &Rc<MqttLink>, message: &Arc<Message>, delivery: &Delivery<'_>) -> bool {
        let mut session = link.session.borrow_mut();
        let mut out = link.out.borrow_mut();
        if out.capacity() == 0 {
            *out = self.worker.buffers.take_write();
        }
        let (version, qos) = (session.version(), delivery.qos);
        let again = std::ptr::eq(self.last, Arc::as_ptr(message));
        if again && delivery.subscription_ids.is_empty() && !session.uses_aliases() {
            if self.prepared != Some((version, qos)) {
                prepare(&mut self.encoded, (version, qos), message, self.now);
                self.prepared = Some((version, qos));
            }
            return session.deliver_prepared(
                &self.encoded,
                delivery.packet_id,
                (delivery.dup, delivery.retain),
                &mut out,
            );
        }
        if !again {
            (self.last, self.prepared) = (Arc::as_ptr(message), None);
        }
        let head = DeliveryHead {
            dup: delivery.dup,
            qos,
            retain: delivery.retain,
            packet_id: delivery.packet_id,
            subscription_ids: delivery.subscription_ids,
            ..DeliveryHead::default()
        };
        session.deliver((&head, self.now), message, &mut out)
    }

    fn trace(
        &self,
        (link, message, delivery): (&MqttLink, &Message, &Delivery<'_>),
        (direction, reason): (&'static str, Option<&str>),
    ) {
        if self.worker.hub.traces.is_on() {
            let id = link.client_id();
            self.worker.trace(&Line {
                direction,
                packet: "publish",
                client_id: id,
                topic: Some(message.topic()),
                qos: Some(delivery.qos as u8),
                packet_id: Some(delivery.packet_id).filter(|id| *id != 0),
                bytes: Some(message.payload().len()),
                reason,
            });
        }
    }

    fn count(&self, protocol: Protocol, message: &Message, qos: Qos) {
        let counters = self.worker.counters.of(protocol);
        counters.messages_out[qos as usize].add(1);
        counters.message_bytes_out.add(message.payload().len() as u64);
    }
}

impl Sink for HubSink<'_> {
    fn send(&mut self, to: SubscriberId, message: &Arc<Message>, delivery: Delivery<'_>) {
        let worker = self.worker;
        if worker.hub.held.is_on.get() && crate::hooks::intercept(self, worker, (to, message, &delivery)) {
            return;
        }
        self.send_out(to, message, delivery);
    }

    fn sees_wills(&mut self) -> bool {
        self.worker.sees_wills()
    }

    fn has_room(&mut self, to: SubscriberId) -> bool {
        match self.outlets.get(to) {
            Some(Outlet::Mqtt(link)) => link.has_room(),
            Some(Outlet::Stream(queue)) => queue.has_room(),
            _ => true,
        }
    }

    fn release(&mut self, to: SubscriberId, packet_id: u16) {
        if let Some(Outlet::Mqtt(link)) = self.outlets.get(to) {
            link.session.borrow_mut().pubrel(packet_id, true, &mut link.out.borrow_mut());
            link.need(self.worker.hub.keeper.needs());
            self.worker.hub.flusher.mark(&link);
        }
    }

    fn forward(&mut self, worker: u16, forward: Forward) {
        let protocol = forward.message.protocol;
        let hub = &self.worker.hub;
        if forward.name != 0 && hub.keeper.is_on() {
            let Forward { message, name, plain, groups, client, .. } = &forward;
            let (message, groups, client) = (Arc::clone(message), groups.to_vec(), client.clone());
            hub.keeper.outgoing(Pending { id: *name, worker, plain: *plain, groups, client, message });
            // It is delivered there once it stands here: never after a crash and before it.
            return hub.links.send_after(worker, hub.keeper.needs(), Between::Forward(forward));
        }
        if !self.worker.hub.links.forward(worker, forward) {
            self.worker.dropped(protocol, "worker-link-full");
        }
    }

    fn interest(&mut self, change: InterestChange) {
        // Others act on it at once: what it follows from must not be undone by a crash.
        self.worker.hub.links.broadcast(&change, self.worker.hub.keeper.needs());
    }

    fn close(&mut self, to: SubscriberId, reason: CloseReason) {
        if let Some(Outlet::Mqtt(link)) = self.outlets.remove(to) {
            link.close(reason);
        }
    }

    fn append(&mut self, record: &Record<'_>) {
        self.worker.hub.keeper.append(record, &self.worker.shared.broker);
    }

    fn standing(&self) -> u64 {
        self.worker.hub.keeper.needs()
    }

    fn lean(&mut self, standing: u64) {
        self.worker.hub.keeper.lean(standing);
    }

    fn parted(&mut self, from: u16, key: u64) {
        self.worker.hub.keeper.owe(from, Owed::Parted(key));
    }

    fn dropped(&mut self, to: Option<SubscriberId>, protocol: Protocol, reason: DropReason, count: u32) {
        let outlet = to.and_then(|to| self.outlets.get(to));
        if let Some(Outlet::Mqtt(link)) = outlet {
            if reason == DropReason::QueueFull {
                self.worker.name_slow(&link);
            }
            if self.worker.hub.traces.is_on() {
                let id = link.client_id();
                let reason = Some(reason.label());
                let line = Line { direction: "dropped", packet: "publish", client_id: id, reason, ..Line::default() };
                self.worker.trace(&line);
            }
        }
        self.worker.counters.dropped(protocol, reason.label(), u64::from(count));
    }
}

/// `{ topic, qos, retain, bytes, payload }`, payload in base64.
fn message_json(message: &Message, delivery: &Delivery<'_>) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    serde_json::json!({
        "topic": message.topic(),
        "qos": delivery.qos as u8,
        "retain": delivery.retain,
        "bytes": message.payload().len(),
        "payload": STANDARD.encode(message.payload()),
        "contentType": message.content_type(),
    })
    .to_string()
}
