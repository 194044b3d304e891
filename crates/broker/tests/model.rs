//! Three workers against a naive model: a list of subscriptions, matched by the
//! definition. What every client sees must be exactly equal.

mod cluster;

use cluster::{Cluster, Seen, request};
use proptest::collection::vec;
use proptest::prelude::*;
use tidegate_broker::*;
use tidegate_message::{MessageBuilder, Protocol, Qos};

const CLIENTS: usize = 4;
const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

#[derive(Clone, Debug)]
enum Act {
    Connect { client: usize, worker: u16, clean: bool },
    Disconnect { client: usize },
    Subscribe { client: usize, filter: String, options: Options },
    Unsubscribe { client: usize, filter: String },
    Publish { worker: u16, topic: String, qos: Qos, retain: bool },
    PublishFrom { client: usize, topic: String, qos: Qos },
}

fn filter() -> impl Strategy<Value = String> {
    "(a|b|\\+)(/(a|b|\\+)){0,2}(/#)?"
}

fn options() -> impl Strategy<Value = Options> {
    (0_usize..3, any::<bool>(), any::<bool>(), 0_usize..3, 0_u32..4).prop_map(
        |(qos, no_local, retain_as_published, replay, id)| {
            let replay = [Replay::Always, Replay::IfNew, Replay::Never][replay];
            Options { qos: QOS[qos], no_local, retain_as_published, replay, id }
        },
    )
}

fn act() -> impl Strategy<Value = Act> {
    let client = 0..CLIENTS;
    prop_oneof![
        2 => (client.clone(), 0_u16..3, any::<bool>()).prop_map(|(client, worker, clean)| Act::Connect { client, worker, clean }),
        1 => client.clone().prop_map(|client| Act::Disconnect { client }),
        3 => (client.clone(), filter(), options()).prop_map(|(client, filter, options)| Act::Subscribe { client, filter, options }),
        1 => (client.clone(), filter()).prop_map(|(client, filter)| Act::Unsubscribe { client, filter }),
        4 => (0_u16..3, "(a|b)(/(a|b)){0,2}", 0_usize..3, any::<bool>())
            .prop_map(|(worker, topic, qos, retain)| Act::Publish { worker, topic, qos: QOS[qos], retain }),
        2 => (client, "(a|b)(/(a|b)){0,2}", 0_usize..3).prop_map(|(client, topic, qos)| Act::PublishFrom { client, topic, qos: QOS[qos] }),
    ]
}

#[derive(Default)]
struct Model {
    sessions: Vec<Option<Session>>,
    seen: Vec<Vec<Seen>>,
    retained: Vec<(String, Vec<u8>, Qos)>,
}

#[derive(Default)]
struct Session {
    connected: bool,
    filters: Vec<(String, Options)>,
    queue: Vec<Seen>,
}

impl Model {
    fn new() -> Self {
        let sessions = (0..CLIENTS).map(|_| None).collect();
        Model { sessions, seen: vec![Vec::new(); CLIENTS], retained: Vec::new() }
    }

    fn connect(&mut self, client: usize, clean: bool) {
        let kept = self.sessions[client].take().filter(|_| !clean).unwrap_or_default();
        self.seen[client].extend(kept.queue);
        self.sessions[client] = Some(Session { connected: true, filters: kept.filters, queue: Vec::new() });
    }

    fn publish(&mut self, from: Option<usize>, (topic, payload): (&str, &[u8]), qos: Qos, retain: bool) {
        if retain {
            self.retained.retain(|(known, ..)| known != topic);
            self.retained.push((topic.into(), payload.into(), qos));
        }
        for (client, session) in self.sessions.iter_mut().enumerate() {
            let Some(session) = session else { continue };
            let own = |options: &Options| options.no_local && from == Some(client);
            let due: Vec<&Options> = session
                .filters
                .iter()
                .filter(|(filter, options)| matches(filter, topic) && !own(options))
                .map(|(_, options)| options)
                .collect();
            let Some(most) = due.iter().map(|options| options.qos).max() else { continue };
            let mut ids: Vec<u32> = due.iter().map(|options| options.id).filter(|&id| id != 0).collect();
            ids.sort_unstable();
            let retain = retain && due.iter().any(|options| options.retain_as_published);
            let seen = Seen {
                topic: topic.into(),
                payload: payload.into(),
                qos: most.min(qos) as u8,
                retain,
                dup: false,
                ids,
            };
            if session.connected {
                self.seen[client].push(seen);
            } else if seen.qos > 0 {
                session.queue.push(seen);
            }
        }
    }

