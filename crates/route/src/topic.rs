//! Topic names and topic filters (MQTT section 4.7), for routes of every protocol.

/// Levels of a topic or filter; the same bound that codecs enforce.
const MAX_LEVELS: usize = 128;

/// Whether a publish may name it: 1 to 65,535 bytes, no wildcard, no NUL, at most
/// 128 levels (MQTT-4.7.3-1, MQTT-4.7.3-2, MQTT-3.3.2-2).
pub fn valid_topic(topic: &str) -> bool {
    well_formed(topic) && !topic.contains(['+', '#'])
}

/// Whether a subscription may name it: `+` alone in its level, `#` alone in the last
/// (MQTT-4.7.1-1, MQTT-4.7.1-2).
pub fn valid_filter(filter: &str) -> bool {
    let mut levels = filter.split('/').peekable();
    let mut placed = true;
    while let Some(level) = levels.next() {
        let last = levels.peek().is_none();
        placed &= match level {
            "+" => true,
            "#" => last,
            level => !level.contains(['+', '#']),
        };
    }
    placed && well_formed(filter)
}

/// Whether a valid filter matches a valid topic. `a/#` matches `a` too (MQTT section 4.7.1.2);
/// a wildcard in front matches no topic that starts with `$` (MQTT-4.7.2-1).
pub fn filter_matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        if level == "#" {
            return true;
        }
        let Some(own) = topic.next() else { return false };
        if level != "+" && level != own {
            return false;
        }
    }
    topic.next().is_none()
}

fn well_formed(text: &str) -> bool {
    !text.is_empty() && text.len() <= 65_535 && !text.contains('\0') && text.split('/').count() <= MAX_LEVELS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_alone_and_a_multi_level_one_stands_last() {
        assert!(["a", "/", "+", "#", "a/+/b", "a/#", "+/+", "$SYS/#"].iter().all(|filter| valid_filter(filter)));
        assert!(["", "a+", "a/b#", "#/a", "a/#/b", "a\0"].iter().all(|filter| !valid_filter(filter)));
        assert!(!valid_filter(&"a/".repeat(128)) && valid_filter(&"a/".repeat(127)));
        assert!(valid_topic("a//b") && !valid_topic("a/+") && !valid_topic("#"));
    }

    #[test]
    fn matches_as_the_examples_of_the_specification_say() {
        // MQTT section 4.7.1.
        for (filter, topic) in [
            ("sport/tennis/player1/#", "sport/tennis/player1"),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
            ("sport/#", "sport"),
            ("#", "a/b"),
            ("sport/tennis/+", "sport/tennis/player1"),
            ("sport/+", "sport/"),
            ("+/+", "/finance"),
            ("/+", "/finance"),
            ("$SYS/#", "$SYS/x"),
        ] {
            assert!(filter_matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in
            [("sport/tennis/+", "sport/tennis/player1/ranking"), ("sport/+", "sport"), ("+", "/finance")]
        {
            assert!(!filter_matches(filter, topic), "{filter} {topic}");
        }
        assert!(!filter_matches("#", "$SYS/x") && !filter_matches("+/x", "$SYS/x"));
    }
}
