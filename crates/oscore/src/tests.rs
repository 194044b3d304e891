//! The messages of RFC 8613 appendix C, and the rules about what comes twice.

use crate::{ContextPlan, Contexts, Fingerprint, Ledger, Opened, Shared, Terms, is_name};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use tidegate_coap::{Code, Head, Message, OptionList, OptionNumber, Token, Type, encode, encode_empty};

#[path = "tests_streams.rs"]
mod streams;

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<HashMap<Fingerprint, u64>>>);

impl Ledger for Memory {
    fn reserve(&self, context: &Fingerprint, count: u64) -> Option<Range<u64>> {
        let mut reserved = self.0.lock();
        let end = reserved.entry(*context).or_default();
        *end += count;
        Some(*end - count..*end)
    }

    fn is_known(&self, context: &Fingerprint) -> bool {
        self.0.lock().contains_key(context)
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("digits")).collect()
}

/// The contexts of appendix C.
pub(crate) fn plan((salt, sender, recipient): (&str, &str, &str), context: Option<&str>) -> ContextPlan {
    ContextPlan {
        name: "device".into(),
        master_secret_hex: "0102030405060708090a0b0c0d0e0f10".into(),
        master_salt_hex: salt.into(),
        sender_id_hex: sender.into(),
        recipient_id_hex: recipient.into(),
        id_context_hex: context.map(Into::into),
        replay_window: 32,
    }
}

/// A server on a worker, after a start with what the ledger holds.
fn server(plan: ContextPlan, ledger: &Memory) -> Contexts {
    let shared = Arc::new(Shared::new(Some(Box::new(ledger.clone())), *b"restart1"));
    Contexts::new(&Terms::load(&[plan]).expect("keys"), (0, shared), 64)
}

const SALT: &str = "9e7ca92223786340";

fn peer(port: u16) -> SocketAddr {
    ([192, 0, 2, 1], port).into()
}

fn c4() -> (Contexts, Vec<u8>) {
    let request = unhex("44025d1f00003974396c6f63616c686f7374620914ff612f1092f1776f1c1668b3825e");
    (server(plan((SALT, "01", ""), None), &Memory::default()), request)
}

#[test]
fn requests_of_appendix_c_4_to_6_are_opened() {
    for (plan, request, plain) in [
        (
            plan((SALT, "01", ""), None),
            "44025d1f00003974396c6f63616c686f7374620914ff612f1092f1776f1c1668b3825e",
            "44015d1f00003974396c6f63616c686f737483747631",
        ),
        (
            plan(("", "01", "00"), None),
            "440271c30000b932396c6f63616c686f737463091400ff4ed339a5a379b0b8bc731fffb0",
            "440171c30000b932396c6f63616c686f737483747631",
        ),
        (
            plan((SALT, "01", ""), Some("37cbf3210017a2d3")),
            "44022f8eef9bbf7a396c6f63616c686f73746b19140837cbf3210017a2d3ff72cd7273fd331ac45cffbe55c3",
            "44012f8eef9bbf7a396c6f63616c686f737483747631",
        ),
    ] {
        let mut out = Vec::new();
        let opened = server(plan, &Memory::default()).open(peer(1), &unhex(request), &mut out);
        assert!(matches!(&opened, Opened::First(name, user) if is_name(name) && &**user == "device"), "{opened:?}");
        assert_eq!(out, unhex(plain));
    }
}

fn opened(server: &mut Contexts, from: SocketAddr, request: &[u8]) -> (Opened, Vec<u8>) {
    let mut out = Vec::new();
    (server.open(from, request, &mut out), out)
}

