//! Publishes for many whose deliveries are made in turns: wherever the process ends, each session has what was
//! published, once, also where a checkpoint has removed the log's first words on it.
#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tidegate_broker::*;
use tidegate_message::{Message, MessageBuilder, Outcome, Protocol, Qos};
use tidegate_store::{Generation, Log, LogOptions, Recovered};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The log of one worker, as a driver writes it.
struct Kept {
    log: Log,
    sent: Vec<(SubscriberId, u16)>,
}

impl Sink for Kept {
    fn send(&mut self, to: SubscriberId, _: &Arc<Message>, delivery: Delivery<'_>) {
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

struct World {
    folder: PathBuf,
    broker: Broker,
    kept: Kept,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn open(folder: &Path) -> (Generation, Recovered) {
    let options = LogOptions { segment_bytes: 4 << 10, max_bytes: 1 << 30, epoch_ms: 1_000_000 };
    Generation::open(folder, options).expect("a folder of ours")
}

/// `clients` sessions for one topic.
fn world(clients: usize, (slice, max_queued): (usize, usize)) -> World {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("tidegate-spreads-{}-{number}", std::process::id()));
    let (generation, _) = open(&folder);
    let shared = Shared::new(SharedLimits::default());
    shared.set_keeping(Keeping::Yes);
    let limits = BrokerLimits { slice, max_queued, ..BrokerLimits::default() };
    let kept = Kept { log: generation.worker_log(0), sent: Vec::new() };
    let mut world = World { folder, broker: Broker::new(shared, (0, 1), limits), kept };
    generation.commit().expect("a folder of ours");
    (0..clients).for_each(|client| world.join(client, "t/#"));
    world
}

impl World {
    /// A session that is kept and connected, with a window of one.
    fn join(&mut self, client: usize, filter: &str) {
        let (access, client_id) = (Access::default(), format!("client-{client}").into());
        let request =
            ConnectRequest { client_id, clean_start: false, expiry: u32::MAX, receive_maximum: 1, will: None, access };
        let Connect::Ready(connected) = self.call(|broker, kept| broker.connect(0, request, kept)) else {
            panic!("nobody else has it")
        };
        self.call(|broker, kept| broker.resume(0, connected.id, kept));
        let options = Options { qos: Qos::ExactlyOnce, ..Options::default() };
        assert!(self.call(|broker, kept| broker.subscribe(connected.id, filter, options, kept)).is_ok());
    }

    /// One call of the broker is one frame.
    fn call<T>(&mut self, act: impl FnOnce(&mut Broker, &mut Kept) -> T) -> T {
        let result = act(&mut self.broker, &mut self.kept);
        self.kept.log.seal();
        result
    }

    fn publish(&mut self, payload: &str) {
        self.publish_to("t/1", payload);
    }

    fn publish_to(&mut self, topic: &str, payload: &str) {
        let message =
            MessageBuilder { qos: Qos::ExactlyOnce, ..MessageBuilder::new(Protocol::Mqtt, topic, payload.as_bytes()) };
        let access = Access::default();
        let origin = Origin { subscriber: None, access: &access };
        assert_eq!(self.call(|broker, kept| broker.publish(0, origin, message, kept)), Outcome::Success);
    }

    fn spread(&mut self, most: usize) -> bool {
        self.call(|broker, kept| broker.spread_on(most, kept))
    }

    /// Every client acknowledges what it has, to the end.
    fn acknowledge(&mut self) {
        for to in std::mem::take(&mut self.kept.sent) {
            self.call(|broker, kept| {
                broker.pubrec(0, to, true, kept);
                broker.pubcomp(0, to, kept);
            });
        }
    }

    fn flush(&mut self) {
        self.kept.log.flush().expect("room");
    }

    /// A checkpoint from its begin to its end; `between` happens when the first session was told.
    fn checkpoint(&mut self, between: impl FnOnce(&mut World)) {
        self.kept.log.begin_checkpoint().expect("room");
        let mut next = self.call(|broker, kept| broker.checkpoint(0, 1, kept));
        between(self);
        while let Some(from) = next {
            next = self.call(|broker, kept| broker.checkpoint(from, 1, kept));
        }
        self.flush();
        self.kept.log.end_checkpoint();
        self.kept.log.discard_covered();
    }

    /// What each session has when the process ends here and starts anew.
    fn crash(&mut self) -> Vec<Vec<String>> {
        self.flush();
        let (_, recovered) = open(&self.folder);
        assert_eq!((recovered.corrupt, recovered.torn), (0, 0));
        let text = |message: &Arc<Message>| String::from_utf8_lossy(message.payload()).into_owned();
        let of = |session: &StoredSession| {
            session
                .deliveries
                .iter()
                .map(|delivery| delivery.message.as_ref().map_or("released".into(), text))
                .collect()
        };
        recovered.sessions.iter().map(of).collect()
    }
}

#[test]
fn a_start_goes_on_with_a_publish_wherever_it_was() {
    for turns in 0..=3 {
        let mut world = world(3, (1, 100));
        world.publish("a");
        world.publish("b");
        for _ in 0..turns {
            world.spread(1);
        }
        assert_eq!(world.crash(), vec![vec!["a", "b"]; 3], "behind {turns} deliveries");
    }
}

#[test]
fn who_has_acknowledged_it_does_not_get_it_again() {
    let mut world = world(3, (1, 100));
    world.publish("a");
    world.spread(1);
    world.acknowledge();
    assert_eq!(world.crash(), [vec![], vec!["a"], vec!["a"]]);
    world.spread(2);
    world.acknowledge();
    assert_eq!(world.crash(), vec![Vec::<String>::new(); 3]);
}

#[test]
fn a_checkpoint_says_what_is_due_and_to_whom_it_is_not_due_any_more() {
    let mut world = world(4, (1, 100));
    world.publish("a");
    world.spread(1);
    world.acknowledge();
    world.checkpoint(|world| {
        // The second session was not told yet when it takes the message.
        world.spread(1);
        world.acknowledge();
    });
    assert_eq!(world.crash(), [vec![], vec![], vec!["a"], vec!["a"]]);
    world.spread(1);
    world.checkpoint(|_| {});
    assert_eq!(world.crash(), [vec![], vec![], vec!["a"], vec!["a"]]);
    while world.spread(1) {}
    world.checkpoint(|_| {});
    world.acknowledge();
    assert_eq!(world.crash(), vec![Vec::<String>::new(); 4]);
}

#[test]
fn a_publish_that_ends_during_a_checkpoint_leaves_its_message_there() {
    let mut world = world(3, (1, 100));
    world.publish("a");
    world.checkpoint(|world| {
        while world.spread(1) {}
        // Nobody who is told behind it holds it.
        world.kept.sent.remove(0);
        world.acknowledge();
    });
    assert_eq!(world.crash(), [vec!["a"], vec![], vec![]]);
}

#[test]
fn a_session_that_had_no_room_for_it_does_not_get_it_by_a_start() {
    let mut world = world(2, (1, 1));
    for text in ["a", "b"] {
        world.publish(text);
        while world.spread(1) {}
    }
    world.publish("c");
    world.spread(1);
    assert_eq!(world.crash(), [vec!["a", "b"], vec!["a", "b", "c"]], "the second one was not asked yet");
    world.spread(1);
    assert_eq!(world.crash(), vec![vec!["a", "b"]; 2]);
}

#[test]
fn a_large_message_stands_once_in_the_log_however_many_turns_it_takes() {
    let mut world = world(20, (8, 100));
    world.join(20, "other");
    world.flush();
    let before = world.kept.log.bytes();
    world.publish(&"x".repeat(10_000));
    for turn in 0..20 {
        assert_eq!(world.spread(1), turn < 19);
        world.publish_to("other", "y");
    }
    world.flush();
    let bytes = world.kept.log.bytes() - before;
    assert!(bytes < 14_000, "{bytes} bytes");
}
