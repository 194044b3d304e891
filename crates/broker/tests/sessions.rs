//! What a session promises: order, windows, wills, expiry, takeover, bounds. One
//! sentence, one test.

mod cluster;

use cluster::{Cluster, request};
use tidegate_broker::*;
use tidegate_message::{Message, MessageBuilder, Outcome, Protocol, Qos};

const QOS_1: Options =
    Options { qos: Qos::AtLeastOnce, no_local: false, retain_as_published: false, replay: Replay::Always, id: 0 };
const QOS_2: Options = Options { qos: Qos::ExactlyOnce, ..QOS_1 };

fn cluster(clients: usize) -> Cluster {
    Cluster::new(3, clients, BrokerLimits::default())
}

/// A client on worker 0 that is subscribed to `filter`.
fn subscribed(clients: usize, filter: &str, options: Options) -> Cluster {
    let mut cluster = cluster(clients);
    cluster.connect(0, 0, request(0, false, 60));
    assert_eq!(cluster.subscribe(0, filter, options), Ok(()));
    cluster.settle();
    cluster
}

fn payloads(cluster: &Cluster, client: usize) -> Vec<String> {
    cluster.clients[client].seen.iter().map(|seen| String::from_utf8_lossy(&seen.payload).into_owned()).collect()
}

fn publish(cluster: &mut Cluster, payload: &str, qos: Qos) -> Outcome {
    let outcome = cluster.publish(1, ("t/1", payload.as_bytes()), qos, false);
    cluster.settle();
    cluster.assert_nothing_is_lost();
    outcome
}

fn message(topic: &str, payload: &[u8]) -> Message {
    MessageBuilder::new(Protocol::Mqtt, topic, payload).build().expect("a short topic")
}

fn with_will(client: usize, delay: u32, expiry: u32) -> ConnectRequest {
    let will = Will { message: message("t/will", b"gone"), expiry: None, delay };
    ConnectRequest { will: Some(will), ..request(client, false, expiry) }
}

#[test]
fn keeps_messages_of_qos_1_and_2_for_a_session_that_is_away_and_drops_qos_0() {
    let mut cluster = subscribed(1, "t/+", QOS_2);
    cluster.disconnect(0, Leave::LOST);
    for (payload, qos) in [("0", Qos::AtMostOnce), ("1", Qos::AtLeastOnce), ("2", Qos::ExactlyOnce)] {
        publish(&mut cluster, payload, qos);
    }
    assert_eq!(cluster.brokers[0].stats().dropped_by(DropReason::Disconnected), 1);
    assert_eq!(cluster.brokers[0].client("client-0").map(|client| client.queued), Some(2));
    cluster.connect(0, 0, request(0, false, 60));
    assert_eq!((payloads(&cluster, 0), cluster.clients[0].present), (vec!["1".into(), "2".into()], Some(true)));
}

#[test]
fn sends_in_flight_messages_again_in_order_with_dup_and_then_the_queue() {
    let mut cluster = subscribed(1, "t/+", QOS_2);
    cluster.acknowledges = false;
    for (payload, qos) in [("1", Qos::AtLeastOnce), ("2", Qos::ExactlyOnce), ("3", Qos::ExactlyOnce)] {
        publish(&mut cluster, payload, qos);
    }
    let id = cluster.clients[0].id.expect("connected");
    assert_eq!(cluster.brokers[0].pubrec(0, (id, 2), true, &mut cluster.drivers[0]), Received::Release);
    cluster.disconnect(0, Leave::LOST);
    publish(&mut cluster, "4", Qos::AtLeastOnce);
    cluster.clients[0].seen.clear();
    cluster.connect(0, 0, request(0, false, 60));
    let id = cluster.clients[0].id.expect("connected");
    assert_eq!(payloads(&cluster, 0), ["1", "3", "4"]);
    let dups: Vec<bool> = cluster.clients[0].seen.iter().map(|seen| seen.dup).collect();
    assert_eq!((dups, &cluster.drivers[0].released), (vec![true, true, false], &vec![(id, 2)]));
}

