//! Publishers that each keep a window of messages under way, and subscribers that
//! count. A window of one is the device shape: one message a segment.

use crate::args::Args;
use crate::client::Client;
use crate::fleet::Fleet;
use crate::ledger::{Ledger, STAMP};
use crate::packet::{self, Packet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long what is under way at the end may take.
const DRAIN: Duration = Duration::from_secs(3);

/// Who gets what.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Publisher n to subscriber n.
    Pairs,
    /// Each message to every subscriber.
    Fanout,
    /// All publishers to every subscriber's one wildcard.
    Fanin,
    /// Each message to one member of a group.
    Shared,
}

/// What was asked for.
pub struct Load {
    address: SocketAddr,
    gate: bool,
    pubs: usize,
    subs: usize,
    shape: Shape,
    window: u64,
    qos: u8,
    size: usize,
    seconds: f64,
    /// Sessions outlive their connections; topics are the run's own then.
    kept: bool,
    /// Messages a second, all publishers together; 0: as the window allows.
    rate: f64,
}

impl Load {
    /// Of `mqtt-throughput`.
    pub fn read(args: &Args) -> Result<Load, String> {
        let shape = match args.value("shape", "pairs".to_owned())?.as_str() {
            "pairs" => Shape::Pairs,
            "fanout" => Shape::Fanout,
            "fanin" => Shape::Fanin,
            "shared" => Shape::Shared,
            other => return Err(format!("--shape: {other} is none of pairs, fanout, fanin, shared")),
        };
        let (pubs, subs) = (args.value("pubs", 10)?, args.value("subs", 10)?);
        let load = Load {
            address: args.address()?,
            gate: args.has("gate"),
            pubs,
            subs,
            shape,
            window: args.value("window", 64)?,
            qos: args.value("qos", 0)?,
            size: args.value("size", 64)?,
            seconds: args.value("seconds", 5.0)?,
            kept: args.has("kept"),
            rate: args.value("rate", 0.0)?,
        };
        load.check()
    }

    /// Of `mqtt-device`.
    pub fn device(args: &Args) -> Result<Load, String> {
        let pairs = args.value("pairs", 500)?;
        Load { pubs: pairs, subs: pairs, shape: Shape::Pairs, window: 1, ..Load::read(args)? }.check()
    }

    fn check(self) -> Result<Load, String> {
        let fits = self.shape != Shape::Pairs || self.pubs == self.subs;
        let least = self.pubs > 0 && self.subs > 0 && self.window > 0 && self.qos < 2;
        match (fits && least, self.size >= STAMP && self.size <= 1 << 17) {
            (true, true) => Ok(self),
            (false, _) => Err("pairs needs as many publishers as subscribers; the QoS is 0 or 1".to_owned()),
            (_, false) => Err(format!("--size is {STAMP} to 131072")),
        }
    }

    fn topic(&self, publisher: usize) -> String {
        let root = self.root();
        if self.shape == Shape::Fanout { format!("{root}/all") } else { format!("{root}/{publisher}/value") }
    }

    fn root(&self) -> String {
        if self.kept { format!("load-{}", std::process::id()) } else { "load".to_owned() }
    }

    fn filter(&self, subscriber: usize) -> String {
        match self.shape {
            Shape::Pairs => self.topic(subscriber),
            Shape::Fanout => self.topic(0),
            Shape::Fanin => format!("{}/+/value", self.root()),
            Shape::Shared => format!("$share/load/{}/+/value", self.root()),
        }
    }

    fn copies(&self) -> u64 {
        if matches!(self.shape, Shape::Fanout | Shape::Fanin) { self.subs as u64 } else { 1 }
    }
}

/// A run under way.
struct Run<'l> {
    load: &'l Load,
    fleet: Fleet,
    heads: Vec<Vec<u8>>,
    ids: Vec<u16>,
    ledger: Ledger,
    start: Instant,
    /// Messages so far, where a rate is kept.
    paced: u64,
}

