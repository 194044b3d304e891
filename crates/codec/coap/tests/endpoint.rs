//! The message layer against a peer written out by hand, on a virtual clock.

use std::net::SocketAddr;

use proptest::prelude::*;
use tidegate_coap::{
    Arrival, Block, Code, Endpoint, EndpointConfig, Event, Exchange, GoneReason, Handled, Head, Message, Notification,
    Notified, Observe, ObserverId, OptionList, OptionNumber, Reply, Request, Token, Type, encode, encode_empty,
};
use tidegate_message::Limits;

const LOCAL: &str = "127.0.0.1:5000";
const REMOTE: &str = "192.0.2.7:5000";

/// A response or notification as the peer reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Answer {
    kind: Type,
    code: Code,
    id: u16,
    observe: Option<u32>,
    block1: Option<Block>,
    block2: Option<Block>,
    echo: Option<Vec<u8>>,
    payload: Vec<u8>,
    len: usize,
}

struct Bench {
    endpoint: Endpoint,
    peer: SocketAddr,
    now_ms: u64,
}

impl Bench {
    fn new(peer: &str) -> Self {
        let limits = Limits { body_collected: 4_000, ..Limits::default() };
        let config = EndpointConfig {
            limits,
            max_observers: 3,
            max_observers_per_peer: 2,
            dedup_entries: 64,
            ..EndpointConfig::default()
        };
        Bench { endpoint: Endpoint::new(config), peer: peer.parse().expect("address"), now_ms: 1_000 }
    }

    fn arrive<'a>(&mut self, datagram: &'a [u8]) -> Event<'a> {
        let arrival = Arrival { now_ms: self.now_ms, peer: self.peer, trusted: false };
        self.endpoint.handle_datagram(&arrival, datagram)
    }

    fn handled(&mut self, datagram: &[u8]) -> Option<Handled> {
        match self.arrive(datagram) {
            Event::Handled(handled) => Some(handled),
            Event::Request(_) | Event::Closing => None,
        }
    }

    fn request<'a>(&mut self, datagram: &'a [u8]) -> Request<'a> {
        match self.arrive(datagram) {
            Event::Request(request) => request,
            other => unreachable!("not a request: {other:?}"),
        }
    }

    fn reply(&mut self, exchange: &Exchange, payload: &[u8]) {
        self.endpoint.reply(self.now_ms, exchange, &Reply::new(Code::CONTENT, &OptionList::new(), payload));
    }

    fn observe(&mut self, datagram: &[u8], conflate: bool) -> Option<ObserverId> {
        let request = self.request(datagram);
        assert_eq!(request.exchange.observe, Observe::Register);
        let observer = self.endpoint.observe(self.now_ms, &request.exchange, conflate);
        let none = OptionList::new();
        let reply = Reply { observer, ..Reply::new(Code::CONTENT, &none, b"first") };
        self.endpoint.reply(self.now_ms, &request.exchange, &reply);
        observer
    }

    fn notify(&mut self, observer: ObserverId, payload: &[u8], confirmable: bool) -> Notified {
        let notification =
            Notification { code: Code::CONTENT, options: &OptionList::new(), payload, confirmable, counts: false };
        self.endpoint.notify(self.now_ms, observer, &notification)
    }

    /// What was sent since the last time.
    fn sent(&mut self) -> Vec<Answer> {
        let peer = self.peer;
        let outbox = self.endpoint.outbox();
        let answers = outbox.iter().map(|(to, bytes)| {
            assert_eq!(to, peer);
            answer(bytes)
        });
        let answers = answers.collect();
        outbox.clear();
        answers
    }

    fn only(&mut self) -> Answer {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    fn gone(&mut self) -> Vec<(ObserverId, GoneReason)> {
        std::iter::from_fn(|| self.endpoint.poll_gone()).map(|gone| (gone.observer, gone.reason)).collect()
    }
}

fn answer(bytes: &[u8]) -> Answer {
    let message = Message::decode(bytes, 64).expect("what we send is valid");
    Answer {
        kind: message.kind,
        code: message.code,
        id: message.message_id,
        observe: message.observe(),
        block1: message.block(OptionNumber::BLOCK1).flatten(),
        block2: message.block(OptionNumber::BLOCK2).flatten(),
        echo: message.option(OptionNumber::ECHO).map(|option| option.value.to_vec()),
        payload: message.payload.to_vec(),
        len: bytes.len(),
    }
}

