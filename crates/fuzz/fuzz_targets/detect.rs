//! First bytes: a verdict never changes as more bytes come, and no reader reads past
//! its input.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_detect::{Detection, detect, detect_datagram, parse_proxy_header};

fuzz_target!(|input: &[u8]| {
    let _ = detect_datagram(input);
    let mut verdict = Detection::NeedMore;
    for end in 0..=input.len().min(64) {
        let now = detect(&input[..end]);
        assert!(verdict == Detection::NeedMore || verdict == now, "{verdict:?} became {now:?} at {end}");
        verdict = now;
    }
    if let Ok(Some(header)) = parse_proxy_header(input) {
        assert!(header.len <= input.len());
        for end in 0..header.len {
            let before = parse_proxy_header(&input[..end]);
            assert!(matches!(before, Ok(None)), "{before:?} for {end} of {} bytes", header.len);
        }
    }
});
