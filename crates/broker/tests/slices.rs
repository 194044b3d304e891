//! Fan-outs in slices against the same broker without: every client sees the same, in the same order, whatever happens
//! between two slices.

mod cluster;

use cluster::{Cluster, request};
use proptest::collection::vec;
use proptest::prelude::*;
use tidegate_broker::*;
use tidegate_message::{MessageBuilder, Protocol, Qos};

const CLIENTS: usize = 6;
const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

#[derive(Clone, Debug)]
enum Act {
    Connect { client: usize, worker: u16, clean: bool, expiry: u32 },
    Disconnect { client: usize, ends: bool },
    Kick { client: usize },
    Subscribe { client: usize, filter: String, options: Options },
    Unsubscribe { client: usize, filter: String },
    Publish { worker: u16, topic: String, qos: Qos, retain: bool },
    PublishFrom { client: usize, topic: String, qos: Qos },
    Spread { worker: usize, most: usize },
}

fn filter() -> impl Strategy<Value = String> {
    prop_oneof!["(a|\\+)(/(a|b|\\+))?", "#", "\\$share/g/(a|#)"]
}

fn options() -> impl Strategy<Value = Options> {
    (0_usize..3, any::<bool>(), any::<bool>(), 0_usize..3, 0_u32..3).prop_map(
        |(qos, no_local, retain_as_published, replay, id)| {
            let replay = [Replay::Always, Replay::IfNew, Replay::Never][replay];
            Options { qos: QOS[qos], no_local, retain_as_published, replay, id }
        },
    )
}

fn act() -> impl Strategy<Value = Act> {
    let client = 0..CLIENTS;
    let topic = "a(/(a|b))?";
    prop_oneof![
        2 => (client.clone(), 0_u16..2, any::<bool>(), any::<bool>()).prop_map(|(client, worker, clean, stays)|
            Act::Connect { client, worker, clean, expiry: if stays { u32::MAX } else { 0 } }),
        1 => (client.clone(), any::<bool>()).prop_map(|(client, ends)| Act::Disconnect { client, ends }),
        1 => client.clone().prop_map(|client| Act::Kick { client }),
        3 => (client.clone(), filter(), options()).prop_map(|(client, filter, options)| Act::Subscribe { client, filter, options }),
        1 => (client.clone(), filter()).prop_map(|(client, filter)| Act::Unsubscribe { client, filter }),
        6 => (0_u16..2, topic, 0_usize..3, any::<bool>())
            .prop_map(|(worker, topic, qos, retain)| Act::Publish { worker, topic, qos: QOS[qos], retain }),
        2 => (client, topic, 0_usize..3).prop_map(|(client, topic, qos)| Act::PublishFrom { client, topic, qos: QOS[qos] }),
        2 => (0_usize..2, 1_usize..4).prop_map(|(worker, most)| Act::Spread { worker, most }),
    ]
}

fn apply(cluster: &mut Cluster, (number, act): (usize, &Act), retains: bool) {
    let payload = number.to_string().into_bytes();
    match act {
        Act::Connect { client, worker, clean, expiry } => {
            let workers = cluster.brokers.len() as u16;
            cluster.connect(*client, worker % workers, request(*client, *clean, *expiry));
        }
        Act::Disconnect { client, ends } => {
            let expiry = ends.then_some(0);
            cluster.disconnect(*client, Leave { expiry, ..Leave::LOST });
        }
        Act::Kick { client } => (0..cluster.brokers.len()).for_each(|at| cluster.kick(at, *client)),
        Act::Subscribe { client, filter, options } => drop(cluster.subscribe(*client, filter, *options)),
        Act::Unsubscribe { client, filter } => cluster.unsubscribe(*client, filter),
        Act::Publish { worker, topic, qos, retain } => {
            let workers = cluster.brokers.len() as u16;
            cluster.publish(worker % workers, (topic, &payload), *qos, *retain && retains);
        }
        Act::PublishFrom { client, topic, qos } => {
            let message = MessageBuilder { qos: *qos, ..MessageBuilder::new(Protocol::Mqtt, topic, &payload) };
            cluster.publish_from(*client, number as u16 + 1, message);
        }
        Act::Spread { worker, most } => {
            let at = worker % cluster.brokers.len();
            cluster.spread(at, *most);
        }
    }
    cluster.settle();
}

