//! Workers, clients and the network between them in one thread. A seeded scheduler says what
//! happens next; a crash keeps what was written to the logs and nothing else.

use crate::client::{Client, ToClient, ToServer};
use crate::driver::{Between, Driver};
use std::collections::VecDeque;
use std::path::PathBuf;
use tidegate_broker::*;
use tidegate_message::{MessageBuilder, Protocol, Qos};
use tidegate_store::{Generation, LogOptions};

/// Numbers that look random (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ x >> 31) % end.max(1) as u64) as usize
    }
}

/// One connection of a client to a worker.
struct Connection {
    client: usize,
    worker: u16,
    up: VecDeque<ToServer>,
    /// What must be kept first, and the packet.
    down: VecDeque<(u64, ToClient)>,
    /// `None`: CONNECT was not read yet.
    state: Option<Seat>,
    is_abandoned: bool,
    is_over: bool,
}

/// A connection's place in the broker.
#[derive(Clone, Copy, PartialEq)]
enum Seat {
    Waiting(u64),
    /// Its session is there; its task has not had its turn.
    Ready(Connected),
    Serving(SubscriberId),
}

pub(crate) struct World {
    folder: PathBuf,
    workers: u16,
    pub(crate) dice: Dice,
    brokers: Vec<Broker>,
    drivers: Vec<Driver>,
    connections: Vec<Connection>,
    pub(crate) clients: Vec<Client>,
    now: u64,
    /// Who published each number.
    publishers: Vec<usize>,
    /// A worker that seldom gets its turn.
    pub(crate) slow: usize,
    /// Deliveries of a publish that are made at once.
    slice: usize,
}

impl World {
    pub(crate) fn new(seed: u64, workers: u16, clients: Vec<Client>) -> Self {
        // In memory, where there is such a place: a disk is too slow for so many starts.
        let memory = std::path::Path::new("/dev/shm");
        let root = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let folder = root.join(format!("tidegate-simulation-{}-{seed}-{workers}", std::process::id()));
        let mut world = World {
            folder,
            workers,
            dice: Dice(seed),
            brokers: Vec::new(),
            drivers: Vec::new(),
            connections: Vec::new(),
            clients,
            now: 1,
            publishers: Vec::new(),
            slow: 0,
            slice: [usize::MAX, 1, 0][(seed / 3 % 3) as usize],
        };
        world.start(false);
        world
    }

    /// Starts with what the logs hold. `is_cut_off`: the process ends before that is whole.
    pub(crate) fn start(&mut self, is_cut_off: bool) {
        let options = LogOptions { segment_bytes: 8 << 10, max_bytes: 1 << 30, epoch_ms: 1_000_000 };
        let (generation, recovered) = Generation::open(&self.folder, options).expect("a folder of ours");
        assert_eq!((recovered.corrupt, recovered.torn), (0, 0), "whole logs: {:?}", recovered.corrupt_places);
        let shared = Shared::new(SharedLimits::default());
        shared.set_keeping(Keeping::Yes);
        let (slice, max_queued_bytes) = (self.slice, 1 << 30);
        let limits = BrokerLimits { max_queued: 1 << 20, max_queued_bytes, slice, ..BrokerLimits::default() };
        let places = 0..self.workers;
        self.brokers = places.clone().map(|at| Broker::new(shared.clone(), (at, self.workers), limits)).collect();
        self.drivers = places.map(|at| Driver::new((at, self.workers), generation.worker_log(at))).collect();
        for session in recovered.sessions {
            let at = self.dice.below(self.workers.into());
            self.call(at, |now, broker, driver| broker.restore(now, session, driver));
        }
        if is_cut_off {
            return;
        }
        self.drivers.iter_mut().for_each(Driver::flush);
        while (0..self.brokers.len() * self.brokers.len()).any(|pair| self.receive(pair)) {}
        generation.commit().expect("a folder of ours");
    }

    /// The process ends, wherever it is: clients have what was sent to them, the rest is gone.
    pub(crate) fn crash(&mut self) {
        for index in 0..self.connections.len() {
            for _ in 0..self.dice.below(6) {
                self.read_client(index);
            }
        }
        self.connections.clear();
        for client in &mut self.clients {
            (client.connection, client.is_connected) = (None, false);
        }
        self.brokers.clear();
        self.drivers.clear();
        while self.dice.below(4) == 0 {
            self.start(true);
        }
        self.start(false);
        (0..self.clients.len()).for_each(|client| self.connect(client));
    }

