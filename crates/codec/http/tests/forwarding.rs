//! What goes on of a head: lengths are written so that nobody reads them in another way.
#![allow(clippy::unwrap_used, missing_docs)]

use std::mem::MaybeUninit;
use tidegate_http::{
    Body, HEADERS_MAX, Hop, RequestContext, ResponseContext, Version, forward_request, forward_response, parse_request,
    parse_response,
};
use tidegate_message::Limits;

fn request(lines: &str) -> String {
    request_from(lines, false)
}

fn request_from(lines: &str, trusted: bool) -> String {
    let bytes = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
    let head = parse_request(bytes.as_bytes(), &Limits::default(), &mut headers).unwrap().unwrap();
    let context = RequestContext {
        target: head.target,
        host: head.authority,
        client: [127, 0, 0, 1].into(),
        scheme: "http",
        trusted,
        upgrade: false,
        hop: Hop::default(),
        edits: &(),
    };
    let mut out = Vec::new();
    forward_request(&mut out, &head, &context);
    String::from_utf8(out).unwrap()
}

/// `None`: the head goes on as it came.
fn response(head: &str) -> Option<String> {
    let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
    let head = parse_response(head.as_bytes(), &Limits::default(), false, &mut headers).unwrap().unwrap();
    let (version, body) = (Version::Http11, head.body);
    assert_eq!(body, Body::None);
    let mut out = Vec::new();
    let context = ResponseContext { version, keep_alive: true, body, upgrade: false, edits: &() };
    forward_response(&mut out, &head, &context).then(|| String::from_utf8(out).unwrap())
}

#[test]
fn a_length_goes_on_without_leading_zeros() {
    for (came, goes) in [("5", "5"), ("050", "50"), ("0005", "5"), ("0", "0"), ("000", "0")] {
        let out = request(&format!("Content-Length: {came}\r\n"));
        assert!(out.contains(&format!("\r\nContent-Length: {goes}\r\n")), "{came}: {out}");
    }
    // Another name of that many letters keeps what it says.
    assert!(request("X-Numbers-Only: 007\r\n").contains("\r\nX-Numbers-Only: 007\r\n"));
}

#[test]
fn a_trusted_proxy_writes_hyphens_and_what_has_an_underscore_is_its_clients() {
    let lines = "X-Forwarded-Proto: https\r\nX_Forwarded_Proto: http\r\nx_user: root\r\nX_Other: 1\r\n";
    let out = request_from(lines, true);
    assert!(out.contains("X-Forwarded-Proto: https\r\n") && out.contains("X_Other: 1\r\n"), "{out}");
    assert!(!out.contains("X_Forwarded_Proto") && !out.contains("x_user"), "{out}");
}

#[test]
fn an_answer_that_cannot_have_a_body_goes_on_without_a_length() {
    // RFC 9110 section 8.6
    for start in ["204 No Content", "103 Early Hints"] {
        let out = response(&format!("HTTP/1.1 {start}\r\nX-A: 1\r\nContent-Length: 5\r\n\r\n")).unwrap();
        assert_eq!(out, format!("HTTP/1.1 {start}\r\nX-A: 1\r\n\r\n"));
        assert_eq!(response(&format!("HTTP/1.1 {start}\r\nX-A: 1\r\n\r\n")), None);
    }
    // Of an answer that was not sent it tells the length.
    assert_eq!(response("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"), None);
}

#[test]
fn space_in_front_of_a_colon_is_taken_out_of_an_answer() {
    // RFC 9112 section 5.1
    let out = response("HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length\t : 0\r\nX-B:2\r\n\r\n").unwrap();
    assert_eq!(out, "HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 0\r\nX-B: 2\r\n\r\n");
    assert_eq!(response("HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n"), None);
    for head in ["X A: 1", " : 1", "X-A\x0b: 1", "X-A\r\n: 1"] {
        let head = format!("HTTP/1.1 200 OK\r\n{head}\r\nContent-Length: 0\r\n\r\n");
        let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
        assert!(parse_response(head.as_bytes(), &Limits::default(), false, &mut headers).is_err(), "{head}");
    }
}
