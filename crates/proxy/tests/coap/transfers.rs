//! Transfers that cross: later blocks of what has none, several at a time, and an observation
//! that ends before it has begun.

use crate::gateway::{Running, api, ok, serve_http};
use crate::peer::Peer;
use tidegate_coap::{Code, OptionNumber, Type};

const LATER: [u8; 1] = [0x12];

// RFC7959-2.9-4
#[test]
fn a_later_block_of_an_answer_that_has_none_publishes_clears_and_registers_nothing() {
    let running = Running::plain();
    let mut peer = Peer::of(&running);
    peer.ask(Code::PUT, "t/kept", b"1");
    for (code, path) in [(Code::POST, "t/kept"), (Code::PUT, "t/kept"), (Code::DELETE, "t/kept"), (Code::POST, "t/new")]
    {
        peer.send((Type::Confirmable, code, path), &[(OptionNumber::BLOCK2, &LATER)], b"2");
        assert_eq!(peer.receive().code, Code::REQUEST_ENTITY_INCOMPLETE, "{code} {path}");
    }
    assert_eq!(peer.ask(Code::GET, "t/kept", b"").text(), "1");
    assert_eq!(peer.ask(Code::GET, "t/new", b"").code, Code::NOT_FOUND);
}

// RFC9175-3.4-2
#[test]
fn the_answers_of_transfers_with_tags_of_their_own_are_fetched_side_by_side() {
    let running =
        Running::start(api(serve_http(|request| ok(&request.lines().last().unwrap_or_default().repeat(40)))), true);
    let mut peer = Peer::of(&running);
    let mut ask = |tag: &[u8], num: u8, body: &[u8]| {
        let options = [(OptionNumber::BLOCK2, &[num << 4 | 1][..]), (OptionNumber::REQUEST_TAG, tag)];
        peer.send((Type::Confirmable, Code::FETCH, "api/x"), &options, body);
        let answer = peer.receive();
        (answer.code, answer.text().to_owned())
    };
    let of = |letter: &str| (Code::CONTENT, letter.repeat(32));
    assert_eq!((ask(b"1", 0, b"a"), ask(b"2", 0, b"b")), (of("a"), of("b")));
    assert_eq!(
        (ask(b"1", 1, b""), ask(b"2", 1, b"")),
        ((Code::CONTENT, "a".repeat(8)), (Code::CONTENT, "b".repeat(8)))
    );
    assert_eq!(ask(b"3", 1, b"").0, Code::REQUEST_ENTITY_INCOMPLETE, "what was asked is not known any more");
}

#[test]
fn an_observation_that_ends_before_it_has_begun_is_answered_with_the_value() {
    let running = Running::plain();
    let mut peers: Vec<Peer> = (0..8).map(|_| Peer::of(&running)).collect();
    peers[0].ask(Code::PUT, "t/o", b"there");
    for peer in &mut peers {
        for observe in [&b""[..], &[1]] {
            peer.send((Type::Confirmable, Code::GET, "t/o"), &[(OptionNumber::OBSERVE, observe)], b"");
        }
        for _ in 0..2 {
            let answer = peer.receive();
            assert_eq!((answer.code, answer.text()), (Code::CONTENT, "there"));
        }
    }
}
