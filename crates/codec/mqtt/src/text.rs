//! Strings, topic names and topic filters: what MQTT allows in them.

use crate::reason;
use crate::rules::{coded, ensure, malformed, protocol, short};
use tidegate_kit::{DecodeError, Reader};

/// A UTF-8 string behind its two-byte length.
pub(crate) fn string<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    utf8(reader.prefixed().map_err(short)?)
}

/// MQTT-1.5.4-1 and MQTT-1.5.4-2: well-formed UTF-8 without U+0000. (Surrogates are
/// not well-formed; a byte order mark is kept, MQTT-1.5.4-3.)
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
    ensure(!bytes.contains(&0), malformed("MQTT-1.5.4-2", "a string holds U+0000"))?;
    std::str::from_utf8(bytes).map_err(|_| malformed("MQTT-1.5.4-1", "a string is not UTF-8"))
}

/// The topic name of a PUBLISH, which may be empty where an alias stands for it.
pub(crate) fn topic_name(bytes: &[u8], levels: usize) -> Result<&str, DecodeError> {
    let (mut slashes, mut zero, mut wild) = (0_usize, false, false);
    for &byte in bytes {
        slashes += usize::from(byte == b'/');
        zero |= byte == 0;
        wild |= (byte == b'+') | (byte == b'#');
    }
    ensure(!zero, malformed("MQTT-1.5.4-2", "a topic holds U+0000"))?;
    ensure(!wild, coded(reason::TOPIC_NAME_INVALID, "MQTT-3.3.2-2", "a topic name holds a wildcard"))?;
    ensure(slashes < levels, coded(reason::TOPIC_NAME_INVALID, "limits.topicLevels", "a topic has too many levels"))?;
    std::str::from_utf8(bytes).map_err(|_| malformed("MQTT-1.5.4-1", "a topic is not UTF-8"))
}

/// Whether `topic` may be published to: one or more characters, no wildcard, no
/// U+0000, at most `levels` levels.
///
/// # Errors
/// The rule it breaks, with 0x90 or 0x81.
pub fn check_topic(topic: &str, levels: usize) -> Result<(), DecodeError> {
    ensure(!topic.is_empty(), coded(reason::TOPIC_NAME_INVALID, "MQTT-4.7.3-1", "a topic is empty"))?;
    topic_name(topic.as_bytes(), levels).map(drop)
}

/// Whether `filter` may be subscribed to, a shared one included.
///
/// # Errors
/// The rule it breaks: 0x81 where it is ill-formed, 0x8F where it has too many levels.
pub fn check_filter(filter: &str, levels: usize) -> Result<(), DecodeError> {
    let plain = split_share(filter)?.map_or(filter, |(_, plain)| plain);
    ensure(!plain.is_empty(), malformed("MQTT-4.7.3-1", "a topic filter is empty"))?;
    let mut count = 0;
    let mut closed = false;
    for level in plain.split('/') {
        ensure(!closed, malformed("MQTT-4.7.1-1", "`#` is not the last level"))?;
        closed = level == "#";
        let lone = level.len() == 1 || !level.contains(['+', '#']);
        ensure(lone, malformed("MQTT-4.7.1-2", "a wildcard shares its level"))?;
        count += 1;
    }
    ensure(count <= levels, coded(reason::TOPIC_FILTER_INVALID, "limits.topicLevels", "a filter has too many levels"))
}

/// Group and filter of `$share/group/filter`, or `None` where the filter is not shared.
///
/// # Errors
/// 0x82 where the group is missing or holds a wildcard, or no filter follows.
pub fn split_share(filter: &str) -> Result<Option<(&str, &str)>, DecodeError> {
    let Some(rest) = filter.strip_prefix("$share/") else {
        // MQTT-4.8.2-1: `$share` alone is no filter either.
        ensure(filter != "$share", protocol("MQTT-4.8.2-1", "a shared subscription names no group"))?;
        return Ok(None);
    };
    let split = rest.split_once('/').filter(|(group, plain)| !group.is_empty() && !plain.is_empty());
    let (group, plain) = split.ok_or(protocol("MQTT-4.8.2-1", "a shared subscription lacks group or filter"))?;
    // MQTT-4.8.2-2
    ensure(!group.contains(['+', '#']), protocol("MQTT-4.8.2-2", "a group name holds a wildcard"))?;
    Ok(Some((group, plain)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_alone_in_their_level_and_hash_comes_last() {
        for good in ["#", "+", "+/+", "a/#", "/", "//", "a//b", "$SYS/#", "$share/g/a/+", "$share/g//"] {
            assert_eq!(check_filter(good, 128), Ok(()), "{good}");
        }
        for bad in ["", "a#", "#/a", "a/#/b", "a+", "+a/b", "$share", "$share/", "$share/g", "$share/g/", "$share//a"] {
            assert!(check_filter(bad, 128).is_err(), "{bad}");
        }
        assert_eq!(check_filter("$share/g+/a", 128).map_err(|error| error.code), Err(0x82));
    }

    #[test]
    fn a_topic_of_128_levels_passes_and_of_129_does_not() {
        let topic = "a/".repeat(127) + "a";
        assert_eq!(check_topic(&topic, 128), Ok(()));
        assert_eq!(check_topic(&(topic.clone() + "/a"), 128).map_err(|error| error.code), Err(0x90));
        assert_eq!(check_filter(&topic, 128), Ok(()));
        assert_eq!(check_filter(&(topic + "/a"), 128).map_err(|error| error.code), Err(0x8f));
    }

    #[test]
    fn a_name_with_a_wildcard_or_a_nul_is_no_topic() {
        assert_eq!(topic_name(b"a/+", 9).map_err(|error| error.code), Err(0x90));
        assert_eq!(topic_name(b"a\0", 9).map_err(|error| error.code), Err(0x81));
        assert_eq!(topic_name(&[0xed, 0xa0, 0x80], 9).map_err(|error| error.code), Err(0x81));
    }
}
