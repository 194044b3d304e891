//! Whether an answer may be kept, and for how long (RFC 9111 sections 3 and 4.2).

use httparse::Header;
use serde::Deserialize;
use tidegate_http::parse_http_date;

use crate::Control;

/// A route's `cache`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CachePolicy {
    /// For answers that do not say themselves; `None`: those are not kept.
    pub ttl_ms: Option<u64>,
    /// Beyond its time it is still given, while it is fetched anew.
    pub stale_while_revalidate_ms: u64,
    /// Beyond its time it is still given where there is no better answer.
    pub stale_if_error_ms: u64,
}

/// What a request says about answers that are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RequestTerms {
    /// Its directives.
    pub control: Control,
    /// It has `Authorization`.
    pub is_authorized: bool,
    /// It has `Cookie`.
    pub has_cookie: bool,
}

impl RequestTerms {
    /// Reads a request's head. `Pragma: no-cache` counts where there is no `Cache-Control` (section 5.4).
    pub fn of(headers: &[Header<'_>]) -> RequestTerms {
        let has = |name: &str| headers.iter().any(|header| header.name.eq_ignore_ascii_case(name));
        let mut control = Control::of(headers);
        let pragma = headers.iter().find(|header| header.name.eq_ignore_ascii_case("pragma"));
        if pragma.is_some_and(|header| tidegate_http::has_token(header.value, "no-cache")) && !has("cache-control") {
            control.no_cache = true;
        }
        RequestTerms { control, is_authorized: has("authorization"), has_cookie: has("cookie") }
    }
}

/// How long an answer is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lifetime {
    /// Milliseconds, from its making on.
    pub fresh_ms: u64,
    /// How old it was when it came.
    pub age_ms: u64,
    /// See [`CachePolicy`].
    pub stale_while_revalidate_ms: u64,
    /// See [`CachePolicy`].
    pub stale_if_error_ms: u64,
    /// Not to be used without asking.
    pub asks_always: bool,
    /// Not even to a client that would take it is it given beyond its time.
    pub forbids_stale: bool,
}