#[test]
fn never_has_more_in_flight_than_the_client_takes() {
    let mut cluster = cluster(1);
    cluster.acknowledges = false;
    cluster.connect(0, 0, ConnectRequest { receive_maximum: 2, ..request(0, false, 60) });
    assert_eq!(cluster.subscribe(0, "t/+", QOS_1), Ok(()));
    cluster.settle();
    for payload in ["1", "2", "3", "4"] {
        publish(&mut cluster, payload, Qos::AtLeastOnce);
    }
    assert_eq!(payloads(&cluster, 0), ["1", "2"]);
    let id = cluster.clients[0].id.expect("connected");
    assert!(cluster.brokers[0].puback(0, (id, 1), &mut cluster.drivers[0]));
    assert!(!cluster.brokers[0].puback(0, (id, 1), &mut cluster.drivers[0]), "acknowledged twice");
    cluster.settle();
    assert_eq!(cluster.brokers[0].client("client-0").map(|client| (client.inflight, client.queued)), Some((2, 1)));
    // A reconnect with a smaller window sends what fits, the rest with the acknowledgements.
    cluster.disconnect(0, Leave::LOST);
    cluster.clients[0].seen.clear();
    cluster.connect(0, 0, ConnectRequest { receive_maximum: 1, ..request(0, false, 60) });
    assert_eq!(payloads(&cluster, 0), ["2"]);
}

#[test]
fn packet_identifiers_go_round_without_meeting_one_in_use() {
    let mut cluster = subscribed(1, "t/+", QOS_1);
    cluster.acknowledges = false;
    publish(&mut cluster, "stays", Qos::AtLeastOnce);
    let id = cluster.clients[0].id.expect("connected");
    for round in 0..70_000_u32 {
        cluster.publish(0, ("t/1", b"x"), Qos::AtLeastOnce, false);
        let packet_id = 2 + (round % 65_534) as u16;
        assert!(cluster.brokers[0].puback(0, (id, packet_id), &mut cluster.drivers[0]), "{packet_id}");
        cluster.clients[0].seen.clear();
    }
    assert!(cluster.brokers[0].puback(0, (id, 1), &mut cluster.drivers[0]));
}

#[test]
fn a_full_queue_keeps_what_was_promised_first_and_counts_the_rest() {
    let limits = BrokerLimits { max_queued: 3, max_queued_total_bytes: 1 << 20, ..BrokerLimits::default() };
    let mut cluster = Cluster::new(3, 1, limits);
    cluster.connect(0, 0, request(0, false, 60));
    assert_eq!(cluster.subscribe(0, "t/+", QOS_1), Ok(()));
    cluster.settle();
    cluster.disconnect(0, Leave::LOST);
    for payload in ["1", "2", "3", "4", "5"] {
        publish(&mut cluster, payload, Qos::AtLeastOnce);
    }
    assert_eq!(cluster.brokers[0].stats().dropped_by(DropReason::QueueFull), 2);
    cluster.brokers[0].set_limits(BrokerLimits { max_queued_total_bytes: 0, ..BrokerLimits::default() });
    publish(&mut cluster, "6", Qos::AtLeastOnce);
    assert_eq!(cluster.brokers[0].stats().dropped_by(DropReason::TotalFull), 1);
    cluster.connect(0, 0, request(0, false, 60));
    assert_eq!(payloads(&cluster, 0), ["1", "2", "3"]);
    assert_eq!(cluster.brokers[0].stats().queued_bytes, 0);
}

#[test]
fn a_message_that_expired_in_the_queue_is_dropped() {
    let mut cluster = subscribed(1, "t/+", QOS_1);
    cluster.disconnect(0, Leave::LOST);
    let mut message = MessageBuilder::new(Protocol::Http1, "t/1", b"late");
    (message.qos, message.expires_at) = (Qos::AtLeastOnce, Some(1_000));
    let access = Access::default();
    let origin = Origin { subscriber: None, access: &access };
    cluster.brokers[0].publish(0, origin, message, &mut cluster.drivers[0]);
    cluster.advance(2_000);
    cluster.connect(0, 0, request(0, false, 60));
    assert_eq!(cluster.brokers[0].stats().dropped_by(DropReason::Expired), 1);
    assert!(payloads(&cluster, 0).is_empty());
}

