//! What a start finds after whatever ended the process before: a whole log, a torn one,
//! a broken one, several of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tidegate_broker::{Action, Options, Record, Replay, Rule, StoredSession, Will};
use tidegate_message::{Message, MessageBuilder, Properties, Protocol, Qos};
use tidegate_store::{Generation, Log, LogOptions, Pending, Recovered};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("tidegate-store-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Folder(std::env::temp_dir().join(name))
    }

    fn open(&self) -> (Generation, Recovered) {
        let options = LogOptions { segment_bytes: 64 << 10, max_bytes: 1 << 30, epoch_ms: 1_000_000 };
        Generation::open(&self.0, options).expect("a folder of ours")
    }

    /// The only segment of worker 0, in the newest generation.
    fn segment(&self) -> PathBuf {
        let newest = fs::read_dir(&self.0).expect("there").flatten().map(|entry| entry.path()).max();
        newest.expect("a generation").join("worker-0-00000001.log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn message(topic: &str, payload: &[u8]) -> Arc<Message> {
    let properties = Properties {
        content_type: Some("text/plain".into()),
        correlation: Some(Box::from(&b"c"[..])),
        user: vec![("a".into(), "b".into())],
        ..Properties::default()
    };
    let mut builder = MessageBuilder::new(Protocol::Mqtt, topic, payload);
    (builder.qos, builder.expires_at, builder.properties) = (Qos::ExactlyOnce, Some(9_000), Some(Box::new(properties)));
    Arc::new(builder.build().expect("a short topic"))
}

const OPTIONS: Options =
    Options { qos: Qos::ExactlyOnce, no_local: true, retain_as_published: true, replay: Replay::Never, id: 7 };

fn session(log: &mut Log, (key, epoch): (u64, u64), client_id: &str) {
    let (user, ends_at) = (Some("ann"), Some(5_000));
    log.append(&Record::Session { key, client_id, user, epoch, expiry: 60, ends_at, connected: false });
    log.append(&Record::Filter { key, filter: "t/#", options: OPTIONS });
    log.seal();
}

fn queue(log: &mut Log, (key, number, id): (u64, u64, u64), message: &Arc<Message>) {
    let (qos, ids, packet_id) = (Qos::ExactlyOnce, &[7][..], 0);
    log.append(&Record::Queue { key, number, id, message, qos, retain: false, ids, packet_id });
    log.seal();
}

fn payloads(session: &StoredSession) -> Vec<String> {
    let text = |message: &Arc<Message>| String::from_utf8_lossy(message.payload()).into_owned();
    session.deliveries.iter().map(|delivery| delivery.message.as_ref().map_or("released".into(), text)).collect()
}

fn reopen(folder: &Folder) -> Recovered {
    folder.open().1
}

/// Three messages in worker 0's log, committed.
fn three(folder: &Folder) {
    let (generation, _) = folder.open();
    let mut log = generation.worker_log(0);
    session(&mut log, (1, 1), "pump");
    for (number, text) in [(1, "one"), (2, "two"), (3, "three")] {
        queue(&mut log, (1, number, number), &message("t/1", text.as_bytes()));
    }
    log.flush().expect("room");
    generation.commit().expect("a folder of ours");
}

fn change(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("there");
    edit(&mut bytes);
    fs::write(path, bytes).expect("ours");
}

fn find(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).expect("it stands there")
}

