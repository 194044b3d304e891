//! The longest turn of a publish to 10,000 subscribers, in one go and in slices: microseconds, as JSON. Each delivery is
//! copied into the subscriber's own buffer, as a driver does.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use tidegate_broker::*;
use tidegate_message::{Message, MessageBuilder, Protocol};

const SUBSCRIBERS: usize = 10_000;
const PUBLISHES: usize = 400;

struct Buffers(Vec<Vec<u8>>);

impl Sink for Buffers {
    fn send(&mut self, to: SubscriberId, message: &Arc<Message>, _: Delivery<'_>) {
        let buffer = &mut self.0[to.slot as usize];
        buffer.extend_from_slice(message.topic_bytes());
        buffer.extend_from_slice(message.payload());
    }
    fn release(&mut self, _: SubscriberId, _: u16) {}
    fn forward(&mut self, _: u16, _: Forward) {}
    fn interest(&mut self, _: InterestChange) {}
    fn close(&mut self, _: SubscriberId, _: CloseReason) {}
    fn append(&mut self, _: &Record<'_>) {}
    fn parted(&mut self, _: u16, _: u64) {}
    fn dropped(&mut self, _: Option<SubscriberId>, _: Protocol, _: DropReason, _: u32) {}
}

fn longest(slice: usize) -> String {
    let limits = BrokerLimits { slice, ..BrokerLimits::default() };
    let mut broker = Broker::new(Shared::new(SharedLimits::default()), (0, 1), limits);
    let (mut sink, access) = (Buffers(vec![Vec::new(); SUBSCRIBERS]), Access::default());
    for _ in 0..SUBSCRIBERS {
        let id = broker.add_subscriber(Protocol::Mqtt, access.clone());
        let granted = broker.subscribe(id, "all", Options::default(), &mut sink);
        assert!(granted.is_ok(), "a filter was refused");
    }
    let (mut turns, mut totals) = (Vec::new(), Vec::new());
    for _ in 0..PUBLISHES {
        let (mut most, mut total) = (0.0_f64, 0.0);
        let mut timed = |act: &mut dyn FnMut() -> bool| {
            let started = Instant::now();
            let more = act();
            let us = started.elapsed().as_nanos() as f64 / 1_000.0;
            (most, total) = (most.max(us), total + us);
            more
        };
        timed(&mut || {
            let origin = Origin { subscriber: None, access: &access };
            broker.publish(0, origin, MessageBuilder::new(Protocol::Mqtt, "all", &[b'x'; 64]), &mut sink);
            false
        });
        while broker.pending_deliveries() > 0 {
            timed(&mut || broker.spread_on(128, &mut sink));
        }
        black_box(&mut sink.0).iter_mut().for_each(Vec::clear);
        turns.push(most);
        totals.push(total);
    }
    turns.sort_by(f64::total_cmp);
    totals.sort_by(f64::total_cmp);
    let at = |of: &[f64], part: usize| of[(of.len() - 1) * part / 100];
    let (turn, late, total) = (at(&turns, 50), at(&turns, 95), at(&totals, 50));
    format!("{{\"slice\":{slice},\"longestUs\":{turn:.0},\"longestP95Us\":{late:.0},\"totalUs\":{total:.0}}}")
}

fn main() {
    let rows: Vec<String> = [usize::MAX, 1_024].into_iter().map(longest).collect();
    println!("[{}]", rows.join(","));
}
