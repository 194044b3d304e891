//! An answer of CoAP as one of HTTP (RFC 8075 section 7, RFC 7252 section 10.2).

use super::passing::{OPTIONS_FIELD, passed_on, write_options};
use super::to_coap::Outgoing;
use crate::coap::type_of;
use std::io::Write;
use tidegate_coap::{Answer, Code, Failure, OptionList, OptionNumber};

/// The code as it came, for whoever asked by CoAP.
pub(crate) const CODE_FIELD: &str = "X-Tidegate-Coap-Code";

/// The request is longer than what is put together for CoAP.
pub(super) const TOO_LARGE: &[u8] = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// RFC 7252 section 5.6.1: the age of an answer that says none.
const DEFAULT_MAX_AGE: u32 = 60;

/// The endpoint answered, but with nothing that can be understood.
pub(super) const fn failed(failure: Failure) -> &'static [u8] {
    match failure {
        Failure::Reset => b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 14\r\n\r\nreset by CoAP\n",
        Failure::TooLarge => b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 10\r\n\r\ntoo large\n",
        _ => b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 13\r\n\r\ninvalid CoAP\n",
    }
}

/// RFC 8075 section 7, table 2. `is_mapped`: a header of the request became a critical option.
const fn status(code: Code, (has_body, is_mapped): (bool, bool)) -> u16 {
    match code {
        Code::DELETED | Code::CHANGED if has_body => 200,
        Code::UNAUTHORIZED => 403,
        // Note 6: unless a header is to blame it is our translation.
        Code::BAD_OPTION if !is_mapped => 500,
        // 405 would have to name the methods that are allowed.
        Code::METHOD_NOT_ALLOWED => 400,
        // Note 10: part of a transfer in blocks, and no end of one.
        Code::CONTINUE | Code::REQUEST_ENTITY_INCOMPLETE => 502,
        _ if code.is_response() => code.status(),
        _ => 502,
    }
}

/// What stands behind the status. Section 7, note 7: who looks for a fault finds what 400 hides.
const fn reason(code: Code) -> &'static str {
    match code {
        Code::METHOD_NOT_ALLOWED => "CoAP server returned 4.05",
        _ => "CoAP",
    }
}

/// Options that headers become, and that are critical: those of conditions, and Accept.
fn is_mapped(options: &OptionList) -> bool {
    [OptionNumber::IF_MATCH, OptionNumber::IF_NONE_MATCH, OptionNumber::ACCEPT]
        .iter()
        .any(|number| options.contains(*number))
}