    fn call<T>(&mut self, at: usize, act: impl FnOnce(u64, &mut Broker, &mut Driver) -> T) -> T {
        let result = act(self.now, &mut self.brokers[at], &mut self.drivers[at]);
        self.drivers[at].seal();
        while let Some(step) = self.brokers[at].poll_takeover() {
            self.take_over(at, step);
        }
        self.give_out(at);
        result
    }

    fn take_over(&mut self, at: usize, step: TakeOver) {
        let number = self.drivers[at].appended;
        match step {
            TakeOver::Ask(ask) => self.drivers[at].send_after(ask.home.worker, number, Between::GiveUp(ask)),
            TakeOver::HandOver(state) => self.drivers[at].send_after(state.to, number, Between::HandOver(state)),
            TakeOver::Ready { claim, connected } => {
                let waits = |known: &Connection| {
                    usize::from(known.worker) == at && known.state == Some(Seat::Waiting(claim)) && !known.is_over
                };
                let index = self.connections.iter().position(waits).expect("an abandoned claim is not ready");
                self.connections[index].state = Some(Seat::Ready(connected));
            }
            TakeOver::Overtaken { claim, .. } => {
                let same = |known: &&mut Connection| {
                    usize::from(known.worker) == at && known.state == Some(Seat::Waiting(claim))
                };
                self.connections.iter_mut().filter(same).for_each(|known| known.is_over = true);
            }
        }
    }

    /// CONNACK, then what waited.
    fn accept(&mut self, index: usize, connected: Connected) {
        let at = usize::from(connected.id.worker);
        let number = self.drivers[at].appended;
        self.connections[index].state = Some(Seat::Serving(connected.id));
        self.connections[index].down.push_back((number, ToClient::Connack { present: connected.present }));
        self.call(at, |now, broker, driver| broker.resume(now, connected.id, driver));
    }

    /// What a call put out goes to its connections.
    fn give_out(&mut self, at: usize) {
        for (id, number, packet) in std::mem::take(&mut self.drivers[at].out) {
            let connection = self.connections.iter_mut().find(|known| known.state == Some(Seat::Serving(id)));
            connection.into_iter().for_each(|known| known.down.push_back((number, packet)));
        }
        for id in std::mem::take(&mut self.drivers[at].closed) {
            let connection = self.connections.iter_mut().filter(|known| known.state == Some(Seat::Serving(id)));
            connection.for_each(|known| known.is_over = true);
        }
    }

    /// A client opens a connection to some worker, and leaves one it may have.
    pub(crate) fn connect(&mut self, client: usize) {
        self.leave(client);
        let worker = self.dice.below(self.workers.into()) as u16;
        let (up, down) = (VecDeque::new(), VecDeque::new());
        self.connections.push(Connection {
            client,
            worker,
            up,
            down,
            state: None,
            is_abandoned: false,
            is_over: false,
        });
        self.clients[client].connection = Some(self.connections.len() - 1);
    }

    pub(crate) fn leave(&mut self, client: usize) {
        self.clients[client].is_connected = false;
        if let Some(index) = self.clients[client].connection.take() {
            self.connections[index].is_abandoned = true;
        }
    }

    pub(crate) fn publish(&mut self, client: usize) {
        let (next, connection) = (self.publishers.len() as u64, self.clients[client].connection);
        let (Some(packet), Some(index)) = (self.clients[client].publish(next), connection) else { return };
        self.publishers.push(client);
        self.connections[index].up.push_back(packet);
    }

    /// A client reads a packet, or that its connection is over.
    pub(crate) fn read_client(&mut self, index: usize) -> bool {
        let Some(connection) = self.connections.get_mut(index).filter(|known| !known.is_abandoned) else {
            return false;
        };
        let kept = self.drivers[usize::from(connection.worker)].kept;
        let client = connection.client;
        if connection.down.front().is_some_and(|(number, _)| *number <= kept)
            && let Some((_, packet)) = connection.down.pop_front()
        {
            if let ToClient::Publish { number, .. } = packet {
                self.clients[client].meet(self.publishers[number as usize], number);
            }
            let answers = self.clients[client].take(packet);
            self.connections[index].up.extend(answers);
            return true;
        }
        if connection.is_over {
            self.leave(client);
        }
        false
    }

