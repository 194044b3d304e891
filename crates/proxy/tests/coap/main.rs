//! CoAP against whole gateways, over real sockets: what needs broker, plan and
//! workers together. The rules of the message layer are tested where it lives.

mod conditions;
mod fields;
mod gateway;
mod peer;
mod transfers;

use gateway::{Running, api, apply, ok, plan, route, serve_http};
use peer::Peer;
use serde_json::json;
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;
use tidegate_coap::{Code, OptionNumber, Type};

// RFC7252-5.1-1 RFC7252-5.1-2 RFC7252-5.8.1-1 RFC7252-5.8.2-1 RFC7252-5.8.4-1
#[test]
fn a_published_value_is_read_until_it_is_deleted() {
    let running = Running::plain();
    let mut peer = Peer::of(&running);
    assert_eq!(peer.ask(Code::GET, "t/a/b", b"").code, Code::NOT_FOUND);
    peer.send((Type::Confirmable, Code::PUT, "t/a/b"), &[(OptionNumber::CONTENT_FORMAT, &[50])], b"21.5");
    assert_eq!(peer.receive().code, Code::CHANGED);
    let value = peer.ask(Code::GET, "t/a/b", b"");
    assert_eq!((value.code, value.text()), (Code::CONTENT, "21.5"));
    assert_eq!(value.option(OptionNumber::CONTENT_FORMAT), Some(&[50][..]));
    // Each of them may come twice and leaves the same, and reading leaves all as it is.
    assert_eq!(peer.ask(Code::PUT, "t/a/b", b"22.0").code, Code::CHANGED);
    assert_eq!(peer.ask(Code::PUT, "t/a/b", b"22.0").code, Code::CHANGED);
    for _ in 0..2 {
        assert_eq!(peer.ask(Code::GET, "t/a/b", b"").text(), "22.0");
    }
    for _ in 0..2 {
        assert_eq!(peer.ask(Code::DELETE, "t/a/b", b"").code, Code::DELETED);
        assert_eq!(peer.ask(Code::GET, "t/a/b", b"").code, Code::NOT_FOUND);
    }
}

#[test]
fn a_value_with_retain_false_is_not_kept() {
    let running = Running::plain();
    let mut peer = Peer::of(&running);
    peer.send((Type::NonConfirmable, Code::POST, "t/a"), &[(OptionNumber::URI_QUERY, b"retain=false")], b"1");
    let answer = peer.receive();
    assert_eq!((answer.kind, answer.code), (Type::NonConfirmable, Code::CHANGED));
    assert_eq!(peer.ask(Code::GET, "t/a", b"").code, Code::NOT_FOUND);
}

#[test]
fn an_observer_on_any_worker_sees_every_value_in_order() {
    let running = Running::plain();
    // The kernel spreads them over the workers by their ports.
    let mut observers: Vec<Peer> = (0..8).map(|_| Peer::of(&running)).collect();
    let mut publisher = Peer::of(&running);
    publisher.ask(Code::PUT, "t/o", b"0");
    for observer in &mut observers {
        let answer = observer.observe("t/o");
        assert_eq!((answer.code, answer.text()), (Code::CONTENT, "0"));
        assert!(answer.option(OptionNumber::OBSERVE).is_some());
    }
    for value in ["1", "2", "3"] {
        publisher.ask(Code::PUT, "t/o", value.as_bytes());
        for observer in &observers {
            let notification = observer.receive();
            assert_eq!((notification.kind, notification.text()), (Type::Confirmable, value));
        }
    }
}

#[test]
fn a_wildcard_observer_is_told_the_topic_of_each_value() {
    let running = Running::plain();
    let (mut observer, mut publisher) = (Peer::of(&running), Peer::of(&running));
    publisher.ask(Code::PUT, "t/p/1", b"old");
    assert_eq!(observer.observe("t/p/+").text(), "");
    let kept = observer.receive();
    assert_eq!((kept.location().as_str(), kept.text()), ("t/p/1", "old"));
    publisher.ask(Code::PUT, "t/p/2", b"new");
    let next = observer.receive();
    assert_eq!((next.location().as_str(), next.text()), ("t/p/2", "new"));
    assert_eq!(observer.ask(Code::GET, "t/x/+", b"").code, Code::BAD_REQUEST);
}

