//! What a member of a shared subscription leaves: it goes to another member, each message once.

mod cluster;

use cluster::{Cluster, request};
use std::sync::Arc;
use tidegate_broker::*;
use tidegate_message::{MessageBuilder, Protocol, Qos};

const GROUP: &str = "$share/g/t/+";
const QOS_2: Options =
    Options { qos: Qos::ExactlyOnce, no_local: false, retain_as_published: false, replay: Replay::Always, id: 0 };

fn join(cluster: &mut Cluster, client: usize, worker: u16, filters: &[&str]) {
    cluster.connect(client, worker, request(client, false, 60));
    for filter in filters {
        assert_eq!(cluster.subscribe(client, filter, QOS_2), Ok(()));
    }
    cluster.settle();
}

fn publish(cluster: &mut Cluster, messages: &[(&str, Qos)]) {
    for (payload, qos) in messages {
        cluster.publish(0, ("t/1", payload.as_bytes()), *qos, false);
    }
    cluster.settle();
}

fn seen(cluster: &Cluster, client: usize) -> Vec<(String, bool)> {
    let seen = cluster.clients[client].seen.iter();
    seen.map(|seen| (String::from_utf8_lossy(&seen.payload).into_owned(), seen.dup)).collect()
}

fn dropped(cluster: &Cluster, reason: DropReason) -> u64 {
    cluster.brokers.iter().map(|broker| broker.stats().dropped_by(reason)).sum()
}

fn owned(expected: &[&str]) -> Vec<(String, bool)> {
    expected.iter().map(|payload| ((*payload).to_owned(), false)).collect()
}

const MESSAGES: [(&str, Qos); 4] =
    [("1", Qos::AtLeastOnce), ("2", Qos::ExactlyOnce), ("3", Qos::AtLeastOnce), ("4", Qos::ExactlyOnce)];

#[test]
fn what_waits_for_a_member_goes_to_another_one_on_any_worker_when_its_session_ends() {
    for heir in 0..3 {
        let mut cluster = Cluster::new(3, 2, BrokerLimits::default());
        join(&mut cluster, 0, 0, &[GROUP]);
        cluster.disconnect(0, Leave::LOST);
        publish(&mut cluster, &MESSAGES);
        join(&mut cluster, 1, heir, &[GROUP]);
        assert_eq!(seen(&cluster, 1), [], "it may come back");
        cluster.advance(60_000);
        cluster.settle();
        assert_eq!(seen(&cluster, 1), owned(&["1", "2", "3", "4"]));
        assert_eq!((dropped(&cluster, DropReason::Reassigned), dropped(&cluster, DropReason::SessionEnded)), (4, 0));
        cluster.assert_nothing_is_lost();
    }
}

#[test]
fn of_what_is_in_flight_only_qos_2_ends_with_its_member() {
    let mut cluster = Cluster::new(2, 2, BrokerLimits::default());
    cluster.acknowledges = false;
    join(&mut cluster, 0, 0, &[GROUP]);
    publish(&mut cluster, &MESSAGES);
    join(&mut cluster, 1, 1, &[GROUP]);
    cluster.disconnect(0, Leave { with_will: false, expiry: Some(0) });
    cluster.settle();
    assert_eq!(seen(&cluster, 1), owned(&["1", "3"]));
    cluster.assert_nothing_is_lost();
}

#[test]
fn nobody_else_gets_what_came_by_an_ordinary_subscription() {
    let mut cluster = Cluster::new(1, 2, BrokerLimits::default());
    join(&mut cluster, 0, 0, &["t/#", GROUP]);
    cluster.disconnect(0, Leave::LOST);
    publish(&mut cluster, &MESSAGES[..2]);
    join(&mut cluster, 1, 0, &[GROUP]);
    cluster.advance(60_000);
    assert_eq!(seen(&cluster, 1), owned(&["1", "2"]), "its copy, once");
    assert_eq!((dropped(&cluster, DropReason::Reassigned), dropped(&cluster, DropReason::SessionEnded)), (2, 2));
    cluster.assert_nothing_is_lost();
}

#[test]
fn with_nobody_left_it_ends_with_its_session() {
    let mut cluster = Cluster::new(1, 1, BrokerLimits::default());
    join(&mut cluster, 0, 0, &[GROUP]);
    cluster.disconnect(0, Leave::LOST);
    publish(&mut cluster, &MESSAGES);
    cluster.advance(60_000);
    assert_eq!(dropped(&cluster, DropReason::SessionEnded), 4);
    cluster.assert_nothing_is_lost();
}

#[test]
fn what_a_restart_gave_to_a_member_that_may_not_receive_it_goes_to_one_that_may() {
    let mut cluster = Cluster::new(1, 2, BrokerLimits::default());
    let message = MessageBuilder { qos: Qos::AtLeastOnce, ..MessageBuilder::new(Protocol::Mqtt, "t/1", b"x") };
    let message = Some(Arc::new(message.build().expect("a short topic")));
    let delivery =
        StoredDelivery { message, qos: Qos::AtLeastOnce, retain: false, ids: Vec::new(), packet_id: 0, id: 1 };
    let stored = StoredSession {
        client_id: "client-0".into(),
        user: None,
        is_superuser: false,
        rules: None,
        expiry: 60,
        ends_at: None,
        will: None,
        filters: vec![(GROUP.into(), QOS_2)],
        deliveries: vec![delivery],
        inbound: Vec::new(),
    };
    cluster.brokers[0].restore(0, stored, &mut cluster.drivers[0]);
    let rule = |client: Option<&str>, allow| Rule {
        user: None,
        client_id: client.map(Into::into),
        action: Action::All,
        topic: "#".into(),
        allow,
    };
    cluster.brokers[0].shared().set_acl(Acl::new(vec![rule(Some("client-0"), false), rule(None, true)]));
    join(&mut cluster, 1, 0, &[GROUP]);
    cluster.connect(0, 0, request(0, false, 60));
    cluster.settle();
    assert_eq!((seen(&cluster, 0), seen(&cluster, 1)), (vec![], owned(&["x"])));
    cluster.assert_nothing_is_lost();
}
