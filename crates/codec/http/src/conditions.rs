//! Conditional requests (RFC 9110 section 13): what a client knows already, against
//! what there is. Owned, since the answer may have to wait for a file.

use httparse::Header;

use crate::parse_http_date;

/// What identifies the state of a representation.
#[derive(Clone, Copy, Debug)]
pub struct Validators<'v> {
    /// An entity tag, with its quotes and what marks it as weak.
    pub etag: &'v [u8],
    /// Seconds since 1970.
    pub modified: u64,
}

/// What the conditions come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Serve the request.
    Holds,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// The conditions of a request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Conditions {
    if_match: Option<Vec<u8>>,
    if_none_match: Option<Vec<u8>>,
    if_modified_since: Option<u64>,
    if_unmodified_since: Option<u64>,
    if_range: Option<Vec<u8>>,
    range: Option<Vec<u8>>,
}

impl Conditions {
    /// Collects the conditions among a request's fields.
    pub fn of(headers: &[Header<'_>]) -> Conditions {
        let mut found = Conditions::default();
        for Header { name, value } in headers {
            match name.len() {
                8 if name.eq_ignore_ascii_case("if-match") => join(&mut found.if_match, value),
                13 if name.eq_ignore_ascii_case("if-none-match") => join(&mut found.if_none_match, value),
                17 if name.eq_ignore_ascii_case("if-modified-since") => {
                    found.if_modified_since = parse_http_date(value);
                }
                19 if name.eq_ignore_ascii_case("if-unmodified-since") => {
                    found.if_unmodified_since = parse_http_date(value);
                }
                8 if name.eq_ignore_ascii_case("if-range") => found.if_range = Some(value.to_vec()),
                5 if name.eq_ignore_ascii_case("range") => join(&mut found.range, value),
                _ => {}
            }
        }
        found
    }

    /// In the order of section 13.2.2; for GET and HEAD.
    pub fn evaluate(&self, own: &Validators<'_>) -> Condition {
        let passes = match (&self.if_match, self.if_unmodified_since) {
            (Some(list), _) => names(list, own.etag, false),
            (None, Some(since)) => own.modified <= since,
            (None, None) => true,
        };
        if !passes {
            return Condition::Failed;
        }
        let known = match (&self.if_none_match, self.if_modified_since) {
            (Some(list), _) => names(list, own.etag, true),
            (None, Some(since)) => own.modified <= since,
            (None, None) => false,
        };
        if known { Condition::NotModified } else { Condition::Holds }
    }

    /// Only GET knows ranges (section 14.2): with any other method the field means nothing.
    #[must_use]
    pub fn without_range(self) -> Conditions {
        Conditions { range: None, ..self }
    }

    /// Whether a range is asked for.
    pub const fn has_range(&self) -> bool {
        self.range.is_some()
    }

    /// The `Range` to honour: none where `If-Range` names another state (section 13.1.5).
    pub fn range(&self, own: &Validators<'_>) -> Option<&[u8]> {
        let range = self.range.as_deref()?;
        let applies = match self.if_range.as_deref() {
            None => true,
            // Strong comparison: a weak tag is like no other.
            Some(tag) if tag.contains(&b'"') => tag == own.etag && !tag.starts_with(b"W/"),
            Some(date) => parse_http_date(date) == Some(own.modified),
        };
        applies.then_some(range)
    }
}

fn join(list: &mut Option<Vec<u8>>, value: &[u8]) {
    let list = list.get_or_insert_default();
    if !list.is_empty() {
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(value);
}

/// Whether a list of entity tags holds `own`, or is `*`. A weak tag equals only where
/// weak comparison is meant (section 8.8.3.2).
fn names(list: &[u8], own: &[u8], weakly: bool) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    let own_tag = own.strip_prefix(b"W/").unwrap_or(own);
    let weakly_only = own_tag.len() < own.len();
    while !rest.is_empty() {
        let is_weak = rest.starts_with(b"W/");
        let tag = if is_weak { &rest[2..] } else { rest };
        let Some(end) = tag.strip_prefix(b"\"").and_then(|inner| memchr::memchr(b'"', inner)) else { return false };
        if &tag[..end + 2] == own_tag && (weakly || !(is_weak || weakly_only)) {
            return true;
        }
        rest = tag[end + 2..].trim_ascii_start();
        rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Validators<'_> = Validators { etag: b"\"a,b\"", modified: 784_111_777 };
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn conditions(fields: &[(&'static str, &'static str)]) -> Conditions {
        let headers: Vec<Header<'_>> =
            fields.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
        Conditions::of(&headers)
    }

    #[test]
    fn tags_go_before_dates_and_failing_before_not_modified() {
        let check = |fields: &[(&'static str, &'static str)]| conditions(fields).evaluate(&OWN);
        assert_eq!(check(&[]), Condition::Holds);
        assert_eq!(check(&[("If-None-Match", "\"x\", W/\"a,b\"")]), Condition::NotModified);
        assert_eq!(check(&[("If-None-Match", "*")]), Condition::NotModified);
        assert_eq!(check(&[("If-None-Match", "\"x\""), ("If-Modified-Since", SAME)]), Condition::Holds);
        assert_eq!(check(&[("If-Modified-Since", SAME)]), Condition::NotModified);
        assert_eq!(check(&[("If-Modified-Since", BEFORE)]), Condition::Holds);
        assert_eq!(check(&[("If-Modified-Since", "rubbish")]), Condition::Holds);
        assert_eq!(check(&[("If-Match", "W/\"a,b\"")]), Condition::Failed);
        assert_eq!(check(&[("If-Match", "\"x\""), ("If-Match", "\"a,b\"")]), Condition::Holds);
        assert_eq!(check(&[("If-Unmodified-Since", BEFORE), ("If-None-Match", "*")]), Condition::Failed);
        assert_eq!(check(&[("If-None-Match", "rubbish")]), Condition::Holds);
    }

    #[test]
    fn a_range_counts_only_for_the_state_that_if_range_names() {
        let range = |tag: &'static str| conditions(&[("Range", "bytes=0-1"), ("If-Range", tag)]).range(&OWN).is_some();
        assert!(range("\"a,b\"") && range(SAME));
        assert!(!range("W/\"a,b\"") && !range("\"x\"") && !range(BEFORE));
        assert!(conditions(&[("Range", "bytes=0-1")]).range(&OWN).is_some());
    }
}
