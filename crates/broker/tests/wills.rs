//! Wills and delayed publishes that a driver has to see before anybody gets them: what they wait for, how many may, what a log
//! is told, and whose they are.

mod cluster;

use cluster::{Cluster, request};
use tidegate_broker::*;
use tidegate_message::{MessageBuilder, Protocol, Qos};

const QOS_1: Options =
    Options { qos: Qos::AtLeastOnce, no_local: false, retain_as_published: false, replay: Replay::Always, id: 0 };

fn with_will(client: usize, qos: Qos) -> ConnectRequest {
    let builder = MessageBuilder { qos, ..MessageBuilder::new(Protocol::Mqtt, "t/will", b"gone") };
    let will = Will { message: builder.build().expect("a short topic"), expiry: None, delay: 0 };
    ConnectRequest { will: Some(will), ..request(client, false, 60) }
}

/// Clients of worker 0 that left a will which its driver has to see.
fn left(wills: &[Qos], limits: BrokerLimits) -> Cluster {
    let mut cluster = Cluster::new(2, wills.len(), limits);
    cluster.drivers[0].sees_wills = true;
    for (client, qos) in wills.iter().enumerate() {
        cluster.connect(client, 0, with_will(client, *qos));
        cluster.disconnect(client, Leave::LOST);
    }
    cluster
}

#[test]
fn a_will_that_the_driver_sees_waits_in_the_log_until_it_is_published() {
    let mut cluster = left(&[Qos::AtLeastOnce, Qos::AtMostOnce], BrokerLimits::default());
    assert_eq!((cluster.brokers[0].pending_wills(), cluster.brokers[0].delayed()), (2, 0));
    assert_eq!(cluster.drivers[0].delays.len(), 1, "what promises nothing is not kept");
    let first = cluster.brokers[0].poll_delayed(0).expect("it is due at once");
    assert_eq!(
        (first.message.topic(), first.is_will, first.access.client_id.as_deref()),
        ("t/will", true, Some("client-0"))
    );
    assert_eq!(cluster.drivers[0].delays.len(), 1, "it is not published yet");
    cluster.brokers[0].delayed_done(first.id, &mut cluster.drivers[0]);
    assert_eq!((cluster.brokers[0].pending_wills(), cluster.drivers[0].delays.len()), (1, 0));
    assert!(cluster.brokers[0].poll_delayed(0).is_some() && cluster.brokers[0].poll_delayed(0).is_none());
}

#[test]
fn wills_beyond_their_limit_are_dropped_and_those_that_are_seen_count_until_they_are_published() {
    let limits = BrokerLimits { max_pending_wills: 1, max_delayed: 0, ..BrokerLimits::default() };
    let mut cluster = left(&[Qos::AtLeastOnce; 3], limits);
    let first = cluster.brokers[0].poll_delayed(0).expect("one has room");
    assert!(cluster.brokers[0].poll_delayed(0).is_none());
    let stats = *cluster.brokers[0].stats();
    assert_eq!((stats.dropped_by(DropReason::WillsFull), stats.refused, cluster.drivers[0].drops), (2, 2, 2));
    cluster.connect(1, 0, with_will(1, Qos::AtLeastOnce));
    cluster.disconnect(1, Leave::LOST);
    assert_eq!(cluster.brokers[0].stats().dropped_by(DropReason::WillsFull), 3);
    cluster.brokers[0].delayed_done(first.id, &mut cluster.drivers[0]);
    cluster.connect(2, 0, with_will(2, Qos::AtLeastOnce));
    cluster.disconnect(2, Leave::LOST);
    assert!(cluster.brokers[0].poll_delayed(0).is_some());
    cluster.assert_nothing_is_lost();
}

#[test]
fn no_local_holds_for_what_is_published_on_another_worker_than_that_of_its_client() {
    for worker in 0..2 {
        let mut cluster = Cluster::new(2, 2, BrokerLimits::default());
        for client in 0..2 {
            cluster.connect(client, 1, request(client, false, 60));
            assert_eq!(cluster.subscribe(client, "t/#", Options { no_local: true, ..QOS_1 }), Ok(()));
        }
        cluster.settle();
        let access = Access::of(None, Some("client-1".into()));
        let later = MessageBuilder { qos: Qos::AtLeastOnce, ..MessageBuilder::new(Protocol::Mqtt, "t/1", b"later") };
        let origin = Origin { subscriber: None, access: &access };
        cluster.brokers[worker].publish(0, origin, later, &mut cluster.drivers[worker]);
        cluster.drain(worker);
        cluster.settle();
        let seen = cluster.clients.iter().map(|client| client.seen.len());
        assert_eq!(seen.collect::<Vec<_>>(), [1, 0], "published on worker {worker}");
    }
}
