//! Subscribers and publishers of every protocol meet in one tree, under one list of
//! access rules; shared subscriptions and retained messages work over all workers.

mod cluster;

use cluster::{Cluster, request};
use std::sync::Arc;
use tidegate_broker::*;
use tidegate_message::{Message, MessageBuilder, Outcome, Protocol, Qos};

const QOS_1: Options =
    Options { qos: Qos::AtLeastOnce, no_local: false, retain_as_published: false, replay: Replay::Always, id: 0 };

fn rule(user: Option<&str>, action: Action, topic: &str, allow: bool) -> Rule {
    Rule { user: user.map(Into::into), client_id: None, action, topic: topic.into(), allow }
}

fn user(name: &str) -> Access {
    Access::of(Some(name.into()), None)
}

fn publish_as(cluster: &mut Cluster, access: &Access, protocol: Protocol, topic: &str) -> Outcome {
    let origin = Origin { subscriber: None, access };
    let message = MessageBuilder::new(protocol, topic, b"x");
    let outcome = cluster.brokers[1].publish(0, origin, message, &mut cluster.drivers[1]);
    cluster.settle();
    outcome
}

#[test]
fn one_list_of_rules_holds_for_every_protocol() {
    let mut cluster = Cluster::new(3, 1, BrokerLimits::default());
    cluster.brokers[0].shared().set_acl(Acl::new(vec![
        rule(Some("ann"), Action::All, "secret/#", false),
        rule(Some("ann"), Action::All, "#", true),
    ]));
    for protocol in [Protocol::Mqtt, Protocol::Http1, Protocol::Coap, Protocol::WebSocket] {
        assert!(publish_as(&mut cluster, &user("ann"), protocol, "a").is_accepted());
        assert_eq!(publish_as(&mut cluster, &user("ann"), protocol, "secret/a"), Outcome::Forbidden);
        assert_eq!(publish_as(&mut cluster, &user("bob"), protocol, "a"), Outcome::Forbidden);
        let (broker, driver) = (&mut cluster.brokers[0], &mut cluster.drivers[0]);
        let ann = broker.add_subscriber(protocol, user("ann"));
        let bob = broker.add_subscriber(protocol, user("bob"));
        assert!(broker.subscribe(ann, "#", QOS_1, driver).is_ok());
        assert_eq!(broker.subscribe(ann, "secret/+", QOS_1, driver), Err(Outcome::Forbidden));
        assert_eq!(broker.subscribe(bob, "a", QOS_1, driver), Err(Outcome::Forbidden));
    }
}

#[test]
fn a_wide_subscription_delivers_only_what_the_rules_allow_at_that_time() {
    let mut cluster = Cluster::new(1, 1, BrokerLimits::default());
    let shared = cluster.brokers[0].shared().clone();
    cluster.connect(0, 0, ConnectRequest { access: user("ann"), ..request(0, false, 60) });
    assert_eq!(cluster.subscribe(0, "#", QOS_1), Ok(()));
    shared
        .set_acl(Acl::new(vec![rule(None, Action::Subscribe, "secret/#", false), rule(None, Action::All, "#", true)]));
    for topic in ["secret/a", "b"] {
        cluster.publish(0, (topic, b"x"), Qos::AtLeastOnce, true);
    }
    assert_eq!(cluster.clients[0].seen.iter().map(|seen| &*seen.topic).collect::<Vec<_>>(), ["b"]);
    // Retained messages obey too, and so does what waited while the rules changed.
    assert_eq!(cluster.brokers[0].retained(0, &user("ann"), "#").len(), 1);
    cluster.disconnect(0, Leave::LOST);
    cluster.publish(0, ("b", b"waits"), Qos::AtLeastOnce, false);
    shared.set_acl(Acl::new(vec![rule(None, Action::Publish, "#", true)]));
    cluster.connect(0, 0, ConnectRequest { access: user("ann"), ..request(0, false, 60) });
    assert_eq!(cluster.clients[0].seen.len(), 1);
    assert_eq!(cluster.brokers[0].stats().dropped_by(DropReason::Forbidden), 1);
    cluster.assert_nothing_is_lost();
}

fn none_of(topics: &str) -> Acl {
    Acl::new(vec![rule(None, Action::Subscribe, topics, false), rule(None, Action::All, "#", true)])
}

