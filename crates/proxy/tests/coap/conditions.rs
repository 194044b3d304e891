//! Entity tags and the requests that depend on them (RFC 7252 sections 5.10.6 and
//! 5.10.8), and what may not cross to HTTP.

use crate::gateway::{Running, api, ok, serve_http};
use crate::peer::{Peer, Received};
use tidegate_coap::{Code, OptionNumber, Type};

type Options<'o> = &'o [(u16, &'o [u8])];

fn ask(peer: &mut Peer, (code, path): (Code, &str), options: Options<'_>, payload: &[u8]) -> Received {
    peer.send((Type::Confirmable, code, path), options, payload);
    peer.receive()
}

// RFC7252-5.5-1 RFC7252-5.8.1-1 RFC7252-5.9.1-3 RFC7252-5.10.6-2
#[test]
fn a_value_that_a_peer_has_is_valid_and_not_sent_again() {
    let running = Running::plain();
    let mut peer = Peer::of(&running);
    let max_age: Options<'_> = &[(OptionNumber::MAX_AGE, &[200])];
    ask(&mut peer, (Code::PUT, "t/v"), max_age, b"1");
    let value = peer.ask(Code::GET, "t/v", b"");
    let tag = value.option(OptionNumber::ETAG).expect("a tag").to_vec();
    let tags: Options<'_> = &[(OptionNumber::ETAG, b"another"), (OptionNumber::ETAG, &tag)];
    let valid = ask(&mut peer, (Code::GET, "t/v"), tags, b"");
    assert_eq!((valid.code, valid.payload.len()), (Code::VALID, 0));
    assert_eq!(valid.option(OptionNumber::ETAG), Some(&tag[..]));
    assert!(valid.option(OptionNumber::MAX_AGE).is_some() && valid.option(OptionNumber::CONTENT_FORMAT).is_none());
    ask(&mut peer, (Code::PUT, "t/v"), max_age, b"2");
    let changed = ask(&mut peer, (Code::GET, "t/v"), tags, b"");
    assert_eq!((changed.code, changed.text()), (Code::CONTENT, "2"));
    assert_ne!(changed.option(OptionNumber::ETAG), Some(&tag[..]));
}

// RFC7252-5.10.8-2
#[test]
fn a_publish_or_delete_happens_only_where_its_condition_holds() {
    let running = Running::plain();
    let mut peer = Peer::of(&running);
    let (exists, absent): (Options<'_>, Options<'_>) =
        (&[(OptionNumber::IF_MATCH, b"")], &[(OptionNumber::IF_NONE_MATCH, b"")]);
    assert_eq!(ask(&mut peer, (Code::PUT, "t/c"), exists, b"1").code, Code::PRECONDITION_FAILED);
    assert_eq!(ask(&mut peer, (Code::DELETE, "t/c"), exists, b"").code, Code::PRECONDITION_FAILED);
    assert_eq!(ask(&mut peer, (Code::PUT, "t/c"), absent, b"1").code, Code::CHANGED);
    assert_eq!(ask(&mut peer, (Code::PUT, "t/c"), absent, b"2").code, Code::PRECONDITION_FAILED);
    let value = peer.ask(Code::GET, "t/c", b"");
    assert_eq!(value.text(), "1");
    let tag = value.option(OptionNumber::ETAG).expect("a tag").to_vec();
    let matches: Options<'_> = &[(OptionNumber::IF_MATCH, &tag)];
    assert_eq!(ask(&mut peer, (Code::PUT, "t/c"), matches, b"2").code, Code::CHANGED);
    assert_eq!(ask(&mut peer, (Code::PUT, "t/c"), matches, b"3").code, Code::PRECONDITION_FAILED);
    assert_eq!(peer.ask(Code::GET, "t/c", b"").text(), "2");
}

// RFC8768-3-2
#[test]
fn conditions_and_hops_cross_to_http_as_far_as_it_knows_them() {
    let address = serve_http(|request| {
        let line = |name: &str| request.lines().find(|line| line.starts_with(name)).unwrap_or("-").to_owned();
        ok(&format!("{}|{}", line("If-Match"), line("If-None-Match")))
    });
    let running = Running::start(api(address), true);
    let mut peer = Peer::of(&running);
    let mut put = |options: Options<'_>| ask(&mut peer, (Code::PUT, "api/x"), options, b"");
    assert_eq!(put(&[(OptionNumber::IF_MATCH, b"")]).text(), "If-Match: *|-");
    assert_eq!(put(&[(OptionNumber::IF_NONE_MATCH, b"")]).text(), "-|If-None-Match: *");
    assert_eq!(put(&[(OptionNumber::IF_MATCH, b"abcd")]).code, Code::BAD_OPTION);
    assert_eq!(put(&[(OptionNumber::HOP_LIMIT, &[2])]).code, Code::CHANGED);
    assert_eq!(put(&[(OptionNumber::HOP_LIMIT, &[1])]).code, Code::HOP_LIMIT_REACHED);
    assert_eq!(put(&[(OptionNumber::HOP_LIMIT, &[0])]).code, Code::BAD_REQUEST);
}

#[test]
fn an_upstreams_answer_can_be_validated_too() {
    let running = Running::start(api(serve_http(|_| ok("{\"a\":1}"))), true);
    let mut peer = Peer::of(&running);
    let answer = peer.ask(Code::GET, "api/x", b"");
    let tag = answer.option(OptionNumber::ETAG).expect("a tag").to_vec();
    let valid = ask(&mut peer, (Code::GET, "api/x"), &[(OptionNumber::ETAG, &tag)], b"");
    assert_eq!((valid.code, valid.option(OptionNumber::MAX_AGE)), (Code::VALID, Some(&[7][..])));
}
