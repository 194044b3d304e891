//! Hostile openings and packets: each gets the reason code its version allows, then
//! the connection is over. Bytes are written out, so that the rule can be seen.

use std::sync::Arc;
use tidegate_message::{Limits, Qos};
use tidegate_mqtt::{Accepted, Event, Session, Settings};

const CONNECT_5: &[u8] = b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01a";
const CONNECT_311: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a";

fn server() -> Session {
    Session::new(Arc::new(Settings { receive_maximum: 2, topic_alias_maximum: 2, ..Settings::default() }), 0)
}

fn connected(connect: &[u8]) -> Session {
    let mut session = server();
    let mut out = Vec::new();
    let event = session.receive(0, connect, &mut out).expect("a valid CONNECT");
    assert!(matches!(event, Some((Event::Connect(_), used)) if used == connect.len()));
    session.connack(&Accepted::default(), &mut out);
    assert!(session.is_connected());
    session
}

/// Feeds `bytes`, which must break a rule; the code and what the client is told.
fn refused(session: &mut Session, bytes: &[u8]) -> (u16, Vec<u8>) {
    let mut out = Vec::new();
    let error = session.receive(1, bytes, &mut out).expect_err("these bytes break a rule");
    assert!(session.is_closed(), "{error}");
    (error.code, out)
}

/// A rule broken on a version 5 connection: told by DISCONNECT; on 3.1.1: silence.
fn assert_closed(code: u16, bytes: &[u8]) {
    let (found, out) = refused(&mut connected(CONNECT_5), bytes);
    assert_eq!((found, out[0], u16::from(out[2])), (code, 0xe0, code), "{bytes:02x?}");
}

fn assert_closed_311(bytes: &[u8]) {
    assert_eq!(refused(&mut connected(CONNECT_311), bytes).1, b"", "{bytes:02x?}");
}

#[test]
fn closes_when_the_remaining_length_takes_more_than_four_bytes() {
    assert_closed(0x81, b"\x30\xff\xff\xff\xff");
    assert_closed_311(b"\x30\xff\xff\xff\xff\x01");
}

#[test]
fn closes_when_the_remaining_length_exceeds_the_limit_before_the_body_arrives() {
    assert_closed(0x95, b"\x30\xff\xff\xff\x7f");
    let limits = Limits { mqtt_packet: 20, ..Limits::default() };
    let mut session = Session::new(Arc::new(Settings { limits, ..Settings::default() }), 0);
    assert_eq!(refused(&mut session, b"\x10\x13").0, 0x95);
}

#[test]
fn closes_in_silence_when_the_first_packet_is_not_a_connect() {
    for first in [0x30, 0x40, 0x82, 0xc0, 0xe0, 0xf0, 0x20] {
        assert_eq!(refused(&mut server(), &[first, 0]), (0x82, vec![]));
    }
    assert_eq!(refused(&mut server(), &[0x11]), (0x81, vec![]));
}

#[test]
fn closes_when_a_second_connect_comes() {
    assert_closed(0x82, CONNECT_5);
    assert_closed_311(CONNECT_311);
}

#[test]
fn refuses_a_version_it_does_not_speak_in_the_closest_one_it_does() {
    assert_eq!(
        refused(&mut server(), b"\x10\x0d\0\x04MQTT\x06\x02\0\x3c\0\x01a"),
        (0x84, b"\x20\x03\0\x84\0".to_vec())
    );
    assert_eq!(refused(&mut server(), b"\x10\x0d\0\x04MQTT\x02\x02\0\x3c\0\x01a"), (0x84, b"\x20\x02\0\x01".to_vec()));
    assert_eq!(refused(&mut server(), b"\x10\x0d\0\x04MQTX\x04\x02\0\x3c\0\x01a").0, 0x84);
}