#[test]
fn a_right_that_is_taken_away_holds_for_what_waits_for_the_window_too() {
    let mut cluster = Cluster::new(1, 1, BrokerLimits::default());
    cluster.acknowledges = false;
    cluster.connect(0, 0, ConnectRequest { receive_maximum: 1, ..request(0, false, 60) });
    assert_eq!(cluster.subscribe(0, "#", QOS_1), Ok(()));
    for topic in ["secret/a", "secret/b", "c"] {
        cluster.publish(0, (topic, b"x"), Qos::AtLeastOnce, false);
    }
    cluster.brokers[0].shared().set_acl(none_of("secret/#"));
    let id = cluster.clients[0].id.expect("connected");
    assert!(cluster.brokers[0].puback(0, (id, 1), &mut cluster.drivers[0]));
    cluster.publish(0, ("secret/z", b"x"), Qos::AtLeastOnce, false);
    let topics: Vec<&str> = cluster.clients[0].seen.iter().map(|seen| &*seen.topic).collect();
    assert_eq!(topics, ["secret/a", "c"]);
    assert_eq!(cluster.brokers[0].stats().dropped_by(DropReason::Forbidden), 1);
}

#[test]
fn a_right_that_is_taken_away_holds_for_what_moves_with_its_session() {
    let mut cluster = Cluster::new(2, 1, BrokerLimits::default());
    cluster.acknowledges = false;
    cluster.connect(0, 0, request(0, false, 60));
    assert_eq!(cluster.subscribe(0, "#", QOS_1), Ok(()));
    cluster.publish(0, ("secret/in-flight", b"x"), Qos::AtLeastOnce, false);
    cluster.disconnect(0, Leave::LOST);
    for topic in ["secret/a", "b"] {
        cluster.publish(0, (topic, b"x"), Qos::AtLeastOnce, false);
    }
    cluster.connect(0, 1, request(0, false, 60));
    // While the session is on its way.
    cluster.brokers[0].shared().set_acl(none_of("secret/#"));
    cluster.settle();
    let topics: Vec<&str> = cluster.clients[0].seen.iter().map(|seen| &*seen.topic).collect();
    assert_eq!(topics, ["secret/in-flight", "b"], "what was sent before is not sent again");
}

#[test]
fn what_a_restart_brings_back_obeys_the_rules_of_now() {
    let mut cluster = Cluster::new(1, 1, BrokerLimits::default());
    let delivery = |topic: &str, packet_id| {
        let mut message = MessageBuilder::new(Protocol::Mqtt, topic, b"x");
        message.qos = Qos::AtLeastOnce;
        let message = Some(Arc::new(message.build().expect("a short topic")));
        StoredDelivery { message, qos: Qos::AtLeastOnce, retain: false, ids: Vec::new(), packet_id, id: 1 }
    };
    let stored = StoredSession {
        client_id: "client-0".into(),
        user: None,
        is_superuser: false,
        rules: None,
        expiry: 60,
        ends_at: None,
        will: None,
        filters: vec![("#".into(), QOS_1)],
        deliveries: vec![delivery("secret/a", 7), delivery("b", 8), delivery("secret/c", 0), delivery("d", 0)],
        inbound: Vec::new(),
    };
    cluster.brokers[0].restore(0, stored, &mut cluster.drivers[0]);
    cluster.brokers[0].shared().set_acl(none_of("secret/#"));
    cluster.connect(0, 0, request(0, false, 60));
    let seen: Vec<(&str, bool)> = cluster.clients[0].seen.iter().map(|seen| (&*seen.topic, seen.dup)).collect();
    assert_eq!(seen, [("b", true), ("d", false)]);
    assert_eq!(cluster.brokers[0].stats().dropped_by(DropReason::Forbidden), 1);
}

