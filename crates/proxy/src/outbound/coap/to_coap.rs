//! A request of HTTP as one of CoAP (RFC 8075 sections 5.3 and 6, RFC 7252 section 10.2).

use super::passing::{OPTIONS_FIELD, read_options};
use crate::coap::format_of;
use tidegate_coap::{Answer, Code, OptionList, OptionNumber};
use tidegate_http::RequestHead;

/// Set by our own server of CoAP, which no client of HTTP can: its value is the hops that
/// are left, or that the request names none. The answer then says its code as it came.
pub(crate) const ASKED_BY_COAP: &str = "X-Tidegate-Coap";
/// Set by the same: the answer is to be followed by others, which are found under that number.
pub(crate) const OBSERVE_FIELD: &str = "X-Tidegate-Coap-Observe";
/// Set by the same: the host, and perhaps the port, that a request to a forward proxy is for.
pub(crate) const HOST_FIELD: &str = "X-Tidegate-Coap-Host";
/// A request without Hop-Limit.
pub(crate) const NO_HOP_LIMIT: &str = "-";

/// Longest value of a path or query option (RFC 7252 section 5.10).
const OPTION_MAX: usize = 255;
/// Formats that an endpoint is asked for in turn, so that a long list is no flood.
const FORMATS_MAX: usize = 3;
/// Lengths of entity tags (section 5.10.6).
const ETAG_MAX: usize = 8;

const NOT_IMPLEMENTED: &[u8] = b"HTTP/1.1 501 Not Implemented\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const UNSUPPORTED_CODING: &[u8] = b"HTTP/1.1 415 Unsupported Media Type\r\nConnection: close\r\nAccept-Encoding: identity\r\nContent-Length: 0\r\n\r\n";
const URI_TOO_LONG: &[u8] = b"HTTP/1.1 414 URI Too Long\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// A request as it leaves.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(super) method: Code,
    pub(super) options: OptionList,
    pub(super) body: Vec<u8>,
    /// Only the head of the answer is wanted.
    pub(super) is_head: bool,
    pub(super) is_asked_by_coap: bool,
    /// Where to leave what is observed.
    pub(super) observe: Option<u64>,
    /// What else its answer may be where it is not acceptable, the best last; `None`: anything.
    pub(super) others: Vec<Option<u16>>,
}

/// Asks an endpoint for its links (RFC 6690).
pub(crate) fn links_of() -> Outgoing {
    let mut options = OptionList::new();
    options.push(OptionNumber::URI_PATH, b".well-known").push(OptionNumber::URI_PATH, b"core");
    options.push_uint(OptionNumber::ACCEPT, 40);
    Outgoing {
        method: Code::GET,
        options,
        body: Vec::new(),
        is_head: false,
        is_asked_by_coap: false,
        observe: None,
        others: Vec::new(),
    }
}

/// Translates; an error is the answer that says why it cannot be.
pub(super) fn translate(head: &RequestHead<'_, '_>, body: Vec<u8>) -> Result<Outgoing, &'static [u8]> {
    let method = match head.method {
        "GET" | "HEAD" => Code::GET,
        "POST" => Code::POST,
        "PUT" => Code::PUT,
        "DELETE" => Code::DELETE,
        "FETCH" => Code::FETCH,
        "PATCH" => Code::PATCH,
        "IPATCH" => Code::IPATCH,
        _ => return Err(NOT_IMPLEMENTED),
    };
    let mut options = OptionList::new();
    put_target(&mut options, head.target, (OptionNumber::URI_PATH, OptionNumber::URI_QUERY))?;
    let text = |name| head.header(name).and_then(|value| std::str::from_utf8(value).ok()).map(str::trim);
    if let Some(kind) = text("content-type").filter(|_| !body.is_empty()) {
        options.push_uint(OptionNumber::CONTENT_FORMAT, u32::from(loose_format(kind)));
    }
    // Section 6.1: a coding that has no number would be taken for what it hides.
    let codings = head.list("content-encoding").filter(|_| !body.is_empty()).unwrap_or_default();
    if codings.split(|byte| *byte == b',').any(|coding| !matches!(coding.trim_ascii(), b"" | b"identity")) {
        return Err(UNSUPPORTED_CODING);
    }
    let accepted = head.list("accept").unwrap_or_default();
    let mut others = wanted(&String::from_utf8_lossy(&accepted).to_ascii_lowercase());
    if !matches!(method, Code::GET | Code::FETCH) {
        // What changes something is asked once, and for nothing where anything will do.
        let best = others.pop().filter(|_| !others.contains(&None));
        others = best.into_iter().collect();
    }
    if let Some(format) = others.pop().flatten() {
        options.push_uint(OptionNumber::ACCEPT, u32::from(format));
    }
    put_conditions(&mut options, method, (text("if-match"), text("if-none-match")));
    if let Some(trace) = text("traceparent") {
        options.push(OptionNumber::TRACEPARENT, trace.as_bytes());
    }
    let asked = text(ASKED_BY_COAP);
    if let Some(hops) = asked.and_then(|hops| hops.parse::<u8>().ok()) {
        options.push_uint(OptionNumber::HOP_LIMIT, u32::from(hops));
    }
    let passed_on = head.header(OPTIONS_FIELD).map(read_options).unwrap_or_default();
    for (number, value) in &passed_on {
        options.push(*number, value);
    }
    if let Some(host) = text(HOST_FIELD) {
        put_host(&mut options, host);
    }
    let observe = text(OBSERVE_FIELD).and_then(|number| number.parse().ok());
    let is_head = head.method == "HEAD";
    Ok(Outgoing { method, options, body, is_head, is_asked_by_coap: asked.is_some(), observe, others })
}