    fn subscribe(&mut self, client: usize, filter: &str, options: Options) {
        let Some(session) = self.sessions[client].as_mut().filter(|session| session.connected) else { return };
        let existed = session.filters.iter().any(|(known, _)| known == filter);
        session.filters.retain(|(known, _)| known != filter);
        session.filters.push((filter.into(), options));
        if options.replay == Replay::Never || (existed && options.replay == Replay::IfNew) {
            return;
        }
        let due = self.retained.iter().filter(|(topic, ..)| matches(filter, topic));
        self.seen[client].extend(due.map(|(topic, payload, qos)| Seen {
            topic: topic.clone(),
            payload: payload.clone(),
            qos: options.qos.min(*qos) as u8,
            retain: true,
            dup: false,
            ids: (options.id != 0).then_some(options.id).into_iter().collect(),
        }));
    }
}

fn apply(cluster: &mut Cluster, model: &mut Model, (number, act): (usize, &Act)) {
    let payload = number.to_string().into_bytes();
    match act {
        Act::Connect { client, worker, clean } => {
            model.connect(*client, *clean);
            cluster.connect(*client, *worker, request(*client, *clean, u32::MAX));
        }
        Act::Disconnect { client } => {
            if let Some(session) = &mut model.sessions[*client] {
                session.connected = false;
            }
            cluster.disconnect(*client, Leave::LOST);
        }
        Act::Subscribe { client, filter, options } => {
            model.subscribe(*client, filter, *options);
            assert_eq!(cluster.subscribe(*client, filter, *options), Ok(()));
        }
        Act::Unsubscribe { client, filter } => {
            if let Some(session) = model.sessions[*client].as_mut().filter(|session| session.connected) {
                session.filters.retain(|(known, _)| known != filter);
            }
            cluster.unsubscribe(*client, filter);
        }
        Act::Publish { worker, topic, qos, retain } => {
            model.publish(None, (topic, &payload), *qos, *retain);
            cluster.publish(*worker, (topic, &payload), *qos, *retain);
        }
        Act::PublishFrom { client, topic, qos } => {
            if model.sessions[*client].as_ref().is_some_and(|session| session.connected) {
                model.publish(Some(*client), (topic, &payload), *qos, false);
            }
            let message = MessageBuilder { qos: *qos, ..MessageBuilder::new(Protocol::Mqtt, topic, &payload) };
            cluster.publish_from(*client, number as u16 + 1, message);
        }
    }
}

/// Order between topics is not promised where retained messages are replayed.
fn sorted(seen: &[Seen]) -> Vec<Seen> {
    let mut seen = seen.to_vec();
    seen.iter_mut().for_each(|seen| seen.ids.sort_unstable());
    seen.sort();
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_client_sees_exactly_what_the_model_says(acts in vec(act(), 1..60)) {
        let mut cluster = Cluster::new(3, CLIENTS, BrokerLimits::default());
        let mut model = Model::new();
        for act in acts.iter().enumerate() {
            apply(&mut cluster, &mut model, act);
            cluster.settle();
            cluster.assert_nothing_is_lost();
        }
        for client in 0..CLIENTS {
            prop_assert_eq!(sorted(&cluster.clients[client].seen), sorted(&model.seen[client]), "client {}", client);
        }
    }

    #[test]
    fn nothing_is_lost_or_doubled_however_the_workers_interleave(
        publishes in vec((0_u16..3, 0_usize..3), 1..40), moves in vec((0_usize..40, 0_u16..3), 0..6), choices in vec(any::<usize>(), 200),
    ) {
        let mut cluster = Cluster::new(3, 2, BrokerLimits::default());
        for client in 0..2 {
            cluster.connect(client, client as u16, request(client, false, u32::MAX));
            let options = Options { qos: Qos::ExactlyOnce, ..Options::default() };
            prop_assert_eq!(cluster.subscribe(client, "t/+", options), Ok(()));
        }
        cluster.settle();
        let mut choices = choices.into_iter().cycle();
        for (number, (worker, qos)) in publishes.iter().enumerate() {
            // Client 1 comes back on another worker while messages are on their way.
            for (_, to) in moves.iter().filter(|(when, _)| *when == number) {
                if cluster.clients[1].waiting.is_none() {
                    cluster.connect(1, *to, request(1, false, u32::MAX));
                }
            }
            cluster.publish(*worker, ("t/1", number.to_string().as_bytes()), QOS[*qos], false);
            for _ in 0..number % 4 {
                cluster.step(choices.next().unwrap_or(0));
            }
        }
        while cluster.step(choices.next().unwrap_or(0)) {}
        cluster.assert_nothing_is_lost();
        for client in 0..2 {
            let moved = client == 1 && !moves.is_empty();
            let mut seen: Vec<String> = cluster.clients[client].seen.iter()
                .filter(|seen| !moved || seen.qos > 0)
                .map(|seen| String::from_utf8_lossy(&seen.payload).into_owned()).collect();
            let mut expected: Vec<String> = publishes.iter().enumerate()
                .filter(|(_, (_, qos))| !moved || *qos > 0)
                .map(|(number, _)| number.to_string()).collect();
            seen.sort();
            expected.sort();
            prop_assert_eq!(seen, expected, "client {}", client);
        }
    }
}
