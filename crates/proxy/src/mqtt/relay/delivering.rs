//! The access rules and `onDeliver` of a proxied client: each publish of its broker that is not forbidden waits for
//! its verdict, and what comes behind it waits too. What is withheld is acknowledged in the client's place; what is
//! changed keeps identifier, flags and every property that no policy changed.

use super::reader::Reader;
use crate::hooks;
use tidegate_kit::Codec;
use tidegate_message::{Message, Protocol};
use tidegate_mqtt::{
    Ack, AckKind, DeliveryHead, Packet, Property, Publish, TopicAlias, VARINT_MAX, encode_publish, encoded_len,
};

/// What becomes of a publish.
enum Verdict {
    AsItCame,
    Changed(Message),
    /// Why the client does not get it.
    Withheld(&'static str),
}

impl Reader {
    /// Hands on what came; how many bytes are whole packets, `None`: the connection to the broker ends.
    pub(super) async fn deliver_all(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some((packet, used)) = self.codec.decode(&bytes[at..]).ok()? {
            let whole = &bytes[at..at + used];
            at += used;
            match packet {
                Packet::Publish(publish) => self.deliver(&publish, whole).await?,
                Packet::Ack(Ack { kind: AckKind::PubRel, packet_id, .. }) if self.released(packet_id) => {
                    self.answered().await;
                }
                packet => {
                    self.note(&packet);
                    self.put(whole);
                }
            }
            self.drained().await;
        }
        Some(at)
    }

    fn put(&self, whole: &[u8]) {
        self.link.out.borrow_mut().extend_from_slice(whole);
    }

    fn released(&self, packet_id: u16) -> bool {
        self.acks.borrow_mut().released(packet_id, &mut self.gathered.borrow_mut())
    }

    async fn deliver(&mut self, publish: &Publish<'_>, whole: &[u8]) -> Option<()> {
        let promise = (publish.packet_id, publish.qos);
        if self.acks.borrow().comes_again(promise, &mut self.gathered.borrow_mut()) {
            self.answered().await;
            return Some(());
        }
        let known = self.aliases.resolve(publish).ok()?;
        let topic = known.as_ref().map_or(publish.topic, |(topic, _)| topic);
        let knows_topic = known.as_ref().is_none_or(|(_, is_there)| *is_there);
        let mut verdict = self.verdict(publish, topic).await?;
        if let (Verdict::AsItCame, false) = (&verdict, knows_topic) {
            // What set the alias never got there.
            verdict = Verdict::Changed(publish.message(topic, self.worker.clock.millis()).build()?);
        }
        let withheld = match verdict {
            Verdict::AsItCame => {
                self.put(whole);
                self.aliases.passed(publish);
                self.count(publish);
                None
            }
            Verdict::Changed(message) if self.put_message(publish, (topic, knows_topic), &message) => None,
            Verdict::Changed(_) => Some("packet-too-large"),
            Verdict::Withheld(reason) => Some(reason),
        };
        let Some(reason) = withheld else { return self.acks.borrow_mut().passed(promise).ok() };
        self.worker.dropped(Protocol::Mqtt, reason);
        let owed = self.acks.borrow_mut().withhold(promise, &mut self.gathered.borrow_mut());
        self.answered().await;
        owed.ok()
    }

    /// What policies make of a publish.
    async fn verdict(&self, publish: &Publish<'_>, topic: &str) -> Option<Verdict> {
        let (plan, came) = (self.worker.plan(), self.worker.clock.millis());
        if !self.worker.hub.broker.borrow_mut().rules().may_receive(&self.access, topic) {
            return Some(Verdict::Withheld("forbidden"));
        }
        let builder = publish.message(topic, came);
        let first = hooks::first_to_deliver(&self.worker, &plan, (&self.link, &builder));
        let Some(first) = first else { return Some(Verdict::AsItCame) };
        let message = builder.build()?;
        // What came before it does not wait for its verdict.
        self.worker.hub.flusher.mark(&self.link);
        let asked = (&*self.link, message.clone(), first);
        let Some(made) = hooks::ask_to_deliver(&self.worker, &plan, asked).await else {
            return Some(Verdict::Withheld("policy"));
        };
        let now = self.worker.clock.millis();
        if now > came && made.is_expired(now) {
            return Some(Verdict::Withheld("expired"));
        }
        // MQTT-3.3.2-6: what it waited here is off its time.
        let is_same = made == message && made.remaining_seconds(now) == message.remaining_seconds(came);
        Some(if is_same { Verdict::AsItCame } else { Verdict::Changed(made) })
    }

    /// Puts a publish out anew; `false`: the client does not take so large a packet.
    fn put_message(&mut self, publish: &Publish<'_>, (topic, knows_topic): (&str, bool), message: &Message) -> bool {
        let ids: Vec<u32> = publish.properties.iter().filter_map(subscription_id).collect();
        // An alias stands for the topic that the broker means; another one goes without.
        let alias = publish.topic_alias().filter(|_| message.topic() == topic);
        let is_known = publish.topic.is_empty() && knows_topic;
        let Publish { dup, qos, retain, packet_id, .. } = *publish;
        let topic_alias = alias.map(|number| TopicAlias { number, is_known });
        let head = DeliveryHead { dup, qos, retain, packet_id, subscription_ids: &ids, topic_alias };
        let most = self.room.min(VARINT_MAX) as usize;
        if encoded_len(self.version, &head, message) > most {
            return false;
        }
        let now = self.worker.clock.millis();
        encode_publish(&mut self.link.out.borrow_mut(), self.version, (&head, now), message);
        if alias.is_some() {
            self.aliases.passed(publish);
        }
        let counters = self.worker.counters.of(Protocol::Mqtt);
        counters.messages_out[qos as usize].add(1);
        counters.message_bytes_out.add(message.payload().len() as u64);
        true
    }
}

fn subscription_id(property: Property<'_>) -> Option<u32> {
    if let Property::SubscriptionId(id) = property { Some(id) } else { None }
}
