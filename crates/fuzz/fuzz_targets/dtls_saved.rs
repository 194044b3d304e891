//! What a start reads of DTLS sessions that were saved: no panic on any bytes, neither of the
//! file nor of what is sealed in it, and what comes back of it can be used and saved again.
//! A byte for the worker, then for each session a byte for its place, two of length and it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, OnceLock};
use tidegate_dtls::{Bounds, DtlsPlan, Event, PskPlan, Sessions, Terms};

const BOUNDS: Bounds = Bounds { sessions: 64, handshakes: 4, handshakes_per_s: 100, idle_ms: 100_000 };
const NOW_MS: u64 = 1_000_000;

fn terms() -> &'static Arc<Terms> {
    static TERMS: OnceLock<Arc<Terms>> = OnceLock::new();
    TERMS.get_or_init(|| {
        let psk = vec![PskPlan { identity: "plant-*".into(), key_hex: "736563726574".into(), derived: false }];
        let plan = DtlsPlan { psk, certificate: None, client_auth: None, connection_id: true, ask_for_key: false };
        Terms::load(&plan, None).expect("a key is enough")
    })
}

fuzz_target!(|input: &[u8]| {
    let Some((&worker, rest)) = input.split_first() else { return };
    restored(worker, rest);
    let mut parts = Vec::new();
    let mut rest = rest;
    while let [place, high, low, behind @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let (plain, next) = behind.split_at(behind.len().min(len));
        parts.push((u32::from(*place), plain));
        rest = next;
    }
    restored(worker, &Sessions::sealed(terms(), &parts));
});

/// Reads a file, uses what it held, and saves that again.
fn restored(worker: u8, file: &[u8]) {
    let mut sessions = Sessions::new(terms(), (worker, BOUNDS)).expect("taken before");
    let mut names = Vec::new();
    let count = sessions.restore((NOW_MS, 5), file, &mut |event| {
        if let Event::Opened { name, .. } = event {
            names.push(name);
        }
    });
    assert_eq!((count, names.len()), (sessions.len(), sessions.len()));
    for name in names {
        let _ = sessions.seal(NOW_MS, name, b"an answer");
        let record = b"\x17\xfe\xfd\x00\x01\x00\x00\x00\x00\x00\x09\x00\x04junk";
        let _ = sessions.handle(NOW_MS, (name, record), &mut |_| {});
    }
    while sessions.poll_output().is_some() {}
    sessions.handle_timeout(NOW_MS + 60_000);
    let _ = sessions.save(NOW_MS + 60_000);
}
