//! Topics, filters and paths: routes and broker agree on both, and the canonical form of
//! a canonical path is itself. Input: a filter, a line feed, a topic, which is a path too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_route::{Ambiguity, canonical_path, canonical_path_with, filter_matches, valid_filter, valid_topic};

fuzz_target!(|input: &[u8]| {
    paths(input);
    let Some(at) = input.iter().position(|byte| *byte == b'\n') else { return };
    paths(&input[at + 1..]);
    let (Ok(filter), Ok(topic)) = (std::str::from_utf8(&input[..at]), std::str::from_utf8(&input[at + 1..])) else {
        return;
    };
    assert_eq!(valid_filter(filter), tidegate_broker::is_filter(filter, 128), "filter {filter:?}");
    assert_eq!(valid_topic(topic), tidegate_broker::is_topic(topic, 128), "topic {topic:?}");
    let _ = tidegate_broker::is_subscription(filter, 128);
    if valid_filter(filter) && valid_topic(topic) {
        assert_eq!(filter_matches(filter, topic), tidegate_broker::matches(filter, topic), "{filter:?} {topic:?}");
    }
});

fn paths(raw: &[u8]) {
    if let Ok(path) = canonical_path(raw) {
        assert_eq!(canonical_path(&path).as_deref(), Ok(&*path));
        // Bytes beyond ASCII become escapes of three; `*` is what OPTIONS asks for.
        assert!(path.len() <= raw.len() * 3 && !path.contains(&0));
        assert!(path.first() == Some(&b'/') || raw == b"*");
    }
    let _ = canonical_path_with(raw, Ambiguity::Keep);
}