/// Connects, runs, drains, reports.
pub fn run(load: &Load) -> Result<String, String> {
    let process = std::process::id();
    let publisher = |index| Client::connect(load.address, (&format!("load-{process}-p{index}"), load.kept), None);
    let subscriber = |index| {
        let filter = load.filter(index);
        Client::connect(load.address, (&format!("load-{process}-s{index}"), load.kept), Some((&filter, load.qos)))
    };
    // Subscribers first: nothing is published before all of them stand.
    let subscribers: Vec<Client> = (0..load.subs).map(subscriber).collect::<Result<_, _>>()?;
    let mut clients: Vec<Client> = (0..load.pubs).map(publisher).collect::<Result<_, _>>()?;
    clients.extend(subscribers);
    let mut run = Run {
        load,
        fleet: Fleet::new(clients)?,
        heads: (0..load.pubs).map(|index| packet::publish_head(&load.topic(index), load.qos, load.size)).collect(),
        ids: vec![0; load.pubs],
        ledger: Ledger::new(load.pubs, load.copies(), load.qos > 0)?,
        start: Instant::now(),
        paced: 0,
    };
    if load.gate {
        crate::wait_for_line()?;
    }
    run.start = Instant::now();
    let seconds = run.publish()?;
    Ok(format!("{{{},\"seconds\":{seconds:.3}}}", run.ledger.report()))
}

impl Run<'_> {
    /// Until the time is up, then until nothing is under way. The seconds it took to
    /// the last delivery.
    fn publish(&mut self) -> Result<f64, String> {
        let end = Duration::from_secs_f64(self.load.seconds);
        let mut last = (0, Duration::ZERO);
        let mut ready = Vec::new();
        let is_paced = self.load.rate > 0.0;
        if !is_paced {
            (0..self.load.pubs).try_for_each(|publisher| self.fill(publisher))?;
        }
        loop {
            self.fleet.wait(Duration::from_millis(if is_paced { 1 } else { 50 }), &mut ready)?;
            let now = self.start.elapsed();
            self.handle(&ready, now < end && !is_paced)?;
            if is_paced && now < end {
                self.pace(now)?;
            }
            if self.ledger.deliveries() > last.0 {
                last = (self.ledger.deliveries(), now);
            }
            if now >= end && (self.ledger.is_settled() || now >= last.1.max(end) + DRAIN) {
                return Ok(last.1.as_secs_f64());
            }
        }
    }

    fn handle(&mut self, ready: &[usize], publishing: bool) -> Result<(), String> {
        let now = self.start.elapsed().as_nanos() as u64;
        let mut open = Vec::new();
        for &index in ready {
            let ledger = &mut self.ledger;
            let own = (index < self.load.pubs).then_some(index);
            let client = &mut self.fleet.clients[index];
            client.receive(&mut self.fleet.scratch, |packet, out| match (packet, own) {
                (Packet::Publish { id, payload }, None) => {
                    open.extend(ledger.delivered(payload, now));
                    if id != 0 {
                        packet::put_puback(out, id);
                    }
                }
                (Packet::PubAck, Some(publisher)) => {
                    ledger.acknowledged(publisher);
                    open.push(publisher);
                }
                _ => {}
            })?;
            client.flush()?;
        }
        if publishing {
            open.sort_unstable();
            open.dedup();
            open.into_iter().try_for_each(|publisher| self.fill(publisher))?;
        }
        Ok(())
    }

    /// Publishes what is due by now, publisher after publisher, each in one write; one whose
    /// window is full is passed over, which the deliveries a second show.
    fn pace(&mut self, now: Duration) -> Result<(), String> {
        let due = (now.as_secs_f64() * self.load.rate) as u64;
        let mut touched = Vec::new();
        while self.paced < due {
            let publisher = (self.paced % self.load.pubs as u64) as usize;
            self.paced += 1;
            if self.ledger.under_way(publisher) < self.load.window {
                self.put(publisher, self.start.elapsed().as_nanos() as u64);
                touched.push(publisher);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for publisher in touched {
            self.fleet.clients[publisher].flush()?;
        }
        Ok(())
    }

    /// Publishes until the window is full, in one write.
    fn fill(&mut self, publisher: usize) -> Result<(), String> {
        let mut left = self.load.window.saturating_sub(self.ledger.under_way(publisher));
        let now = self.start.elapsed().as_nanos() as u64;
        while left > 0 {
            self.put(publisher, now);
            left -= 1;
        }
        self.fleet.clients[publisher].flush()
    }

    fn put(&mut self, publisher: usize, now: u64) {
        let out = &mut self.fleet.clients[publisher].out;
        out.extend_from_slice(&self.heads[publisher]);
        if self.load.qos > 0 {
            // Packet identifiers are 1 to 65,535; the window is far smaller.
            self.ids[publisher] = self.ids[publisher].checked_add(1).unwrap_or(1);
            out.extend_from_slice(&self.ids[publisher].to_be_bytes());
        }
        out.extend_from_slice(&(publisher as u32).to_be_bytes());
        out.extend_from_slice(&now.to_be_bytes());
        out.resize(out.len() + self.load.size - STAMP, b'.');
        self.ledger.sent(publisher);
    }
}