#[test]
fn invalid_topics_and_filters_are_refused() {
    let mut cluster = Cluster::new(1, 1, BrokerLimits { max_subscriptions: 2, ..BrokerLimits::default() });
    cluster.connect(0, 0, request(0, false, 60));
    for topic in ["", "a/+", "#", "a\0"] {
        assert_eq!(cluster.publish(0, (topic, b""), Qos::AtMostOnce, false), Outcome::InvalidTopic);
        let invalid = topic != "a/+" && topic != "#";
        assert_eq!(cluster.subscribe(0, topic, QOS_1).err(), invalid.then_some(Outcome::InvalidTopic), "{topic}");
    }
    assert_eq!(cluster.subscribe(0, "one/more", QOS_1), Err(Outcome::QuotaExceeded));
    assert_eq!(cluster.publish(0, ("$SYS/x", b""), Qos::AtMostOnce, false), Outcome::Forbidden);
}

#[test]
fn every_message_reaches_one_member_of_a_shared_subscription_in_fair_turns() {
    let mut cluster = Cluster::new(3, 4, BrokerLimits::default());
    for client in 0..4 {
        cluster.connect(client, client as u16 % 3, request(client, false, 60));
        assert_eq!(cluster.subscribe(client, "$share/g/t/+", QOS_1), Ok(()));
    }
    cluster.settle();
    for number in 0..400_u16 {
        cluster.publish(number % 3, ("t/1", b"x"), Qos::AtLeastOnce, false);
    }
    cluster.settle();
    cluster.assert_nothing_is_lost();
    let counts: Vec<usize> = cluster.clients.iter().map(|client| client.seen.len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 400);
    assert!(counts.iter().all(|count| (90..=110).contains(count)), "{counts:?}");
}

#[test]
fn a_shared_subscription_passes_over_members_that_are_away_while_one_is_there() {
    let mut cluster = Cluster::new(3, 2, BrokerLimits::default());
    for client in 0..2 {
        cluster.connect(client, client as u16, request(client, false, 60));
        assert_eq!(cluster.subscribe(client, "$share/g/t/+", QOS_1), Ok(()));
    }
    cluster.settle();
    cluster.disconnect(0, Leave::LOST);
    cluster.settle();
    for _ in 0..10 {
        cluster.publish(2, ("t/1", b"x"), Qos::AtLeastOnce, false);
    }
    cluster.settle();
    assert_eq!(cluster.clients[1].seen.len(), 10);
    // With nobody there it waits for somebody who may come back.
    cluster.disconnect(1, Leave::LOST);
    cluster.settle();
    for _ in 0..10 {
        cluster.publish(2, ("t/1", b"x"), Qos::AtLeastOnce, false);
    }
    cluster.settle();
    assert_eq!(cluster.brokers.iter().map(|broker| broker.stats().queued).sum::<u64>(), 10);
    cluster.assert_nothing_is_lost();
}

#[test]
fn a_subscriber_without_a_session_gets_last_values_and_then_what_comes() {
    let mut cluster = Cluster::new(2, 0, BrokerLimits::default());
    cluster.publish(1, ("t/1", b"kept"), Qos::AtMostOnce, true);
    let (broker, driver) = (&mut cluster.brokers[0], &mut cluster.drivers[0]);
    let observer = broker.add_subscriber(Protocol::Coap, Access::default());
    let granted = broker.subscribe(observer, "t/1", Options::default(), driver).expect("a good filter");
    assert_eq!(broker.replay(0, observer, &granted, driver), 1);
    let (to, packet_id, seen) = driver.sent.pop_front().expect("the last value");
    assert_eq!((to, packet_id, seen.payload, seen.retain), (observer, 0, b"kept".to_vec(), true));
    broker.remove_subscriber(observer, driver);
    assert_eq!(broker.stats().subscriptions, 0);
    assert_eq!(broker.subscribe(observer, "t/1", Options::default(), driver), Err(Outcome::NotFound));
}

#[test]
fn an_older_retained_message_does_not_follow_a_newer_one() {
    let mut cluster = Cluster::new(2, 1, BrokerLimits::default());
    cluster.connect(0, 0, request(0, false, 60));
    assert_eq!(cluster.subscribe(0, "t/1", QOS_1), Ok(()));
    // Worker 1 learns of the interest, but its acknowledgement is still on the way.
    cluster.step(0);
    cluster.publish(1, ("t/1", b"old"), Qos::AtLeastOnce, true);
    cluster.publish(1, ("t/1", b"new"), Qos::AtLeastOnce, true);
    cluster.settle();
    let payloads: Vec<&[u8]> = cluster.clients[0].seen.iter().map(|seen| &*seen.payload).collect();
    assert_eq!(payloads, [b"new"]);
    assert_eq!(cluster.brokers[0].stats().dropped_by(DropReason::Superseded), 2);
    cluster.assert_nothing_is_lost();
}