fn datagram<'a>(kind: Type, code: Code, id: u16, build: impl FnOnce(&mut OptionList) -> &'a [u8]) -> Vec<u8> {
    let mut options = OptionList::new();
    options.push(OptionNumber::URI_PATH, b"t").push(OptionNumber::URI_PATH, b"a");
    let payload = build(&mut options).to_vec();
    let head = Head { kind, code, message_id: id, token: Token::new(b"tk").expect("short") };
    let mut out = Vec::new();
    encode(&mut out, &head, [&options, &OptionList::new()], &payload);
    out
}

fn get(id: u16) -> Vec<u8> {
    datagram(Type::Confirmable, Code::GET, id, |_| b"")
}

fn get_with(id: u16, number: u16, value: u32) -> Vec<u8> {
    datagram(Type::Confirmable, Code::GET, id, |options| {
        options.push_uint(number, value);
        b""
    })
}

fn empty(kind: Type, id: u16) -> Vec<u8> {
    let mut out = Vec::new();
    encode_empty(&mut out, kind, id);
    out
}

// RFC7252-4.2-2 RFC7252-4.4-1 RFC7252-4.5-1
#[test]
fn a_confirmable_request_is_answered_in_its_acknowledgement_and_again_when_it_is_repeated() {
    let mut bench = Bench::new(LOCAL);
    let request = get(7);
    let exchange = bench.request(&request).exchange;
    assert_eq!(bench.handled(&request), Some(Handled::Duplicate));
    assert!(bench.sent().is_empty(), "nothing to say yet");
    bench.reply(&exchange, b"21.5");
    let first = bench.only();
    assert_eq!(
        (first.kind, first.code, first.id, &first.payload[..]),
        (Type::Acknowledgement, Code::CONTENT, 7, &b"21.5"[..])
    );
    assert_eq!(bench.handled(&request), Some(Handled::Duplicate));
    assert_eq!(bench.only(), first);
}

// RFC7252-4.2-2 RFC7252-4.8-1
#[test]
fn a_slow_response_is_separate_and_sent_again_until_it_is_acknowledged() {
    let mut bench = Bench::new(LOCAL);
    let request = get(7);
    let mut exchange = bench.request(&request).exchange;
    bench.endpoint.accept(&mut exchange);
    assert_eq!((bench.only().code, bench.handled(&request)), (Code::EMPTY, Some(Handled::Duplicate)));
    assert_eq!(bench.only().kind, Type::Acknowledgement);
    bench.reply(&exchange, b"late");
    let first = bench.only();
    assert_eq!(first.kind, Type::Confirmable);
    let due = bench.endpoint.next_timeout().expect("it waits for an acknowledgement");
    assert!((3_000..=4_000).contains(&due), "between ACK_TIMEOUT and 1.5 times it");
    bench.endpoint.handle_timeout(due - 1);
    assert!(bench.sent().is_empty());
    bench.endpoint.handle_timeout(due);
    assert_eq!(bench.only(), first);
    assert_eq!(bench.handled(&empty(Type::Acknowledgement, first.id)), Some(Handled::Acknowledged));
    bench.endpoint.handle_timeout(u64::MAX / 2);
    assert!(bench.sent().is_empty() && bench.endpoint.next_timeout().is_none());
}

// RFC7252-4.3-1 RFC7252-4.5-2 RFC7252-5.2.3-1
#[test]
fn a_non_confirmable_request_gets_a_non_confirmable_answer_once() {
    let mut bench = Bench::new(LOCAL);
    let request = datagram(Type::NonConfirmable, Code::POST, 9, |_| b"x");
    let exchange = bench.request(&request).exchange;
    bench.reply(&exchange, b"");
    assert_eq!(bench.only().kind, Type::NonConfirmable);
    assert_eq!(bench.handled(&request), Some(Handled::Duplicate));
    assert!(bench.sent().is_empty());
}