#[test]
fn everything_that_was_kept_comes_back_as_it_was() {
    let folder = Folder::new();
    let (generation, empty) = folder.open();
    assert!(empty.sessions.is_empty() && empty.retained.is_empty());
    let mut log = generation.worker_log(0);
    session(&mut log, (1, 1), "pump");
    let will = Will { message: (*message("t/will", b"gone")).clone(), expiry: Some(3), delay: 4 };
    log.append(&Record::Will { key: 1, will: Some(&will), due_at: Some(6_000) });
    log.append(&Record::Filter { key: 1, filter: "x", options: OPTIONS });
    log.append(&Record::Unfilter { key: 1, filter: "x" });
    for (number, text) in [(1, "one"), (2, "two"), (3, "three"), (4, "four")] {
        queue(&mut log, (1, number, number), &message("t/1", text.as_bytes()));
    }
    log.append(&Record::Sent { key: 1, number: 1, packet_id: 11 });
    log.append(&Record::Sent { key: 1, number: 2, packet_id: 12 });
    log.append(&Record::Released { key: 1, number: 2, packet_id: 12 });
    log.append(&Record::Done { key: 1, number: 3 });
    log.append(&Record::Inbound { key: 1, packet_id: 5, held: true });
    log.append(&Record::Inbound { key: 1, packet_id: 6, held: true });
    log.append(&Record::Inbound { key: 1, packet_id: 5, held: false });
    log.seal();
    log.flush().expect("room");
    let mut retained = generation.retained_log();
    retained.append(&Record::Retain { message: &message("r/1", b"old"), sequence: 1 });
    retained.append(&Record::Retain { message: &message("r/1", b"new"), sequence: 2 });
    retained.append(&Record::Retain { message: &message("r/2", b"x"), sequence: 3 });
    retained.append(&Record::Retain { message: &message("r/2", b""), sequence: 4 });
    retained.seal();
    retained.flush().expect("room");
    generation.commit().expect("a folder of ours");

    let found = reopen(&folder);
    assert_eq!((found.torn, found.corrupt, found.sessions.len()), (0, 0, 1));
    let pump = &found.sessions[0];
    assert_eq!(
        (&*pump.client_id, pump.user.as_deref(), pump.expiry, pump.ends_at),
        ("pump", Some("ann"), 60, Some(5_000))
    );
    assert_eq!(pump.will, Some((will, Some(6_000))));
    assert_eq!(pump.filters, [("t/#".into(), OPTIONS)]);
    assert_eq!(payloads(pump), ["one", "released", "four"]);
    assert_eq!(pump.deliveries.iter().map(|delivery| delivery.packet_id).collect::<Vec<_>>(), [11, 12, 0]);
    assert_eq!(pump.deliveries[0].message.as_ref(), Some(&message("t/1", b"one")));
    assert_eq!(pump.inbound, [6]);
    let retained: Vec<_> = found.retained.iter().map(|(message, sequence)| (message.payload(), *sequence)).collect();
    assert_eq!(retained, [(&b"new"[..], 2)]);
}

#[test]
fn a_delayed_publish_comes_back_with_what_its_publisher_may() {
    let folder = Folder::new();
    let (generation, _) = folder.open();
    let mut log = generation.worker_log(0);
    let rule = Rule { user: None, client_id: None, action: Action::Publish, topic: "t/#".into(), allow: true };
    let rules = [rule];
    for id in 1..4 {
        let message = &message("t/1", id.to_string().as_bytes());
        log.append(&Record::Delay { id, user: Some("ann"), client_id: None, message, due_at: 7_000 });
    }
    log.append(&Record::DelayIdentity { id: 1, is_superuser: true, rules: None });
    log.append(&Record::DelayIdentity { id: 2, is_superuser: false, rules: Some(&rules) });
    log.append(&Record::DelayWill { id: 3 });
    log.seal();
    log.flush().expect("room");
    generation.commit().expect("a folder of ours");
    let found = reopen(&folder).delayed;
    let kept: Vec<_> = found.iter().map(|delayed| (delayed.is_superuser, delayed.rules.as_deref())).collect();
    assert_eq!(kept, [(true, None), (false, Some(&rules[..])), (false, None)]);
    assert_eq!(found.iter().map(|delayed| delayed.is_will).collect::<Vec<_>>(), [false, false, true]);
}

