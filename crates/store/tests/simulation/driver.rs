//! What the driver of a worker does between broker and log: frames, numbers that output waits
//! for, links in order, checkpoints. As `pubsub/keeper.rs` and `between.rs` of the proxy.

use crate::client::ToClient;
use std::collections::VecDeque;
use std::sync::Arc;
use tidegate_broker::*;
use tidegate_message::{Message, Protocol};
use tidegate_store::{Log, Pending};

/// What crosses between two workers.
#[derive(Debug)]
pub(crate) enum Between {
    Forward(Forward),
    Interest(InterestChange),
    InterestAck(u64),
    GiveUp(GiveUp),
    HandOver(HandOver),
    Arrived(u64),
    Parted(u64),
}

/// One worker's driver.
pub(crate) struct Driver {
    worker: u16,
    pub(crate) log: Log,
    is_open: bool,
    pub(crate) appended: u64,
    /// Up to here output may leave.
    pub(crate) kept: u64,
    owed: VecDeque<(u64, u16, Between)>,
    /// By the worker they lead to: what must be kept first, and what is sent.
    pub(crate) links: Vec<VecDeque<(u64, Between)>>,
    pub(crate) out: Vec<(SubscriberId, u64, ToClient)>,
    pub(crate) closed: Vec<SubscriberId>,
    leaning: u64,
    checkpoint: Option<u64>,
    discard_at: Option<u64>,
}

impl Driver {
    pub(crate) fn new((worker, workers): (u16, u16), log: Log) -> Self {
        Driver {
            worker,
            log,
            is_open: false,
            appended: 0,
            kept: 0,
            owed: VecDeque::new(),
            links: (0..workers).map(|_| VecDeque::new()).collect(),
            out: Vec::new(),
            closed: Vec::new(),
            leaning: 0,
            checkpoint: None,
            discard_at: None,
        }
    }

    fn needs(&self) -> u64 {
        if self.is_open { self.appended + 1 } else { self.leaning }
    }

    pub(crate) fn send_after(&mut self, to: u16, number: u64, between: Between) {
        self.links[usize::from(to)].push_back((number, between));
    }

    pub(crate) fn owe(&mut self, to: u16, between: Between) {
        self.owed.push_back((self.appended.max(self.needs()), to, between));
    }

    pub(crate) fn taken(&mut self, id: u64) {
        self.log.taken(id);
        self.is_open = true;
    }

    /// Ends a call of the broker.
    pub(crate) fn seal(&mut self) {
        if std::mem::take(&mut self.is_open) {
            self.log.seal();
            self.appended += 1;
        }
    }

    /// Writes what gathered and lets out what waited for it.
    pub(crate) fn flush(&mut self) {
        self.log.seal();
        self.log.flush().expect("a disk with room");
        self.kept = self.appended;
        while self.owed.front().is_some_and(|(number, ..)| *number <= self.kept) {
            let Some((_, to, between)) = self.owed.pop_front() else { break };
            self.send_after(to, 0, between);
        }
    }

    /// One look at the log, as there is one every 100 ms.
    pub(crate) fn attend(&mut self, step: u64, broker: &mut Broker) {
        if !broker.is_parting() && self.discard_at.take_if(|at| *at <= step).is_some() {
            self.log.discard_covered();
        }
        if self.checkpoint.is_none() && self.log.wants_checkpoint() {
            self.log.begin_checkpoint().expect("a disk with room");
            self.checkpoint = Some(0);
        }
        let Some(from) = self.checkpoint else { return };
        self.checkpoint = broker.checkpoint(from, 1, self);
        self.seal();
        if self.checkpoint.is_none() {
            self.log.flush().expect("a disk with room");
            self.log.end_checkpoint();
            self.discard_at = Some(step + 3_000);
        }
    }
}

impl Sink for Driver {
    fn send(&mut self, to: SubscriberId, message: &Arc<Message>, delivery: Delivery<'_>) {
        let number = String::from_utf8_lossy(message.payload()).parse().expect("a number of ours");
        let packet = ToClient::Publish { packet_id: delivery.packet_id, qos: delivery.qos, number };
        self.out.push((to, self.needs(), packet));
    }
    fn release(&mut self, to: SubscriberId, packet_id: u16) {
        self.out.push((to, self.needs(), ToClient::Release(packet_id)));
    }
    fn forward(&mut self, worker: u16, forward: Forward) {
        assert_ne!(worker, self.worker, "a worker forwards nothing to itself");
        if forward.name != 0 {
            let Forward { message, name, plain, groups, client, .. } = &forward;
            let (message, groups, client) = (Arc::clone(message), groups.to_vec(), client.clone());
            self.log.outgoing(Pending { id: *name, worker, plain: *plain, groups, client, message });
            self.is_open = true;
        }
        self.send_after(worker, self.needs(), Between::Forward(forward));
    }
    fn interest(&mut self, change: InterestChange) {
        let own = self.worker;
        for to in (0..self.links.len() as u16).filter(|to| *to != own) {
            self.send_after(to, self.needs(), Between::Interest(change.clone()));
        }
    }
    fn close(&mut self, to: SubscriberId, _: CloseReason) {
        self.closed.push(to);
    }
    fn append(&mut self, record: &Record<'_>) {
        self.log.append(record);
        self.is_open = true;
    }
    fn standing(&self) -> u64 {
        self.needs()
    }
    fn lean(&mut self, standing: u64) {
        self.leaning = standing;
    }
    fn parted(&mut self, from: u16, key: u64) {
        self.owe(from, Between::Parted(key));
    }
    fn dropped(&mut self, _: Option<SubscriberId>, _: Protocol, reason: DropReason, _: u32) {
        assert_eq!(reason, DropReason::Duplicate, "nothing else is a reason here");
    }
}
