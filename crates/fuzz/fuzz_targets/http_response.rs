//! Response heads of an upstream, and what the client gets of them: framed as was said.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::mem::MaybeUninit;
use tidegate_http::{Body, HEADERS_MAX, ResponseContext, Version, forward_response, parse_response};
use tidegate_message::Limits;

fuzz_target!(|input: &[u8]| {
    for to_head in [false, true] {
        check(input, to_head);
    }
});

fn check(input: &[u8], to_head: bool) {
    let limits = Limits::default();
    let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
    let Ok(Some(head)) = parse_response(input, &limits, to_head, &mut headers) else { return };
    assert!(head.len <= input.len());
    for (version, keep_alive) in [(Version::Http11, true), (Version::Http11, false), (Version::Http10, false)] {
        let body = match head.body {
            Body::UntilClose if version == Version::Http11 => Body::Chunked,
            Body::Chunked if version == Version::Http10 => Body::UntilClose,
            other => other,
        };
        let context = ResponseContext { version, keep_alive, body, upgrade: head.status == 101, edits: &() };
        let mut out = Vec::new();
        if !forward_response(&mut out, &head, &context) {
            continue;
        }
        let mut headers = [MaybeUninit::uninit(); HEADERS_MAX + 8];
        let roomy = Limits { header_total: 1 << 20, header_line: 1 << 20, header_count: 256, ..limits.clone() };
        match parse_response(&out, &roomy, to_head, &mut headers) {
            Ok(Some(again)) => assert_eq!((again.status, again.len, again.body), (head.status, out.len(), body)),
            other => panic!("what was forwarded reads as {other:?}"),
        }
    }
}
