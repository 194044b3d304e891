//! A client and a server on a virtual clock, connected by two byte strings that are
//! cut anywhere: a whole conversation in each version.
#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use tidegate_kit::Codec;
use tidegate_message::{Limits, MessageBuilder, Outcome, Protocol, Qos};
use tidegate_mqtt::*;

/// The client: encodes packets, reads the server's. The server: what a driver does.
struct Pair {
    now: u64,
    version: Version,
    server: Session,
    to_client: Vec<u8>,
    seen: Vec<String>,
}

impl Pair {
    fn new(version: Version) -> Self {
        let server = Session::new(Arc::new(Settings::default()), 0);
        Pair { now: 0, version, server, to_client: Vec::new(), seen: Vec::new() }
    }

    /// Sends packets in pieces of `cut` bytes, then lets the server answer.
    fn send(&mut self, packets: &[Packet<'_>], cut: usize) {
        let mut bytes = Vec::new();
        packets.iter().for_each(|packet| packet.encode(self.version, &mut bytes));
        let mut held = Vec::new();
        for piece in bytes.chunks(cut) {
            self.now += 1;
            held.extend_from_slice(piece);
            let used = self.drive(&held);
            held.drain(..used);
        }
        assert!(held.is_empty(), "every packet was taken");
    }

    fn drive(&mut self, input: &[u8]) -> usize {
        let mut used = 0;
        while let Some((event, len)) =
            self.server.receive(self.now, &input[used..], &mut self.to_client).expect("a polite client")
        {
            used += len;
            self.decide(event);
        }
        used
    }

    fn decide(&mut self, event: Event<'_>) {
        let out = &mut self.to_client;
        match event {
            Event::Connect(connect) => {
                self.seen.push(format!("connect {}", connect.client_id));
                self.server.connack(&Accepted { session_present: true, ..Accepted::default() }, out);
            }
            Event::Publish(publish) => {
                self.seen.push(format!("publish {} {}", &*publish.topic, publish.payload.len()));
                let close = self.server.publish_outcome((publish.packet_id, publish.qos), Outcome::NoSubscribers, out);
                assert!(!close);
            }
            Event::Ack(ack) if ack.kind == AckKind::PubRel => self.server.pubcomp(ack.packet_id, true, out),
            Event::Ack(ack) => self.seen.push(format!("{:?} {}", ack.kind, ack.packet_id)),
            Event::Subscribe(subscribe) => {
                let codes: Vec<u8> = subscribe.filters.iter().map(|filter| filter.options.qos as u8).collect();
                assert!(self.server.suback(subscribe.packet_id, &codes, out));
            }
            Event::Unsubscribe(packet) => assert!(self.server.unsuback(packet.packet_id, &[0], out)),
            Event::Disconnect { with_will, .. } => self.seen.push(format!("disconnect {with_will}")),
            Event::Ping | Event::Auth(_) => {}
        }
    }

    /// What the client reads, packet by packet.
    fn received(&mut self) -> Vec<String> {
        let mut codec = MqttCodec::with_version(&Limits::default(), self.version);
        let (mut input, mut found) = (&self.to_client[..], Vec::new());
        while let Some((packet, used)) = codec.decode(input).expect("a polite server") {
            input = &input[used..];
            found.push(match packet {
                Packet::Ack(ack) => format!("{:?} {} {:02x}", ack.kind, ack.packet_id, ack.reason),
                Packet::Connack(packet) => format!("connack {} {}", packet.session_present, packet.code),
                Packet::Suback(packet) => format!("suback {:?}", packet.codes),
                Packet::Publish(packet) => format!("publish {} {}", packet.topic, packet.packet_id),
                other => format!("{other:?}"),
            });
        }
        self.to_client.clear();
        found
    }
}

fn connect(version: Version) -> Packet<'static> {
    let (will, user_name, password, properties) = (None, None, None, Properties::NONE);
    let (is_bridge, clean_start, keep_alive, client_id) = (false, false, 30, "pump");
    Packet::Connect(Connect {
        version,
        is_bridge,
        clean_start,
        keep_alive,
        client_id,
        will,
        user_name,
        password,
        properties,
    })
}

fn publish(qos: Qos, packet_id: u16) -> Packet<'static> {
    let (topic, payload, properties) = ("plant/1/temp", &b"21.5"[..], Properties::NONE);
    Packet::Publish(Publish { dup: false, qos, retain: false, topic, packet_id, properties, payload })
}

#[test]
fn a_conversation_is_the_same_however_the_bytes_are_cut() {
    let mut filters = FilterList::default();
    filters.push("plant/#", Options { qos: Qos::AtLeastOnce, ..Options::default() });
    for version in Version::ALL {
        for cut in [1, 2, 3, 7, 1_000] {
            let mut pair = Pair::new(version);
            let ack = |kind, packet_id| Packet::Ack(Ack { kind, packet_id, reason: 0, properties: Properties::NONE });
            let subscribe = Subscribe { packet_id: 9, properties: Properties::NONE, filters: filters.subscriptions() };
            pair.send(&[connect(version), publish(Qos::AtMostOnce, 0), publish(Qos::AtLeastOnce, 1)], cut);
            pair.send(&[publish(Qos::ExactlyOnce, 2), ack(AckKind::PubRel, 2), Packet::Subscribe(subscribe)], cut);
            pair.send(&[Packet::PingReq, ack(AckKind::PubAck, 5)], cut);
            pair.send(&[Packet::Disconnect(Disconnect { reason: 0, properties: Properties::NONE })], cut);
            assert!(pair.server.is_closed());
            assert_eq!(pair.seen[..2], ["connect pump", "publish plant/1/temp 4"]);
            assert_eq!(pair.seen[4..], ["PubAck 5", "disconnect false"]);
            let present = version != Version::V31;
            let code = if version.is_v5() { "10" } else { "00" };
            let expected = [
                format!("connack {present} 0"),
                format!("PubAck 1 {code}"),
                format!("PubRec 2 {code}"),
                "PubComp 2 00".into(),
                "suback [1]".into(),
                "PingResp".into(),
            ];
            assert_eq!(pair.received(), expected);
        }
    }
}