// RFC7252-3-2 RFC7252-3-4 RFC7252-4.3-2 RFC7252-4.4-1
#[test]
fn bad_messages_are_reset_or_passed_over_as_the_specification_says() {
    let mut bench = Bench::new(LOCAL);
    assert_eq!(bench.handled(&empty(Type::Confirmable, 5)), Some(Handled::Ping));
    assert_eq!(
        (bench.only().kind, bench.handled(b"\x41\x45\x00\x06a")),
        (Type::Reset, Some(Handled::Reset("not a request")))
    );
    assert_eq!(bench.only().id, 6);
    assert!(matches!(bench.handled(b"\x40\x01\x00\x07\xff"), Some(Handled::Reset(_))));
    assert_eq!(bench.only().id, 7);
    for silent in [
        &b"\x50\x01\x00\x07\xff"[..],
        b"\x80\x01\x00\x07",
        b"\x51\x45\x00\x06a",
        b"\x50\x00\x00\x06",
        b"",
        b"\x60\x00\x99\x99",
        b"\x70\x00\x99\x99",
    ] {
        assert!(matches!(bench.handled(silent), Some(Handled::Ignored(_))), "{silent:?}");
        assert!(bench.sent().is_empty());
    }
}

// RFC7959-2.2-2 RFC8768-3-1
#[test]
fn requests_that_it_cannot_take_are_refused_with_their_code() {
    let refused = |datagram: &[u8]| {
        let mut bench = Bench::new(LOCAL);
        let handled = bench.handled(datagram);
        (handled, bench.sent().first().map(|answer| answer.code))
    };
    let both = |code: Code| (Some(Handled::Refused(code)), Some(code));
    assert_eq!(refused(&get_with(1, 19, 0)), both(Code::BAD_OPTION));
    assert_eq!(refused(&get_with(1, OptionNumber::HOP_LIMIT, 0)), both(Code::BAD_REQUEST));
    assert_eq!(refused(&get_with(1, OptionNumber::HOP_LIMIT, 256)), both(Code::BAD_REQUEST));
    assert_eq!(refused(&get_with(1, OptionNumber::BLOCK2, 7)), both(Code::BAD_REQUEST));
    assert_eq!(refused(&datagram(Type::Confirmable, Code(31), 1, |_| b"")), both(Code::METHOD_NOT_ALLOWED));
    assert_eq!(
        refused(&datagram(Type::Confirmable, Code::PUT, 1, |_| &[7; 1_500])),
        both(Code::REQUEST_ENTITY_TOO_LARGE)
    );
    let non = datagram(Type::NonConfirmable, Code::GET, 1, |options| {
        options.push(19, b"");
        b""
    });
    assert!(matches!(refused(&non), (Some(Handled::Ignored(_)), None)));
}

// RFC7967-2-4
#[test]
fn an_answer_that_is_not_wanted_is_only_acknowledged() {
    let mut bench = Bench::new(LOCAL);
    let request = get_with(7, OptionNumber::NO_RESPONSE, 2);
    let exchange = bench.request(&request).exchange;
    bench.reply(&exchange, b"x");
    let sent = bench.only();
    assert_eq!((sent.kind, sent.code), (Type::Acknowledgement, Code::EMPTY));
    bench.endpoint.reply(bench.now_ms, &exchange, &Reply::new(Code::NOT_FOUND, &OptionList::new(), b""));
    assert_eq!(bench.only().code, Code::NOT_FOUND, "errors are wanted");
}

// RFC7641-4.1-1 RFC7641-4.2-2 RFC7641-4.4-1
#[test]
fn observers_are_notified_in_order_and_end_by_reset_or_deregistration() {
    let mut bench = Bench::new(LOCAL);
    let observer = bench.observe(&get_with(1, OptionNumber::OBSERVE, 0), true).expect("room");
    let first = bench.only();
    assert_eq!((first.observe, &first.payload[..]), (Some(1), &b"first"[..]));
    assert_eq!(bench.notify(observer, b"second", false), Notified::Sent);
    let second = bench.only();
    assert_eq!((second.kind, second.observe), (Type::NonConfirmable, Some(2)));
    assert_eq!(bench.handled(&empty(Type::Reset, second.id)), Some(Handled::Rejected));
    assert_eq!(bench.gone(), [(observer, GoneReason::Reset)]);
    assert_eq!(bench.notify(observer, b"third", false), Notified::Gone);

    let again = bench.observe(&get_with(2, OptionNumber::OBSERVE, 0), true).expect("room");
    let replaced = bench.observe(&get_with(3, OptionNumber::OBSERVE, 0), true).expect("room");
    assert_eq!(bench.gone(), [(again, GoneReason::Deregistered)]);
    let plain = get_with(4, OptionNumber::OBSERVE, 1);
    assert_eq!(bench.request(&plain).exchange.observe, Observe::No);
    assert_eq!(bench.gone(), [(replaced, GoneReason::Deregistered)]);
}

