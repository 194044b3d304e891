//! The will of a proxied client: its broker publishes it when the gateway has no say any more, so that rules, policies and
//! the steps of its route see it ahead, with the CONNECT.

use super::super::serve::Connection;
use super::asked::fate;
use crate::hooks::{self, Fate};
use crate::pubsub::{Charge, Publisher};
use std::rc::Rc;
use tidegate_broker::Access;
use tidegate_kit::Codec;
use tidegate_message::{Message, Outcome, Peer, Protocol};
use tidegate_mqtt::{Connect, MqttCodec, Packet, Version, Will};

/// The CONNECT `packet` with what its will comes to; `message` is the will.
///
/// # Errors
/// Why the client may not leave that will.
pub(in crate::mqtt) async fn judged(
    connection: &Connection,
    (route, access, peer): (usize, &Access, &Peer),
    (packet, version, mut message): (Vec<u8>, Version, Message),
) -> Result<Vec<u8>, Outcome> {
    let worker = Rc::clone(&connection.client.worker);
    let plan = worker.plan();
    let route = plan.plan.routes.get(route);
    let publisher = Publisher { session: None, access: access.clone(), peer: Rc::new(peer.clone()) };
    let most = route.and_then(|route| route.steps.body_limit());
    if most.is_some_and(|most| message.payload().len() as u64 > most) {
        return Err(Outcome::TooLarge);
    }
    let before = message.clone();
    let first = hooks::first(&worker, &plan, (&publisher, &before.builder()));
    let kept = match fate((&worker, &plan), (route, &publisher, Charge::Free), (&mut message, first)).await {
        Fate::GoesOn => true,
        Fate::Dropped => {
            worker.dropped(Protocol::Mqtt, "policy");
            false
        }
        Fate::Refused(outcome) => return Err(outcome),
    };
    if kept && !worker.shared.broker.acl().may_publish(access, message.topic()) {
        worker.counters.auth(Protocol::Mqtt, "publish-forbidden");
        return Err(Outcome::Forbidden);
    }
    if kept && message == before {
        return Ok(packet);
    }
    let mut codec = MqttCodec::with_version(&plan.plan.bounds, version);
    let Ok(Some((Packet::Connect(connect), _))) = codec.decode(&packet) else { return Err(Outcome::Internal) };
    let mut changed = Vec::new();
    with_will(connect, &message, kept).encode(&mut changed);
    Ok(changed)
}

/// The same CONNECT with another will, or with none; what no policy changes stays.
fn with_will<'c>(connect: Connect<'c>, message: &'c Message, kept: bool) -> Connect<'c> {
    let Message { qos, retain, .. } = *message;
    let (topic, payload) = (message.topic(), message.payload());
    let will = connect.will.filter(|_| kept).map(|will| Will { qos, retain, topic, payload, ..will });
    Connect { will, ..connect }
}