    /// A worker reads a packet of a connection, or that it is over.
    pub(crate) fn read_server(&mut self, index: usize) -> bool {
        let Some(connection) = self.connections.get_mut(index).filter(|known| !known.is_over) else { return false };
        let (at, client) = (usize::from(connection.worker), connection.client);
        match connection.state {
            None => {
                let placed = self.call(at, |now, broker, driver| broker.connect(now, request(client), driver));
                match placed {
                    Connect::Ready(connected) => self.accept(index, connected),
                    Connect::Wait { claim } => self.connections[index].state = Some(Seat::Waiting(claim)),
                    Connect::Refused(outcome) => panic!("refused: {outcome:?}"),
                }
                true
            }
            Some(Seat::Waiting(claim)) if connection.is_abandoned => {
                connection.is_over = true;
                self.brokers[at].abandon(claim);
                true
            }
            Some(Seat::Waiting(_)) => false,
            Some(Seat::Ready(connected)) if connection.is_abandoned => {
                connection.is_over = true;
                let leave = Leave { with_will: false, expiry: None };
                self.call(at, |now, broker, driver| broker.disconnect(now, connected.id, leave, driver));
                true
            }
            Some(Seat::Ready(connected)) => {
                if self.brokers[at].has_connection(connected.id) {
                    self.accept(index, connected);
                } else {
                    connection.is_over = true;
                }
                true
            }
            Some(Seat::Serving(id)) => match connection.up.pop_front() {
                Some(packet) => {
                    self.serve((index, at, id), packet);
                    true
                }
                None if connection.is_abandoned => {
                    connection.is_over = true;
                    self.call(at, |now, broker, driver| broker.disconnect(now, id, Leave::LOST, driver));
                    true
                }
                None => false,
            },
        }
    }

    fn serve(&mut self, (index, at, id): (usize, usize, SubscriberId), packet: ToServer) {
        let answer = match packet {
            ToServer::Publish { packet_id, qos, number } => {
                let (topic, payload) = (format!("t/{}", self.connections[index].client), number.to_string());
                let message = MessageBuilder { qos, ..MessageBuilder::new(Protocol::Mqtt, &topic, payload.as_bytes()) };
                let published =
                    self.call(at, |now, broker, driver| broker.publish_from(now, (id, packet_id), message, driver));
                match published {
                    // Its session is elsewhere by now; the client comes again.
                    Published::New(outcome) if !outcome.is_accepted() => None,
                    _ if qos == Qos::ExactlyOnce => Some(ToClient::Received(packet_id)),
                    _ => Some(ToClient::Acknowledge(packet_id)),
                }
            }
            ToServer::Release(packet_id) => {
                self.call(at, |_, broker, driver| broker.pubrel(id, packet_id, driver));
                Some(ToClient::Complete(packet_id))
            }
            ToServer::Acknowledge(packet_id) => {
                self.call(at, |now, broker, driver| broker.puback(now, (id, packet_id), driver));
                None
            }
            ToServer::Received(packet_id) => {
                self.call(at, |now, broker, driver| broker.pubrec(now, (id, packet_id), true, driver));
                Some(ToClient::Release(packet_id))
            }
            ToServer::Complete(packet_id) => {
                self.call(at, |now, broker, driver| broker.pubcomp(now, (id, packet_id), driver));
                None
            }
        };
        let number = self.drivers[at].appended;
        self.connections[index].down.extend(answer.map(|answer| (number, answer)));
    }

    /// A worker takes what another one sent.
    pub(crate) fn receive(&mut self, pair: usize) -> bool {
        let count = self.brokers.len();
        let (from, at) = (pair / count % count, pair % count);
        let kept = self.drivers[from].kept;
        let link = &mut self.drivers[from].links[at];
        if link.front().is_none_or(|(number, _)| *number > kept) {
            return false;
        }
        let Some((_, between)) = link.pop_front() else { return false };
        let (sender, back) = (from as u16, from as u16);
        match between {
            Between::Forward(forward) => {
                self.call(at, |now, broker, driver| {
                    broker.handle_forward(now, sender, &forward, driver);
                    if forward.name != 0 {
                        driver.taken(forward.name);
                    }
                });
                if forward.name != 0 {
                    self.drivers[at].owe(back, Between::Arrived(forward.name));
                }
            }
            Between::Interest(change) => {
                self.brokers[at].handle_interest(sender, &change);
                self.drivers[at].send_after(back, 0, Between::InterestAck(change.number));
            }
            Between::InterestAck(number) => {
                self.call(at, |_, broker, driver| broker.handle_interest_ack(sender, number, driver));
            }
            Between::GiveUp(ask) => self.call(at, |now, broker, driver| broker.give_up(now, ask, driver)),
            Between::HandOver(state) => self.call(at, |now, broker, driver| broker.adopt(now, state, driver)),
            Between::Arrived(id) => self.drivers[at].log.arrived(sender, id),
            Between::Parted(key) => self.call(at, |_, broker, driver| broker.forget(key, driver)),
        }
        true
    }

