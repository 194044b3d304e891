//! Several brokers in one thread with first-in-first-out links between them: what the
//! driver of each worker does, without sockets. Reads as the driver's documentation.
#![allow(dead_code, clippy::panic, reason = "each test uses its part and fails by panicking")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use tidegate_broker::*;
use tidegate_message::{Message, MessageBuilder, Outcome, Protocol, Qos};

/// What crosses between two workers.
#[derive(Debug)]
pub(crate) enum Between {
    Forward(Forward),
    Interest(InterestChange),
    InterestAck(u64),
    GiveUp(GiveUp),
    HandOver(HandOver),
}

/// One delivery as a client sees it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Seen {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) ids: Vec<u32>,
}

/// The driver's side of one worker.
#[derive(Default)]
pub(crate) struct Driver {
    worker: u16,
    workers: u16,
    pub(crate) out: VecDeque<(u16, Between)>,
    pub(crate) sent: VecDeque<(SubscriberId, u16, Seen)>,
    pub(crate) released: Vec<(SubscriberId, u16)>,
    pub(crate) closed: Vec<(SubscriberId, CloseReason)>,
    pub(crate) drops: u64,
    /// Whether wills wait for `poll_delayed`.
    pub(crate) sees_wills: bool,
    /// Delayed publishes and wills as a log would hold them.
    pub(crate) delays: BTreeSet<u64>,
    /// Deliveries as a log would hold them: session and number.
    pub(crate) kept: BTreeSet<(u64, u64)>,
    /// Sessions that a log names as those that get publishes for many, until these are over.
    pub(crate) due: usize,
    spreads: BTreeMap<u64, usize>,
    parted: Vec<(u16, u64)>,
    /// Deliveries that can wait which a connection has room for; `None`: any number.
    pub(crate) room: Option<usize>,
}

impl Sink for Driver {
    fn has_room(&mut self, _: SubscriberId) -> bool {
        match &mut self.room {
            None => true,
            Some(0) => false,
            Some(room) => {
                *room -= 1;
                true
            }
        }
    }

    fn sees_wills(&mut self) -> bool {
        self.sees_wills
    }

    fn send(&mut self, to: SubscriberId, message: &Arc<Message>, delivery: Delivery<'_>) {
        let seen = Seen {
            topic: message.topic().into(),
            payload: message.payload().into(),
            qos: delivery.qos as u8,
            retain: delivery.retain,
            dup: delivery.dup,
            ids: delivery.subscription_ids.to_vec(),
        };
        self.sent.push_back((to, delivery.packet_id, seen));
    }

    fn release(&mut self, to: SubscriberId, packet_id: u16) {
        self.released.push((to, packet_id));
    }

    fn forward(&mut self, worker: u16, forward: Forward) {
        assert_ne!(worker, self.worker, "a worker forwards nothing to itself");
        self.out.push_back((worker, Between::Forward(forward)));
    }

    fn interest(&mut self, change: InterestChange) {
        for other in (0..self.workers).filter(|&other| other != self.worker) {
            self.out.push_back((other, Between::Interest(change.clone())));
        }
    }

    fn close(&mut self, to: SubscriberId, reason: CloseReason) {
        self.closed.push((to, reason));
    }

    fn append(&mut self, record: &Record<'_>) {
        match *record {
            Record::Queue { key, number, .. } | Record::Released { key, number, .. } => {
                self.kept.insert((key, number));
            }
            Record::Done { key, number } => assert!(self.kept.remove(&(key, number)), "it was kept before"),
            Record::Spread { id, keys, .. } => {
                self.due += keys.len();
                assert_eq!(self.spreads.insert(id, keys.len()), None, "one for a publish");
            }
            Record::SpreadOver { id } => self.due -= self.spreads.remove(&id).expect("it had begun"),
            Record::Delay { id, .. } => assert!(self.delays.insert(id), "one for a publish"),
            Record::Undelay { id } => assert!(self.delays.remove(&id), "it was kept before"),
            Record::End { key } => self.kept.retain(|(of, _)| *of != key),
            _ => {}
        }
    }

    fn parted(&mut self, from: u16, key: u64) {
        self.parted.push((from, key));
    }

