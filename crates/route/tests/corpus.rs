//! Every seed of the fuzz corpus of paths and filters: a canonical path is canonical, and
//! nothing that a server could still decode passes.

use std::path::Path;
use tidegate_route::{canonical_path, filter_matches, valid_filter, valid_topic};

#[test]
fn the_canonical_form_of_a_seed_is_its_own_canonical_form() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/text");
    let files = std::fs::read_dir(folder).expect("the corpus is part of the repository");
    let mut seeds = 0;
    for file in files {
        let path = file.expect("a readable folder").path();
        let seed = std::fs::read(&path).expect("a readable seed");
        let at = seed.iter().position(|byte| *byte == b'\n').unwrap_or(seed.len());
        let (first, second) = (&seed[..at], seed.get(at + 1..).unwrap_or_default());
        for raw in [first, second] {
            if let Ok(canonical) = canonical_path(raw) {
                assert_eq!(canonical_path(&canonical).as_deref(), Ok(&*canonical), "{}", path.display());
            }
        }
        if let (Ok(filter), Ok(topic)) = (str::from_utf8(first), str::from_utf8(second)) {
            let valid = valid_filter(filter) && valid_topic(topic);
            assert!(!valid || filter != topic || filter_matches(filter, topic), "{filter} matches itself");
        }
        seeds += 1;
    }
    assert!(seeds >= 20, "{seeds} seeds");
}
