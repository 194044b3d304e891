//! `decode(encode(packet)) == packet` for every packet and every version, and a
//! decoder that neither panics nor reads past its input.
#![allow(clippy::panic, reason = "a test fails by panicking")]

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tidegate_kit::Codec;
use tidegate_message::{Limits, Message, MessageBuilder, Protocol, Qos};
use tidegate_mqtt::*;

fn qos() -> impl Strategy<Value = Qos> {
    prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce), Just(Qos::ExactlyOnce)]
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V31), Just(Version::V311), Just(Version::V5)]
}

/// Properties that a PUBLISH and a will both carry.
fn carried() -> impl Strategy<Value = PropertiesBuf> {
    let text = "[a-zé]{0,9}";
    (option::of(any::<u32>()), option::of(text), option::of(vec(any::<u8>(), 0..9)), vec((text, text), 0..4)).prop_map(
        |(expiry, content, correlation, user)| {
            let mut buf = PropertiesBuf::new();
            expiry.into_iter().for_each(|seconds| {
                buf.push(Property::MessageExpiry(seconds));
            });
            content.iter().for_each(|name| {
                buf.push(Property::ContentType(name)).push(Property::ResponseTopic("reply/to"));
            });
            correlation.iter().for_each(|data| {
                buf.push(Property::CorrelationData(data)).push(Property::PayloadFormat(false));
            });
            user.iter().for_each(|(name, value)| {
                buf.push(Property::User(name, value));
            });
            buf
        },
    )
}

fn versioned<'a>(version: Version, properties: &'a PropertiesBuf) -> Properties<'a> {
    if version.is_v5() { properties.properties() } else { Properties::NONE }
}