    fn dropped(&mut self, _: Option<SubscriberId>, _: Protocol, _: DropReason, count: u32) {
        self.drops += u64::from(count);
    }
}

/// A client with at most one connection.
#[derive(Default, Debug)]
pub(crate) struct Client {
    pub(crate) id: Option<SubscriberId>,
    /// The connection that the one of now took over: what was sent to it before is the client's, too.
    before: Option<SubscriberId>,
    /// A CONNECT that waits for its session: worker and claim.
    pub(crate) waiting: Option<(u16, u64)>,
    pub(crate) present: Option<bool>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) granted: Vec<(SubscriberId, Granted)>,
}

pub(crate) struct Cluster {
    pub(crate) now: u64,
    pub(crate) brokers: Vec<Broker>,
    pub(crate) drivers: Vec<Driver>,
    pub(crate) links: BTreeMap<(u16, u16), VecDeque<Between>>,
    pub(crate) clients: Vec<Client>,
    /// Clients whose session is there and whose connection has not had its turn.
    pub(crate) ready: VecDeque<(usize, Connected)>,
    /// Whether clients acknowledge at once.
    pub(crate) acknowledges: bool,
    /// Whether sessions are kept in logs.
    pub(crate) keeps: bool,
}

pub(crate) fn request(client: usize, clean_start: bool, expiry: u32) -> ConnectRequest {
    ConnectRequest {
        client_id: format!("client-{client}").into(),
        clean_start,
        expiry,
        receive_maximum: u16::MAX,
        will: None,
        access: Access::default(),
    }
}

impl Cluster {
    pub(crate) fn new(workers: u16, clients: usize, limits: BrokerLimits) -> Self {
        let shared = Shared::new(SharedLimits::default());
        shared.set_keeping(Keeping::Yes);
        Cluster {
            now: 0,
            brokers: (0..workers).map(|worker| Broker::new(shared.clone(), (worker, workers), limits)).collect(),
            drivers: (0..workers).map(|worker| Driver { worker, workers, ..Driver::default() }).collect(),
            links: BTreeMap::new(),
            clients: (0..clients).map(|_| Client::default()).collect(),
            ready: VecDeque::new(),
            acknowledges: true,
            keeps: true,
        }
    }

    /// A connection of `client` arrives on `worker`.
    pub(crate) fn connect(&mut self, client: usize, worker: u16, request: ConnectRequest) {
        let at = usize::from(worker);
        self.clients[client].present = None;
        match self.brokers[at].connect(self.now, request, &mut self.drivers[at]) {
            Connect::Ready(connected) => self.connected(client, connected),
            Connect::Wait { claim } => self.clients[client].waiting = Some((worker, claim)),
            Connect::Refused(outcome) => panic!("refused: {outcome:?}"),
        }
        self.drain(at);
    }

    /// CONNACK, then what waited.
    fn connected(&mut self, client: usize, connected: Connected) {
        let at = usize::from(connected.id.worker);
        let before = self.clients[client].id.replace(connected.id);
        self.clients[client].before = before;
        self.clients[client].waiting = None;
        self.clients[client].present = Some(connected.present);
        self.brokers[at].resume(self.now, connected.id, &mut self.drivers[at]);
    }

    pub(crate) fn disconnect(&mut self, client: usize, leave: Leave) {
        if let Some(id) = self.clients[client].id {
            let at = usize::from(id.worker);
            self.brokers[at].disconnect(self.now, id, leave, &mut self.drivers[at]);
            // What is sent before it notices the end still reaches it.
            self.drain(at);
            self.clients[client].id = None;
        }
    }

    /// SUBSCRIBE; the SUBACK waits in `granted` until all workers know.
    pub(crate) fn subscribe(&mut self, client: usize, filter: &str, options: Options) -> Result<(), Outcome> {
        let Some(id) = self.clients[client].id else { return Ok(()) };
        let at = usize::from(id.worker);
        let granted = self.brokers[at].subscribe(id, filter, options, &mut self.drivers[at])?;
        self.clients[client].granted.push((id, granted));
        self.drain(at);
        Ok(())
    }

