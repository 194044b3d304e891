//! What comes in before and after decryption is read without a panic, and whatever is
//! opened can be answered.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use tidegate_oscore::{ContextPlan, Contexts, CoseOption, Fingerprint, Ledger, Opened, Shared, Terms};

/// Numbers without end, of a context that is new.
struct Numbers;

impl Ledger for Numbers {
    fn reserve(&self, _: &Fingerprint, count: u64) -> Option<Range<u64>> {
        Some(0..count)
    }

    fn is_known(&self, _: &Fingerprint) -> bool {
        false
    }
}

fuzz_target!(|input: &[u8]| {
    let _ = CoseOption::decode(input);
    let plan = ContextPlan {
        name: "device".into(),
        master_secret_hex: "0102030405060708090a0b0c0d0e0f10".into(),
        master_salt_hex: "9e7ca92223786340".into(),
        sender_id_hex: "01".into(),
        recipient_id_hex: String::new(),
        id_context_hex: None,
        replay_window: 32,
    };
    let Ok(terms) = Terms::load(&[plan]) else { return };
    let mut contexts = Contexts::new(&terms, (0, Arc::new(Shared::new(Some(Box::new(Numbers)), [7; 8]))), 64);
    let (from, mut out): (SocketAddr, _) = (([192, 0, 2, 1], 5_683).into(), Vec::new());
    let _ = contexts.open(from, input, &mut out);
    // A request of RFC 8613 appendix C.4, so that there is a peer to seal for.
    let request = b"\x44\x02\x5d\x1f\x00\x00\x39\x74\x39localhost\x62\x09\x14\xff\x61\x2f\x10\x92\xf1\x77\x6f\x1c\x16\x68\xb3\x82\x5e";
    if let Opened::First(name, _) | Opened::Request(name) = contexts.open(from, request, &mut out) {
        let _ = contexts.seal(name, input, &mut out);
    }
});