#[test]
fn an_alias_stands_for_its_topic_until_it_is_set_anew() {
    let mut pair = Pair::new(Version::V5);
    let mut alias = PropertiesBuf::new();
    alias.push(Property::TopicAlias(3));
    let with = |topic| {
        Packet::Publish(Publish {
            dup: false,
            qos: Qos::AtMostOnce,
            retain: false,
            topic,
            packet_id: 0,
            properties: alias.properties(),
            payload: b"x",
        })
    };
    pair.send(&[connect(Version::V5), with("a"), with(""), with("b"), with("")], 5);
    assert_eq!(pair.seen[1..], ["publish a 1", "publish a 1", "publish b 1", "publish b 1"]);
}

#[test]
fn a_delivery_larger_than_the_client_takes_is_not_sent() {
    let mut pair = Pair::new(Version::V5);
    let mut properties = PropertiesBuf::new();
    properties.push(Property::MaximumPacketSize(40));
    let Packet::Connect(mut packet) = connect(Version::V5) else { panic!("a CONNECT") };
    packet.properties = properties.properties();
    pair.send(&[Packet::Connect(packet)], 9);
    let head = DeliveryHead { qos: Qos::AtLeastOnce, packet_id: 1, ..DeliveryHead::default() };
    let small = MessageBuilder::new(Protocol::Coap, "a", &[0; 20]).build().expect("a short topic");
    let large = MessageBuilder::new(Protocol::Coap, "a", &[0; 40]).build().expect("a short topic");
    assert!(pair.server.deliver((&head, 0), &small, &mut pair.to_client));
    assert!(!pair.server.deliver((&head, 0), &large, &mut pair.to_client));
    let mut encoded = Encoded::default();
    prepare(&mut encoded, (Version::V5, Qos::AtLeastOnce), &large, 0);
    assert!(!pair.server.deliver_prepared(&encoded, 2, (false, false), &mut pair.to_client));
    prepare(&mut encoded, (Version::V5, Qos::AtLeastOnce), &small, 0);
    assert!(pair.server.deliver_prepared(&encoded, 2, (false, false), &mut pair.to_client));
    assert_eq!(pair.received(), ["connack true 0", "publish a 1", "publish a 2"]);
}

#[test]
fn a_refused_publish_has_a_code_in_version_5_and_closes_or_passes_before() {
    for (outcome, code, closes) in [(Outcome::Forbidden, "87", false), (Outcome::QuotaExceeded, "97", true)] {
        let mut pair = Pair::new(Version::V5);
        pair.send(&[connect(Version::V5)], 99);
        pair.received();
        assert!(!pair.server.publish_outcome((4, Qos::AtLeastOnce), outcome, &mut pair.to_client));
        assert_eq!(pair.received(), [format!("PubAck 4 {code}")]);
        let mut old = Pair::new(Version::V311);
        old.send(&[connect(Version::V311)], 99);
        assert_eq!(old.server.publish_outcome((4, Qos::AtLeastOnce), outcome, &mut old.to_client), closes);
    }
}

#[test]
fn a_shorter_keep_alive_of_the_server_is_told_and_kept() {
    let mut session = Session::new(Arc::new(Settings { server_keep_alive: 10, ..Settings::default() }), 0);
    let (mut bytes, mut out) = (Vec::new(), Vec::new());
    connect(Version::V5).encode(Version::V5, &mut bytes);
    assert!(session.receive(0, &bytes, &mut out).is_ok());
    session.connack(&Accepted { assigned_client_id: Some("auto-1"), ..Accepted::default() }, &mut out);
    let mut codec = MqttCodec::with_version(&Limits::default(), Version::V5);
    let Ok(Some((Packet::Connack(connack), _))) = codec.decode(&out) else { panic!("a CONNACK") };
    let told: Vec<_> = connack.properties.iter().collect();
    assert!(told.contains(&Property::ServerKeepAlive(10)) && told.contains(&Property::AssignedClientId("auto-1")));
    assert_eq!(session.deadline(), Some(15_000));
}

#[test]
fn a_bridge_is_known_by_its_level_and_speaks_its_version() {
    for (version, level) in [(Version::V31, 0x83), (Version::V311, 0x84)] {
        let mut pair = Pair::new(version);
        let Packet::Connect(plain) = connect(version) else { panic!("it is one") };
        let mut bytes = Vec::new();
        Connect { is_bridge: true, ..plain }.encode(&mut bytes);
        assert!(bytes.contains(&level));
        pair.drive(&bytes);
        assert!(pair.server.is_connected() && pair.server.is_bridge());
        assert_eq!(pair.server.version(), version);
    }
    let mut pair = Pair::new(Version::V311);
    pair.send(&[connect(Version::V311)], 1);
    assert!(!pair.server.is_bridge());
}
