//! The store: what is found, what goes, who waits.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tidegate_cache::{Begun, Bounds, Key, Lifetime, Purge, Stats, Store, Stored, Ticket};

fn key(path: &str, form: &str) -> Key {
    Key { uri: Key::uri("http", b"A.example", (path.as_bytes(), b"")), form: form.as_bytes().into() }
}

fn stored(body: usize, vary: &[(&str, &str)]) -> Arc<Stored> {
    Arc::new(Stored {
        status: 200,
        fields: Vec::new(),
        body: vec![b'x'; body],
        etag: None,
        upstream_etag: None,
        last_modified: None,
        vary: vary.iter().map(|(name, value)| ((*name).into(), value.as_bytes().into())).collect(),
        lifetime: Lifetime {
            fresh_ms: 1_000,
            age_ms: 0,
            stale_while_revalidate_ms: 0,
            stale_if_error_ms: 0,
            asks_always: false,
            forbids_stale: false,
        },
        received_ms: 0,
        used: AtomicBool::new(false),
    })
}

fn store_of(bytes: usize, entries: usize) -> Arc<Store> {
    let store = Arc::new(Store::default());
    store.set_bounds(Bounds { bytes, entries, entry_bytes: 1 << 20 });
    store
}

fn put(store: &Arc<Store>, key: &Key, answer: Arc<Stored>) {
    match Ticket::begin(store, key, 0) {
        Begun::Fetch(ticket) => ticket.keep(answer),
        other => panic!("{other:?}"),
    }
}

fn nothing(_: &str) -> Vec<u8> {
    Vec::new()
}

#[test]
fn an_answer_is_found_under_its_address_form_and_fields() {
    let store = store_of(1 << 20, 100);
    put(&store, &key("/a", "r"), stored(1, &[("accept", "text")]));
    let value = |text: &'static str| move |_: &str| text.as_bytes().to_vec();
    assert!(store.find(&key("/a", "r"), value("text")).is_some());
    assert!(store.find(&key("/a", "r"), value("json")).is_none(), "Vary");
    assert!(store.find(&key("/a", "s"), value("text")).is_none(), "another route");
    assert!(store.find(&key("/b", "r"), value("text")).is_none());
    put(&store, &key("/a", "r"), stored(2, &[("accept", "json")]));
    assert_eq!(store.stats().entries, 2);
    put(&store, &key("/a", "r"), stored(3, &[("accept", "json")]));
    assert_eq!(store.stats().entries, 2, "in place of the one before");
    assert_eq!(store.invalidate(&key("/a", "").uri), 2);
    assert_eq!(store.stats(), Stats::default(), "nothing is left, not a byte");
}

#[test]
fn bounds_hold_and_what_is_used_stays_longest() {
    let store = store_of(1 << 20, 40);
    for index in 0..400 {
        put(&store, &key(&format!("/{index}"), ""), stored(10, &[]));
        assert!(store.find(&key("/0", ""), nothing).is_some(), "used each time, gone at {index}");
    }
    assert_eq!((store.stats().entries, store.stats().evicted), (40, 360));
    let store = store_of(100_000, 1_000);
    for index in 0..400 {
        put(&store, &key(&format!("/{index}"), ""), stored(1_000, &[]));
        assert!(store.stats().bytes <= 100_000);
    }
    assert!(store.stats().entries > 50);
}

#[test]
fn one_fetches_the_others_wait_and_a_change_meanwhile_spoils_what_comes() {
    let store = store_of(1 << 20, 100);
    let Begun::Fetch(ticket) = Ticket::begin(&store, &key("/a", ""), 0) else { panic!("the first one fetches") };
    assert!(matches!(Ticket::begin(&store, &key("/a", ""), 0), Begun::Wait(_)));
    assert!(matches!(Ticket::begin(&store, &key("/a", "other"), 0), Begun::Fetch(_)));
    store.invalidate(&key("/a", "").uri);
    ticket.keep(stored(1, &[]));
    assert!(store.find(&key("/a", ""), nothing).is_none());
    let Begun::Fetch(ticket) = Ticket::begin(&store, &key("/a", ""), 0) else { panic!("it is over") };
    ticket.refuse(0);
    assert!(matches!(Ticket::begin(&store, &key("/a", ""), 10), Begun::Pass));
    assert!(matches!(Ticket::begin(&store, &key("/a", ""), 5_010), Begun::Fetch(_)));
}

#[test]
fn a_purge_takes_what_it_names() {
    let store = store_of(1 << 20, 100);
    for (path, form) in [("/a/1", "r\n1"), ("/a/2", "r\n"), ("/b", "s\n")] {
        put(&store, &key(path, form), stored(1, &[]));
    }
    let purge = |route: Option<&str>, host: Option<&str>, path: Option<&str>| {
        let own = |text: Option<&str>| text.map(str::to_owned);
        store.purge(&Purge { route: own(route), host: own(host), path: own(path) })
    };
    assert_eq!(purge(None, Some("b.example"), None), 0);
    assert_eq!(purge(None, None, Some("/a")), 0);
    assert_eq!(purge(Some("r"), Some("a.EXAMPLE"), Some("/a/*")), 2);
    assert_eq!(purge(None, None, None), 1);
}