#[test]
fn a_torn_tail_is_cut_and_a_broken_frame_before_others_is_named() {
    let folder = Folder::new();
    three(&folder);
    change(&folder.segment(), |bytes| {
        let at = find(bytes, "three");
        bytes[at + 2..].fill(0);
    });
    let found = reopen(&folder);
    assert_eq!((found.torn, found.corrupt, payloads(&found.sessions[0])), (1, 0, vec!["one".into(), "two".into()]));

    let folder = Folder::new();
    three(&folder);
    let path = folder.segment();
    change(&path, |bytes| {
        let at = find(bytes, "two");
        bytes[at] ^= 1;
    });
    let found = reopen(&folder);
    assert_eq!((found.torn, found.corrupt, payloads(&found.sessions[0])), (0, 1, vec!["one".into(), "three".into()]));
    assert!(found.corrupt_places[0].starts_with(&path.display().to_string()), "{:?}", found.corrupt_places);
}

#[test]
fn a_start_that_is_cut_off_leaves_the_generation_before() {
    let folder = Folder::new();
    three(&folder);
    let (generation, _) = folder.open();
    let mut log = generation.worker_log(0);
    session(&mut log, (9, 9), "pump");
    log.flush().expect("room");
    assert_eq!(payloads(&reopen(&folder).sessions[0]), ["one", "two", "three"]);
}

#[test]
fn the_highest_epoch_of_a_client_counts_and_what_was_arriving_joins_it() {
    let folder = Folder::new();
    let (generation, _) = folder.open();
    let mut logs: Vec<Log> = (0..3).map(|worker| generation.worker_log(worker)).collect();
    session(&mut logs[0], (1, 1), "moved");
    queue(&mut logs[0], (1, 1, 1), &message("t/1", b"stale"));
    session(&mut logs[1], (4, 4), "moved");
    queue(&mut logs[1], (4, 1, 2), &message("t/1", b"fresh"));
    session(&mut logs[0], (2, 2), "ended");
    session(&mut logs[1], (5, 5), "ended");
    logs[1].append(&Record::End { key: 5 });
    logs[1].seal();
    session(&mut logs[0], (3, 3), "on its way");
    queue(&mut logs[0], (3, 1, 10), &message("t/1", b"there"));
    session(&mut logs[2], (6, 0), "on its way");
    queue(&mut logs[2], (6, 1 << 32, 10), &message("t/1", b"there"));
    queue(&mut logs[2], (6, (1 << 32) + 1, 11), &message("t/1", b"here"));
    logs.iter_mut().for_each(|log| log.flush().expect("room"));
    generation.commit().expect("a folder of ours");
    let found = reopen(&folder);
    let names: Vec<&str> = found.sessions.iter().map(|session| &*session.client_id).collect();
    assert_eq!(names, ["moved", "on its way"]);
    assert_eq!(payloads(&found.sessions[0]), ["fresh"]);
    assert_eq!(payloads(&found.sessions[1]), ["there", "here"]);
}

#[test]
fn a_message_on_its_way_to_another_worker_reaches_its_sessions_once() {
    for taken in [false, true] {
        let folder = Folder::new();
        let (generation, _) = folder.open();
        let (mut from, mut to) = (generation.worker_log(0), generation.worker_log(1));
        session(&mut to, (1, 1), "reader");
        for (id, text) in [(1, "first"), (2, "second")] {
            let message = message("t/1", text.as_bytes());
            from.outgoing(Pending { id, worker: 1, plain: true, groups: Vec::new(), client: None, message });
        }
        from.arrived(1, 1);
        from.seal();
        if taken {
            queue(&mut to, (1, 1, 2), &message("t/1", b"second"));
            to.append(&Record::Done { key: 1, number: 1 });
            to.taken(2);
            to.seal();
        }
        from.flush().and_then(|()| to.flush()).expect("room");
        generation.commit().expect("a folder of ours");
        let expected: &[&str] = if taken { &[] } else { &["second"] };
        assert_eq!(payloads(&reopen(&folder).sessions[0]), expected, "taken: {taken}");
    }
}

