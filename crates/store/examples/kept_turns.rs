//! The longest turn of a publish at QoS 1 to 10,000 kept sessions, in one go and in slices: microseconds, as JSON. Each
//! delivery stands in a log and is copied into the session's own buffer, as a driver does.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use tidegate_broker::*;
use tidegate_message::{Message, MessageBuilder, Protocol, Qos};
use tidegate_store::{Generation, Log, LogOptions};

const SESSIONS: usize = 10_000;
const PUBLISHES: u64 = 60;

struct Driver {
    log: Log,
    buffers: Vec<Vec<u8>>,
    sent: Vec<(SubscriberId, u16)>,
}

impl Sink for Driver {
    fn send(&mut self, to: SubscriberId, message: &Arc<Message>, delivery: Delivery<'_>) {
        let buffer = &mut self.buffers[to.slot as usize];
        buffer.extend_from_slice(message.topic_bytes());
        buffer.extend_from_slice(message.payload());
        self.sent.push((to, delivery.packet_id));
    }
    fn release(&mut self, _: SubscriberId, _: u16) {}
    fn forward(&mut self, _: u16, _: Forward) {}
    fn interest(&mut self, _: InterestChange) {}
    fn close(&mut self, _: SubscriberId, _: CloseReason) {}
    fn append(&mut self, record: &Record<'_>) {
        self.log.append(record);
    }
    fn parted(&mut self, _: u16, _: u64) {}
    fn dropped(&mut self, _: Option<SubscriberId>, _: Protocol, _: DropReason, _: u32) {}
}

/// One call of the broker and the log's part of it: microseconds.
fn timed(driver: &mut Driver, act: impl FnOnce(&mut Driver)) -> f64 {
    let started = Instant::now();
    act(driver);
    driver.log.seal();
    driver.log.flush().expect("room");
    started.elapsed().as_nanos() as f64 / 1_000.0
}

fn longest(slice: usize, batch: usize) -> String {
    let folder = std::env::temp_dir().join(format!("tidegate-kept-turns-{}", std::process::id()));
    let options = LogOptions { segment_bytes: 16 << 20, max_bytes: 4 << 30, epoch_ms: 0 };
    let (generation, _) = Generation::open(&folder, options).expect("a folder of ours");
    let shared = Shared::new(SharedLimits::default());
    shared.set_keeping(Keeping::Yes);
    let mut broker = Broker::new(shared, (0, 1), BrokerLimits { slice, ..BrokerLimits::default() });
    let buffers = vec![Vec::new(); SESSIONS];
    let mut driver = Driver { log: generation.worker_log(0), buffers, sent: Vec::new() };
    let access = Access::default();
    for session in 0..SESSIONS {
        let (client_id, access) = (format!("device-{session}").into(), access.clone());
        let (will, receive_maximum) = (None, 100);
        let request = ConnectRequest { client_id, clean_start: false, expiry: u32::MAX, receive_maximum, will, access };
        let Connect::Ready(connected) = broker.connect(0, request, &mut driver) else { return String::new() };
        broker.resume(0, connected.id, &mut driver);
        let options = Options { qos: Qos::AtLeastOnce, ..Options::default() };
        assert!(broker.subscribe(connected.id, "all", options, &mut driver).is_ok(), "a filter was refused");
    }
    let (mut firsts, mut turns, mut totals) = (Vec::new(), Vec::new(), Vec::new());
    for now in 0..PUBLISHES {
        let first = timed(&mut driver, |driver| {
            let origin = Origin { subscriber: None, access: &access };
            let message = MessageBuilder::new(Protocol::Mqtt, "all", &[b'x'; 64]);
            broker.publish(now, origin, MessageBuilder { qos: Qos::AtLeastOnce, ..message }, driver);
        });
        let (mut most, mut total) = (0.0_f64, first);
        while broker.pending_deliveries() > 0 {
            let turn = timed(&mut driver, |driver| _ = broker.spread_on(batch, driver));
            (most, total) = (most.max(turn), total + turn);
        }
        for to in std::mem::take(&mut driver.sent) {
            broker.puback(now, to, &mut driver);
        }
        timed(&mut driver, |_| {});
        black_box(&mut driver.buffers).iter_mut().for_each(Vec::clear);
        firsts.push(first);
        turns.push(most);
        totals.push(total);
    }
    let _ = std::fs::remove_dir_all(&folder);
    let median = |mut of: Vec<f64>| {
        of.sort_by(f64::total_cmp);
        of[of.len() / 2]
    };
    let (first, turn, total) = (median(firsts), median(turns), median(totals));
    format!(
        "{{\"slice\":{slice},\"batch\":{batch},\"publishUs\":{first:.0},\"longestUs\":{turn:.0},\"totalUs\":{total:.0}}}"
    )
}

fn main() {
    let rows: Vec<String> =
        [(usize::MAX, 128), (1_024, 64), (1_024, 128), (1_024, 256)].map(|(slice, batch)| longest(slice, batch)).into();
    println!("[{}]", rows.join(",\n "));
}