#[test]
fn an_observer_that_registers_again_loses_nothing_and_hears_nothing_twice() {
    let running = Running::plain();
    let (mut observer, mut publisher) = (Peer::of(&running), Peer::of(&running));
    observer.observe("t/o");
    observer.observe("t/o");
    for value in ["1", "2"] {
        publisher.ask(Code::PUT, "t/o", value.as_bytes());
        assert_eq!(observer.receive().text(), value);
    }
}

// RFC7641-4.1-2
#[test]
fn an_observer_beyond_the_limit_gets_the_value_without_observe() {
    let running = Running::plain();
    let mut peer = Peer::of(&running);
    peer.ask(Code::PUT, "t/4", b"x");
    for topic in ["t/1", "t/2", "t/3"] {
        assert!(peer.observe(topic).option(OptionNumber::OBSERVE).is_some());
    }
    let answer = peer.observe("t/4");
    assert_eq!((answer.code, answer.text(), answer.option(OptionNumber::OBSERVE)), (Code::CONTENT, "x", None));
}

#[test]
fn a_draining_gateway_tells_observers_to_come_back_later() {
    let running = Running::plain();
    let mut observer = Peer::of(&running);
    observer.observe("t/o");
    running.gateway.drain(Duration::from_secs(1));
    let goodbye = observer.receive();
    assert_eq!((goodbye.code, goodbye.option(OptionNumber::OBSERVE)), (Code::SERVICE_UNAVAILABLE, None));
    assert!(goodbye.option(OptionNumber::MAX_AGE).is_some());
}

#[test]
fn a_listener_that_is_taken_away_says_goodbye_and_another_takes_over() {
    let running = Running::plain();
    let mut observer = Peer::of(&running);
    observer.observe("t/o");
    let mut next = plan(json!([]), json!([]));
    next["listeners"][0]["name"] = json!("udp://other");
    let address = apply(&running.gateway, &next);
    assert_eq!(observer.receive().code, Code::SERVICE_UNAVAILABLE);
    let running = Running { address, ..running };
    assert_eq!(Peer::of(&running).ask(Code::PUT, "t/o", b"1").code, Code::CHANGED);
}

#[test]
fn a_request_under_way_is_answered_though_its_listener_leaves() {
    let (asked, is_asked) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    let address = serve_http(move |_| {
        let _ = asked.send(());
        let _ = may_go.recv();
        ok("late")
    });
    let running = Running::start(api(address), true);
    let (mut peer, mut other_observer) = (Peer::of(&running), Peer::of(&running));
    other_observer.observe("t/o");
    peer.send((Type::Confirmable, Code::GET, "api"), &[], b"");
    is_asked.recv().expect("the request");
    let draining = std::thread::spawn(move || running.gateway.drain(Duration::from_secs(5)));
    assert_eq!(other_observer.receive().code, Code::SERVICE_UNAVAILABLE);
    go.send(()).expect("the upstream waits");
    let answer = peer.receive();
    assert_eq!((answer.code, answer.text()), (Code::CONTENT, "late"));
    draining.join().expect("drained");
}

#[test]
fn a_route_carries_a_request_to_an_http_upstream_and_back() {
    let address = serve_http(|request| {
        let is_json = request.to_lowercase().contains("content-type: application/json");
        let (line, body) = (request.lines().next(), request.rsplit("\r\n").next());
        ok(&format!("{} {is_json} {}", line.unwrap_or_default(), body.unwrap_or_default()))
    });
    let running = Running::start(api(address), true);
    let mut peer = Peer::of(&running);
    let options: [(u16, &[u8]); 2] = [(OptionNumber::CONTENT_FORMAT, &[50]), (OptionNumber::URI_QUERY, b"a=b c")];
    peer.send((Type::Confirmable, Code::POST, "api/x"), &options, b"{}");
    let answer = peer.receive();
    assert_eq!((answer.code, answer.text()), (Code::CHANGED, "POST /api/x?a=b%20c HTTP/1.1 true {}"));
    assert_eq!(answer.option(OptionNumber::CONTENT_FORMAT), Some(&[50][..]));
    assert_eq!(answer.option(OptionNumber::MAX_AGE), Some(&[7][..]));
}