/// Judges an answer that came at `now_s` since 1970, `took_ms` after it was asked for.
/// `None`: it is not kept.
pub fn judge(
    (status, headers): (u16, &[Header<'_>]),
    request: &RequestTerms,
    policy: &CachePolicy,
    (now_s, took_ms): (u64, u64),
) -> Option<Lifetime> {
    let find = |name: &str| headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    let control = Control::of(headers);
    let is_shared = control.public || control.s_maxage.is_some();
    let forbidden = control.no_store
        || control.private
        || request.control.no_store
        // Section 3.5.
        || (request.is_authorized && !is_shared && !control.must_revalidate)
        // Stricter than the RFC: an answer to somebody's cookie is somebody's, unless it says otherwise.
        || (request.has_cookie && !is_shared)
        || find("set-cookie").is_some()
        || find("content-range").is_some()
        || headers.iter().any(|header| header.name.eq_ignore_ascii_case("vary") && tidegate_http::has_token(header.value, "*"));
    if forbidden || !may_be_kept(status) {
        return None;
    }
    let fresh_ms = match said_s(headers, &control, now_s) {
        Some(seconds) => seconds * 1_000,
        None => policy.ttl_ms.filter(|_| status < 300 || matches!(status, 301 | 308 | 404 | 410))?,
    };
    let stale_ms =
        |said: Option<u64>, own: u64| if control.must_revalidate { 0 } else { said.map_or(own, |s| s * 1_000) };
    let lifetime = Lifetime {
        fresh_ms,
        age_ms: age_ms(headers, (now_s, took_ms)),
        stale_while_revalidate_ms: stale_ms(control.stale_while_revalidate, policy.stale_while_revalidate_ms),
        stale_if_error_ms: stale_ms(control.stale_if_error, policy.stale_if_error_ms),
        asks_always: control.no_cache,
        forbids_stale: control.must_revalidate,
    };
    let has_validator = find("etag").is_some() || find("last-modified").is_some();
    let is_ever_used = !lifetime.asks_always
        && (lifetime.fresh_ms > lifetime.age_ms
            || lifetime.stale_while_revalidate_ms > 0
            || lifetime.stale_if_error_ms > 0);
    (is_ever_used || has_validator).then_some(lifetime)
}

/// For how many seconds an answer that came at `now_s` since 1970 is good for whoever keeps it; 0: it
/// is not to be kept or not without asking. `None`: it does not say.
pub fn fresh_for_s(headers: &[Header<'_>], now_s: u64) -> Option<u64> {
    let control = Control::of(headers);
    if control.no_store || control.no_cache || control.private {
        return Some(0);
    }
    said_s(headers, &control, now_s).map(|said_s| said_s.saturating_sub(age_ms(headers, (now_s, 0)).div_ceil(1_000)))
}

fn find<'h>(headers: &'h [Header<'h>], name: &str) -> Option<&'h [u8]> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// The lifetime that an answer says, from its making on.
fn said_s(headers: &[Header<'_>], control: &Control, now_s: u64) -> Option<u64> {
    let expires = || {
        let date_s = find(headers, "date").and_then(parse_http_date).unwrap_or(now_s);
        // Section 5.3: what is no date, as 0 is none, is over.
        Some(parse_http_date(find(headers, "expires")?).map_or(0, |at| at.saturating_sub(date_s)))
    };
    control.s_maxage.or(control.max_age).or_else(expires)
}

/// How old an answer was when it came, `took_ms` after it was asked for (section 4.2.3). A clock that
/// differs must not make every answer old: only whole seconds count.
fn age_ms(headers: &[Header<'_>], (now_s, took_ms): (u64, u64)) -> u64 {
    let date_s = find(headers, "date").and_then(parse_http_date);
    let apparent_ms = date_s.map_or(0, |at| now_s.saturating_sub(at) * 1_000).saturating_sub(1_000);
    let told_s = find(headers, "age").and_then(first_number);
    apparent_ms.max(told_s.map_or(0, |age| age.min(1 << 31) * 1_000 + took_ms))
}

/// Of several ages in a list the first counts (section 5.1).
fn first_number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.split(',').next()?.trim().parse().ok()
}

/// Final answers that mean something to somebody else, too; 206 needs ranges put together,
/// 304 is no answer of its own, failures are never kept.
const fn may_be_kept(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 300 | 301 | 302 | 307 | 308 | 404 | 405 | 410 | 414)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: CachePolicy = CachePolicy { ttl_ms: None, stale_while_revalidate_ms: 0, stale_if_error_ms: 0 };
    const NOW: u64 = 784_111_777;

    #[test]
    fn what_is_left_of_an_answers_time_is_told() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (fields, left) in [
            (&[][..], None),
            (&[("Cache-Control", "public")], None),
            (&[("Cache-Control", "max-age=60")], Some(60)),
            (&[("Cache-Control", "max-age=60"), ("Age", "50")], Some(10)),
            (&[("Cache-Control", "max-age=60"), ("Age", "70")], Some(0)),
            (&[("Cache-Control", "max-age=60, no-cache")], Some(0)),
            (&[("Cache-Control", "max-age=60"), ("Cache-Control", "no-store")], Some(0)),
            (&[("Cache-Control", "private, max-age=60")], Some(0)),
            (&[("Cache-Control", "max-age=60, s-maxage=5")], Some(5)),
            (&[("Expires", "0")], Some(0)),
            (&[("Expires", date)], Some(0)),
            (&[("Date", date), ("Expires", "Sun, 06 Nov 1994 08:50:37 GMT")], Some(60)),
        ] {
            let headers: Vec<_> = fields.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
            assert_eq!(fresh_for_s(&headers, NOW), left, "{fields:?}");
        }
    }

    fn judged(
        status: u16,
        fields: &[(&str, &str)],
        request: &[(&str, &str)],
        policy: &CachePolicy,
    ) -> Option<Lifetime> {
        let headers = |fields: &[(&'static str, &'static str)]| -> Vec<Header<'static>> {
            fields.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect()
        };
        let leak = |fields: &[(&str, &str)]| -> Vec<(&'static str, &'static str)> {
            let own = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
            fields.iter().map(|(name, value)| (own(name), own(value))).collect()
        };
        let terms = RequestTerms::of(&headers(&leak(request)));
        judge((status, &headers(&leak(fields))), &terms, policy, (NOW, 0))
    }

    fn fresh_s(fields: &[(&str, &str)]) -> Option<u64> {
        judged(200, fields, &[], &POLICY).map(|lifetime| lifetime.fresh_ms / 1_000)
    }

    #[test]
    fn the_time_is_that_for_shared_caches_then_the_age_then_the_date() {
        let all = [("Cache-Control", "max-age=5, s-maxage=9"), ("Expires", "Sun, 06 Nov 1994 08:50:37 GMT")];
        assert_eq!(fresh_s(&all), Some(9));
        assert_eq!(fresh_s(&[("cache-control", "max-age=5"), all[1]]), Some(5));
        assert_eq!(fresh_s(&all[1..]), Some(60));
        assert_eq!(fresh_s(&[("expires", "0")]), None);
        assert_eq!(fresh_s(&[]), None, "nothing is guessed");
        assert_eq!(fresh_s(&[("cache-control", "max-age=0"), ("etag", "\"1\"")]), Some(0), "it can be asked about");
    }

    #[test]
    fn answers_that_are_not_for_everybody_are_not_kept() {
        let kept = [("cache-control", "max-age=60")];
        for more in [
            ("cache-control", "no-store"),
            ("cache-control", "private"),
            ("set-cookie", "a=b"),
            ("vary", "accept, *"),
            ("content-range", "bytes 0-1/2"),
        ] {
            assert_eq!(judged(200, &[kept[0], more], &[], &POLICY), None, "{more:?}");
        }
        for status in [201, 206, 303, 304, 400, 401, 403, 429, 500, 502, 503, 504] {
            assert_eq!(judged(status, &kept, &[], &POLICY), None, "{status}");
        }
        assert_eq!(judged(200, &kept, &[("cache-control", "no-store")], &POLICY), None);
    }

    #[test]
    fn answers_to_credentials_are_kept_only_where_they_say_so() {
        let with = |control: &str, request: (&str, &str)| {
            judged(200, &[("cache-control", control)], &[request], &POLICY).is_some()
        };
        let (login, cookie) = (("Authorization", "Basic eA=="), ("Cookie", "a=b"));
        assert!(!with("max-age=60", login) && !with("max-age=60", cookie));
        assert!(with("max-age=60, public", login) && with("s-maxage=60", login) && with("s-maxage=60", cookie));
        assert!(with("max-age=60, must-revalidate", login) && !with("max-age=60, must-revalidate", cookie));
    }

    #[test]
    fn the_routes_time_is_for_answers_that_do_not_say() {
        let policy = CachePolicy { ttl_ms: Some(5_000), stale_while_revalidate_ms: 7, stale_if_error_ms: 8 };
        let lifetime = judged(200, &[], &[], &policy).expect("kept");
        assert_eq!((lifetime.fresh_ms, lifetime.stale_while_revalidate_ms, lifetime.stale_if_error_ms), (5_000, 7, 8));
        assert_eq!(judged(302, &[], &[], &policy), None, "a redirect for now is for now");
        let strict = judged(200, &[("cache-control", "max-age=9, must-revalidate")], &[], &policy).expect("kept");
        assert_eq!((strict.fresh_ms, strict.stale_while_revalidate_ms, strict.stale_if_error_ms), (9_000, 0, 0));
        let own = judged(200, &[("cache-control", "max-age=9, stale-if-error=2")], &[], &policy).expect("kept");
        assert_eq!(own.stale_if_error_ms, 2_000);
    }

    #[test]
    fn an_answer_that_was_under_way_before_is_older() {
        let lifetime = judged(200, &[("cache-control", "max-age=60"), ("age", "50, 0")], &[], &POLICY).expect("kept");
        assert_eq!(lifetime.age_ms, 50_000);
        let date = ("date", "Sun, 06 Nov 1994 08:49:07 GMT");
        let lifetime = judged(200, &[("cache-control", "max-age=60"), date], &[], &POLICY).expect("kept");
        assert_eq!(lifetime.age_ms, 29_000);
    }
}
