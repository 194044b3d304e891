//! From the broker to its client: packets are looked at, counted and handed on as they are.

use super::{Read, SPREAD_MS};
use crate::pubsub::MqttLink;
use crate::worker::Worker;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tidegate_kit::Codec;
use tidegate_message::Protocol;
use tidegate_mqtt::{MqttCodec, Packet, Property};
use tokio::io::AsyncReadExt;

/// How often a client that does not read is looked at.
const SLOW: Duration = Duration::from_millis(5);

/// The reading half of a relay.
pub(super) struct Reader {
    pub(super) worker: Rc<Worker>,
    pub(super) link: Rc<MqttLink>,
    pub(super) codec: MqttCodec,
    /// Topic aliases that the broker takes.
    pub(super) alias_maximum: Rc<Cell<u16>>,
    pub(super) has_said_goodbye: bool,
}

impl Reader {
    pub(super) async fn run(mut self, mut read: Read) {
        let bound = self.worker.plan().plan.broker.max_queued_bytes;
        let mut bytes = Vec::new();
        while let Ok(1..) = read.read_buf(&mut bytes).await {
            let Some(whole) = self.look(&bytes) else { break };
            self.link.out.borrow_mut().extend_from_slice(&bytes[..whole]);
            bytes.drain(..whole);
            self.worker.hub.flusher.mark(&self.link);
            while self.link.waiting() > bound && !self.link.is_broken.get() {
                tokio::time::sleep(SLOW).await;
            }
        }
        if !self.has_said_goodbye {
            tokio::time::sleep(Duration::from_millis(self.worker.random() % SPREAD_MS)).await;
        }
        self.link.end_relay(!self.has_said_goodbye);
    }

    /// Counts what came; how many bytes are whole packets, `None`: they are none.
    fn look(&mut self, bytes: &[u8]) -> Option<usize> {
        let counters = self.worker.counters.of(Protocol::Mqtt);
        let mut at = 0;
        while let Some((packet, used)) = self.codec.decode(&bytes[at..]).ok()? {
            at += used;
            match packet {
                Packet::Publish(publish) => {
                    counters.messages_out[publish.qos as usize].add(1);
                    counters.message_bytes_out.add(publish.payload.len() as u64);
                }
                Packet::Disconnect(_) => self.has_said_goodbye = true,
                Packet::Connack(connack) => {
                    self.has_said_goodbye = connack.code != 0;
                    let maximum = |property| match property {
                        Property::TopicAliasMaximum(maximum) => Some(maximum),
                        _ => None,
                    };
                    self.alias_maximum.set(connack.properties.find(maximum).unwrap_or(0));
                }
                _ => {}
            }
        }
        Some(at)
    }
}
