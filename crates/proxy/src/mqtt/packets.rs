//! What each packet of a client leads to. Everything that can be done at once is
//! done here; what has to wait leaves as `Later`.

use super::connect::Connecting;
use super::enhanced;
use super::filters::Grants;
use super::relay::{Asked, Wanted};
use super::seat::Ending;
use super::serve::Connection;
use super::taking::Rest;
use crate::pubsub::{Line, Publishing, publish};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tidegate_broker::{Leave, Options, Published, Received};
use tidegate_message::Qos;
use tidegate_mqtt::{Ack, AckKind, Connect, Event, Incoming, Unsubscribe, reason};

/// What became of the bytes in hand.
pub(crate) enum Handled {
    /// A packet of so many bytes was handled.
    Used(usize),
    /// A packet has not arrived whole.
    More,
    /// The connection ends; what there is to say is in the link.
    End,
    /// A packet of so many bytes needs time.
    Later(Later, usize),
}

/// What a packet waits for.
pub(crate) enum Later {
    Connect(Box<Connecting>),
    /// A publish whose route takes its time.
    Publish(Pin<Box<dyn Future<Output = Published>>>, u16, Qos),
    /// A SUBACK that is due when every worker knows of the interest.
    Subscribe(u16, Grants),
    /// Filters that policies have to be asked about.
    Asked(u16, Vec<(Box<str>, Options)>),
    /// A packet of a proxied client that policies have to be asked about.
    Passing(Box<Asked>),
}

impl Later {
    /// Waits, then answers; `rest`: where what comes meanwhile is kept. `false`: the connection ends.
    pub(super) async fn run(self, connection: &mut Connection, rest: &mut Rest) -> bool {
        match self {
            Later::Connect(connecting) => connecting.run(connection).await,
            Later::Publish(publishing, packet_id, qos) => {
                let published = connection.answering(publishing, rest).await;
                connection.published((packet_id, qos), published)
            }
            Later::Subscribe(packet_id, grants) => connection.settle(packet_id, grants).await,
            Later::Asked(packet_id, wanted) => {
                let grants = connection.ask_about(wanted, rest).await;
                connection.settle(packet_id, grants).await
            }
            Later::Passing(asked) => asked.run(connection, rest).await,
        }
    }
}

/// Handles the first packet of `bytes`.
pub(crate) fn handle(connection: &mut Connection, bytes: &[u8]) -> Handled {
    if connection.relay.is_some() {
        return connection.pass(bytes);
    }
    let now = connection.client.worker.clock.millis();
    let received = {
        let link = &connection.link;
        let mut out = link.out.borrow_mut();
        if out.capacity() == 0 {
            *out = connection.client.worker.buffers.take_write();
        }
        link.session.borrow_mut().receive(now, bytes, &mut out)
    };
    match received {
        Ok(None) => Handled::More,
        Ok(Some((event, used))) => {
            if connection.client.worker.hub.traces.is_on() {
                connection.trace(&event);
            }
            connection.event(event, &bytes[..used])
        }
        // What the client may be told stands in the output already.
        Err(error) => {
            connection.seat.ended = Ending::ProtocolError;
            let worker = &connection.client.worker;
            if let Some(id) = connection.link.client_id() {
                let text = format!("{}: {}", error.rule, error.what);
                worker.shared.faults.put(id, text, worker.clock.epoch_ms() + now);
            }
            Handled::End
        }
    }
}

impl Connection {
    /// Tells whoever watches what came.
    fn trace(&self, event: &Event<'_>) {
        let own = self.link.client_id();
        let mut line = Line { direction: "in", client_id: own, ..Line::default() };
        match event {
            Event::Connect(connect) => (line.packet, line.client_id) = ("connect", Some(connect.client_id)),
            Event::Publish(publish) => {
                (line.packet, line.topic) = ("publish", Some(&*publish.topic));
                (line.qos, line.bytes) = (Some(publish.qos as u8), Some(publish.payload.len()));
                line.packet_id = Some(publish.packet_id).filter(|id| *id != 0);
            }
            Event::Ack(ack) => {
                line.packet = match ack.kind {
                    AckKind::PubAck => "puback",
                    AckKind::PubRec => "pubrec",
                    AckKind::PubRel => "pubrel",
                    AckKind::PubComp => "pubcomp",
                };
                line.packet_id = Some(ack.packet_id);
            }
            Event::Subscribe(subscribe) => {
                line.packet = "subscribe";
                line.packet_id = Some(subscribe.packet_id);
                line.topic = subscribe.filters.iter().next().map(|subscription| subscription.filter);
            }
            Event::Unsubscribe(unsubscribe) => {
                line.packet = "unsubscribe";
                line.topic = unsubscribe.filters.iter().next().map(|name| name.filter);
            }
            Event::Ping => line.packet = "pingreq",
            Event::Disconnect { .. } => line.packet = "disconnect",
            Event::Auth(_) => line.packet = "auth",
        }
        self.client.worker.trace(&line);
    }