// RFC7252-4.7-1 RFC7641-4.5.1-1
#[test]
fn one_confirmable_notification_is_in_flight_and_the_newest_state_waits() {
    let mut bench = Bench::new(LOCAL);
    let observer = bench.observe(&get_with(1, OptionNumber::OBSERVE, 0), true).expect("room");
    bench.sent();
    assert_eq!(bench.notify(observer, b"1", true), Notified::Sent);
    let first = bench.only();
    assert_eq!(bench.notify(observer, b"2", true), Notified::Queued);
    assert_eq!(bench.notify(observer, b"3", false), Notified::Replaced);
    assert!(bench.sent().is_empty());
    assert_eq!(bench.handled(&empty(Type::Acknowledgement, first.id)), Some(Handled::Acknowledged));
    let next = bench.only();
    assert_eq!((next.kind, &next.payload[..], next.observe), (Type::Confirmable, &b"3"[..], Some(4)));
}

#[test]
fn an_observer_of_several_topics_gets_each_message_up_to_a_bound() {
    let mut bench = Bench::new(LOCAL);
    let observer = bench.observe(&get_with(1, OptionNumber::OBSERVE, 0), false).expect("room");
    bench.sent();
    let notified: Vec<_> = (0..20_u8).map(|n| bench.notify(observer, &[n], true)).collect();
    assert_eq!(notified.iter().filter(|it| **it == Notified::Queued).count(), 16);
    assert_eq!(notified.iter().filter(|it| **it == Notified::Replaced).count(), 3);
    let mut seen = Vec::new();
    while let Some(sent) = bench.sent().pop() {
        seen.push(sent.payload[0]);
        bench.handled(&empty(Type::Acknowledgement, sent.id));
    }
    assert_eq!(seen, [&[0][..], &(4..20).collect::<Vec<u8>>()].concat());
}

// RFC7252-4.2-5 RFC7641-4.5-1
#[test]
fn an_observer_that_acknowledges_nothing_is_given_up_with_all_its_peer_observes() {
    let mut bench = Bench::new(LOCAL);
    let observer = bench.observe(&get_with(1, OptionNumber::OBSERVE, 0), true).expect("room");
    bench.sent();
    bench.notify(observer, b"x", true);
    let mut sent = bench.sent().len();
    while let Some(due) = bench.endpoint.next_timeout() {
        bench.endpoint.handle_timeout(due);
        sent += bench.sent().len();
        bench.now_ms = due;
    }
    assert_eq!((sent, bench.gone()), (5, vec![(observer, GoneReason::Timeout)]));
    assert!((63_000..=94_000).contains(&bench.now_ms), "MAX_TRANSMIT_WAIT: {}", bench.now_ms);
}

// RFC7641-4.5-2
#[test]
fn a_silent_observer_is_asked_to_confirm_from_time_to_time() {
    let mut bench = Bench::new(LOCAL);
    let observer = bench.observe(&get_with(1, OptionNumber::OBSERVE, 0), true).expect("room");
    bench.sent();
    bench.now_ms += 300_000;
    bench.notify(observer, b"x", false);
    let asked = bench.only();
    assert_eq!(asked.kind, Type::Confirmable);
    bench.handled(&empty(Type::Acknowledgement, asked.id));
    bench.notify(observer, b"y", false);
    assert_eq!(bench.only().kind, Type::NonConfirmable);
}

// RFC7641-4.1-2
#[test]
fn observations_are_bounded_per_peer_and_in_all() {
    let mut bench = Bench::new(LOCAL);
    let mut register = |peer: &str, token: u8| {
        bench.peer = peer.parse().expect("address");
        let mut request = get_with(u16::from(token), OptionNumber::OBSERVE, 0);
        request[4] = token;
        let observed = bench.observe(&request, true).is_some();
        assert_eq!(bench.only().observe.is_some(), observed, "a plain answer tells that there is no room");
        observed
    };
    assert!(register("127.0.0.1:1", 1) && register("127.0.0.1:1", 2) && !register("127.0.0.1:1", 3));
    assert!(register("127.0.0.1:2", 4) && !register("127.0.0.1:3", 5));
}