fn cluster(workers: u16, keeping: bool, limits: BrokerLimits) -> Cluster {
    let mut cluster = Cluster::new(workers, CLIENTS, limits);
    cluster.keeps = keeping;
    cluster.brokers[0].shared().set_keeping(if keeping { Keeping::Yes } else { Keeping::No });
    cluster
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn every_client_sees_what_it_would_see_without_slices_in_the_same_order(
        workers in 1_u16..3, (keeping, retains) in any::<(bool, bool)>(), slice in 0_usize..4, bound in 1_usize..40, acts in vec(act(), 1..80),
    ) {
        let mut whole = cluster(workers, keeping, BrokerLimits { slice: usize::MAX, ..BrokerLimits::default() });
        let mut sliced =
            cluster(workers, keeping, BrokerLimits { slice, max_pending_deliveries: bound, ..BrokerLimits::default() });
        for (number, act) in acts.iter().enumerate() {
            apply(&mut whole, (number, act), retains);
            apply(&mut sliced, (number, act), retains);
            let most = bound + CLIENTS * 4;
            prop_assert!(sliced.brokers.iter().all(|broker| broker.pending_deliveries() <= most));
        }
        for at in 0..usize::from(workers) {
            while sliced.spread(at, 2) {}
            prop_assert_eq!(sliced.brokers[at].pending_deliveries(), 0);
        }
        sliced.settle();
        sliced.assert_nothing_is_lost();
        for client in 0..CLIENTS {
            let seen = |cluster: &Cluster| {
                let mut seen = cluster.clients[client].seen.clone();
                // What was sent to a connection that ended before it could acknowledge comes again.
                seen.retain(|seen| !seen.dup);
                // Replays of several topics have no order between them.
                if retains {
                    seen.sort_by(|a, b| a.topic.cmp(&b.topic));
                }
                seen
            };
            prop_assert_eq!(seen(&sliced), seen(&whole), "client {}", client);
        }
    }
}

#[test]
fn a_publish_for_many_takes_turns_of_a_slice_and_one_for_few_does_not_wait_for_it() {
    let limits = BrokerLimits { slice: 2, ..BrokerLimits::default() };
    let mut cluster = cluster(1, false, limits);
    for client in 0..CLIENTS {
        cluster.connect(client, 0, request(client, true, 0));
        let topic = if client == 0 { "few" } else { "many" };
        cluster.subscribe(client, topic, Options::default()).expect("a good filter");
    }
    cluster.publish(0, ("many", b"1"), Qos::AtMostOnce, false);
    let seen = |cluster: &Cluster| cluster.clients.iter().map(|client| client.seen.len()).sum::<usize>();
    assert_eq!(seen(&cluster), 0, "the publisher's turn makes none of them");
    cluster.publish(0, ("few", b"2"), Qos::AtMostOnce, false);
    assert_eq!(seen(&cluster), 1);
    let mut turns = 1;
    while cluster.spread(0, 2) {
        turns += 1;
        assert!(seen(&cluster) <= 1 + 2 * turns);
    }
    assert_eq!((turns, seen(&cluster)), (3, CLIENTS));
}

#[test]
fn what_a_log_keeps_is_made_in_slices_too_and_the_publish_names_who_gets_it() {
    let mut cluster = cluster(1, true, BrokerLimits { slice: 1, ..BrokerLimits::default() });
    cluster.acknowledges = false;
    for client in 0..CLIENTS {
        cluster.connect(client, 0, request(client, false, if client % 2 == 0 { u32::MAX } else { 0 }));
        let options = Options { qos: Qos::ExactlyOnce, ..Options::default() };
        cluster.subscribe(client, "t", options).expect("a good filter");
    }
    for (number, qos) in QOS.into_iter().enumerate() {
        cluster.publish(0, ("t", number.to_string().as_bytes()), qos, false);
    }
    let kept = |cluster: &Cluster| cluster.drivers[0].kept.len();
    assert_eq!((kept(&cluster), cluster.drivers[0].due), (0, CLIENTS), "three of them get two messages that are kept");
    let mut turns = 1;
    while cluster.spread(0, 2) {
        turns += 1;
        assert!(kept(&cluster) <= 2 * turns);
    }
    assert_eq!((kept(&cluster), cluster.drivers[0].due), (CLIENTS, 0));
    for client in &cluster.clients {
        let seen: Vec<&[u8]> = client.seen.iter().map(|seen| &*seen.payload).collect();
        assert_eq!(seen, [b"0", b"1", b"2"]);
    }
}
