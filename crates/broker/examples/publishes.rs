//! What a publish costs by the number of wildcard subscriptions, each to a topic that was never
//! seen before: nanoseconds, as JSON. Run by `bench/topic-tree.mjs`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use tidegate_broker::*;
use tidegate_message::{Message, MessageBuilder, Protocol};

const TOPICS: usize = 1_000_000;

/// Counts what is delivered.
#[derive(Default)]
struct Count(u64);

impl Sink for Count {
    fn send(&mut self, _: SubscriberId, message: &Arc<Message>, _: Delivery<'_>) {
        self.0 += u64::from(!black_box(message).topic().is_empty());
    }
    fn release(&mut self, _: SubscriberId, _: u16) {}
    fn forward(&mut self, _: u16, _: Forward) {}
    fn interest(&mut self, _: InterestChange) {}
    fn close(&mut self, _: SubscriberId, _: CloseReason) {}
    fn append(&mut self, _: &Record<'_>) {}
    fn parted(&mut self, _: u16, _: u64) {}
    fn dropped(&mut self, _: Option<SubscriberId>, _: Protocol, _: DropReason, _: u32) {}
}

fn filter(index: usize) -> String {
    match index % 3 {
        0 => format!("site/{}/+/temp", index / 3),
        1 => format!("site/+/device-{}/#", index / 3),
        _ => format!("+/{}/device-{}/+", index % 1_000, index / 3),
    }
}

fn cost(subscriptions: usize) -> String {
    let mut broker = Broker::new(Shared::new(SharedLimits::default()), (0, 1), BrokerLimits::default());
    let (mut sink, access) = (Count::default(), Access::default());
    for index in 0..subscriptions {
        let id = broker.add_subscriber(Protocol::Mqtt, access.clone());
        let granted = broker.subscribe(id, &filter(index), Options::default(), &mut sink);
        assert!(granted.is_ok(), "a filter was refused");
    }
    let topic = |index: usize| format!("site/{}/device-{}/temp", index % 1_000, index / 30);
    let topics: Vec<String> = (0..TOPICS).map(topic).collect();
    let started = Instant::now();
    for topic in &topics {
        let origin = Origin { subscriber: None, access: &access };
        broker.publish(0, origin, MessageBuilder::new(Protocol::Mqtt, topic, b"21.5"), &mut sink);
    }
    let ns = started.elapsed().as_nanos() as f64 / TOPICS as f64;
    let copies = sink.0 as f64 / TOPICS as f64;
    format!("{{\"subscriptions\":{subscriptions},\"ns\":{ns:.0},\"copies\":{copies:.2}}}")
}

fn main() {
    let rows: Vec<String> = [0, 100, 10_000, 100_000].into_iter().map(cost).collect();
    println!("[{}]", rows.join(","));
}