#[test]
fn a_message_on_its_way_to_another_worker_does_not_come_to_who_published_it_and_wants_no_own() {
    let folder = Folder::new();
    let (generation, _) = folder.open();
    let (mut from, mut to) = (generation.worker_log(0), generation.worker_log(1));
    for (key, name) in [(1, "reader"), (2, "writer")] {
        session(&mut to, (key, key), name);
    }
    for (id, client) in [(1, Some("writer".into())), (2, None)] {
        let message = message("t/1", id.to_string().as_bytes());
        from.outgoing(Pending { id, worker: 1, plain: true, groups: Vec::new(), client, message });
    }
    from.seal();
    from.flush().and_then(|()| to.flush()).expect("room");
    generation.commit().expect("a folder of ours");
    let found = reopen(&folder);
    assert_eq!([0, 1].map(|at| payloads(&found.sessions[at])), [vec!["1", "2"], vec!["2"]]);
}

#[test]
fn a_checkpoint_lets_old_segments_go_and_loses_nothing() {
    let folder = Folder::new();
    let (generation, _) = folder.open();
    let mut log = generation.worker_log(0);
    session(&mut log, (1, 1), "pump");
    generation.commit().expect("a folder of ours");
    let kept = message("t/1", b"kept");
    queue(&mut log, (1, 1, 1), &kept);
    let noise = message("t/1", &[0; 1_000]);
    for number in 2..2_000 {
        queue(&mut log, (1, number, number), &noise);
        log.append(&Record::Done { key: 1, number });
        log.seal();
        log.flush().expect("room");
    }
    assert!(log.wants_checkpoint());
    let before = log.bytes();
    log.begin_checkpoint().expect("room");
    session(&mut log, (1, 1), "pump");
    queue(&mut log, (1, 1, 1), &kept);
    log.flush().expect("room");
    log.end_checkpoint();
    log.discard_covered();
    queue(&mut log, (1, 2_000, 2_000), &message("t/1", b"later"));
    log.flush().expect("room");
    assert!(log.bytes() < before / 100, "{} of {before}", log.bytes());
    assert!(!folder.segment().exists());
    assert_eq!(payloads(&reopen(&folder).sessions[0]), ["kept", "later"]);
}

#[test]
fn a_log_without_room_says_so_before_a_write_fails_and_recovers() {
    let folder = Folder::new();
    let (generation, _) = folder.open();
    let mut log = generation.worker_log(0);
    log.limit(40 << 10);
    session(&mut log, (1, 1), "pump");
    let text = message("t/1", &[1; 1_000]);
    let mut number = 0;
    while !log.is_full() {
        number += 1;
        queue(&mut log, (1, number, number), &text);
        log.flush().expect("the segment was claimed before");
        assert!(number < 100, "it is never full");
    }
    log.retry();
    assert!(log.is_full());
    log.limit(1 << 30);
    log.retry();
    assert!(!log.is_full());
    generation.commit().expect("a folder of ours");
    assert_eq!(reopen(&folder).sessions[0].deliveries.len(), number as usize);
}

#[test]
fn a_log_that_is_full_of_what_is_superfluous_asks_for_a_checkpoint_and_has_room_then() {
    let folder = Folder::new();
    let (generation, _) = folder.open();
    let mut log = generation.worker_log(0);
    log.limit(40 << 10);
    session(&mut log, (1, 1), "pump");
    let text = message("t/1", &[1; 1_000]);
    let mut number = 0;
    while !log.is_full() {
        number += 1;
        queue(&mut log, (1, number, number), &text);
        log.flush().expect("the segment was claimed before");
    }
    assert!(!log.wants_checkpoint(), "not at once");
    (0..100).for_each(|_| log.retry());
    assert!(log.wants_checkpoint());
    log.begin_checkpoint().expect("room for it");
    session(&mut log, (1, 1), "pump");
    log.flush().expect("room");
    log.end_checkpoint();
    log.discard_covered();
    log.retry();
    assert!(!log.is_full());
    assert!(!log.wants_checkpoint());
}

