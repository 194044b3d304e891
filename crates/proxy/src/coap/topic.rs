//! Topics and the paths they have in CoAP: one path option per level, as raw bytes,
//! so that nothing has to be escaped (the mapping table of the message model).

use tidegate_coap::{OptionList, OptionNumber};

/// What a path stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// A topic or filter; it has been written.
    Topic,
    /// Below the broker's path, but no topic: a slash within a level, or no text.
    Invalid,
    /// Somewhere else.
    Elsewhere,
}

/// Longest value of a path option, bytes (RFC 7252 section 5.10).
const OPTION_MAX: usize = 255;

/// Puts the topic of a path in place of what is in `topic`. `base`: where topics begin.
pub(super) fn topic_of<'a>(base: &str, mut path: impl Iterator<Item = &'a [u8]>, topic: &mut String) -> Place {
    topic.clear();
    if !levels(base).all(|level| path.next() == Some(level.as_bytes())) {
        return Place::Elsewhere;
    }
    let mut count = 0;
    for level in path {
        if count > 0 {
            topic.push('/');
        }
        count += 1;
        match std::str::from_utf8(level) {
            Ok(text) if !text.contains('/') => topic.push_str(text),
            _ => return Place::Invalid,
        }
    }
    if count > 0 { Place::Topic } else { Place::Elsewhere }
}

/// Adds where a topic is found, as Location-Path: which topic a notification of a
/// wildcard observation is about. Nothing for a topic that no path reaches.
pub(super) fn put_location(base: &str, topic: &str, options: &mut OptionList) {
    if topic.split('/').any(|level| level.len() > OPTION_MAX) {
        return;
    }
    for level in levels(base).chain(topic.split('/')) {
        options.push(OptionNumber::LOCATION_PATH, level.as_bytes());
    }
}

fn levels(base: &str) -> impl Iterator<Item = &str> {
    let base = base.trim_matches('/');
    base.split('/').filter(move |_| !base.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(base: &str, path: &[&[u8]]) -> (Place, String) {
        let mut topic = String::from("old");
        let place = topic_of(base, path.iter().copied(), &mut topic);
        (place, topic)
    }

    #[test]
    fn each_segment_behind_the_base_is_a_level() {
        assert_eq!(place("/t", &[b"t", b"plant", b"1"]), (Place::Topic, "plant/1".into()));
        assert_eq!(place("/t", &[b"t", b"", b"a", b""]), (Place::Topic, "/a/".into()));
        assert_eq!(place("/mq/t", &[b"mq", b"t", b"a"]), (Place::Topic, "a".into()));
        assert_eq!(place("/", &[b"a", b"b"]), (Place::Topic, "a/b".into()));
        assert_eq!(place("/t", &[b"t", b"+", b"#"]), (Place::Topic, "+/#".into()));
    }

    #[test]
    fn other_paths_are_elsewhere_and_ambiguous_levels_are_invalid() {
        let paths: [&[&[u8]]; 4] = [&[], &[b"t"], &[b"x", b"a"], &[b"tt", b"a"]];
        for path in paths {
            assert_eq!(place("/t", path).0, Place::Elsewhere);
        }
        assert_eq!(place("/t", &[b"t", b"a/b"]).0, Place::Invalid);
        assert_eq!(place("/t", &[b"t", b"\xff"]).0, Place::Invalid);
    }

    proptest! {
        #[test]
        fn a_topic_is_the_topic_of_its_own_location(topic in "[a-zä +#$%.é/]{1,40}", base in "(/[a-z]{1,3}){0,3}") {
            let mut options = OptionList::new();
            put_location(&base, &topic, &mut options);
            let path: Vec<&[u8]> = options.iter().map(|(_, value)| value).collect();
            prop_assert_eq!(place(&base, &path), (Place::Topic, topic));
        }

        #[test]
        fn a_path_is_the_location_of_its_own_topic(levels in proptest::collection::vec("[a-z0-9 ]{0,8}", 1..6)) {
            let path: Vec<&[u8]> = std::iter::once("t").chain(levels.iter().map(String::as_str)).map(str::as_bytes).collect();
            let (place, topic) = place("/t", &path);
            prop_assert_eq!(place, Place::Topic);
            let mut options = OptionList::new();
            put_location("/t", &topic, &mut options);
            prop_assert!(options.iter().map(|(_, value)| value).eq(path.iter().copied()));
        }

        #[test]
        fn no_path_panics(path in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..6), 0..6)) {
            let path: Vec<&[u8]> = std::iter::once(&b"t"[..]).chain(path.iter().map(Vec::as_slice)).collect();
            place("/t", &path);
        }
    }
}
