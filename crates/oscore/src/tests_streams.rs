//! The messages of RFC 8613 appendix C in the frames of RFC 8323, and what workers share.

use super::{Memory, SALT, plan, unhex};
use crate::{Shared, StreamContexts, StreamOpened, Terms};
use std::net::{SocketAddr, SocketAddrV6};
use std::sync::Arc;
use tidegate_coap::{Code, Message, OptionNumber, Transport};

fn connection(number: u32) -> SocketAddr {
    SocketAddrV6::new([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0201].into(), 5_683, 0, number).into()
}

fn shared(ledger: &Memory) -> Arc<Shared> {
    Arc::new(Shared::new(Some(Box::new(ledger.clone())), *b"restart1"))
}

fn at_first() -> Terms {
    Terms::load(&[plan((SALT, "01", ""), None)]).expect("keys")
}

/// The request of appendix C.4, over TCP.
fn request() -> Vec<u8> {
    unhex("d40e0200003974396c6f63616c686f7374620914ff612f1092f1776f1c1668b3825e")
}

fn opened(contexts: &mut StreamContexts, from: u32, frame: &[u8]) -> (StreamOpened, Vec<u8>) {
    let mut out = Vec::new();
    (contexts.open((connection(from), Transport::Tcp), frame, &mut out), out)
}

fn name_of(opened: &StreamOpened) -> SocketAddr {
    match opened {
        StreamOpened::Request(name, user) => {
            assert_eq!(&**user, "device");
            *name
        }
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn frames_are_opened_and_sealed_as_datagrams_are_and_go_back_to_their_connection() {
    let mut contexts = StreamContexts::new(&at_first(), shared(&Memory::default()), 64);
    let (first, plain) = opened(&mut contexts, 1, &request());
    assert_eq!(plain, unhex("d4010100003974396c6f63616c686f737483747631"));
    let name = name_of(&first);
    let answer = unhex("d4004500003974ff48656c6c6f20576f726c6421");
    let mut out = Vec::new();
    assert_eq!(contexts.seal((name, Transport::Tcp), &answer, &mut out), Ok(connection(1)));
    assert_eq!(out, unhex("d40b440000397490ffdbaad1e9a7e7b2a813d3c31524378303cdafae119106"));
    assert_eq!(contexts.seal((name, Transport::Tcp), &answer, &mut out), Err("oscore-unbound"), "it was answered");
    assert_eq!(contexts.close(connection(1)), [name]);
    assert_eq!(contexts.seal((name, Transport::Tcp), &answer, &mut out), Err("oscore-gone"));
}

#[test]
fn a_request_is_new_once_for_all_workers_and_connections() {
    let shared = shared(&Memory::default());
    let mut workers = [0; 2].map(|_| StreamContexts::new(&at_first(), Arc::clone(&shared), 64));
    name_of(&opened(&mut workers[0], 1, &request()).0);
    for (worker, from) in [(0, 1), (0, 2), (1, 3)] {
        let (replayed, out) = opened(&mut workers[worker], from, &request());
        assert_eq!(replayed, StreamOpened::Answer("oscore-replayed"));
        let message = Message::decode_as(Transport::Tcp, &out, 64).expect("a frame");
        assert_eq!((message.code, message.uint(OptionNumber::MAX_AGE)), (Code::UNAUTHORIZED, Some(0)));
    }
    // Nor is it after the context was taken away for a while.
    let other = Terms::load(&[plan(("", "01", "00"), None)]).expect("keys");
    assert_eq!(workers[0].adopt(&other).len(), 2, "the names of two connections");
    assert_eq!(opened(&mut workers[0], 1, &request()).0, StreamOpened::Answer("oscore-unknown"));
    workers[0].adopt(&at_first());
    assert_eq!(opened(&mut workers[0], 1, &request()).0, StreamOpened::Answer("oscore-replayed"));
}

#[test]
fn after_a_restart_a_peer_is_asked_whether_it_sends_now() {
    let ledger = Memory::default();
    let mut before = StreamContexts::new(&at_first(), shared(&ledger), 64);
    name_of(&opened(&mut before, 1, &request()).0);
    let mut contexts = StreamContexts::new(&at_first(), shared(&ledger), 64);
    let (asked, out) = opened(&mut contexts, 1, &request());
    assert_eq!(asked, StreamOpened::Answer("oscore-unsynchronized"));
    let message = Message::decode_as(Transport::Tcp, &out, 64).expect("a frame");
    let own = message.option(OptionNumber::OSCORE).expect("protected").value;
    assert_eq!((message.code, own), (Code::CHANGED, &[0x02, 0x01, 0x00][..]), "behind all that were reserved");
}

#[test]
fn what_is_not_protected_forged_or_no_request_is_told_apart() {
    let mut contexts = StreamContexts::new(&at_first(), shared(&Memory::default()), 64);
    let mut forged = request();
    *forged.last_mut().expect("bytes") ^= 1;
    let kid = unhex("d70e0200003974aaaaaa396c6f63616c686f737463091407ff612f1092f1776f1c1668b3");
    for (frame, expected) in [
        (forged, StreamOpened::Answer("oscore-forged")),
        (kid, StreamOpened::Answer("oscore-unknown")),
        (unhex("4401000039749161ff61"), StreamOpened::Answer("oscore-malformed")),
        (unhex("44450000397493000000"), StreamOpened::Dropped("oscore-malformed")),
        (unhex("1002b1"), StreamOpened::Plain),
        (unhex("40e293000000"), StreamOpened::Plain),
        (unhex("00"), StreamOpened::Plain),
    ] {
        assert_eq!(opened(&mut contexts, 1, &frame).0, expected, "{frame:02x?}");
    }
    name_of(&opened(&mut contexts, 1, &request()).0);
}