    /// One thing happens.
    pub(crate) fn step(&mut self) {
        self.now += 1;
        let (pairs, connections) = (self.brokers.len() * self.brokers.len(), self.connections.len());
        let (choice, of) = (self.dice.below(100), self.dice.below(1 << 16));
        let rarely = |world: &mut World, at: usize| at == world.slow && world.dice.below(20) != 0;
        match choice {
            0..30 if connections > 0 => drop(self.read_client(of % connections)),
            30..58 if connections > 0 => drop(self.read_server(of % connections)),
            58..80 if !rarely(self, of % pairs % self.brokers.len()) => drop(self.receive(of % pairs)),
            80..86 if !rarely(self, of % self.brokers.len()) => self.drivers[of % self.brokers.len()].flush(),
            86..88 => self.attend(of % self.brokers.len()),
            88..97 => self.publish(of % self.clients.len()),
            97.. if !rarely(self, of % self.brokers.len()) => drop(self.spread(of % self.brokers.len())),
            _ => {}
        }
    }

    /// One more delivery of a publish for many: whether one was due.
    fn spread(&mut self, at: usize) -> bool {
        let is_due = self.brokers[at].pending_deliveries() > 0;
        if is_due {
            self.call(at, |_, broker, driver| broker.spread_on(1, driver));
        }
        is_due
    }

    fn attend(&mut self, at: usize) {
        self.drivers[at].attend(self.now, &mut self.brokers[at]);
    }

    /// Until nobody has anything to do.
    pub(crate) fn settle(&mut self) {
        for turn in 0.. {
            assert!(turn < 20_000, "it never comes to rest");
            for client in 0..self.clients.len() {
                if self.clients[client].connection.is_none() {
                    self.connect(client);
                }
            }
            let mut is_quiet = true;
            for index in 0..self.connections.len() {
                is_quiet &= !self.read_client(index) & !self.read_server(index);
            }
            for pair in 0..self.brokers.len() * self.brokers.len() {
                is_quiet &= !self.receive(pair);
            }
            for at in 0..self.brokers.len() {
                is_quiet &= !self.spread(at);
            }
            self.drivers.iter_mut().for_each(Driver::flush);
            let are_connected = self.clients.iter().all(|client| client.is_connected);
            let is_empty = self.drivers.iter().all(|driver| driver.links.iter().all(VecDeque::is_empty));
            if is_quiet
                && are_connected
                && is_empty
                && self.connections.iter().all(|known| known.is_abandoned || known.down.is_empty())
            {
                break;
            }
        }
        self.forget_connections();
    }

    /// Takes connections out that nobody has any more.
    fn forget_connections(&mut self) {
        let all = std::mem::take(&mut self.connections);
        for (index, connection) in all.into_iter().enumerate() {
            if self.clients[connection.client].connection == Some(index) {
                self.clients[connection.client].connection = Some(self.connections.len());
                self.connections.push(connection);
            }
        }
    }

    /// Subscribes a connected client, and waits until all workers know it.
    pub(crate) fn subscribe(&mut self, client: usize, filter: &str) {
        let index = self.clients[client].connection.expect("it is connected");
        let Some(Seat::Serving(id)) = self.connections[index].state else { panic!("it is served") };
        let options = Options { qos: Qos::ExactlyOnce, ..Options::default() };
        let granted = self.call(id.worker.into(), |_, broker, driver| broker.subscribe(id, filter, options, driver));
        assert!(granted.is_ok(), "{granted:?}");
        self.settle();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn request(client: usize) -> ConnectRequest {
    ConnectRequest {
        client_id: format!("client-{client}").into(),
        clean_start: false,
        expiry: u32::MAX,
        receive_maximum: 16,
        will: None,
        access: Access::default(),
    }
}