    pub(crate) fn unsubscribe(&mut self, client: usize, filter: &str) {
        if let Some(id) = self.clients[client].id {
            let at = usize::from(id.worker);
            self.brokers[at].unsubscribe(id, filter, &mut self.drivers[at]);
            self.drain(at);
        }
    }

    /// A publish that came in on `worker` from somebody who does not subscribe.
    pub(crate) fn publish(&mut self, worker: u16, (topic, payload): (&str, &[u8]), qos: Qos, retain: bool) -> Outcome {
        let mut message = MessageBuilder::new(Protocol::Http1, topic, payload);
        (message.qos, message.retain) = (qos, retain);
        let at = usize::from(worker);
        let origin = Origin { subscriber: None, access: &Access::default() };
        let outcome = self.brokers[at].publish(self.now, origin, message, &mut self.drivers[at]);
        self.drain(at);
        outcome
    }

    /// A publish of a connected client.
    pub(crate) fn publish_from(
        &mut self,
        client: usize,
        packet_id: u16,
        message: MessageBuilder<'_>,
    ) -> Option<Published> {
        let id = self.clients[client].id?;
        let at = usize::from(id.worker);
        let published = self.brokers[at].publish_from(self.now, (id, packet_id), message, &mut self.drivers[at]);
        self.drain(at);
        Some(published)
    }

    /// Takes what a call put out: deliveries to clients, the rest to the links.
    pub(crate) fn drain(&mut self, at: usize) {
        loop {
            self.take_over(at);
            while let Some((from, key)) = self.drivers[at].parted.pop() {
                let from = usize::from(from);
                self.brokers[from].forget(key, &mut self.drivers[from]);
            }
            while let Some((to, between)) = self.drivers[at].out.pop_front() {
                self.links.entry((at as u16, to)).or_default().push_back(between);
            }
            let Some((id, packet_id, seen)) = self.drivers[at].sent.pop_front() else { break };
            let qos = seen.qos;
            if let Some(client) =
                self.clients.iter_mut().find(|client| client.id == Some(id) || client.before == Some(id))
            {
                client.seen.push(seen);
            }
            if self.acknowledges && packet_id != 0 {
                self.acknowledge(at, (id, packet_id), qos);
            }
        }
        // What was sent to a connection before it was closed reached it.
        while let Some((id, _)) = self.drivers[at].closed.pop() {
            self.clients.iter_mut().filter(|client| client.id == Some(id)).for_each(|client| client.id = None);
        }
        self.acknowledge_subscriptions(at);
    }

    /// Hands clients what was sent outside of a call of this driver.
    pub(crate) fn settle_deliveries(&mut self, at: usize) {
        self.drain(at);
        self.settle();
    }

    fn acknowledge(&mut self, at: usize, to: (SubscriberId, u16), qos: u8) {
        let (broker, driver) = (&mut self.brokers[at], &mut self.drivers[at]);
        if qos == 1 {
            broker.puback(self.now, to, driver);
        } else if broker.pubrec(self.now, to, true, driver) == Received::Release {
            broker.pubcomp(self.now, to, driver);
        }
    }

    /// SUBACK, then the retained messages, once every worker knows the interest.
    fn acknowledge_subscriptions(&mut self, at: usize) {
        let settled = self.brokers[at].settled();
        let mut due = Vec::new();
        for client in &mut self.clients {
            let ready =
                |(id, granted): &(SubscriberId, Granted)| usize::from(id.worker) == at && granted.after <= settled;
            due.extend(client.granted.iter().filter(|granted| ready(granted)).cloned());
            client.granted.retain(|granted| !ready(granted));
        }
        let any = !due.is_empty();
        for (id, granted) in due {
            self.brokers[at].replay(self.now, id, &granted, &mut self.drivers[at]);
        }
        if any {
            self.drain(at);
        }
    }

    /// Moves one thing over the link number `choice`, or gives a connection its turn: whether there was one.
    pub(crate) fn step(&mut self, choice: usize) -> bool {
        let busy: Vec<(u16, u16)> =
            self.links.iter().filter(|(_, link)| !link.is_empty()).map(|(key, _)| *key).collect();
        let choice = choice % (busy.len() + self.ready.len()).max(1);
        let Some(&(from, to)) = busy.get(choice) else { return self.accept(choice - busy.len()) };
        let Some(between) = self.links.get_mut(&(from, to)).and_then(VecDeque::pop_front) else { return false };
        self.handle((from, to), between);
        self.drain(usize::from(to));
        true
    }

