//! Request heads. What is accepted is accepted at no shorter length, and what goes to
//! the upstream reads as the same request: two readings are how requests are smuggled.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr};
use tidegate_http::{HEADERS_MAX, HeadScan, Hop, RequestContext, RequestHead, forward_request, parse_request};
use tidegate_message::Limits;

fuzz_target!(|input: &[u8]| {
    let limits = Limits::default();
    let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
    let Ok(Some(head)) = parse_request(input, &limits, &mut headers) else { return };
    assert!(head.len <= input.len());
    let _ = (head.path(), head.query(), head.host(), head.is_idempotent(), head.header("accept"));
    prefixes_wait(&input[..head.len], &limits);
    let ended = HeadScan::default().advance(&input[..head.len], &limits);
    assert_eq!(ended, Ok(true), "the scan and the parser agree where a head ends");
    forwards_as_itself(&head, &limits);
});

fn prefixes_wait(head: &[u8], limits: &Limits) {
    // Long heads only say the same at more cost.
    let ends = if head.len() <= 256 { 0..head.len() } else { head.len() - 1..head.len() };
    for end in ends {
        let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
        let outcome = parse_request(&head[..end], limits, &mut headers);
        assert!(matches!(outcome, Ok(None)), "{outcome:?} for {end} of {} bytes", head.len());
    }
}

fn forwards_as_itself(head: &RequestHead<'_, '_>, limits: &Limits) {
    let context = RequestContext {
        target: head.target,
        host: b"upstream:80",
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        scheme: "http",
        trusted: false,
        upgrade: head.upgrade.is_some(),
        hop: Hop::default(),
        edits: &(),
    };
    let mut out = Vec::new();
    forward_request(&mut out, head, &context);
    // The gateway adds fields; its own output need not fit the limits of its input.
    let roomy = Limits { header_total: 1 << 20, header_count: HEADERS_MAX, ..limits.clone() };
    let mut headers = [MaybeUninit::uninit(); HEADERS_MAX + 8];
    let again = match parse_request(&out, &roomy, &mut headers) {
        Ok(Some(again)) => again,
        Ok(None) => panic!("what was forwarded has no end"),
        Err(error) if error.code == 431 || error.code == 414 => return,
        Err(error) => panic!("what was forwarded is refused: {error:?}"),
    };
    assert_eq!((again.method, again.target, again.len), (head.method, head.target, out.len()));
    assert_eq!((again.body, again.authority), (head.body, &b"upstream:80"[..]));
}
