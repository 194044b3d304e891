//! Topics and topic filters: which are valid, which match which. The same rules for
//! every protocol (MQTT section 4.7).

/// Whether `topic` may be published to: 1 to 65,535 bytes, at most `levels` levels, no
/// wildcard, no U+0000.
pub fn is_topic(topic: &str, levels: usize) -> bool {
    let bytes = topic.as_bytes();
    let (mut slashes, mut foul) = (0_usize, false);
    for &byte in bytes {
        slashes += usize::from(byte == b'/');
        foul |= (byte == 0) | (byte == b'+') | (byte == b'#');
    }
    !bytes.is_empty() && !foul && slashes < levels && bytes.len() <= tidegate_message::TOPIC_MAX
}

/// Whether `filter`, without a share name, may be subscribed to.
pub fn is_filter(filter: &str, levels: usize) -> bool {
    if filter.is_empty() || filter.len() > tidegate_message::TOPIC_MAX || filter.contains('\0') {
        return false;
    }
    let (mut count, mut closed) = (0, false);
    for level in filter.split('/') {
        if closed || (level.len() > 1 && level.contains(['+', '#'])) {
            return false;
        }
        closed = level == "#";
        count += 1;
    }
    count <= levels
}

/// Whether a filter asks for more than one topic.
pub fn has_wildcard(filter: &str) -> bool {
    filter.contains(['+', '#'])
}

/// Group and filter of `$share/group/filter`; `None`: the filter is not shared, or not
/// well formed, which `is_subscription` tells.
pub fn split_share(filter: &str) -> Option<(&str, &str)> {
    let (group, plain) = filter.strip_prefix("$share/")?.split_once('/')?;
    (!group.is_empty() && !group.contains(['+', '#']) && !plain.is_empty()).then_some((group, plain))
}

/// Whether `filter`, with or without a share name, may be subscribed to.
pub fn is_subscription(filter: &str, levels: usize) -> bool {
    match split_share(filter) {
        Some((_, plain)) => is_filter(plain, levels),
        None => filter != "$share" && !filter.starts_with("$share/") && is_filter(filter, levels),
    }
}

/// Whether `topic` matches `filter`, by the definition.
pub fn matches(filter: &str, topic: &str) -> bool {
    matches_levels(filter.split('/'), topic)
}

/// As `matches`, for a filter whose levels come one by one.
pub(crate) fn matches_levels<'a>(filter: impl Iterator<Item = &'a str>, topic: &str) -> bool {
    let mut topics = topic.split('/');
    for (index, level) in filter.enumerate() {
        // MQTT-4.7.2-1: a leading wildcard does not match `$` topics.
        let hidden = index == 0 && topic.starts_with('$');
        match (level, topics.next()) {
            ("#", _) => return !hidden,
            ("+", Some(_)) if !hidden => {}
            (level, Some(name)) if level == name => {}
            _ => return false,
        }
    }
    topics.next().is_none()
}

/// Whether every topic that matches `filter` matches the wider filter too, whose levels
/// come one by one.
pub(crate) fn covers<'a>(mut wider: impl Iterator<Item = &'a str>, filter: &str) -> bool {
    let hidden = filter.starts_with('$');
    let mut levels = filter.split('/').enumerate();
    loop {
        match (wider.next(), levels.next()) {
            (None, None) => return true,
            (Some("#"), level) => return !(hidden && level.is_some_and(|(index, _)| index == 0)),
            (Some("+"), Some((index, level))) if level != "#" && !(hidden && index == 0) => {}
            (Some(wide), Some((_, level))) if wide == level => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_matches_as_section_4_7_says() {
        for (filter, topic) in [
            ("#", "a/b"),
            ("a/#", "a"),
            ("a/#", "a/b/c"),
            ("+/b", "a/b"),
            ("+", "a"),
            ("a/+", "a/"),
            ("/+", "/a"),
            ("+/+", "/a"),
            ("$SYS/#", "$SYS/x"),
            ("$SYS/+", "$SYS/x"),
            ("a//b", "a//b"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in
            [("a", "a/"), ("a/+", "a"), ("+", "/a"), ("#", "$SYS/x"), ("+/x", "$SYS/x"), ("a/#", "ab"), ("A", "a")]
        {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }

    #[test]
    fn a_wider_filter_covers_what_it_contains() {
        for (wide, filter) in [("#", "a/+"), ("a/#", "a"), ("a/+", "a/b"), ("a/+/c", "a/+/c"), ("a/#", "a/#")] {
            assert!(covers(wide.split('/'), filter), "{wide} {filter}");
        }
        for (wide, filter) in [("a/+", "a/#"), ("a/b", "a/+"), ("#", "$SYS/a"), ("a/+", "a"), ("a", "a/b")] {
            assert!(!covers(wide.split('/'), filter), "{wide} {filter}");
        }
    }

    #[test]
    fn a_share_name_stands_before_its_filter() {
        assert_eq!(split_share("$share/g/a/#"), Some(("g", "a/#")));
        for bad in ["$share", "$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a"] {
            assert!(!is_subscription(bad, 128), "{bad}");
        }
        assert!(is_subscription("$share/g//", 128) && is_subscription("+/#", 128) && !is_subscription("a#", 128));
    }
}