/// The whole answer.
pub(super) fn answer(request: &Outgoing, answer: &Answer) -> Vec<u8> {
    let Answer { code, options, body, .. } = answer;
    let status = status(*code, (!body.is_empty(), is_mapped(&request.options)));
    let is_bare = request.is_head || matches!(status, 204 | 304);
    let mut out = Vec::with_capacity(256 + body.len());
    // Writing to a Vec cannot fail.
    let _ = write!(out, "HTTP/1.1 {status} {}\r\nConnection: close\r\n", reason(*code));
    if !matches!(status, 204 | 304) {
        let _ = write!(out, "Content-Length: {}\r\n", body.len());
    }
    let format = options.uint(OptionNumber::CONTENT_FORMAT).and_then(|number| u16::try_from(number).ok());
    match format {
        Some(format) => drop(write!(out, "Content-Type: {}\r\n", type_of(format))),
        // RFC 7252 section 5.5.2: a diagnostic payload, which has no format in CoAP.
        None if code.class() != 2 && !body.is_empty() && !request.is_asked_by_coap => {
            out.extend_from_slice(b"Content-Type: text/plain;charset=utf-8\r\n")
        }
        None => {}
    }
    if let Some(tag) = options.get(OptionNumber::ETAG) {
        out.extend_from_slice(b"ETag: \"");
        tag.iter().for_each(|byte| drop(write!(out, "{byte:02x}")));
        out.extend_from_slice(b"\"\r\n");
    }
    put_age(&mut out, *code, options.uint(OptionNumber::MAX_AGE), request.is_asked_by_coap);
    put_location(&mut out, answer);
    if request.is_asked_by_coap {
        let _ = write!(out, "{CODE_FIELD}: {}\r\n", code.0);
        let others = write_options(passed_on(options));
        if !others.is_empty() {
            let _ = write!(out, "{OPTIONS_FIELD}: {others}\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    if !is_bare {
        out.extend_from_slice(body);
    }
    out
}

/// Freshness of an answer; of one that says "later", when.
fn put_age(out: &mut Vec<u8>, code: Code, max_age: Option<u32>, is_asked_by_coap: bool) {
    let later = matches!(code, Code::SERVICE_UNAVAILABLE | Code::TOO_MANY_REQUESTS);
    let name = if later { "Retry-After: " } else { "Cache-Control: max-age=" };
    let cacheable = matches!(code, Code::CONTENT | Code::VALID);
    // A peer that speaks CoAP knows the default.
    let default = (cacheable && !is_asked_by_coap).then_some(DEFAULT_MAX_AGE);
    if let Some(seconds) = max_age.or(default).filter(|_| later || cacheable || code.class() > 2) {
        let _ = write!(out, "{name}{seconds}\r\n");
    }
}

/// RFC 7252 section 5.10.7.
fn put_location(out: &mut Vec<u8>, answer: &Answer) {
    let of = |wanted: u16| answer.options.iter().filter(move |(number, _)| *number == wanted);
    // A segment of dots would be resolved to somewhere else.
    let is_elsewhere = of(OptionNumber::LOCATION_PATH).any(|(_, segment)| matches!(segment, b"." | b".."));
    if is_elsewhere || of(OptionNumber::LOCATION_PATH).chain(of(OptionNumber::LOCATION_QUERY)).next().is_none() {
        return;
    }
    out.extend_from_slice(b"Location: ");
    let put = |out: &mut Vec<u8>, value: &[u8]| {
        for byte in value {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'=' | b':' | b'@' => {
                    out.push(*byte)
                }
                byte => drop(write!(out, "%{byte:02X}")),
            }
        }
    };
    for (_, segment) in of(OptionNumber::LOCATION_PATH) {
        out.push(b'/');
        put(out, segment);
    }
    for ((_, parameter), place) in of(OptionNumber::LOCATION_QUERY).zip(0..) {
        out.push(if place == 0 { b'?' } else { b'&' });
        put(out, parameter);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(code: Code, options: &[(u16, &[u8])], (body, is_head): (&[u8], bool)) -> String {
        let mut list = OptionList::new();
        for (number, value) in options {
            list.push(*number, value);
        }
        let request = Outgoing {
            method: Code::GET,
            options: OptionList::new(),
            body: Vec::new(),
            is_head,
            is_asked_by_coap: false,
            observe: None,
            others: Vec::new(),
        };
        let whole = Answer { code, options: list, body: body.to_vec(), confirmable: false };
        String::from_utf8(answer(&request, &whole)).expect("text")
    }

    // RFC8075-7-1 RFC8075-7-4 RFC7252-5.9-1
    #[test]
    fn codes_become_statuses_as_the_table_says() {
        for (code, body, expected) in [
            (Code::CREATED, &b""[..], 201),
            (Code::DELETED, b"", 204),
            (Code::CHANGED, b"x", 200),
            (Code::VALID, b"", 304),
            (Code::CONTENT, b"x", 200),
            (Code::BAD_REQUEST, b"", 400),
            (Code::UNAUTHORIZED, b"", 403),
            (Code::BAD_OPTION, b"", 500),
            (Code::FORBIDDEN, b"", 403),
            (Code::NOT_FOUND, b"", 404),
            (Code::METHOD_NOT_ALLOWED, b"", 400),
            (Code::NOT_ACCEPTABLE, b"", 406),
            (Code::PRECONDITION_FAILED, b"", 412),
            (Code::REQUEST_ENTITY_TOO_LARGE, b"", 413),
            (Code::UNSUPPORTED_CONTENT_FORMAT, b"", 415),
            (Code::TOO_MANY_REQUESTS, b"", 429),
            (Code::INTERNAL_SERVER_ERROR, b"", 500),
            (Code::NOT_IMPLEMENTED, b"", 501),
            (Code::BAD_GATEWAY, b"", 502),
            (Code::SERVICE_UNAVAILABLE, b"", 503),
            (Code::GATEWAY_TIMEOUT, b"", 504),
            (Code::PROXYING_NOT_SUPPORTED, b"", 502),
            (Code::HOP_LIMIT_REACHED, b"", 508),
            (Code::CONTINUE, b"", 502),
            (Code::REQUEST_ENTITY_INCOMPLETE, b"", 502),
            (Code::new(4, 30), b"", 400),
            (Code::new(5, 30), b"", 500),
            (Code::new(3, 1), b"", 502),
        ] {
            assert_eq!(status(code, (!body.is_empty(), false)), expected, "{code:?}");
        }
        assert_eq!(status(Code::BAD_OPTION, (false, true)), 400, "a header is to blame");
    }

    #[test]
    fn options_become_fields() {
        let content = text(Code::CONTENT, &[(4, &[1, 255]), (12, &[50]), (14, &[30])], (b"{}", false));
        for line in
            ["Content-Type: application/json", "ETag: \"01ff\"", "Cache-Control: max-age=30", "Content-Length: 2"]
        {
            assert!(content.contains(&format!("{line}\r\n")), "{content}");
        }
        assert!(content.ends_with("\r\n\r\n{}"));
        let created = text(Code::CREATED, &[(8, b"a b"), (8, b"c"), (20, b"x=1")], (b"", false));
        assert!(created.contains("Location: /a%20b/c?x=1\r\n"), "{created}");
        let later = text(Code::SERVICE_UNAVAILABLE, &[(14, &[9])], (b"busy", false));
        assert!(later.contains("Retry-After: 9\r\n") && later.contains("text/plain"), "{later}");
    }

    #[test]
    fn an_answer_without_an_age_is_good_for_a_minute_and_head_has_no_body() {
        assert!(text(Code::CONTENT, &[], (b"x", false)).contains("Cache-Control: max-age=60\r\n"));
        let head = text(Code::CONTENT, &[], (b"xyz", true));
        assert!(head.contains("Content-Length: 3\r\n") && head.ends_with("\r\n\r\n"));
    }
}