fn assert_round_trip(version: Version, packet: Packet<'_>) {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes);
    let mut codec = MqttCodec::with_version(&Limits::default(), version);
    for end in 0..bytes.len() {
        assert_eq!(codec.decode(&bytes[..end]), Ok(None), "a prefix of {end} bytes is no packet");
    }
    assert_eq!(codec.decode(&bytes), Ok(Some((packet, bytes.len()))));
    bytes.extend_from_slice(&[0xc0, 0]);
    assert_eq!(codec.decode(&bytes).map(|found| found.map(|(_, used)| used)), Ok(Some(bytes.len() - 2)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_publish_comes_back(
        version in version(), qos in qos(), flags in any::<(bool, bool)>(), topic in "[a-z/é]{1,40}",
        packet_id in 1_u16.., payload in vec(any::<u8>(), 0..300), properties in carried(),
    ) {
        let packet_id = if qos == Qos::AtMostOnce { 0 } else { packet_id };
        let dup = flags.0 && qos != Qos::AtMostOnce;
        let properties = versioned(version, &properties);
        let publish = Publish { dup, qos, retain: flags.1, topic: &topic, packet_id, properties, payload: &payload };
        assert_round_trip(version, Packet::Publish(publish));
    }

    #[test]
    fn a_connect_comes_back(
        version in version(), (clean_start, bridge) in any::<(bool, bool)>(), keep_alive in any::<u16>(), client_id in "[a-z0-9]{1,23}",
        user in option::of("[a-z]{0,9}"), password in option::of(vec(any::<u8>(), 0..9)),
        will in option::of((qos(), any::<bool>(), "[a-z/]{1,9}", vec(any::<u8>(), 0..40))), kept in carried(),
    ) {
        let mut own = PropertiesBuf::new();
        own.push(Property::SessionExpiry(7)).push(Property::ReceiveMaximum(9)).push(Property::MaximumPacketSize(99));
        own.push(Property::TopicAliasMaximum(3)).push(Property::RequestProblemInfo(false)).push(Property::AuthMethod("x"));
        own.push(Property::AuthData(b"y")).push(Property::RequestResponseInfo(true)).push(Property::User("a", "b"));
        let will = will.as_ref().map(|(qos, retain, topic, payload)| Will {
            qos: *qos, retain: *retain, topic, payload, properties: versioned(version, &kept),
        });
        let password = password.as_deref().filter(|_| user.is_some() || version.is_v5());
        assert_round_trip(version, Packet::Connect(Connect {
            version, is_bridge: bridge && !version.is_v5(), clean_start, keep_alive, client_id: &client_id, will, user_name: user.as_deref(), password,
            properties: versioned(version, &own),
        }));
    }

    #[test]
    fn a_subscribe_and_an_unsubscribe_come_back(
        version in version(), packet_id in 1_u16..,
        filters in vec(("[a-z/]{1,9}(/#)?", qos(), any::<(bool, bool)>(), 0_u8..3), 1..5),
    ) {
        let (mut list, mut names) = (FilterList::default(), FilterList::default());
        for (filter, qos, (no_local, retain_as_published), handling) in &filters {
            let retain_handling = [RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend];
            let options = Options {
                qos: *qos, no_local: *no_local, retain_as_published: *retain_as_published,
                retain_handling: retain_handling[usize::from(*handling)],
            };
            list.push(filter, if version.is_v5() { options } else { Options { qos: *qos, ..Options::default() } });
            names.push_name(filter);
        }
        let mut properties = PropertiesBuf::new();
        properties.push(Property::SubscriptionId(200));
        let subscribe = Subscribe { packet_id, properties: versioned(version, &properties), filters: list.subscriptions() };
        assert_eq!(subscribe.filters.iter().count(), filters.len());
        assert_round_trip(version, Packet::Subscribe(subscribe));
        let unsubscribe = Unsubscribe { packet_id, properties: Properties::NONE, filters: names.names() };
        assert_round_trip(version, Packet::Unsubscribe(unsubscribe));
    }

    #[test]
    fn acknowledgements_come_back(version in version(), packet_id in 1_u16.., explained in any::<bool>(), good in any::<bool>()) {
        let mut properties = PropertiesBuf::new();
        if explained && version.is_v5() {
            properties.push(Property::ReasonString("why")).push(Property::User("a", "b"));
        }
        let properties = properties.properties();
        for kind in [AckKind::PubAck, AckKind::PubRec, AckKind::PubRel, AckKind::PubComp] {
            let refusal = if matches!(kind, AckKind::PubAck | AckKind::PubRec) { reason::QUOTA_EXCEEDED } else { reason::PACKET_ID_NOT_FOUND };
            let reason = if good || !version.is_v5() { 0 } else { refusal };
            assert_round_trip(version, Packet::Ack(Ack { kind, packet_id, reason, properties }));
        }
        let codes = if version.is_v5() { &[0, 1, 2, 0x80, 0x87, 0x8f, 0x97][..] } else { &[0, 1, 2, 0x80][..] };
        assert_round_trip(version, Packet::Suback(Suback { packet_id, properties, codes }));
        let codes = if version.is_v5() { &[0, 0x11, 0x87][..] } else { &[][..] };
        assert_round_trip(version, Packet::Unsuback(Unsuback { packet_id, properties, codes }));
    }

    #[test]
    fn the_packets_of_the_beginning_and_the_end_come_back(version in version(), session_present in any::<bool>(), explained in any::<bool>()) {
        let mut granted = PropertiesBuf::new();
        for property in [
            Property::SessionExpiry(1), Property::ReceiveMaximum(2), Property::MaximumQos(Qos::AtLeastOnce), Property::RetainAvailable(false),
            Property::MaximumPacketSize(3), Property::AssignedClientId("id"), Property::TopicAliasMaximum(4), Property::ReasonString("r"),
            Property::User("a", "b"), Property::WildcardAvailable(true), Property::SubscriptionIdsAvailable(true), Property::SharedAvailable(false),
            Property::ServerKeepAlive(5), Property::ResponseInfo("i"), Property::ServerReference("s"), Property::AuthMethod("m"), Property::AuthData(b"d"),
        ] {
            granted.push(property);
        }
        assert_eq!(granted.properties().iter().count(), 17);
        let properties = versioned(version, &granted);
        assert_round_trip(version, Packet::Connack(Connack { session_present, code: 0, properties }));
        let mut farewell = PropertiesBuf::new();
        if explained {
            farewell.push(Property::SessionExpiry(1)).push(Property::ReasonString("r")).push(Property::ServerReference("s"));
        }
        let reason = if version.is_v5() { reason::SERVER_BUSY } else { 0 };
        assert_round_trip(version, Packet::Disconnect(Disconnect { reason, properties: versioned(version, &farewell) }));
        assert_round_trip(version, Packet::PingReq);
        assert_round_trip(version, Packet::PingResp);
        if version.is_v5() {
            let mut step = PropertiesBuf::new();
            step.push(Property::AuthMethod("SCRAM-SHA-256")).push(Property::AuthData(b"n,,"));
            let packet = Auth { reason: reason::CONTINUE_AUTHENTICATION, properties: step.properties() };
            assert_round_trip(version, Packet::Auth(packet));
            assert_round_trip(version, Packet::Auth(Auth { reason: 0, properties: Properties::NONE }));
        }
    }

    #[test]
    fn a_delivery_decodes_to_what_the_message_holds(
        version in version(), qos in qos(), topic in "[a-z/]{1,20}", payload in vec(any::<u8>(), 0..200),
        ids in vec(1..VARINT_MAX, 0..4), flags in any::<(bool, bool)>(), rich in any::<bool>(),
    ) {
        let message = message(&topic, &payload, rich);
        let packet_id = if qos == Qos::AtMostOnce { 0 } else { 77 };
        let dup = flags.0 && qos != Qos::AtMostOnce;
        let head = DeliveryHead { dup, qos, retain: flags.1, packet_id, subscription_ids: &ids, topic_alias: None };
        let mut bytes = Vec::new();
        encode_publish(&mut bytes, version, (&head, 1_500), &message);
        assert_eq!(bytes.len(), encoded_len(version, &head, &message));
        let mut codec = MqttCodec::with_version(&Limits::default(), version);
        let Ok(Some((Packet::Publish(publish), _))) = codec.decode(&bytes) else { panic!("not a publish") };
        assert_eq!((publish.topic, publish.payload), (&*topic, &*payload));
        assert_eq!((publish.packet_id, publish.qos, publish.dup, publish.retain), (packet_id, qos, dup, flags.1));
        let found = publish.properties.iter().filter_map(|property| if let Property::SubscriptionId(id) = property { Some(id) } else { None });
        assert_eq!(found.collect::<Vec<_>>(), if version.is_v5() { ids } else { Vec::new() });
        let expiry = publish.properties.find(|property| if let Property::MessageExpiry(left) = property { Some(left) } else { None });
        assert_eq!(expiry, (rich && version.is_v5()).then_some(9));
    }

    #[test]
    fn a_patched_copy_equals_a_delivery_encoded_alone(version in version(), qos in qos(), payload in vec(any::<u8>(), 0..300), flags in any::<(bool, bool)>(), rich in any::<bool>()) {
        let message = message("a/b", &payload, rich);
        let packet_id = if qos == Qos::AtMostOnce { 0 } else { 0x1234 };
        let head = DeliveryHead { dup: flags.0, qos, retain: flags.1, packet_id, subscription_ids: &[], topic_alias: None };
        let (mut alone, mut copied, mut encoded) = (vec![1], vec![1], Encoded::default());
        encode_publish(&mut alone, version, (&head, 0), &message);
        prepare(&mut encoded, (version, qos), &message, 0);
        append_patched(&mut copied, &encoded, packet_id, flags);
        assert_eq!(alone, copied);
    }

    #[test]
    fn any_bytes_end_in_a_packet_an_error_or_a_wish_for_more(version in version(), mut bytes in vec(any::<u8>(), 0..200), kind in 0_usize..16) {
        if let Some(first) = bytes.first_mut() {
            *first = [0x10, 0x20, 0x30, 0x32, 0x3b, 0x40, 0x50, 0x62, 0x70, 0x82, 0x90, 0xa2, 0xb0, 0xe0, 0xf0, 0xc0][kind];
        }
        if bytes.len() > 1 {
            bytes[1] = (bytes.len() - 2).min(127) as u8;
        }
        let mut codec = MqttCodec::with_version(&Limits::default(), version);
        if let Ok(Some((packet, used))) = codec.decode(&bytes) {
            assert!(used <= bytes.len());
            let mut again = Vec::new();
            packet.encode(version, &mut again);
            assert!(again.len() <= used + 8, "what was read is not longer when written");
        }
    }
}

fn message(topic: &str, payload: &[u8], rich: bool) -> Message {
    let mut builder = MessageBuilder::new(Protocol::Mqtt, topic, payload);
    if rich {
        builder.expires_at = Some(10_000);
        builder.properties = Some(Box::new(tidegate_message::Properties {
            content_type: Some("text/plain".into()),
            utf8_payload: Some(true),
            response_topic: Some("r".into()),
            correlation: Some([1, 2, 3].into()),
            user: vec![("traceparent".into(), "00-1".into())],
        }));
    }
    builder.build().expect("a short topic")
}