// RFC7641-4.2-1
#[test]
fn an_error_ends_an_observation() {
    let mut bench = Bench::new(LOCAL);
    let observer = bench.observe(&get_with(1, OptionNumber::OBSERVE, 0), true).expect("room");
    bench.sent();
    let gone = Notification {
        code: Code::NOT_FOUND,
        options: &OptionList::new(),
        payload: b"",
        confirmable: false,
        counts: false,
    };
    assert_eq!(bench.endpoint.notify(bench.now_ms, observer, &gone), Notified::Sent);
    assert_eq!((bench.only().observe, bench.gone()), (None, vec![(observer, GoneReason::Error)]));
}

// RFC7959-2.4-2 RFC7959-2.4-3
#[test]
fn a_large_body_is_fetched_block_by_block() {
    let body: Vec<u8> = (0..2_500_u32).map(|n| n as u8).collect();
    let mut bench = Bench::new(LOCAL);
    let (mut fetched, mut num) = (Vec::new(), 0);
    loop {
        let block = Block { num, more: false, szx: 5 };
        let request = get_with(num as u16, OptionNumber::BLOCK2, block.to_uint());
        let exchange = bench.request(&request).exchange;
        bench.reply(&exchange, &body);
        let sent = bench.only();
        let block = sent.block2.expect("a block");
        assert_eq!((block.num, block.szx), (num, 5));
        fetched.extend(sent.payload);
        num += 1;
        if !block.more {
            break;
        }
    }
    assert_eq!(fetched, body);
    let request = get_with(99, OptionNumber::BLOCK2, Block { num: 99, more: false, szx: 5 }.to_uint());
    let exchange = bench.request(&request).exchange;
    bench.reply(&exchange, &body);
    assert_eq!(bench.only().code, Code::BAD_REQUEST);
}

fn upload(id: u16, block: Block, payload: &[u8]) -> Vec<u8> {
    datagram(Type::Confirmable, Code::PUT, id, |options| {
        options.push_uint(OptionNumber::BLOCK1, block.to_uint());
        payload
    })
}

// RFC7959-2.3-1 RFC7959-2.3-2 RFC7959-2.5-1
#[test]
fn an_upload_is_joined_from_its_blocks_and_only_in_order() {
    let mut bench = Bench::new(LOCAL);
    let block = |num, more| Block { num, more, szx: 2 };
    assert_eq!(bench.handled(&upload(1, block(0, true), &[1; 64])), Some(Handled::Block));
    let sent = bench.only();
    assert_eq!((sent.code, sent.block1), (Code::CONTINUE, Some(block(0, true))));
    assert_eq!(bench.handled(&upload(2, block(1, true), &[2; 64])), Some(Handled::Block));
    let last = upload(3, block(2, false), &[3; 10]);
    bench.sent();
    let request = bench.request(&last);
    assert_eq!(request.body(), [&[1; 64][..], &[2; 64], &[3; 10]].concat());
    let exchange = request.exchange;
    bench.endpoint.reply(bench.now_ms, &exchange, &Reply::new(Code::CHANGED, &OptionList::new(), b""));
    assert_eq!(bench.only().block1, Some(block(2, false)));
    let refused = Some(Handled::Refused(Code::REQUEST_ENTITY_INCOMPLETE));
    assert_eq!(bench.handled(&upload(4, block(5, true), &[2; 64])), refused);
    for (id, last) in [(5, block(0, true)), (6, block(0, false))] {
        let len = if last.more { 63 } else { 65 };
        assert_eq!(bench.handled(&upload(id, last, &vec![2; len])), Some(Handled::Refused(Code::BAD_REQUEST)));
    }
}

