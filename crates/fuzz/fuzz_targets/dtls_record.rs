//! What is read of a datagram before any cryptography: no panic on any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_dtls::{Record, looks_like_dtls};

fuzz_target!(|input: &[u8]| {
    let _ = (looks_like_dtls(input), Record::of(input));
});
