//! Byte ranges (RFC 9110 section 14): what a `Range` asks for of something that has a size.

/// Ranges that one request may ask for; with more of them the field is ignored.
pub const RANGES_MAX: usize = 16;

/// What a `Range` field comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ranges {
    /// It is malformed, of another unit, or asks for more than is reasonable: answer the whole.
    Ignored,
    /// 416: nothing of it is there.
    Unsatisfiable,
    /// First byte and length of each, in the order asked for.
    Parts(Vec<(u64, u64)>),
}

/// Reads a `Range` field for `size` bytes. Ranges that overlap are an attempt to be sent
/// the same bytes many times (section 14.2): the field is ignored.
pub fn parse_ranges(value: &[u8], size: u64) -> Ranges {
    let unit_and_list = std::str::from_utf8(value).ok().and_then(|text| text.trim().split_once('='));
    let Some((_, list)) = unit_and_list.filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes")) else {
        return Ranges::Ignored;
    };
    let specs = || list.split(',').map(str::trim).filter(|spec| !spec.is_empty());
    if specs().next().is_none() {
        return Ranges::Ignored;
    }
    let mut parts = Vec::new();
    for (count, spec) in specs().enumerate() {
        match parse_spec(spec, size) {
            None => return Ranges::Ignored,
            Some(_) if count >= RANGES_MAX => return Ranges::Ignored,
            Some((_, 0)) => {}
            Some(part) => parts.push(part),
        }
    }
    let mut sorted = parts.clone();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0].0 + pair[0].1 > pair[1].0) {
        return Ranges::Ignored;
    }
    if parts.is_empty() { Ranges::Unsatisfiable } else { Ranges::Parts(parts) }
}

/// One range; a length of 0 is one that cannot be satisfied.
fn parse_spec(spec: &str, size: u64) -> Option<(u64, u64)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let length = number(last)?.min(size);
        return Some((size - length, length));
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    let end = last.saturating_add(1).min(size);
    Some((first, end.saturating_sub(first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ranges_from_either_end() {
        let parts = |text: &str| parse_ranges(text.as_bytes(), 100);
        assert_eq!(parts("bytes=0-0"), Ranges::Parts(vec![(0, 1)]));
        assert_eq!(parts("Bytes=0-0"), Ranges::Parts(vec![(0, 1)]), "section 14.1: units have no case");
        assert_eq!(parts("bytes=90-"), Ranges::Parts(vec![(90, 10)]));
        assert_eq!(parts("bytes=-10"), Ranges::Parts(vec![(90, 10)]));
        assert_eq!(parts("bytes=-1000"), Ranges::Parts(vec![(0, 100)]));
        assert_eq!(parts("bytes=50-99999999999999999999999"), Ranges::Parts(vec![(50, 50)]));
        assert_eq!(parts("bytes=0-1, 10-19"), Ranges::Parts(vec![(0, 2), (10, 10)]));
        assert_eq!(parts("bytes=100-, 3-4"), Ranges::Parts(vec![(3, 2)]));
    }

    #[test]
    fn answers_416_where_nothing_is_there_and_ignores_what_it_does_not_understand() {
        for text in ["bytes=100-", "bytes=-0", "bytes=500-600"] {
            assert_eq!(parse_ranges(text.as_bytes(), 100), Ranges::Unsatisfiable, "{text}");
        }
        assert_eq!(parse_ranges(b"bytes=0-", 0), Ranges::Unsatisfiable);
        for text in [
            "lines=0-1",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=0-10,5-20",
            "bytes 0-1",
            "bytes=1",
            "bytes=",
            "bytes=,",
        ] {
            assert_eq!(parse_ranges(text.as_bytes(), 100), Ranges::Ignored, "{text}");
        }
        let many =
            format!("bytes={}", (0..17).map(|at| format!("{}-{}", at * 2, at * 2)).collect::<Vec<_>>().join(","));
        assert_eq!(parse_ranges(many.as_bytes(), 100), Ranges::Ignored);
    }
}