fn name_of(opened: &Opened) -> SocketAddr {
    match opened {
        Opened::First(name, _) | Opened::Request(name) => *name,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn answers_of_appendix_c_7_and_8_are_sealed() {
    let plain = unhex("64455d1f00003974ff48656c6c6f20576f726c6421");
    for (uses_own_number, sealed) in [
        (false, "64445d1f0000397490ffdbaad1e9a7e7b2a813d3c31524378303cdafae119106"),
        (true, "64445d1f00003974920100ff4d4c13669384b67354b2b6175ff4b8658c666a6cf88e"),
    ] {
        let (mut server, request) = c4();
        let name = name_of(&opened(&mut server, peer(1), &request).0);
        let token = Token::new(&[0, 0, 0x39, 0x74]).expect("short");
        server.contexts[0].bindings.get(token).expect("bound").is_used = uses_own_number;
        let mut out = Vec::new();
        assert_eq!(server.seal(name, &plain, &mut out), Ok(peer(1)));
        assert_eq!(out, unhex(sealed));
    }
}

#[test]
fn a_retransmission_gets_the_same_bytes_and_a_replay_an_error() {
    let (mut server, request) = c4();
    let name = name_of(&opened(&mut server, peer(1), &request).0);
    assert_eq!(opened(&mut server, peer(1), &request).0, Opened::Dropped("oscore-repeated"), "not answered yet");
    let mut sealed = Vec::new();
    server.seal(name, &unhex("64455d1f00003974ff48656c6c6f20576f726c6421"), &mut sealed).expect("sealed");
    assert_eq!(opened(&mut server, peer(1), &request), (Opened::Answer("oscore-repeated"), sealed));
    let (replayed, out) = opened(&mut server, peer(2), &request);
    assert_eq!(replayed, Opened::Answer("oscore-replayed"), "from elsewhere");
    let mut other_id = request;
    other_id[3] ^= 1;
    assert_eq!(opened(&mut server, peer(1), &other_id).0, Opened::Answer("oscore-replayed"), "in another message");
    let message = Message::decode(&out, 64).expect("a message");
    assert_eq!((message.code, message.uint(OptionNumber::MAX_AGE)), (Code::UNAUTHORIZED, Some(0)));
}

#[test]
fn what_is_not_for_us_or_forged_is_told_apart() {
    let (mut server, request) = c4();
    let mut forged = request.clone();
    *forged.last_mut().expect("bytes") ^= 1;
    assert_eq!(opened(&mut server, peer(1), &forged).0, Opened::Answer("oscore-forged"));
    let unknown = unhex("440271c30000b932396c6f63616c686f737463091407ff4ed339a5a379b0b8bc731fffb0");
    assert_eq!(opened(&mut server, peer(1), &unknown).0, Opened::Answer("oscore-unknown"));
    let reserved = unhex("44025d1f00003974396c6f63616c686f7374622914ff612f1092f1776f1c1668b3825e");
    let (refused, out) = opened(&mut server, peer(1), &reserved);
    assert_eq!(refused, Opened::Answer("oscore-malformed"));
    assert_eq!(Message::decode(&out, 64).expect("a message").code, Code::BAD_OPTION);
    assert_eq!(opened(&mut server, peer(1), &unhex("44015d1f00003974b474657374")).0, Opened::Plain);
    assert!(matches!(opened(&mut server, peer(1), &request).0, Opened::First(..)), "the window is untouched");
}

#[test]
fn after_a_restart_a_peer_has_to_answer_before_it_is_believed() {
    let ledger = Memory::default();
    let at_first = || plan((SALT, "01", ""), None);
    let mut before = server(at_first(), &ledger);
    let fingerprint = before.contexts[0].keys.fingerprint();
    before.contexts[0].sequence.next(&fingerprint, &ledger).expect("a number");
    let mut server = server(at_first(), &ledger);
    let (_, request) = c4();
    let (challenged, out) = opened(&mut server, peer(1), &request);
    assert_eq!(challenged, Opened::Answer("oscore-unsynchronized"));
    let message = Message::decode(&out, 64).expect("a message");
    let piv = message.option(OptionNumber::OSCORE).expect("protected").value;
    assert_eq!((message.code, piv), (Code::CHANGED, &[0x02, 0x01, 0x00][..]), "a number behind all that were reserved");
}

#[test]
fn a_request_that_was_answered_without_a_number_of_ours_is_no_new_one_after_a_restart_either() {
    let ledger = Memory::default();
    let at_first = || plan((SALT, "01", ""), None);
    let (_, request) = c4();
    let mut before = server(at_first(), &ledger);
    let name = name_of(&opened(&mut before, peer(1), &request).0);
    let mut sealed = Vec::new();
    before.seal(name, &unhex("64455d1f00003974ff48656c6c6f20576f726c6421"), &mut sealed).expect("sealed");
    let mut server = server(at_first(), &ledger);
    assert_eq!(opened(&mut server, peer(1), &request).0, Opened::Answer("oscore-unsynchronized"));
}

#[test]
fn a_context_that_was_taken_away_and_comes_back_believes_nothing_old() {
    let (mut server, request) = c4();
    name_of(&opened(&mut server, peer(1), &request).0);
    server.adopt(&Terms::load(&[plan(("", "01", "00"), None)]).expect("keys"));
    server.adopt(&Terms::load(&[plan((SALT, "01", ""), None)]).expect("keys"));
    assert_eq!(opened(&mut server, peer(1), &request).0, Opened::Answer("oscore-unsynchronized"));
}

#[test]
fn devices_that_one_of_our_keys_is_for_are_told_apart_when_other_terms_come() {
    let two = Terms::load(&[plan((SALT, "01", ""), None), plan((SALT, "01", "07"), None)]).expect("keys");
    let shared = Arc::new(Shared::new(Some(Box::new(Memory::default())), [0; 8]));
    let mut server = Contexts::new(&two, (0, shared), 64);
    let (_, request) = c4();
    let name = name_of(&opened(&mut server, peer(1), &request).0);
    for _ in 0..2 {
        assert_eq!(server.adopt(&two), []);
        assert_eq!(opened(&mut server, peer(1), &request).0, Opened::Dropped("oscore-repeated"));
    }
    assert_eq!(server.names_at(peer(1)).collect::<Vec<_>>(), [name]);
}

#[test]
fn what_cannot_be_remembered_is_not_believed() {
    let shared = Arc::new(Shared::new(None, *b"restart1"));
    let mut server = Contexts::new(&Terms::load(&[plan((SALT, "01", ""), None)]).expect("keys"), (0, shared), 64);
    let (_, request) = c4();
    assert_eq!(opened(&mut server, peer(1), &request).0, Opened::Dropped("oscore-sequence"));
}

/// A peer: the same derivation with the ids the other way round seals what this side opens.
fn client() -> Contexts {
    server(plan((SALT, "", "01"), None), &Memory::default())
}

/// A GET of `/x` with Observe, sealed with the client's number `number`.
fn observation(client: &Contexts, number: u8, message_id: u16) -> Vec<u8> {
    use crate::cose::{additional, nonce};
    let keys = &client.contexts[0].keys;
    let mut text = vec![0x01, 0x60, 0x51, b'x'];
    let aad = additional(10, &keys.sender_id, &[number]);
    assert!(keys.seal((&nonce(&keys.common_iv, &keys.sender_id, &[number]), &aad), &mut text, 0));
    let mut outer = OptionList::new();
    outer.push(OptionNumber::OBSERVE, b"").push(OptionNumber::OSCORE, &[0x09, number]);
    let token = Token::new(b"t").expect("short");
    let mut out = Vec::new();
    let head = Head { kind: Type::Confirmable, code: Code::FETCH, message_id, token };
    encode(&mut out, &head, [&outer, &OptionList::new()], &text);
    out
}

fn notification(kind: Type, message_id: u16, sequence: u32) -> Vec<u8> {
    let mut options = OptionList::new();
    options.push_uint(OptionNumber::OBSERVE, sequence);
    let head = Head { kind, code: Code::CONTENT, message_id, token: Token::new(b"t").expect("short") };
    let mut out = Vec::new();
    encode(&mut out, &head, [&options, &OptionList::new()], b"21.5");
    out
}

#[test]
fn notifications_have_numbers_of_their_own_follow_the_peer_and_are_sent_again_as_they_were() {
    let (client, mut server) = (client(), server(plan((SALT, "01", ""), None), &Memory::default()));
    let (first, plain) = opened(&mut server, peer(1), &observation(&client, 5, 1));
    let name = name_of(&first);
    let request = Message::decode(&plain, 64).expect("a request");
    assert_eq!((request.code, request.observe()), (Code::GET, Some(0)));
    let mut sealed = Vec::new();
    let mut seal = |server: &mut Contexts, plain: &[u8]| {
        let to = server.seal(name, plain, &mut sealed).expect("sealed");
        let message = Message::decode(&sealed, 64).expect("a message");
        (to, message.code, message.observe(), message.option(OptionNumber::OSCORE).expect("protected").value.to_vec())
    };
    let begun = seal(&mut server, &notification(Type::Acknowledgement, 1, 1));
    assert_eq!(begun, (peer(1), Code::CONTENT, Some(1), vec![1, 0]));
    let told = seal(&mut server, &notification(Type::Confirmable, 9, 2));
    assert_eq!(told, (peer(1), Code::CONTENT, Some(2), vec![1, 1]));
    // A later request from elsewhere moves the peer; an earlier one that was late does not.
    let moved = opened(&mut server, peer(2), &observation(&client, 7, 2)).0;
    assert_eq!(moved, Opened::Request(name));
    opened(&mut server, peer(3), &observation(&client, 6, 3));
    assert_eq!(
        seal(&mut server, &notification(Type::Confirmable, 9, 2)),
        (peer(2), Code::CONTENT, Some(2), vec![1, 1])
    );
    assert_eq!(server.names_at(peer(2)).collect::<Vec<_>>(), [name]);
    assert_eq!((server.shared.worker_at(peer(2)), server.shared.worker_at(peer(1))), (Some(0), None));
    let mut ack = Vec::new();
    encode_empty(&mut ack, Type::Acknowledgement, 77);
    let mut out = Vec::new();
    assert_eq!(server.seal(name, &ack, &mut out), Ok(peer(2)));
    assert_eq!(out, ack, "an empty message has nothing to protect");
}

#[test]
fn an_answer_to_nothing_is_not_sealed_and_other_contexts_end_what_they_replace() {
    let (mut server, request) = c4();
    let name = name_of(&opened(&mut server, peer(1), &request).0);
    let mut out = Vec::new();
    let nobody = unhex("64455d1f00003975ff48656c6c6f20576f726c6421");
    assert_eq!(server.seal(name, &nobody, &mut out), Err("oscore-unbound"));
    let same = Terms::load(&[plan((SALT, "01", ""), None)]).expect("keys");
    assert_eq!(server.adopt(&same), []);
    assert_eq!(
        opened(&mut server, peer(1), &request).0,
        Opened::Dropped("oscore-repeated"),
        "what was seen stays seen"
    );
    let other = Terms::load(&[plan(("", "01", "00"), None)]).expect("keys");
    assert_eq!(server.adopt(&other), [name]);
    assert_eq!(server.seal(name, &nobody, &mut out), Err("oscore-gone"));
}

#[test]
fn a_context_has_one_worker() {
    let shared = Arc::new(Shared::new(Some(Box::new(Memory::default())), [0; 8]));
    let terms = Terms::load(&[plan((SALT, "01", ""), None)]).expect("keys");
    let (mut one, mut two) =
        (Contexts::new(&terms, (1, Arc::clone(&shared)), 64), Contexts::new(&terms, (2, shared), 64));
    let (_, request) = c4();
    assert!(matches!(opened(&mut one, peer(1), &request).0, Opened::First(..)));
    assert_eq!(opened(&mut two, peer(1), &request).0, Opened::Strayed(1));
}