    fn event(&mut self, event: Event<'_>, whole: &[u8]) -> Handled {
        let used = whole.len();
        match event {
            Event::Connect(connect) => {
                let has_brokers = self.client.worker.plan.borrow().plan.brokers.is_some();
                let is_relayed = has_brokers && self.is_relayed(&connect);
                let packet = if has_brokers { whole } else { &[] };
                let connecting = Box::new(Connecting::new(&connect, packet, is_relayed));
                match connect.auth_method().and_then(enhanced::method) {
                    Some(method) if !is_relayed => {
                        self.begin_enhanced(connecting, (method, connect.auth_data().unwrap_or_default()), used)
                    }
                    _ => Handled::Later(Later::Connect(connecting), used),
                }
            }
            Event::Publish(incoming) => self.publish(&incoming, used),
            Event::Ack(ack) => self.ack(&ack, used),
            Event::Subscribe(subscribe) => self.subscribe(&subscribe, used),
            Event::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe, used),
            Event::Ping => Handled::Used(used),
            Event::Disconnect { with_will, session_expiry } => {
                self.seat.leave = Leave { with_will, expiry: session_expiry };
                self.seat.ended = Ending::Client;
                Handled::End
            }
            Event::Auth(auth) => self.auth(&auth, used),
        }
    }

    /// Whether a CONNECT leads to a broker of an upstream, whoever it proves to be.
    fn is_relayed(&self, connect: &Connect<'_>) -> bool {
        let topic = connect.will.as_ref().map(|will| will.topic);
        let mut peer = (*self.client.peer).clone();
        peer.known_mut().user = connect.user_name.map(Arc::from);
        let wanted = Wanted { client_id: connect.client_id, peer: &peer, topic };
        self.broker_of(&wanted).is_some()
    }

    /// The route of a CONNECT that leads to a broker of an upstream, with the upstream.
    pub(super) fn broker_of(&self, wanted: &Wanted<'_>) -> Option<(usize, usize)> {
        let plan = self.client.worker.plan();
        let route = plan.plan.brokers.as_ref()?.find(wanted)?;
        Some((route, crate::http::choose(&plan, &plan.plan.routes[route].target)?))
    }

    fn publish(&mut self, incoming: &Incoming<'_>, used: usize) -> Handled {
        let worker = &self.client.worker;
        let promise = (incoming.packet_id, incoming.qos);
        let Some(id) = self.seat.id() else { return Handled::End };
        self.seat.publisher.session = Some((id, incoming.packet_id));
        match publish(worker, &self.seat.publisher, incoming.message(worker.clock.millis())) {
            Publishing::Done(published) => {
                if self.published(promise, published) {
                    Handled::Used(used)
                } else {
                    Handled::End
                }
            }
            Publishing::Later(publishing) => Handled::Later(Later::Publish(publishing, promise.0, promise.1), used),
        }
    }

    /// Answers a publish. `false`: the connection must close.
    fn published(&mut self, promise: (u16, Qos), published: Published) -> bool {
        let mut session = self.link.session.borrow_mut();
        let mut out = self.link.out.borrow_mut();
        match published {
            Published::New(outcome) => !session.publish_outcome(promise, outcome, &mut out),
            Published::Again => {
                session.publish_again(promise.0, &mut out);
                true
            }
        }
    }

    fn ack(&mut self, ack: &Ack<'_>, used: usize) -> Handled {
        let Some(id) = self.seat.id() else { return Handled::End };
        let worker = &self.client.worker;
        let (now, packet_id) = (worker.clock.millis(), ack.packet_id);
        match ack.kind {
            AckKind::PubAck => {
                worker.with_broker(|broker, sink| broker.puback(now, (id, packet_id), sink));
            }
            AckKind::PubRec => {
                let received =
                    worker.with_broker(|broker, sink| broker.pubrec(now, (id, packet_id), ack.reason < 0x80, sink));
                // A refusal ends it, known or not: nothing is to be released.
                if received == Received::Release || (received == Received::Unknown && ack.reason < 0x80) {
                    let known = received == Received::Release;
                    self.link.session.borrow_mut().pubrel(packet_id, known, &mut self.link.out.borrow_mut());
                }
            }
            AckKind::PubRel => {
                let known = worker.with_broker(|broker, sink| broker.pubrel(id, packet_id, sink));
                self.link.session.borrow_mut().pubcomp(packet_id, known, &mut self.link.out.borrow_mut());
            }
            AckKind::PubComp => {
                worker.with_broker(|broker, sink| broker.pubcomp(now, (id, packet_id), sink));
            }
        }
        self.link.need(worker.hub.keeper.appended());
        Handled::Used(used)
    }

    fn unsubscribe(&mut self, unsubscribe: &Unsubscribe<'_>, used: usize) -> Handled {
        let Some(id) = self.seat.id() else { return Handled::End };
        let worker = &self.client.worker;
        let mut codes = Vec::new();
        for name in unsubscribe.filters.iter() {
            let existed = worker.with_broker(|broker, sink| broker.unsubscribe(id, name.filter, sink));
            codes.push(if existed { reason::SUCCESS } else { reason::NO_SUBSCRIPTION_EXISTED });
        }
        self.link.need(worker.hub.keeper.appended());
        let mut session = self.link.session.borrow_mut();
        match session.unsuback(unsubscribe.packet_id, &codes, &mut self.link.out.borrow_mut()) {
            true => Handled::Used(used),
            false => Handled::End,
        }
    }
}
