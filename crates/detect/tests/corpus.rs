//! Every seed of the fuzz corpus: a verdict never changes as more bytes come, and a
//! PROXY header is whole at one length only.

use std::path::Path;
use tidegate_detect::{Detection, detect, detect_datagram, parse_proxy_header};

#[test]
fn no_verdict_on_a_seed_changes_as_more_of_it_comes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/detect");
    let files = std::fs::read_dir(folder).expect("the corpus is part of the repository");
    let mut seeds = 0;
    for file in files {
        let path = file.expect("a readable folder").path();
        check(&std::fs::read(&path).expect("a readable seed"), &path.display().to_string());
        seeds += 1;
    }
    assert!(seeds >= 20, "{seeds} seeds");
}

fn check(seed: &[u8], name: &str) {
    let mut verdict = Detection::NeedMore;
    for end in 0..=seed.len() {
        let now = detect(&seed[..end]);
        assert!(verdict == Detection::NeedMore || verdict == now, "{name}: {verdict:?}, then {now:?} at {end}");
        verdict = now;
        let _ = detect_datagram(&seed[..end]);
    }
    if let Ok(Some(header)) = parse_proxy_header(seed) {
        assert!(header.len <= seed.len(), "{name}");
        for end in 0..header.len {
            assert_eq!(parse_proxy_header(&seed[..end]), Ok(None), "{name}: first {end} bytes");
        }
    }
}