#[test]
fn messages_that_expired_in_a_full_queue_make_room() {
    let mut cluster = Cluster::new(3, 1, BrokerLimits { max_queued: 3, ..BrokerLimits::default() });
    cluster.connect(0, 0, request(0, false, 60));
    assert_eq!(cluster.subscribe(0, "t/+", QOS_1), Ok(()));
    cluster.settle();
    cluster.disconnect(0, Leave::LOST);
    let expiring = |at: u64| MessageBuilder {
        qos: Qos::AtLeastOnce,
        expires_at: Some(at),
        ..MessageBuilder::new(Protocol::Mqtt, "t/1", b"old")
    };
    let access = Access::default();
    for at in [1_000, 9_000, 1_000] {
        let origin = Origin { subscriber: None, access: &access };
        cluster.brokers[0].publish(0, origin, expiring(at), &mut cluster.drivers[0]);
    }
    publish(&mut cluster, "none", Qos::AtLeastOnce);
    cluster.advance(1_000);
    publish(&mut cluster, "new", Qos::AtLeastOnce);
    let stats = *cluster.brokers[0].stats();
    assert_eq!((stats.dropped_by(DropReason::QueueFull), stats.dropped_by(DropReason::Expired)), (1, 2));
    cluster.connect(0, 0, request(0, false, 60));
    assert_eq!(payloads(&cluster, 0), ["old", "new"]);
}

#[test]
fn a_will_is_published_when_the_connection_breaks_and_not_after_a_goodbye() {
    let mut cluster = subscribed(2, "t/#", QOS_1);
    cluster.connect(1, 2, with_will(1, 0, 0));
    cluster.disconnect(1, Leave { with_will: false, expiry: None });
    cluster.settle();
    assert!(payloads(&cluster, 0).is_empty());
    cluster.connect(1, 2, with_will(1, 0, 0));
    cluster.disconnect(1, Leave::LOST);
    cluster.settle();
    assert_eq!(payloads(&cluster, 0), ["gone"]);
}

#[test]
fn a_delayed_will_waits_and_is_forgotten_when_the_client_comes_back() {
    let mut cluster = subscribed(2, "t/#", QOS_1);
    for comes_back in [true, false] {
        cluster.connect(1, 2, with_will(1, 10, 3_600));
        cluster.disconnect(1, Leave::LOST);
        cluster.advance(9_000);
        if comes_back {
            cluster.connect(1, 2, with_will(1, 10, 3_600));
            cluster.disconnect(1, Leave { with_will: false, expiry: None });
        }
        cluster.advance(1_000);
        cluster.settle();
        assert_eq!(payloads(&cluster, 0).len(), usize::from(!comes_back));
    }
}

#[test]
fn a_session_ends_when_its_expiry_is_over_and_its_will_with_it() {
    let mut cluster = subscribed(2, "t/#", QOS_1);
    cluster.connect(1, 2, with_will(1, 100, 5));
    assert_eq!(cluster.subscribe(1, "x", QOS_1), Ok(()));
    cluster.settle();
    cluster.disconnect(1, Leave::LOST);
    assert_eq!(cluster.brokers[2].next_timeout(), Some(5_000));
    cluster.advance(5_000);
    cluster.settle();
    assert_eq!((payloads(&cluster, 0), cluster.brokers[0].shared().sessions()), (vec!["gone".into()], 1));
    cluster.connect(1, 2, request(1, false, 5));
    assert_eq!(cluster.clients[1].present, Some(false));
    assert_eq!(cluster.brokers[2].stats().subscriptions, 0);
}

#[test]
fn reconnecting_piles_up_no_timers() {
    let mut cluster = cluster(1);
    for _ in 0..100 {
        cluster.connect(0, 0, request(0, false, 3_600));
        cluster.disconnect(0, Leave::LOST);
        cluster.advance(10);
    }
    assert_eq!(cluster.brokers[0].next_timeout(), Some(3_600_000));
    cluster.advance(3_600_000);
    assert_eq!((cluster.brokers[0].next_timeout(), cluster.brokers[0].shared().sessions()), (None, 0));
}

#[test]
fn a_takeover_closes_the_older_connection_and_its_id_is_void() {
    let mut cluster = subscribed(2, "t/+", QOS_1);
    let old = cluster.clients[0].id.expect("connected");
    cluster.connect(1, 0, request(0, false, 60));
    assert_eq!((cluster.clients[0].id, cluster.clients[1].present), (None, Some(true)));
    cluster.brokers[0].disconnect(0, old, Leave { with_will: false, expiry: Some(0) }, &mut cluster.drivers[0]);
    publish(&mut cluster, "1", Qos::AtLeastOnce);
    assert_eq!((payloads(&cluster, 0), payloads(&cluster, 1)), (vec![], vec!["1".to_owned()]));
}

