//! What is said beside a value.

use crate::gateway::Running;
use crate::peer::Peer;
use tidegate_coap::{Code, OptionNumber, Type};

#[test]
fn a_trace_goes_on_with_the_value_to_who_reads_and_who_observes() {
    let trace = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let running = Running::plain();
    let (mut peer, mut observer) = (Peer::of(&running), Peer::of(&running));
    observer.send((Type::Confirmable, Code::GET, "t/traced"), &[(OptionNumber::OBSERVE, b"")], b"");
    observer.receive();
    peer.send((Type::Confirmable, Code::PUT, "t/traced"), &[(OptionNumber::TRACEPARENT, trace)], b"1");
    assert_eq!(peer.receive().code, Code::CHANGED);
    for value in [observer.receive(), peer.ask(Code::GET, "t/traced", b"")] {
        assert_eq!((value.text(), value.option(OptionNumber::TRACEPARENT)), ("1", Some(&trace[..])));
    }
    assert_eq!(peer.ask(Code::PUT, "t/traced", b"2").code, Code::CHANGED);
    assert_eq!(observer.receive().option(OptionNumber::TRACEPARENT), None);
}

#[test]
fn what_retain_is_in_a_query_is_said_where_it_is_neither_true_nor_false() {
    let running = Running::plain();
    let mut peer = Peer::of(&running);
    for (retain, put, get) in [
        (&b"retain=maybe"[..], Code::BAD_REQUEST, Code::NOT_FOUND),
        (b"retain=false", Code::CHANGED, Code::NOT_FOUND),
        (b"retain=0", Code::CHANGED, Code::NOT_FOUND),
        (b"retain=1", Code::CHANGED, Code::CONTENT),
    ] {
        peer.send((Type::Confirmable, Code::PUT, "t/kept"), &[(OptionNumber::URI_QUERY, retain)], b"1");
        assert_eq!(peer.receive().code, put);
        assert_eq!(peer.ask(Code::GET, "t/kept", b"").code, get);
    }
}