// RFC7959-2.9-2
#[test]
fn an_upload_that_grows_beyond_the_limit_is_refused() {
    let mut bench = Bench::new(LOCAL);
    let block = |num| Block { num, more: true, szx: 6 };
    for num in 0..3 {
        assert_eq!(bench.handled(&upload(num as u16, block(num), &[0; 1_024])), Some(Handled::Block));
    }
    let refused = Some(Handled::Refused(Code::REQUEST_ENTITY_TOO_LARGE));
    assert_eq!(bench.handled(&upload(9, block(3), &[0; 1_024])), refused);
    let announced = datagram(Type::Confirmable, Code::PUT, 10, |options| {
        options.push_uint(OptionNumber::BLOCK1, block(0).to_uint()).push_uint(OptionNumber::SIZE1, 1 << 30);
        &[0; 1_024]
    });
    assert_eq!(bench.handled(&announced), refused);
}

// RFC7252-4.7-2 RFC9175-2.3-1 RFC9175-2.4-1
#[test]
fn an_answer_to_an_address_that_is_not_proven_stays_small() {
    let mut bench = Bench::new(REMOTE);
    let request = get(1);
    let exchange = bench.request(&request).exchange;
    bench.reply(&exchange, &[7; 1_000]);
    let small = bench.only();
    assert!(small.len <= 256 && small.block2.is_some_and(|block| block.more), "{small:?}");
    let echo = small.echo.expect("what proves the address");
    let proof = datagram(Type::Confirmable, Code::GET, 2, |options| {
        options.push(OptionNumber::ECHO, &echo);
        b""
    });
    let exchange = bench.request(&proof).exchange;
    bench.reply(&exchange, &[7; 1_000]);
    assert_eq!(bench.only().payload.len(), 1_000);
    let later = get(3);
    assert!(bench.request(&later).exchange.proven, "it stays proven for a while");
}

// RFC9175-2.4-1
#[test]
fn options_that_alone_are_too_large_for_such_an_address_ask_for_a_proof() {
    let mut bench = Bench::new(REMOTE);
    let request = get(1);
    let exchange = bench.request(&request).exchange;
    let mut options = OptionList::new();
    options.push(OptionNumber::LOCATION_PATH, &[b'a'; 250]);
    bench.endpoint.reply(bench.now_ms, &exchange, &Reply::new(Code::CONTENT, &options, b"x"));
    let sent = bench.only();
    assert_eq!((sent.code, sent.echo.is_some(), sent.len <= 256), (Code::UNAUTHORIZED, true, true));
}

// RFC7252-4.7-2
#[test]
fn an_observer_that_is_not_proven_gets_one_message_until_it_acknowledges() {
    let mut bench = Bench::new(REMOTE);
    let observer = bench.observe(&get_with(1, OptionNumber::OBSERVE, 0), true).expect("room");
    bench.sent();
    assert_eq!(bench.notify(observer, &[1; 1_000], false), Notified::Sent);
    let first = bench.only();
    assert!(first.kind == Type::Confirmable && first.len <= 256, "{first:?}");
    for _ in 0..50 {
        bench.notify(observer, b"more", false);
    }
    assert!(bench.sent().is_empty());
    bench.handled(&empty(Type::Acknowledgement, first.id));
    let next = bench.only();
    bench.handled(&empty(Type::Acknowledgement, next.id));
    bench.notify(observer, &[2; 1_000], false);
    let free = bench.only();
    assert_eq!((free.kind, free.payload.len()), (Type::NonConfirmable, 1_000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn hostile_datagrams_never_panic_and_are_never_answered_at_length(
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..40),
    ) {
        let mut bench = Bench::new(REMOTE);
        for mut datagram in datagrams {
            if datagram.len() > 4 {
                datagram[0] = datagram[0] & 0x38 | 0x40;
                datagram[1] %= 8;
            }
            bench.now_ms += 10;
            if let Event::Request(request) = bench.arrive(&datagram) {
                let observer = match request.exchange.observe {
                    Observe::Register => bench.endpoint.observe(bench.now_ms, &request.exchange, true),
                    Observe::No => None,
                };
                let none = OptionList::new();
                let reply = Reply { observer, ..Reply::new(Code::CONTENT, &none, &[0; 600]) };
                bench.endpoint.reply(bench.now_ms, &request.exchange, &reply);
            }
            for sent in bench.sent() {
                prop_assert!(sent.len <= 256.max(3 * datagram.len()));
            }
            while bench.endpoint.poll_gone().is_some() {}
        }
    }
}