impl Outgoing {
    /// The same request for another format, if its answer was not acceptable and there is one.
    pub(super) fn next_format(&mut self) -> bool {
        let Some(format) = self.others.pop() else { return false };
        self.options.remove(OptionNumber::ACCEPT);
        if let Some(format) = format {
            self.options.push_uint(OptionNumber::ACCEPT, u32::from(format));
        }
        true
    }
}

/// Asks whether what is kept is still valid.
pub(super) fn validate(request: &mut Outgoing, stale: Option<&Answer>) {
    if let Some(etag) = stale.and_then(|answer| answer.options.get(OptionNumber::ETAG)) {
        request.options.push(OptionNumber::ETAG, etag);
    }
}

/// RFC 7252 section 5.7.2: an origin server is told whose resource is wanted.
fn put_host(options: &mut OptionList, host: &str) {
    let (host, port) = host_and_port(host);
    if (1..=OPTION_MAX).contains(&host.len()) {
        options.push(OptionNumber::URI_HOST, host.as_bytes());
    }
    if let Some(port) = port {
        options.push_uint(OptionNumber::URI_PORT, u32::from(port));
    }
}

/// `host:port`, or a host alone; the colons of an IPv6 address stand in brackets.
pub(crate) fn host_and_port(text: &str) -> (&str, Option<u16>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (text, None),
    }
}

/// A `Location` of HTTP on the host that was asked, as options (section 5.10.7); none for one
/// that is elsewhere or that options cannot say.
pub(crate) fn location_of(value: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let target = value.split(|byte| *byte == b'#').next().unwrap_or_default();
    let mut options = OptionList::new();
    let numbers = (OptionNumber::LOCATION_PATH, OptionNumber::LOCATION_QUERY);
    let is_here = target.starts_with(b"/") && !target.starts_with(b"//");
    if !is_here || put_target(&mut options, target, numbers).is_err() {
        return Vec::new();
    }
    let is_dots = |(number, value): (u16, &[u8])| number == numbers.0 && matches!(value, b"." | b"..");
    match options.iter().any(is_dots) {
        true => Vec::new(),
        false => options.iter().map(|(number, value)| (number, value.to_vec())).collect(),
    }
}

/// RFC 7252 section 6.4: segments and parameters, each without its escapes.
fn put_target(options: &mut OptionList, target: &[u8], (in_path, in_query): (u16, u16)) -> Result<(), &'static [u8]> {
    let mut parts = target.splitn(2, |byte| *byte == b'?');
    let path = parts.next().unwrap_or_default();
    let mut put = |number, part: &[u8]| {
        let value = unescaped(part).ok_or(BAD_REQUEST)?;
        if value.len() > OPTION_MAX {
            return Err(URI_TOO_LONG);
        }
        options.push(number, &value);
        Ok(())
    };
    let path = path.strip_prefix(b"/").unwrap_or(path);
    if !path.is_empty() {
        path.split(|byte| *byte == b'/').try_for_each(|segment| put(in_path, segment))?;
    }
    match parts.next().filter(|query| !query.is_empty()) {
        Some(query) => query.split(|byte| *byte == b'&').try_for_each(|part| put(in_query, part)),
        None => Ok(()),
    }
}

fn unescaped(part: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut out = Vec::with_capacity(part.len());
    let mut bytes = part.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => digit(*bytes.next()?)? << 4 | digit(*bytes.next()?)?,
            byte => *byte,
        });
    }
    Some(out)
}

/// RFC 8075 section 6.3: a type without a number becomes the next best one.
fn loose_format(kind: &str) -> u16 {
    let bare = kind.split(';').next().unwrap_or(kind).trim().to_ascii_lowercase();
    let loose = || match bare.as_str() {
        _ if bare.ends_with("+json") => 50,
        _ if bare.ends_with("+xml") || bare == "text/xml" => 41,
        _ if bare.ends_with("+cbor") => 60,
        _ if bare.starts_with("text/") => 0,
        _ => 42,
    };
    format_of(kind).or_else(|| format_of(&bare)).unwrap_or_else(loose)
}

