//! From the broker to its client. Without rules and a policy for deliveries packets are looked at, counted and handed
//! on as they are; `delivering.rs` does what these, and what they left behind, ask for.

use super::acks::Acks;
use super::aliases::Aliases;
use super::holders::Hold;
use super::{Read, SPREAD_MS};
use crate::pubsub::{MqttLink, RelayEnd};
use crate::worker::Worker;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tidegate_broker::Access;
use tidegate_kit::Codec;
use tidegate_message::Protocol;
use tidegate_mqtt::{MqttCodec, Packet, Property, Publish, Version};
use tokio::io::AsyncReadExt;

/// How often a peer that does not read is looked at.
const SLOW: Duration = Duration::from_millis(5);
/// Answers of the gateway that may wait for the broker, bytes.
const ANSWERS_MAX: usize = 64 << 10;

/// The reading half of a relay.
pub(super) struct Reader {
    pub(super) worker: Rc<Worker>,
    pub(super) link: Rc<MqttLink>,
    pub(super) codec: MqttCodec,
    pub(super) version: Version,
    /// Topic aliases that the broker takes.
    pub(super) alias_maximum: Rc<Cell<u16>>,
    /// Topic aliases that the broker sets.
    pub(super) aliases: Aliases,
    pub(super) acks: Rc<RefCell<Acks>>,
    /// What goes to the broker.
    pub(super) gathered: Rc<RefCell<Vec<u8>>>,
    /// Largest packet that the client takes, bytes.
    pub(super) room: u32,
    /// Who the client is, for the access rules.
    pub(super) access: Access,
    pub(super) hold: Option<Rc<Hold>>,
    pub(super) has_said_goodbye: bool,
}

impl Reader {
    pub(super) async fn run(mut self, mut read: Read) {
        let mut bytes = Vec::new();
        while let Ok(1..) = read.read_buf(&mut bytes).await {
            let looked = match self.passes_all() {
                true => self.look(&bytes),
                false => self.deliver_all(&bytes).await,
            };
            let Some(whole) = looked else { break };
            bytes.drain(..whole);
            self.worker.hub.flusher.mark(&self.link);
            self.drained().await;
        }
        let how = self.how_it_ended();
        if how == RelayEnd::Lost {
            tokio::time::sleep(Duration::from_millis(self.worker.random() % SPREAD_MS)).await;
        }
        self.link.end_relay(how);
    }

    fn how_it_ended(&self) -> RelayEnd {
        let deadline = self.link.session.borrow().deadline();
        match deadline.is_some_and(|deadline| deadline <= self.worker.clock.millis()) {
            _ if self.has_said_goodbye => RelayEnd::Told,
            _ if self.hold.as_ref().is_some_and(|hold| hold.is_taken_over()) => RelayEnd::TakenOver,
            true => RelayEnd::Silence,
            false => RelayEnd::Lost,
        }
    }

    /// Whether packets pass as they are: no rule holds for the client, no policy is to be asked, and none left
    /// anything behind.
    fn passes_all(&self) -> bool {
        let passes = !self.worker.hub.held.is_on.get()
            && self.worker.hub.broker.borrow_mut().rules().spares(&self.access)
            && self.aliases.are_there()
            && self.acks.borrow().is_idle();
        if passes {
            self.acks.borrow_mut().rest();
        }
        passes
    }

    /// Waits until there is room for the client again.
    pub(super) async fn drained(&self) {
        let bound = self.worker.plan.borrow().plan.broker.max_waiting_bytes;
        while self.link.waiting() > bound && !self.link.is_broken.get() {
            tokio::time::sleep(SLOW).await;
        }
    }

    /// Lets the connection's task send what was answered; waits where its broker does not take it.
    pub(super) async fn answered(&self) {
        if !self.gathered.borrow().is_empty() {
            self.link.connection.wake();
        }
        while self.gathered.borrow().len() > ANSWERS_MAX && !self.link.is_broken.get() {
            tokio::time::sleep(SLOW).await;
        }
    }

    /// Hands on and counts what came; how many bytes are whole packets, `None`: they are none.
    fn look(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some((packet, used)) = self.codec.decode(&bytes[at..]).ok()? {
            at += used;
            match packet {
                Packet::Publish(publish) => {
                    self.count(&publish);
                    if !self.aliases.is_off() {
                        // A policy may come, and wants to know. What breaks a rule is for the client to say.
                        let _ = self.aliases.resolve(&publish);
                        self.aliases.passed(&publish);
                    }
                }
                packet => self.note(&packet),
            }
        }
        self.link.out.borrow_mut().extend_from_slice(&bytes[..at]);
        Some(at)
    }

    pub(super) fn count(&self, publish: &Publish<'_>) {
        let counters = self.worker.counters.of(Protocol::Mqtt);
        counters.messages_out[publish.qos as usize].add(1);
        counters.message_bytes_out.add(publish.payload.len() as u64);
    }

    /// What a packet says of the connection.
    pub(super) fn note(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::Disconnect(_) => self.has_said_goodbye = true,
            Packet::Connack(connack) => {
                self.has_said_goodbye = connack.code != 0;
                let maximum = |property| match property {
                    Property::TopicAliasMaximum(maximum) => Some(maximum),
                    _ => None,
                };
                self.alias_maximum.set(connack.properties.find(maximum).unwrap_or(0));
                let keep_alive = |property| match property {
                    Property::ServerKeepAlive(seconds) => Some(seconds),
                    _ => None,
                };
                if let Some(seconds) = connack.properties.find(keep_alive) {
                    self.link.session.borrow_mut().regrant_keep_alive(seconds);
                }
            }
            _ => {}
        }
    }
}