#[test]
fn a_session_without_an_expiry_ends_when_another_connection_takes_its_client() {
    for worker in 0..2 {
        let mut cluster = subscribed(3, "t/#", QOS_1);
        cluster.connect(1, 0, with_will(1, 100, 0));
        assert_eq!(cluster.subscribe(1, "t/+", QOS_1), Ok(()));
        cluster.settle();
        cluster.connect(2, worker, request(1, false, 60));
        cluster.settle();
        publish(&mut cluster, "1", Qos::AtLeastOnce);
        assert_eq!((cluster.clients[1].id, cluster.clients[2].present), (None, Some(false)));
        // Its will does not outlive it, whatever its delay.
        assert_eq!((payloads(&cluster, 0), payloads(&cluster, 2)), (vec!["gone".into(), "1".into()], vec![]));
    }
}

#[test]
fn no_local_holds_for_a_will_and_for_a_publish_without_a_connection() {
    let mut cluster = subscribed(2, "t/#", QOS_1);
    cluster.connect(1, 1, with_will(1, 0, 60));
    assert_eq!(cluster.subscribe(1, "t/+", Options { no_local: true, ..QOS_1 }), Ok(()));
    cluster.settle();
    let access = Access::of(None, Some("client-1".into()));
    let delayed = MessageBuilder { qos: Qos::AtLeastOnce, ..MessageBuilder::new(Protocol::Mqtt, "t/1", b"later") };
    cluster.brokers[1].publish(0, Origin { subscriber: None, access: &access }, delayed, &mut cluster.drivers[1]);
    cluster.disconnect(1, Leave::LOST);
    cluster.connect(1, 1, request(1, false, 60));
    cluster.settle();
    assert_eq!((payloads(&cluster, 0), payloads(&cluster, 1)), (vec!["later".into(), "gone".into()], vec![]));
}

#[test]
fn a_clean_start_forgets_the_session_wherever_it_was() {
    for worker in 0..3 {
        let mut cluster = subscribed(2, "t/+", QOS_1);
        cluster.disconnect(0, Leave::LOST);
        publish(&mut cluster, "1", Qos::AtLeastOnce);
        cluster.connect(1, worker, request(0, true, 60));
        cluster.settle();
        publish(&mut cluster, "2", Qos::AtLeastOnce);
        assert_eq!((cluster.clients[1].present, payloads(&cluster, 1)), (Some(false), vec![]));
        assert_eq!(cluster.brokers[0].stats().dropped_by(DropReason::SessionEnded), 1);
        assert_eq!(cluster.brokers[0].shared().sessions(), 1);
    }
}