/// What `Accept` wants, the best last; `None`: anything will do, and no option says so (RFC 8075 section
/// 6.1). A type without a number does not count, nor does one that is worth less than anything.
fn wanted(accept: &str) -> Vec<Option<u16>> {
    let mut found: Vec<(u16, Option<u16>)> = Vec::new();
    for kind in accept.split(',').map(str::trim) {
        let weight =
            kind.match_indices(';').find_map(|(at, _)| Some((at, kind[at + 1..].trim_start().strip_prefix("q=")?)));
        let (kind, worth) = match weight {
            Some((at, weight)) => (kind[..at].trim_end(), weight.split(';').next().unwrap_or_default()),
            None => (kind, "1"),
        };
        // RFC 9110 section 12.4.2: three digits behind the point.
        let worth = worth.trim().parse::<f32>().map_or(0, |worth| (worth.clamp(0.0, 1.0) * 1_000.0) as u16);
        let format = format_of(kind);
        let is_any = kind == "*/*";
        if worth > 0 && (is_any || format.is_some()) && found.iter().all(|(_, known)| *known != format) {
            found.push((worth, format));
        }
    }
    // Of those that are worth the same the first counts, and what is said before anything.
    found.sort_by_key(|(worth, format)| (std::cmp::Reverse(*worth), format.is_none()));
    let any = found.iter().position(|(_, format)| format.is_none());
    found.truncate(any.map_or(found.len(), |any| any + 1).min(FORMATS_MAX));
    if any.is_some_and(|any| any >= FORMATS_MAX) {
        found.push((0, None));
    }
    found.into_iter().rev().map(|(_, format)| format).collect()
}

fn put_conditions(options: &mut OptionList, method: Code, (matched, unmatched): (Option<&str>, Option<&str>)) {
    let mut put = |number, value: &[u8]| {
        options.push(number, value);
    };
    match matched {
        Some("*") => put(OptionNumber::IF_MATCH, b""),
        Some(tags) => etags(tags).for_each(|tag| put(OptionNumber::IF_MATCH, &tag)),
        None => {}
    }
    match unmatched {
        Some("*") if method != Code::GET => put(OptionNumber::IF_NONE_MATCH, b""),
        // Section 5.10.6.2: a GET with tags asks for validation.
        Some(tags) if method == Code::GET => etags(tags).for_each(|tag| put(OptionNumber::ETAG, &tag)),
        _ => {}
    }
}