#[test]
fn refuses_an_empty_client_id_that_wants_a_kept_session_before_version_5() {
    assert_eq!(refused(&mut server(), b"\x10\x0c\0\x04MQTT\x04\x00\0\x3c\0\0"), (0x85, b"\x20\x02\0\x02".to_vec()));
    let mut session = server();
    assert!(session.receive(0, b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0", &mut Vec::new()).is_ok());
}

#[test]
fn refuses_connect_flags_that_contradict_each_other() {
    let with = |version, flags| [b"\x10\x0d\0\x04MQTT".as_slice(), &[version, flags], b"\0\x3c\0\0\x01a"].concat();
    for flags in [0x03, 0x0a, 0x22, 0x1a] {
        assert_eq!(refused(&mut server(), &with(4, flags)).0, 0x81, "{flags:02x}");
    }
    // MQTT3-3.1.2-22: a password needs a user name before version 5.
    assert_eq!(refused(&mut server(), &with(4, 0x42)).0, 0x81);
    // A will of QoS 3.
    assert_eq!(refused(&mut server(), &with(4, 0x1e)).0, 0x81);
}

#[test]
fn closes_when_an_inner_length_reaches_past_the_packet() {
    assert_closed(0x81, b"\x30\x03\0\x09a");
    assert_closed(0x81, b"\x82\x06\0\x01\0\0\x09a");
    assert_closed(0x81, b"\x30\x05\0\x01a\x40\0");
    assert_eq!(refused(&mut server(), b"\x10\x04\0\x09MQ").0, 0x81);
}

#[test]
fn closes_on_an_empty_filter_and_on_a_subscribe_without_filters() {
    assert_closed(0x81, b"\x82\x06\0\x01\0\0\0\0");
    assert_closed(0x82, b"\x82\x03\0\x01\0");
    assert_closed(0x82, b"\xa2\x03\0\x01\0");
}

#[test]
fn closes_on_a_wildcard_in_a_topic() {
    assert_closed(0x90, b"\x30\x04\0\x01+\0");
    assert_closed(0x90, b"\x30\x06\0\x03a/#\0");
    assert_closed_311(b"\x30\x03\0\x01#");
}

#[test]
fn closes_on_more_than_128_levels() {
    let topic = "/".repeat(128);
    let mut publish = vec![0x30, 0x83, 0x01, 0, 128];
    publish.extend_from_slice(topic.as_bytes());
    publish.push(0);
    assert_closed(0x90, &publish);
    let mut subscribe = vec![0x82, 0x86, 0x01, 0, 1, 0, 0, 128];
    subscribe.extend_from_slice(topic.as_bytes());
    subscribe.push(0);
    assert_closed(0x8f, &subscribe);
}

#[test]
fn closes_on_qos_3_and_on_dup_at_qos_0() {
    assert_closed(0x81, b"\x36\x06\0\x01a\0\x01\0");
    assert_closed(0x81, b"\x38\x04\0\x01a\0");
    assert_closed(0x81, b"\x82\x07\0\x01\0\0\x01a\x03");
}

#[test]
fn closes_on_reserved_flags_and_types() {
    for first in [0x00, 0x41, 0x60, 0x80, 0xa0, 0xc1, 0xe1] {
        assert_closed(0x81, &[first, 0]);
    }
    assert_closed(0x81, b"\x82\x07\0\x01\0\0\x01a\x40");
    assert_closed(0x82, b"\x82\x07\0\x01\0\0\x01a\x30");
    assert_closed_311(b"\xf0\0");
}

#[test]
fn closes_on_a_flood_of_user_properties() {
    let flood = b"\x26\0\0\0\0".repeat(65);
    let mut publish = vec![0x30, 0xca, 0x02, 0, 1, b'a', 0xc5, 0x02];
    publish.extend_from_slice(&flood);
    assert_closed(0x97, &publish);
}

#[test]
fn closes_on_properties_that_are_unknown_misplaced_or_twice_there() {
    assert_closed(0x81, b"\x30\x06\0\x01a\x02\x04\0");
    assert_closed(0x81, b"\x30\x06\0\x01a\x02\x24\0");
    assert_closed(0x82, b"\x30\x08\0\x01a\x04\x01\0\x01\0");
    assert_closed(0x82, b"\x30\x06\0\x01a\x02\x01\x02");
    assert_closed(0x82, b"\x30\x06\0\x01a\x02\x0b\x01");
}

#[test]
fn closes_on_nul_and_broken_utf8_in_strings() {
    assert_closed(0x81, b"\x30\x04\0\x01\0\0");
    assert_closed(0x81, b"\x30\x05\0\x02\xc3\x28\0");
    assert_eq!(refused(&mut server(), b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01\0").0, 0x81);
}

#[test]
fn closes_on_a_packet_identifier_of_0() {
    assert_closed(0x82, b"\x32\x06\0\x01a\0\0\0");
    assert_closed(0x82, b"\x40\x02\0\0");
}

#[test]
fn closes_when_the_receive_maximum_is_exceeded() {
    let mut session = connected(CONNECT_5);
    for id in 1..=2 {
        let publish = [0x32, 0x06, 0, 1, b'a', 0, id, 0];
        assert!(session.receive(0, &publish, &mut Vec::new()).is_ok());
    }
    assert_eq!(refused(&mut session, b"\x32\x06\0\x01a\0\x03\0").0, 0x93);
}

#[test]
fn counts_an_acknowledged_publish_no_more() {
    let mut session = connected(CONNECT_5);
    let mut out = Vec::new();
    for id in 1..=9_u8 {
        let publish = [0x34, 0x06, 0, 1, b'a', 0, id, 0];
        assert!(session.receive(0, &publish, &mut out).is_ok());
        let close =
            session.publish_outcome((id.into(), Qos::ExactlyOnce), tidegate_message::Outcome::Success, &mut out);
        assert!(!close);
        session.pubcomp(id.into(), true, &mut out);
    }
}

#[test]
fn closes_on_topic_aliases_out_of_range_or_unknown() {
    assert_closed(0x94, b"\x30\x07\0\x01a\x03\x23\0\0");
    assert_closed(0x94, b"\x30\x07\0\x01a\x03\x23\0\x03");
    assert_closed(0x82, b"\x30\x06\0\0\x03\x23\0\x02");
    assert_closed(0x82, b"\x30\x03\0\0\0");
    assert_closed_311(b"\x30\x02\0\0");
}

#[test]
fn closes_on_no_local_for_a_shared_subscription() {
    assert_closed(0x82, b"\x82\x10\0\x01\0\0\x0a$share/g/a\x04");
    assert_closed(0x82, b"\x82\x0f\0\x01\0\0\x09$share//a\0");
}

#[test]
fn closes_on_packets_that_only_a_server_sends() {
    for packet in [&b"\x20\x03\0\0\0"[..], b"\x90\x04\0\x01\0\0", b"\xb0\x04\0\x01\0\0", b"\xd0\0"] {
        assert_closed(0x82, packet);
    }
}

#[test]
fn closes_when_nothing_comes_for_one_and_a_half_keep_alives() {
    let mut session = connected(CONNECT_5);
    let mut out = Vec::new();
    assert_eq!(session.deadline(), Some(90_000));
    assert!(!session.handle_timeout(89_999, &mut out));
    assert!(session.receive(89_999, b"\xc0\0", &mut out).is_ok_and(|event| event == Some((Event::Ping, 2))));
    assert_eq!(out, b"\xd0\0");
    assert!(session.handle_timeout(179_999, &mut out) && session.is_closed());
    assert_eq!(out, b"\xd0\0\xe0\x01\x8d");
}

#[test]
fn closes_when_a_disconnect_revives_a_session_that_ends() {
    assert_closed(0x82, b"\xe0\x07\0\x05\x11\0\0\0\x01");
}

#[test]
fn an_idle_connection_stays_under_200_bytes() {
    assert!(size_of::<Session>() <= 80, "{}", size_of::<Session>());
}

#[test]
fn tells_no_more_than_the_client_takes() {
    let connect = b"\x10\x13\0\x04MQTT\x05\x02\0\x3c\x05\x27\0\0\0\x05\0\x01a";
    assert_eq!(refused(&mut connected(connect), b"\x30\x03\0\0\0").1, b"\xe0\x01\x82");
}
