//! Retained messages for a new subscription, more of them than its subscriber has room for at once.

mod cluster;

use cluster::{Cluster, request};
use tidegate_broker::*;
use tidegate_message::{Outcome, Qos};

const QOS_0: Options =
    Options { qos: Qos::AtMostOnce, no_local: false, retain_as_published: false, replay: Replay::Always, id: 3 };
const QOS_1: Options = Options { qos: Qos::AtLeastOnce, ..QOS_0 };

/// A session on worker 0 whose client acknowledges nothing, and so many retained messages.
fn retained(count: usize) -> Cluster {
    let limits = BrokerLimits { max_inflight: 2, max_queued: 8, ..BrokerLimits::default() };
    let mut cluster = Cluster::new(2, 2, limits);
    cluster.acknowledges = false;
    for number in 0..count {
        let topic = format!("r/{number}");
        assert_eq!(cluster.publish(1, (&topic, b"kept"), Qos::AtLeastOnce, true), Outcome::NoSubscribers);
    }
    cluster.settle();
    cluster.connect(0, 0, request(0, false, 60));
    cluster
}

fn subscribe(cluster: &mut Cluster, options: Options) {
    assert_eq!(cluster.subscribe(0, "r/+", options), Ok(()));
    cluster.settle();
}

fn topics(cluster: &Cluster, client: usize) -> Vec<String> {
    let mut topics: Vec<String> = cluster.clients[client].seen.iter().map(|seen| seen.topic.clone()).collect();
    topics.sort();
    topics.dedup();
    topics
}

/// The client acknowledges one delivery after the other.
fn acknowledge_all(cluster: &mut Cluster, at: usize, id: SubscriberId) {
    for packet_id in 1..200 {
        cluster.brokers[at].puback(cluster.now, (id, packet_id), &mut cluster.drivers[at]);
        cluster.settle_deliveries(at);
    }
}

#[test]
fn all_of_them_come_as_acknowledgements_make_room_and_half_of_the_queue_is_left_to_others() {
    let mut cluster = retained(50);
    subscribe(&mut cluster, QOS_1);
    let queued = |cluster: &Cluster| cluster.brokers[0].client("client-0").map(|client| client.queued);
    assert_eq!((cluster.clients[0].seen.len(), queued(&cluster)), (2, Some(4)));
    assert_eq!(cluster.publish(1, ("r/new", b"live"), Qos::AtLeastOnce, false), Outcome::Success);
    cluster.settle();
    assert_eq!(queued(&cluster), Some(5));
    let id = cluster.clients[0].id.expect("connected");
    acknowledge_all(&mut cluster, 0, id);
    assert_eq!(topics(&cluster, 0).len(), 51);
    assert!(cluster.clients[0].seen.iter().all(|seen| seen.retain == (seen.topic != "r/new") && seen.ids == [3]));
    cluster.assert_nothing_is_lost();
    assert_eq!((cluster.brokers[0].stats().replayed, cluster.drivers[0].drops), (50, 0));
}

#[test]
fn what_was_replaced_or_cleared_meanwhile_is_not_owed_any_more() {
    let mut cluster = retained(20);
    subscribe(&mut cluster, QOS_1);
    for number in 0..20 {
        let payload: &[u8] = if number % 2 == 0 { b"newer" } else { b"" };
        cluster.publish(0, (&format!("r/{number}"), payload), Qos::AtMostOnce, true);
    }
    let id = cluster.clients[0].id.expect("connected");
    acknowledge_all(&mut cluster, 0, id);
    // Two were in flight and four in the queue.
    let old = cluster.clients[0].seen.iter().filter(|seen| seen.payload == b"kept").count();
    assert_eq!((old, cluster.clients[0].seen.len()), (6, 26));
}

#[test]
fn the_rest_goes_on_with_the_session_wherever_it_goes() {
    for worker in 0..2 {
        let mut cluster = retained(30);
        subscribe(&mut cluster, QOS_1);
        cluster.disconnect(0, Leave::LOST);
        cluster.connect(1, worker, request(0, false, 60));
        cluster.settle();
        let id = cluster.clients[1].id.expect("connected");
        acknowledge_all(&mut cluster, usize::from(worker), id);
        assert_eq!(topics(&cluster, 1).len(), 30);
    }
}

#[test]
fn a_connection_that_has_no_room_gets_the_rest_when_it_has_and_nothing_behind_its_unsubscribe() {
    let mut cluster = retained(30);
    cluster.drivers[0].room = Some(10);
    subscribe(&mut cluster, QOS_0);
    assert_eq!(cluster.clients[0].seen.len(), 10);
    let id = cluster.clients[0].id.expect("connected");
    cluster.drivers[0].room = Some(15);
    cluster.brokers[0].replay_on(0, id, &mut cluster.drivers[0]);
    cluster.settle_deliveries(0);
    assert_eq!(topics(&cluster, 0).len(), 25);
    cluster.unsubscribe(0, "r/+");
    cluster.drivers[0].room = None;
    cluster.brokers[0].replay_on(0, id, &mut cluster.drivers[0]);
    cluster.settle_deliveries(0);
    assert_eq!((cluster.clients[0].seen.len(), cluster.drivers[0].drops), (25, 0));
}

#[test]
fn all_subscribers_together_are_owed_no_more_than_may_wait() {
    let mut cluster = retained(30);
    cluster.drivers[0].room = Some(0);
    // A retained message that is owed takes 16 bytes.
    let limits = BrokerLimits { max_queued_total_bytes: 16 * 20, ..BrokerLimits::default() };
    cluster.brokers[0].set_limits(limits);
    subscribe(&mut cluster, QOS_0);
    assert_eq!(cluster.brokers[0].stats().dropped_by(DropReason::TotalFull), 10);
    let id = cluster.clients[0].id.expect("connected");
    cluster.drivers[0].room = None;
    cluster.brokers[0].replay_on(0, id, &mut cluster.drivers[0]);
    cluster.settle_deliveries(0);
    assert_eq!(cluster.clients[0].seen.len(), 20);
    cluster.assert_nothing_is_lost();
    subscribe(&mut cluster, QOS_0);
    assert_eq!(cluster.clients[0].seen.len(), 40, "there is room again");
}

#[test]
fn subscribing_again_and_again_owes_no_more_than_once() {
    let limits = BrokerLimits { max_inflight: 1, max_queued: 2, max_replayed: 10, ..BrokerLimits::default() };
    let mut cluster = retained(25);
    cluster.brokers[0].set_limits(limits);
    for filter in ["r/+", "r/#", "r/+"] {
        assert_eq!(cluster.subscribe(0, filter, QOS_1), Ok(()));
        cluster.settle();
    }
    // Ten of 25 each time; of the second ten there was room for two, since that many of the first had left.
    let id = cluster.clients[0].id.expect("connected");
    acknowledge_all(&mut cluster, 0, id);
    assert!(cluster.clients[0].seen.len() <= 22, "{}", cluster.clients[0].seen.len());
    assert!(cluster.brokers[0].stats().dropped_by(DropReason::QueueFull) >= 45);
    cluster.assert_nothing_is_lost();
}