    fn accept(&mut self, index: usize) -> bool {
        let Some((client, connected)) = self.ready.remove(index) else { return false };
        let at = usize::from(connected.id.worker);
        if self.brokers[at].has_connection(connected.id) {
            self.connected(client, connected);
            self.drain(at);
        } else {
            self.clients[client].waiting = None;
        }
        true
    }

    fn handle(&mut self, (from, to): (u16, u16), between: Between) {
        let at = usize::from(to);
        let (broker, driver) = (&mut self.brokers[at], &mut self.drivers[at]);
        match between {
            Between::Forward(forward) => broker.handle_forward(self.now, from, &forward, driver),
            Between::Interest(change) => {
                broker.handle_interest(from, &change);
                driver.out.push_back((from, Between::InterestAck(change.number)));
            }
            Between::InterestAck(number) => broker.handle_interest_ack(from, number, driver),
            Between::GiveUp(ask) => broker.give_up(self.now, ask, driver),
            Between::HandOver(hand_over) => broker.adopt(self.now, hand_over, driver),
        }
    }

    fn take_over(&mut self, at: usize) {
        while let Some(step) = self.brokers[at].poll_takeover() {
            let waiting = |claim| move |client: &Client| client.waiting == Some((at as u16, claim));
            match step {
                TakeOver::Ask(ask) => self.drivers[at].out.push_back((ask.home.worker, Between::GiveUp(ask))),
                TakeOver::HandOver(next) => self.drivers[at].out.push_back((next.to, Between::HandOver(next))),
                TakeOver::Ready { claim, connected } => {
                    let client = self.clients.iter().position(waiting(claim));
                    self.ready.push_back((client.expect("an abandoned claim is not ready"), connected));
                }
                TakeOver::Overtaken { claim, .. } => {
                    let client = self.clients.iter().position(waiting(claim));
                    client.into_iter().for_each(|client| self.clients[client].waiting = None);
                }
            }
        }
    }

    /// Until nothing is on its way.
    pub(crate) fn settle(&mut self) {
        while self.step(0) {}
    }

    /// An administrator ends a client's session.
    pub(crate) fn kick(&mut self, at: usize, client: usize) {
        self.brokers[at].kick(self.now, &format!("client-{client}"), &mut self.drivers[at]);
        self.drain(at);
    }

    /// Some deliveries that are due on a worker: whether more are.
    pub(crate) fn spread(&mut self, at: usize, most: usize) -> bool {
        let more = self.brokers[at].spread_on(most, &mut self.drivers[at]);
        self.drain(at);
        more
    }

    /// Lets time pass on all workers.
    pub(crate) fn advance(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        for at in 0..self.brokers.len() {
            self.brokers[at].handle_timeout(self.now, &mut self.drivers[at]);
            self.drain(at);
        }
    }

    /// Every matched delivery is delivered, queued or dropped, over all workers.
    pub(crate) fn assert_nothing_is_lost(&self) {
        let sum = |of: fn(&Stats) -> i64| self.brokers.iter().map(|broker| of(broker.stats())).sum::<i64>();
        let accounted = sum(|stats| (stats.delivered + stats.queued + stats.dropped.iter().sum::<u64>()) as i64);
        assert_eq!(sum(|stats| stats.matched as i64), accounted);
        assert_eq!(sum(|stats| stats.moved), 0, "what left one worker came to another");
        let kept: usize = self.drivers.iter().map(|driver| driver.kept.len()).sum();
        let clients = self.brokers.iter().flat_map(Broker::clients).filter(|client| client.expiry > 0);
        let held: usize = clients.map(|client| client.queued + client.inflight).sum();
        assert_eq!(kept, if self.keeps { held } else { 0 }, "the logs hold what the sessions hold");
        let drops: u64 = self.drivers.iter().map(|driver| driver.drops).sum();
        assert_eq!(sum(|stats| stats.dropped.iter().sum::<u64>() as i64), drops as i64);
    }
}