#[test]
fn a_frame_larger_than_a_segment_is_read_in_its_turn() {
    let folder = Folder::new();
    let (generation, _) = folder.open();
    let mut log = generation.worker_log(0);
    session(&mut log, (1, 1), "pump");
    // More than half of the first segment: the next one is claimed already.
    queue(&mut log, (1, 1, 1), &message("t/1", &[1; 40 << 10]));
    log.flush().expect("room");
    queue(&mut log, (1, 2, 2), &message("t/1", &[2; 80 << 10]));
    log.flush().expect("room");
    for number in 3..10 {
        queue(&mut log, (1, number, number), &message("t/1", &[3; 10 << 10]));
        log.flush().expect("room");
    }
    generation.commit().expect("a folder of ours");
    let found = reopen(&folder);
    assert_eq!((found.torn, found.corrupt, found.sessions[0].deliveries.len()), (0, 0, 9));
}

#[test]
fn what_comes_to_the_new_worker_of_a_session_that_left_is_its_own() {
    let folder = Folder::new();
    let (generation, _) = folder.open();
    let mut logs: Vec<Log> = (0..3).map(|worker| generation.worker_log(worker)).collect();
    session(&mut logs[0], (1, 1), "reader");
    queue(&mut logs[0], (1, 1, 1), &message("t/1", b"one"));
    logs[0].append(&Record::Left { key: 1, to: 1 });
    logs[0].seal();
    session(&mut logs[1], (2, 0), "reader");
    for (id, worker, text) in [(1, 1, "one"), (2, 0, "before it left"), (3, 1, "three")] {
        logs[2].outgoing(Pending {
            id,
            worker,
            plain: true,
            client: None,
            groups: Vec::new(),
            message: message("t/1", text.as_bytes()),
        });
    }
    logs[2].seal();
    logs.iter_mut().for_each(|log| log.flush().expect("room"));
    generation.commit().expect("a folder of ours");
    assert_eq!(payloads(&reopen(&folder).sessions[0]), ["one", "three"]);
}

#[test]
fn what_was_on_its_way_to_the_old_worker_comes_before_what_came_to_the_new_one() {
    let folder = Folder::new();
    let (generation, _) = folder.open();
    let mut logs: Vec<Log> = (0..2).map(|worker| generation.worker_log(worker)).collect();
    session(&mut logs[0], (1, 1), "reader");
    queue(&mut logs[0], (1, 1, 1), &message("t/1", b"one"));
    // The publisher is on the new worker: both places are interested, and the old one is late.
    session(&mut logs[1], (2, 0), "reader");
    for (id, text) in [(2, "two"), (3, "three")] {
        let message = message("t/1", text.as_bytes());
        if id == 3 {
            queue(&mut logs[1], (2, 1 << 32, id), &message);
        }
        logs[1].outgoing(Pending { id, worker: 0, plain: true, groups: Vec::new(), client: None, message });
    }
    logs[1].seal();
    logs.iter_mut().for_each(|log| log.flush().expect("room"));
    generation.commit().expect("a folder of ours");
    assert_eq!(payloads(&reopen(&folder).sessions[0]), ["one", "two", "three"]);
}

#[test]
fn parts_of_a_session_that_moved_on_before_it_was_whole_are_in_the_order_of_its_claims() {
    for keys in [[2, 9], [9, 2]] {
        let folder = Folder::new();
        let (generation, _) = folder.open();
        let mut logs: Vec<Log> = (0..3).map(|worker| generation.worker_log(worker)).collect();
        session(&mut logs[0], (1, 1), "reader");
        for (log, key) in logs[1..].iter_mut().zip(keys) {
            session(log, (key, 0), "reader");
            queue(log, (key, 1 << 32, key), &message("t/1", format!("{key}").as_bytes()));
        }
        logs.iter_mut().for_each(|log| log.flush().expect("room"));
        generation.commit().expect("a folder of ours");
        assert_eq!(payloads(&reopen(&folder).sessions[0]), ["2", "9"]);
    }
}