#[test]
fn a_subscription_made_again_loses_nothing_that_is_on_its_way() {
    let mut cluster = Cluster::new(2, 1, BrokerLimits::default());
    cluster.connect(0, 0, request(0, false, 60));
    assert_eq!(cluster.subscribe(0, "t/1", QOS_1), Ok(()));
    cluster.settle();
    cluster.publish(1, ("t/1", b"old"), Qos::AtLeastOnce, true);
    cluster.publish(1, ("t/1", b"new"), Qos::AtLeastOnce, true);
    assert_eq!(cluster.subscribe(0, "t/1", QOS_1), Ok(()));
    cluster.settle();
    let live: Vec<&[u8]> =
        cluster.clients[0].seen.iter().filter(|seen| !seen.retain).map(|seen| &*seen.payload).collect();
    assert_eq!(live, [&b"old"[..], b"new"]);
}

#[test]
fn an_empty_payload_clears_the_last_value_and_still_reaches_subscribers() {
    let mut cluster = Cluster::new(2, 1, BrokerLimits::default());
    cluster.connect(0, 0, request(0, false, 60));
    assert_eq!(cluster.subscribe(0, "t/1", QOS_1), Ok(()));
    cluster.settle();
    cluster.publish(1, ("t/1", b"x"), Qos::AtLeastOnce, true);
    cluster.publish(1, ("t/1", b""), Qos::AtLeastOnce, true);
    cluster.settle();
    assert_eq!(cluster.clients[0].seen.len(), 2);
    assert_eq!(cluster.brokers[0].shared().retained().count(), 0);
}

#[test]
fn nothing_is_forwarded_that_nobody_elsewhere_wants() {
    let mut cluster = Cluster::new(3, 1, BrokerLimits::default());
    cluster.connect(0, 0, request(0, false, 60));
    assert_eq!(cluster.subscribe(0, "t/#", QOS_1), Ok(()));
    cluster.settle();
    assert_eq!(cluster.publish(1, ("other", b"x"), Qos::AtMostOnce, false), Outcome::NoSubscribers);
    assert_eq!(cluster.publish(1, ("t/a", b"x"), Qos::AtMostOnce, false), Outcome::Success);
    assert_eq!(cluster.links.values().map(|link| link.len()).sum::<usize>(), 1);
    cluster.settle();
    cluster.unsubscribe(0, "t/#");
    cluster.settle();
    assert_eq!(cluster.publish(1, ("t/a", b"x"), Qos::AtMostOnce, false), Outcome::NoSubscribers);
}

#[test]
fn a_message_has_its_size_and_topic_bounds() {
    let topic = "x".repeat(65_536);
    let mut cluster = Cluster::new(1, 0, BrokerLimits::default());
    assert_eq!(cluster.publish(0, (&topic, b"x"), Qos::AtMostOnce, false), Outcome::InvalidTopic);
    assert!(size_of::<Message>() <= 96, "{}", size_of::<Message>());
}

#[test]
fn a_message_whose_member_left_while_it_was_on_its_way_goes_to_another_workers_member() {
    let mut cluster = Cluster::new(3, 3, BrokerLimits::default());
    for (client, worker) in [(0, 1), (1, 2)] {
        cluster.connect(client, worker, request(client, true, 0));
        assert_eq!(cluster.subscribe(client, "$share/g/t/+", QOS_1), Ok(()));
    }
    cluster.settle();
    // One for each of both, on the way from worker 0.
    for payload in ["1", "2"] {
        cluster.publish(0, ("t/a", payload.as_bytes()), Qos::AtLeastOnce, false);
    }
    cluster.unsubscribe(0, "$share/g/t/+");
    cluster.settle();
    let seen = |client: usize| cluster.clients[client].seen.len();
    assert_eq!((seen(0), seen(1)), (0, 2));
    cluster.assert_nothing_is_lost();
    assert_eq!((0..3).map(|worker| cluster.brokers[worker].stats().dropped_by(DropReason::NoMember)).sum::<u64>(), 0);
}
