//! `Cache-Control` (RFC 9111 section 5.2) of requests and answers.

use httparse::Header;

/// Seconds that are as good as for ever (section 1.2.2).
const FOREVER_S: u64 = 1 << 31;

/// What the directives say. Forms that name fields count as those that do not: stricter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Control {
    /// Not to be kept.
    pub no_store: bool,
    /// Not to be used without asking.
    pub no_cache: bool,
    /// For one user only.
    pub private: bool,
    /// For everybody.
    pub public: bool,
    /// Never to be used when its time is over; `proxy-revalidate` means it for caches like this.
    pub must_revalidate: bool,
    /// Seconds.
    pub max_age: Option<u64>,
    /// Seconds, for shared caches.
    pub s_maxage: Option<u64>,
    /// Seconds (RFC 5861).
    pub stale_while_revalidate: Option<u64>,
    /// Seconds (RFC 5861).
    pub stale_if_error: Option<u64>,
    /// Seconds that must be left.
    pub min_fresh: Option<u64>,
    /// Seconds beyond its time that are fine with the client.
    pub max_stale: Option<u64>,
    /// Only what is kept already.
    pub only_if_cached: bool,
}

impl Control {
    /// Reads all `Cache-Control` lines of a head.
    pub fn of(headers: &[Header<'_>]) -> Control {
        let mut control = Control::default();
        for header in headers.iter().filter(|header| header.name.eq_ignore_ascii_case("cache-control")) {
            split(header.value).for_each(|directive| control.take(directive));
        }
        control
    }

    fn take(&mut self, directive: &[u8]) {
        let text = String::from_utf8_lossy(directive);
        let (name, value) = text.split_once('=').map_or((&*text, None), |(name, value)| (name, Some(value.trim())));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" => self.no_store = true,
            "no-cache" => self.no_cache = true,
            "private" => self.private = true,
            "public" => self.public = true,
            "must-revalidate" | "proxy-revalidate" => self.must_revalidate = true,
            "only-if-cached" => self.only_if_cached = true,
            "max-age" => least(&mut self.max_age, value),
            "s-maxage" => least(&mut self.s_maxage, value),
            "stale-while-revalidate" => least(&mut self.stale_while_revalidate, value),
            "stale-if-error" => least(&mut self.stale_if_error, value),
            "min-fresh" => self.min_fresh = Some(value.and_then(seconds).unwrap_or(FOREVER_S)),
            "max-stale" => self.max_stale = Some(value.map_or(FOREVER_S, |value| seconds(value).unwrap_or(0))),
            _ => {}
        }
    }
}

/// Of several the most restrictive one counts; what is no number means at once (section 4.2.1).
fn least(known: &mut Option<u64>, value: Option<&str>) {
    let value = value.and_then(seconds).unwrap_or(0);
    *known = Some(known.map_or(value, |known| known.min(value)));
}

fn seconds(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| digits.parse().unwrap_or(FOREVER_S).min(FOREVER_S))
}

/// Splits at commas that stand in no quotes.
fn split(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    value.split(move |byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(values: &[&str]) -> Control {
        let headers: Vec<_> =
            values.iter().map(|value| Header { name: "Cache-Control", value: value.as_bytes() }).collect();
        Control::of(&headers)
    }

    #[test]
    fn directives_are_read_whatever_their_case_order_and_lines() {
        let read = control(&["Max-Age=60, PUBLIC", "s-maxage=\"5\", stale-if-error=7"]);
        let expected = Control {
            max_age: Some(60),
            public: true,
            s_maxage: Some(5),
            stale_if_error: Some(7),
            ..Control::default()
        };
        assert_eq!(read, expected);
        assert!(control(&["no-cache=\"a, no-store\""]) == Control { no_cache: true, ..Control::default() });
    }

    #[test]
    fn what_is_no_number_or_said_twice_is_read_strictly() {
        assert_eq!(control(&["max-age=-1"]).max_age, Some(0));
        assert_eq!(control(&["max-age"]).max_age, Some(0));
        assert_eq!(control(&["max-age=9, max-age=3"]).max_age, Some(3));
        assert_eq!(control(&["max-age=99999999999999999999999"]).max_age, Some(FOREVER_S));
        assert_eq!(control(&["max-stale"]).max_stale, Some(FOREVER_S));
        assert_eq!(control(&["max-stale=x"]).max_stale, Some(0));
    }
}
