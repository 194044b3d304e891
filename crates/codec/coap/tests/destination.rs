//! Whom a request to a forward proxy is for.

use tidegate_coap::{
    Code, Destination, Head, Message, NoDestination, OptionList, OptionNumber, Token, Transport, Type, encode,
};

fn request(fill: impl FnOnce(&mut OptionList)) -> Vec<u8> {
    let mut options = OptionList::new();
    fill(&mut options);
    let head =
        Head { kind: Type::Confirmable, code: Code::PUT, message_id: 7, token: Token::new(b"tk").expect("short") };
    let mut datagram = Vec::new();
    encode(&mut datagram, &head, [&options, &OptionList::new()], b"21.5");
    datagram
}

fn proxied(uri: &[u8]) -> Vec<u8> {
    request(|options| {
        options.push(OptionNumber::PROXY_URI, uri);
    })
}

fn to(uri: &[u8]) -> Result<Destination, NoDestination> {
    let datagram = proxied(uri);
    Message::decode(&datagram, 64).expect("valid").destination()
}

/// Scheme, host and port as read, and path and query of the request that comes of it.
fn read(uri: &str) -> (String, String, Option<u16>, Vec<String>, Vec<String>) {
    let datagram = proxied(uri.as_bytes());
    let message = Message::decode(&datagram, 64).expect("valid");
    let destination = message.destination().expect(uri);
    let redirected = message.redirected(Transport::Datagram, &destination, false);
    let ordinary = Message::decode(&redirected, 2_000).expect("valid");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let host = text(destination.host.as_deref().unwrap_or_default());
    assert_eq!(ordinary.host().map(text).unwrap_or_default(), host);
    let path = ordinary.path_segments().map(text).collect();
    (destination.scheme.to_owned(), host, destination.port, path, ordinary.query().map(text).collect())
}

// RFC7252-6.4-1
#[test]
fn a_uri_is_taken_apart_as_section_6_4_says() {
    let of = |scheme: &str, host: &str, port, path: &[&str], query: &[&str]| {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        (scheme.to_owned(), host.to_owned(), Some(port), texts(path), texts(query))
    };
    for (uri, expected) in [
        ("coap://a.example", of("coap", "a.example", 5_683, &[], &[])),
        ("coap://a.example/", of("coap", "a.example", 5_683, &[], &[])),
        ("COAPS://A.Example:/x", of("coaps", "a.example", 5_684, &["x"], &[])),
        ("coap://a:61616//x/", of("coap", "a", 61_616, &["", "x", ""], &[])),
        ("coap://a/%2F%2f/b%20c/%C3%A9", of("coap", "a", 5_683, &["//", "b c", "é"], &[])),
        ("coap://%61.example/a;b=c,d@e:f", of("coap", "a.example", 5_683, &["a;b=c,d@e:f"], &[])),
        ("coap://a/?//&?%26", of("coap", "a", 5_683, &[], &["//", "?&"])),
        ("coap://a?x", of("coap", "a", 5_683, &[], &["x"])),
        ("coap://a/b/./c/../d?", of("coap", "a", 5_683, &["b", "d"], &[""])),
        ("coap://a/../b/..", of("coap", "a", 5_683, &[], &[])),
        ("coap://a/b/.", of("coap", "a", 5_683, &["b", ""], &[])),
        ("coap://192.0.2.1:5683/x", of("coap", "192.0.2.1", 5_683, &["x"], &[])),
        ("coap+tcp://[2001:DB8:0::1]:5684/x", of("coap+tcp", "[2001:db8::1]", 5_684, &["x"], &[])),
        ("https://a/x?y=1&z", of("https", "a", 443, &["x"], &["y=1", "z"])),
        ("coaps+ws://a", of("coaps+ws", "a", 443, &[], &[])),
    ] {
        assert_eq!(read(uri), expected, "{uri}");
    }
}

// RFC7252-5.10.1-1 RFC7252-6-1 RFC7252-6.4-2
#[test]
fn what_is_no_absolute_uri_is_malformed_and_a_strange_scheme_is_told_apart() {
    for uri in [
        "",
        "a",
        "/x",
        "//a/x",
        "coap",
        ":",
        "1coap://a",
        "co_ap://a",
        "coap:a",
        "coap:/a",
        "coap:///x",
        "coap://",
        "coap://:5683/",
        "coap://u@a/",
        "coap://u:p@a/",
        "coap://a:b/",
        "coap://a:0/",
        "coap://a:65536/",
        "coap://a:+1/",
        "coap://a:1:2/",
        "coap://[::1/x",
        "coap://[::1]x/",
        "coap://[v1.x]/",
        "coap://[::1%25lo]/",
        "coap://a/x#f",
        "coap://a/%",
        "coap://a/%4",
        "coap://a/%zz",
        "coap://a/b c",
        "coap://a/\u{e9}",
        "coap://a\\b/",
        "coap://a/%2e%2e/b",
        "coap://a/%2e",
        "coap://a/x?y z",
        "coap://a/\"",
        "coap://a/[",
        "coap://a\0/",
    ] {
        assert!(matches!(to(uri.as_bytes()), Err(NoDestination::Malformed(_))), "{uri}");
    }
    let long = format!("coap://a/{}", "x".repeat(256));
    assert!(matches!(to(long.as_bytes()), Err(NoDestination::Malformed(_))));
    assert!(to(&long.as_bytes()[..long.len() - 1]).is_ok());
    assert!(matches!(to(b"coap://a/\xff"), Err(NoDestination::Malformed(_))));
    for uri in ["ftp://a/", "mqtt://a", "urn:x:y", "mailto:a@b", "coapx://a"] {
        assert_eq!(to(uri.as_bytes()).err(), Some(NoDestination::Scheme), "{uri}");
    }
}

