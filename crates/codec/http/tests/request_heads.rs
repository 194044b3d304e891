//! Defence of request framing, line by line: what must be refused, with which status.
#![allow(clippy::unwrap_used, missing_docs)]

use std::mem::MaybeUninit;
use tidegate_http::{Body, HEADERS_MAX, Version, parse_request};
use tidegate_message::Limits;

fn status(head: &[u8]) -> u16 {
    let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
    match parse_request(head, &Limits::default(), &mut headers) {
        Ok(Some(_)) => 200,
        Ok(None) => 0,
        Err(error) => error.code,
    }
}

fn with(lines: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
}

#[test]
fn refuses_length_and_encoding_together() {
    assert_eq!(status(&with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n")), 400);
    assert_eq!(status(&with("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n")), 400);
}

#[test]
fn takes_exactly_one_chunked_and_nothing_else() {
    assert_eq!(status(&with("Transfer-Encoding: chunked\r\n")), 200);
    for bad in ["gzip, chunked", "chunked, chunked", "chunked,", "xchunked", "identity", "chunked;q=1", "\"chunked\""] {
        let code = status(&with(&format!("Transfer-Encoding: {bad}\r\n")));
        assert!(code == 400 || code == 501, "{bad}: {code}");
    }
    assert_eq!(status(&with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")), 400);
    assert_eq!(status(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
}

#[test]
fn takes_one_plain_content_length() {
    assert_eq!(status(&with("Content-Length: 10\r\n")), 200);
    for bad in [
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: ",
        "Content-Length: +1",
        "Content-Length: 0x1",
        "Content-Length: 1, 1",
        "Content-Length: -1",
        "Content_Length: 1",
        "Content-Length: 1 1",
    ] {
        assert_eq!(status(&with(&format!("{bad}\r\n"))), 400, "{bad}");
    }
}

#[test]
fn refuses_bare_line_ends_folds_and_spaces() {
    for bad in [
        &b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX(: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(status(bad), 400, "{:?}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn refuses_bad_methods_versions_and_targets() {
    for bad in [
        "get / HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / a HTTP/1.1",
        "GET /#a HTTP/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "GET http://b/ HTTP/1.1",
        "GET http://u@a/ HTTP/1.1",
    ] {
        assert_eq!(status(format!("{bad}\r\nHost: a\r\n\r\n").as_bytes()), 400, "{bad}");
    }
    assert_eq!(status(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
    assert_eq!(status(b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"), 505);
    assert_eq!(status(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"), 405);
}

#[test]
fn wants_one_valid_host() {
    assert_eq!(status(b"GET / HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(status(b"GET / HTTP/1.0\r\n\r\n"), 200);
    assert_eq!(status(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
    for bad in ["a b", "a/b", "a:b", "a:1:2", "u@a", "[::1", "[]", "[:]", "[::1]a", "a%", "a%2g", ":80", "a:999999"] {
        assert_eq!(status(format!("GET / HTTP/1.1\r\nHost: {bad}\r\n\r\n").as_bytes()), 400, "{bad}");
    }
    for good in ["a", "a.b:80", "[::1]:7000", "127.0.0.1:1", "a_b", "a%2D", "[::ffff:1.2.3.4]"] {
        assert_eq!(status(format!("GET / HTTP/1.1\r\nHost: {good}\r\n\r\n").as_bytes()), 200, "{good}");
    }
}

#[test]
fn who_asks_is_said_once() {
    for name in ["Authorization", "Origin"] {
        assert_eq!(status(&with(&format!("{name}: a\r\n"))), 200, "{name}");
        assert_eq!(status(&with(&format!("{name}: a\r\nX: b\r\n{}: a\r\n", name.to_lowercase()))), 400, "{name}");
    }
}

#[test]
fn a_trace_has_no_body() {
    assert_eq!(status(b"TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"), 200);
    assert_eq!(status(b"TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"), 400);
    assert_eq!(status(b"TRACE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
}

#[test]
fn the_absolute_form_and_host_may_differ_in_the_schemes_own_port() {
    for (target, host, expected) in [
        ("http://a:80/", "a", 200),
        ("http://a/", "A:80", 200),
        ("http://a:/", "a", 200),
        ("https://a:443/", "a", 200),
        ("http://[::1]:80/", "[::1]", 200),
        ("http://a:443/", "a", 400),
        ("https://a:80/", "a", 400),
        ("http://a:8080/", "a", 400),
        ("http://a:80/", "b", 400),
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(status(bytes.as_bytes()), expected, "{target} {host}");
    }
}

#[test]
fn the_absolute_form_says_which_scheme_it_wants() {
    for (scheme, secured) in [("http", false), ("https", true), ("HTTPS", true)] {
        let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
        let bytes = format!("GET {scheme}://a/ HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = parse_request(bytes.as_bytes(), &Limits::default(), &mut headers).unwrap().unwrap();
        assert_eq!(head.wants_https, secured, "{scheme}");
    }
}

#[test]
fn counts_lines_bytes_and_headers() {
    assert_eq!(status(&with(&format!("X: {}\r\n", "a".repeat(9_000)))), 431);
    assert_eq!(status(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9_000)).as_bytes()), 414);
    assert_eq!(status(&with(&"X: b\r\n".repeat(101))), 431);
    assert_eq!(status(&with(&"X: b\r\n".repeat(200))), 431);
    assert_eq!(status(&with(&format!("X: {}\r\n", "a".repeat(7_000)).repeat(5))), 431);
}

#[test]
fn reads_what_a_good_request_says() {
    let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
    let bytes = b"\r\nPOST http://a.b:80/x?y=1 HTTP/1.1\r\nhost: A.b:80\r\nContent-Length: 3\r\nConnection: close, x-auth\r\nExpect: 100-continue\r\n\r\nabc";
    let head = parse_request(bytes, &Limits::default(), &mut headers).unwrap().unwrap();
    assert_eq!((head.method, head.path(), head.query(), head.host()), ("POST", &b"/x"[..], &b"y=1"[..], &b"a.b"[..]));
    assert_eq!(
        (head.body, head.keep_alive, head.expects_continue, head.version),
        (Body::Length(3), false, true, Version::Http11)
    );
    assert!(head.connection_names_headers);
    assert_eq!(&bytes[head.len..], b"abc");
}

#[test]
fn every_prefix_of_a_head_asks_for_more() {
    let bytes = b"GET /a?b HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
    for cut in 0..bytes.len() {
        assert_eq!(status(&bytes[..cut]), 0, "cut at {cut}");
    }
    assert_eq!(status(bytes), 200);
}