#[test]
fn a_slow_request_is_acknowledged_first_and_answered_by_a_message_of_its_own() {
    let (go, may_go) = mpsc::channel::<()>();
    let address = serve_http(move |_| {
        let _ = may_go.recv();
        ok("late")
    });
    let (routes, upstreams) = api(address);
    let mut slow = plan(routes, upstreams);
    slow["coap"]["ackTimeoutMs"] = json!(40);
    let running = Running::with(&slow);
    let mut peer = Peer::of(&running);
    peer.send((Type::Confirmable, Code::GET, "api"), &[], b"");
    let mut acknowledgement = [0; 16];
    assert_eq!(peer.socket.recv(&mut acknowledgement).expect("an acknowledgement"), 4);
    assert_eq!(acknowledgement[..2], [0x60, 0]);
    go.send(()).expect("the upstream waits");
    let answer = peer.receive();
    assert_eq!((answer.kind, answer.code, answer.text()), (Type::Confirmable, Code::CONTENT, "late"));
}

// RFC7959-2.7-1
#[test]
fn a_large_answer_to_a_post_is_fetched_in_blocks_and_done_once() {
    let (asked, requests) = mpsc::channel();
    let address = serve_http(move |_| {
        let _ = asked.send(());
        ok(&"0123456789abcdef".repeat(100))
    });
    let running = Running::start(api(address), true);
    let mut peer = Peer::of(&running);
    let mut body = String::new();
    for num in 0..4_u8 {
        peer.send((Type::Confirmable, Code::POST, "api/x"), &[(OptionNumber::BLOCK2, &[num << 4 | 5])], b"");
        let answer = peer.receive();
        assert_eq!(answer.code, Code::CHANGED);
        body.push_str(answer.text());
    }
    assert_eq!(body, "0123456789abcdef".repeat(100));
    assert_eq!(requests.try_iter().count(), 1);
    peer.send((Type::Confirmable, Code::POST, "api/other"), &[(OptionNumber::BLOCK2, &[0x15])], b"");
    assert_eq!(peer.receive().code, Code::REQUEST_ENTITY_INCOMPLETE);
}

#[test]
fn an_upstream_that_is_not_there_is_5_03_with_a_time_to_come_back() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let answer = Peer::of(&Running::start(api(gone), true)).ask(Code::GET, "api", b"");
    assert_eq!((answer.code, answer.option(OptionNumber::MAX_AGE)), (Code::SERVICE_UNAVAILABLE, Some(&[1][..])));
}

#[test]
fn a_route_wins_over_a_topic() {
    let target = json!({ "kind": "respond", "status": 200, "headers": [], "body": "mine" });
    let running = Running::start((json!([route("/t/a", &target)]), json!([])), true);
    let mut peer = Peer::of(&running);
    let answer = peer.ask(Code::GET, "t/a", b"");
    assert_eq!((answer.code, answer.text()), (Code::CONTENT, "mine"));
    assert_eq!(peer.ask(Code::GET, "t/b", b"").code, Code::NOT_FOUND);
}

#[test]
fn a_route_publishes_under_its_topic() {
    let target = json!({ "kind": "topic", "topic": "x/{rest}" });
    let running = Running::start((json!([route("/in", &target)]), json!([])), true);
    let mut peer = Peer::of(&running);
    assert_eq!(peer.ask(Code::POST, "in/a b", b"1").code, Code::CHANGED);
    assert_eq!(peer.ask(Code::GET, "t/x/a b", b"").text(), "1");
    assert_eq!(peer.ask(Code::GET, "in/a", b"").code, Code::METHOD_NOT_ALLOWED);
}

#[test]
fn topics_of_a_listener_that_wants_a_login_are_4_01() {
    let running = Running::start((json!([]), json!([])), false);
    let mut peer = Peer::of(&running);
    for code in [Code::GET, Code::PUT, Code::DELETE] {
        assert_eq!(peer.ask(code, "t/a", b"x").code, Code::UNAUTHORIZED);
    }
    assert_eq!(peer.observe("t/a").code, Code::UNAUTHORIZED);
}

#[test]
fn garbage_harms_nobody() {
    let running = Running::plain();
    let peer = Peer::of(&running);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..2_000 {
        let mut datagram = Vec::new();
        for _ in 0..8 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            datagram.extend_from_slice(&random.to_be_bytes());
        }
        datagram.truncate((random % 64) as usize);
        if let Some(first) = datagram.first_mut().filter(|_| random & 0x100 != 0) {
            *first = 0x40 | *first & 0x18;
        }
        peer.socket.send(&datagram).expect("sent");
    }
    assert_eq!(Peer::of(&running).ask(Code::PUT, "t/a", b"1").code, Code::CHANGED);
}