// RFC7252-5.10.2-2
#[test]
fn a_uri_takes_precedence_over_the_options_and_what_else_there_is_stays() {
    let datagram = request(|options| {
        options.push(OptionNumber::PROXY_URI, b"coap://a:1/x?y").push(OptionNumber::PROXY_SCHEME, b"http");
        options.push(OptionNumber::URI_HOST, b"b").push_uint(OptionNumber::URI_PORT, 2);
        options.push(OptionNumber::URI_PATH, b"z").push(OptionNumber::URI_QUERY, b"q");
        options.push_uint(OptionNumber::HOP_LIMIT, 3).push_uint(OptionNumber::CONTENT_FORMAT, 50);
    });
    let message = Message::decode(&datagram, 64).expect("valid");
    let destination = message.destination().expect("whole");
    for (local, scheme) in [(false, Some(&b"coap"[..])), (true, None)] {
        let redirected = message.redirected(Transport::Datagram, &destination, local);
        let ordinary = Message::decode(&redirected, 64).expect("valid");
        assert_eq!(ordinary.option(OptionNumber::PROXY_SCHEME).map(|option| option.value), scheme);
        assert_eq!(ordinary.is_proxied(), !local);
        assert_eq!((ordinary.host(), ordinary.uint(OptionNumber::URI_PORT)), (Some(&b"a"[..]), Some(1)));
        assert!(ordinary.path_segments().eq([b"x"]) && ordinary.query().eq([b"y"]));
        assert_eq!((ordinary.uint(OptionNumber::HOP_LIMIT), ordinary.content_format()), (Some(3), Some(50)));
        assert_eq!((ordinary.kind, ordinary.code, ordinary.message_id), (message.kind, message.code, 7));
        assert_eq!((ordinary.token, ordinary.payload), (message.token, message.payload));
    }
    for transport in [Transport::Tcp, Transport::WebSocket] {
        let redirected = message.redirected(transport, &destination, false);
        let ordinary = Message::decode_as(transport, &redirected, 64).expect("valid");
        assert_eq!((ordinary.token, ordinary.host()), (message.token, Some(&b"a"[..])));
    }
}

#[test]
fn a_scheme_names_what_the_uri_options_say() {
    let of = |others: &[(u16, &[u8])]| {
        let datagram = request(|options| {
            options.push(OptionNumber::PROXY_SCHEME, b"Coap+TCP");
            others.iter().for_each(|(number, value)| {
                options.push(*number, value);
            });
        });
        Message::decode(&datagram, 64).expect("valid").destination().map(|own| (own.scheme, own.host, own.port))
    };
    let host = |host: &[u8]| Some(Box::from(host));
    assert_eq!(of(&[]), Ok(("coap+tcp", None, None)));
    assert_eq!(of(&[(3, b"B.example")]), Ok(("coap+tcp", host(b"b.example"), None)));
    assert_eq!(of(&[(3, b"[0::1]"), (7, &[5])]), Ok(("coap+tcp", host(b"[::1]"), Some(5))));
    assert!(of(&[(7, b"")]).is_err());
}

#[test]
fn a_host_may_be_an_address() {
    let address = |uri: &str| to(uri.as_bytes()).expect(uri).address().map(|address| address.to_string());
    assert_eq!(address("coap://127.0.0.1/").as_deref(), Some("127.0.0.1"));
    assert_eq!(address("coap://[::1]/").as_deref(), Some("::1"));
    // What only some resolvers take for an address is a name.
    for name in ["coap://localhost/", "coap://127.1/", "coap://0177.0.0.1/", "coap://2130706433/"] {
        assert_eq!(address(name), None, "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn no_uri_panics(uri in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..80), head in "(coap://)?") {
        let _ = to(&[head.as_bytes(), &uri].concat());
    }

    #[test]
    fn any_path_and_query_survive(path in proptest::collection::vec("[ -~é]{1,9}", 1..5), query in proptest::collection::vec("[ -~é]{0,9}", 1..4)) {
        proptest::prop_assume!(path.iter().all(|part| part != "." && part != ".."));
        let escape = |part: &String| part.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let join = |parts: &[String], by: &str| parts.iter().map(escape).collect::<Vec<_>>().join(by);
        let (_, _, _, own_path, own_query) = read(&format!("coap://a/{}?{}", join(&path, "/"), join(&query, "&")));
        proptest::prop_assert_eq!((own_path, own_query), (path, query));
    }
}
