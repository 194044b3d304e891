//! What an older gateway left is read: a folder with every kind of entry there was before publishers that wait had an
//! identity, written by that version itself. Its numbers of kinds and the form of each must never mean anything else.

use std::fs;
use std::path::Path;
use tidegate_broker::{Action, Options, Replay};
use tidegate_message::{Message, Qos};
use tidegate_store::{Generation, LogOptions, Recovered};

/// The logs, opened in a folder of their own.
fn recovered() -> Recovered {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/older");
    let root = std::env::temp_dir().join(format!("tidegate-store-older-{}", std::process::id()));
    let generation = root.join("00000001");
    fs::create_dir_all(&generation).expect("a folder of ours");
    for entry in fs::read_dir(from).expect("there").flatten() {
        fs::copy(entry.path(), generation.join(entry.file_name())).expect("a folder of ours");
    }
    fs::write(generation.join("whole"), "").expect("a folder of ours");
    let options = LogOptions { segment_bytes: 64 << 10, max_bytes: 1 << 30, epoch_ms: 1_000_000 };
    let (_, found) = Generation::open(&root, options).expect("a folder of ours");
    fs::remove_dir_all(&root).expect("ours");
    found
}

fn text(message: &Message) -> String {
    format!("{} {}", message.topic(), String::from_utf8_lossy(message.payload()))
}

#[test]
fn every_kind_of_entry_of_an_older_gateway_is_read() {
    let found = recovered();
    assert_eq!((found.torn, found.corrupt, found.sessions.len()), (0, 0, 2), "{:?}", found.corrupt_places);
    let [moved, pump] = &found.sessions[..] else { unreachable!("two") };

    let named = |session: &tidegate_broker::StoredSession| (session.client_id.to_string(), session.user.clone());
    assert_eq!([named(moved), named(pump)], ["moved", "pump"].map(|id| (id.to_owned(), Some("ann".into()))));
    assert_eq!((pump.expiry, pump.ends_at, pump.is_superuser), (60, Some(5_000), true));
    let rule = &pump.rules.as_ref().expect("it had one")[0];
    assert_eq!((rule.action, &*rule.topic, rule.allow), (Action::Publish, "t/#", true));
    let (will, due_at) = pump.will.as_ref().expect("it had one");
    assert_eq!((text(&will.message), will.expiry, will.delay), ("t/will gone".into(), Some(3), 4));
    assert_eq!(*due_at, Some(6_000));
    let (qos, replay) = (Qos::ExactlyOnce, Replay::Never);
    let options = Options { qos, no_local: true, retain_as_published: true, replay, id: 7 };
    assert_eq!(pump.filters, [("t/#".into(), options)]);
    assert_eq!(pump.inbound, [6]);

    let delivery = |delivery: &tidegate_broker::StoredDelivery| {
        (delivery.message.as_deref().map_or("released".into(), text), delivery.qos as u8, delivery.packet_id)
    };
    let deliveries: Vec<_> = pump.deliveries.iter().map(delivery).collect();
    let expected = [("t/1 one", 2, 11), ("released", 2, 12), ("t/1 four", 2, 0), ("t/2 due", 2, 0)];
    assert_eq!(deliveries, expected.map(|(text, qos, id)| (text.to_owned(), qos, id)));
    let first = pump.deliveries[0].message.as_ref().expect("it was not released");
    let properties = first.properties.as_deref().expect("it had some");
    assert_eq!(properties.content_type.as_deref(), Some("text/plain"));
    assert_eq!(properties.correlation.as_deref(), Some(&b"c"[..]));
    assert_eq!(properties.user, [("a".into(), "b".into())]);
    assert_eq!(first.expires_at, Some(9_000));

    let deliveries: Vec<_> = moved.deliveries.iter().map(delivery).collect();
    assert_eq!(deliveries, [("t/3 arrived".into(), 1, 0), ("t/3 on its way".into(), 2, 0)]);
    let delayed: Vec<_> = found.delayed.iter().map(|one| (text(&one.message), one.due_at, one.is_superuser)).collect();
    assert_eq!(delayed, [("t/4 later".into(), 7_000, false)]);
    let who = (found.delayed[0].user.as_deref(), found.delayed[0].client_id.as_deref(), &found.delayed[0].rules);
    assert_eq!(who, (Some("ann"), Some("pump"), &None));
    let retained: Vec<_> = found.retained.iter().map(|(message, sequence)| (text(message), *sequence)).collect();
    assert_eq!(retained, [("r/1 new".into(), 2)]);
}