#[test]
fn a_storm_of_takeovers_leaves_one_connection_and_every_message() {
    let mut cluster = Cluster::new(3, 12, BrokerLimits::default());
    cluster.connect(0, 0, request(0, false, 60));
    assert_eq!(cluster.subscribe(0, "t/+", QOS_2), Ok(()));
    cluster.settle();
    for client in 1..12 {
        cluster.connect(client, client as u16 * 7 % 3, request(0, false, 60));
        cluster.publish(client as u16 % 3, ("t/1", client.to_string().as_bytes()), Qos::ExactlyOnce, false);
        cluster.step(client);
        cluster.step(client / 2);
    }
    cluster.settle();
    cluster.assert_nothing_is_lost();
    assert_eq!(cluster.clients.iter().filter(|client| client.id.is_some()).count(), 1);
    assert!(cluster.clients.iter().all(|client| client.waiting.is_none()));
    let mut seen: Vec<String> = (0..12).flat_map(|client| payloads(&cluster, client)).collect();
    seen.sort_by_key(|payload| payload.parse::<u32>().unwrap_or(0));
    assert_eq!(seen, (1..12).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn what_is_published_before_the_connection_of_a_moved_session_has_its_turn_comes_behind_what_was_in_flight() {
    let mut cluster = subscribed(1, "t/+", QOS_1);
    cluster.acknowledges = false;
    publish(&mut cluster, "1", Qos::AtLeastOnce);
    publish(&mut cluster, "2", Qos::AtLeastOnce);
    cluster.disconnect(0, Leave::LOST);
    cluster.clients[0].seen.clear();
    cluster.connect(0, 1, request(0, false, 60));
    while cluster.ready.is_empty() {
        assert!(cluster.step(0), "the session comes");
    }
    cluster.publish(1, ("t/1", b"3"), Qos::AtLeastOnce, false);
    cluster.publish(1, ("t/1", b"nobody could have it"), Qos::AtMostOnce, false);
    assert_eq!(payloads(&cluster, 0), Vec::<String>::new());
    cluster.settle();
    let seen = cluster.clients[0].seen.iter().map(|seen| (seen.payload.as_slice(), seen.dup));
    assert_eq!(seen.collect::<Vec<_>>(), [(&b"1"[..], true), (b"2", true), (b"3", false)]);
    assert_eq!(cluster.brokers[1].stats().dropped_by(DropReason::Disconnected), 1);
}

#[test]
fn a_session_that_goes_on_before_its_connection_had_its_turn_does_not_have_that_connection() {
    let mut cluster = Cluster::new(3, 2, BrokerLimits::default());
    cluster.connect(0, 0, request(0, false, 60));
    assert_eq!(cluster.subscribe(0, "t/+", QOS_1), Ok(()));
    cluster.settle();
    cluster.connect(0, 1, request(0, false, 60));
    while cluster.ready.is_empty() {
        assert!(cluster.step(0), "the session comes");
    }
    cluster.connect(1, 2, request(0, false, 60));
    cluster.settle();
    assert_eq!(cluster.clients[0].waiting, None);
    assert_eq!(cluster.clients[1].present, Some(true));
    assert_eq!(cluster.clients[1].id.map(|id| id.worker), Some(2));
}

#[test]
fn a_claim_whose_connection_went_away_leaves_the_session_without_one() {
    let mut cluster = subscribed(1, "t/+", QOS_1);
    cluster.connect(0, 1, request(0, false, 60));
    let (worker, claim) = cluster.clients[0].waiting.take().expect("the session is on worker 0");
    cluster.brokers[usize::from(worker)].abandon(claim);
    cluster.settle();
    publish(&mut cluster, "1", Qos::AtLeastOnce);
    assert_eq!(cluster.brokers[1].client("client-0").map(|client| (client.connected, client.queued)), Some((false, 1)));
}

#[test]
fn a_qos_2_publish_that_comes_again_is_not_published_again() {
    let mut cluster = subscribed(2, "t/+", QOS_2);
    cluster.connect(1, 1, request(1, false, 60));
    let publish = || MessageBuilder { qos: Qos::ExactlyOnce, ..MessageBuilder::new(Protocol::Mqtt, "t/1", b"once") };
    assert_eq!(cluster.publish_from(1, 7, publish()), Some(Published::New(Outcome::Success)));
    assert_eq!(cluster.publish_from(1, 7, publish()), Some(Published::Again));
    let id = cluster.clients[1].id.expect("connected");
    let (broker, driver) = (&mut cluster.brokers[1], &mut cluster.drivers[1]);
    assert!(broker.pubrel(id, 7, driver) && !broker.pubrel(id, 7, driver));
    cluster.settle();
    assert_eq!(payloads(&cluster, 0), ["once"]);
}

#[test]
fn qos_2_identifiers_of_a_client_are_bounded() {
    let mut cluster = Cluster::new(1, 1, BrokerLimits { max_inbound: 2, ..BrokerLimits::default() });
    cluster.connect(0, 0, request(0, false, 60));
    let publish = || MessageBuilder { qos: Qos::ExactlyOnce, ..MessageBuilder::new(Protocol::Mqtt, "t/1", b"x") };
    let outcomes: Vec<_> = (1..=3).map(|packet_id| cluster.publish_from(0, packet_id, publish())).collect();
    assert_eq!(outcomes[2], Some(Published::New(Outcome::QuotaExceeded)));
}

#[test]
fn a_kicked_client_loses_connection_and_session() {
    let mut cluster = subscribed(1, "t/+", QOS_1);
    assert!(cluster.brokers[0].kick(0, "client-0", &mut cluster.drivers[0]));
    assert_eq!(cluster.drivers[0].closed.len(), 1);
    assert_eq!((cluster.brokers[0].clients(), cluster.brokers[0].shared().sessions()), (vec![], 0));
    assert!(!cluster.brokers[0].kick(0, "client-0", &mut cluster.drivers[0]));
}

#[test]
fn sessions_are_bounded_over_all_workers() {
    let shared = Shared::new(SharedLimits { max_sessions: 1, ..SharedLimits::default() });
    let mut cluster = cluster(2);
    cluster.brokers = (0..3).map(|worker| Broker::new(shared.clone(), (worker, 3), BrokerLimits::default())).collect();
    cluster.connect(0, 0, request(0, false, 60));
    let refused = cluster.brokers[1].connect(0, request(1, false, 60), &mut cluster.drivers[1]);
    assert_eq!(refused, Connect::Refused(Outcome::QuotaExceeded));
}