/// Tags as `to_http` writes them: digits in quotes.
fn etags(list: &str) -> impl Iterator<Item = Vec<u8>> {
    list.split(',').filter_map(|tag| {
        let digits = tag.trim().trim_start_matches("W/").strip_prefix('"')?.strip_suffix('"')?;
        let escaped: Vec<u8> = digits.as_bytes().chunks(2).flat_map(|pair| [b"%", pair].concat()).collect();
        unescaped(&escaped).filter(|bytes| (1..=ETAG_MAX).contains(&bytes.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::MaybeUninit;
    use tidegate_http::parse_request;
    use tidegate_message::Limits;

    fn of(request: &str, body: &[u8]) -> Result<Outgoing, &'static [u8]> {
        let mut headers = [const { MaybeUninit::uninit() }; 32];
        let head = parse_request(request.as_bytes(), &Limits::default(), &mut headers).expect("valid").expect("whole");
        translate(&head, body.to_vec())
    }

    fn options(outgoing: &Outgoing) -> Vec<(u16, Vec<u8>)> {
        outgoing.options.iter().map(|(number, value)| (number, value.to_vec())).collect()
    }

    #[test]
    fn path_and_query_become_options_without_escapes() {
        let outgoing = of("GET /a%2Fb//c?x=1&y=%C3%A9 HTTP/1.1\r\nHost: h\r\n\r\n", b"").expect("translated");
        let expected: Vec<(u16, Vec<u8>)> = vec![
            (11, b"a/b".to_vec()),
            (11, b"".to_vec()),
            (11, b"c".to_vec()),
            (15, b"x=1".to_vec()),
            (15, "y=é".as_bytes().to_vec()),
        ];
        assert_eq!(options(&outgoing), expected);
        assert!(options(&of("GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"").expect("translated")).is_empty());
    }

    #[test]
    fn a_location_on_the_same_host_becomes_options() {
        let of = |value: &str| location_of(value.as_bytes());
        let expected = vec![(8, b"a b".to_vec()), (8, b"1".to_vec()), (20, b"x=1".to_vec()), (20, b"y".to_vec())];
        assert_eq!(of("/a%20b/1?x=1&y#part"), expected);
        let long = format!("/{}", "x".repeat(256));
        for elsewhere in ["http://h/a", "//h/a", "a", "", "/a/../b", "/a/%2e%2e/b", "/%zz", &long] {
            assert!(of(elsewhere).is_empty(), "{elsewhere}");
        }
    }

    #[test]
    fn types_become_numbers_loosely() {
        for (kind, number) in [
            ("application/json", 50),
            ("application/json; charset=utf-8", 50),
            ("text/plain", 0),
            ("text/html", 0),
            ("application/vnd.x+json", 50),
            ("application/senml+cbor", 112),
            ("application/coap-payload;cf=4711", 4_711),
            ("image/webp", 42),
        ] {
            assert_eq!(loose_format(kind), number, "{kind}");
        }
    }

    #[test]
    fn what_is_accepted_is_asked_for_by_its_worth() {
        for (accept, best_last) in [
            ("", &[][..]),
            ("*/*", &[None]),
            ("text/html", &[]),
            ("text/html, application/json;q=0.9, */*;q=0.1", &[None, Some(50)]),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", &[None, Some(41)]),
            ("application/json, text/plain, */*", &[None, Some(0), Some(50)]),
            ("application/json;q=0.5, application/cbor", &[Some(50), Some(60)]),
            ("application/json; q=0.2, text/plain;q=0.7, application/cbor ; q=0.71", &[Some(50), Some(0), Some(60)]),
            ("application/cbor;q=0, text/plain", &[Some(0)]),
            ("application/cbor;q=0.000, */*;q=0", &[]),
            ("application/json;q=0.1, */*;q=0.5", &[None]),
            ("*/*, application/json", &[None, Some(50)]),
            ("application/json;q=rubbish, text/plain;q=7", &[Some(0)]),
            ("application/json;charset=utf-8;q=0.5;x=1, text/plain;q=0.4", &[Some(0), Some(50)]),
            (
                "application/json, text/plain, application/cbor, application/xml, */*",
                &[None, Some(60), Some(0), Some(50)],
            ),
        ] {
            assert_eq!(wanted(accept), best_last, "{accept}");
        }
        let outgoing =
            of("GET / HTTP/1.1\r\nHost: h\r\nAccept: text/plain;q=0.5\r\nAccept: application/json\r\n\r\n", b"");
        let outgoing = outgoing.expect("translated");
        assert_eq!((options(&outgoing), outgoing.others), (vec![(17, vec![50])], vec![Some(0)]));
        for (accept, expected) in
            [("Application/JSON;Q=1, text/plain", vec![(17, vec![50])]), ("application/json, */*", vec![])]
        {
            let outgoing =
                of(&format!("POST / HTTP/1.1\r\nHost: h\r\nAccept: {accept}\r\n\r\n"), b"x").expect("translated");
            assert_eq!((options(&outgoing), outgoing.others), (expected, vec![]), "{accept}");
        }
    }

    #[test]
    fn a_coding_that_coap_has_no_number_for_is_refused() {
        let put = |coding: &str| of(&format!("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Encoding: {coding}\r\n\r\n"), b"x");
        assert_eq!(put("gzip").err(), Some(UNSUPPORTED_CODING));
        assert_eq!(put("identity\r\nContent-Encoding: br").err(), Some(UNSUPPORTED_CODING));
        assert!(put("identity").is_ok());
        assert!(of("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\n\r\n", b"").is_ok());
    }

    #[test]
    fn conditions_cross_with_our_tags() {
        let get =
            of("GET /a HTTP/1.1\r\nHost: h\r\nIf-None-Match: \"0102\", \"zz\", W/\"ff\"\r\n\r\n", b"").expect("fits");
        assert_eq!(options(&get)[..2], [(4, vec![1, 2]), (4, vec![0xff])]);
        let put = of("PUT /a HTTP/1.1\r\nHost: h\r\nIf-None-Match: *\r\nContent-Length: 0\r\n\r\n", b"").expect("fits");
        assert_eq!(options(&put)[0], (5, vec![]));
        let put = of("PUT /a HTTP/1.1\r\nHost: h\r\nIf-Match: \"0a\"\r\nContent-Length: 0\r\n\r\n", b"").expect("fits");
        assert_eq!(options(&put)[0], (1, vec![10]));
    }

    #[test]
    fn what_coap_cannot_say_is_refused() {
        assert_eq!(of("OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n", b"").err(), Some(NOT_IMPLEMENTED));
        let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(256));
        assert_eq!(of(&long, b"").err(), Some(URI_TOO_LONG));
        assert_eq!(of("GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", b"").err(), Some(BAD_REQUEST));
    }
}
