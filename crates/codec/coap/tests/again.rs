//! What comes again, comes late or continues what was before: blocks, registrations, resets.

use std::collections::HashSet;
use std::net::SocketAddr;

use tidegate_coap::{
    Arrival, Block, Code, Endpoint, EndpointConfig, Event, Handled, Head, Message, Notification, ObserverId,
    OptionList, OptionNumber, Reply, Token, Type, encode,
};

struct Bench {
    endpoint: Endpoint,
    id: u16,
}

/// An answer: its code, its own id, Observe and the block of its payload.
type Answer = (Code, u16, Option<u32>, Option<Block>);

impl Bench {
    fn new() -> Bench {
        Bench { endpoint: Endpoint::new(EndpointConfig::default()), id: 0 }
    }

    fn peer() -> SocketAddr {
        "127.0.0.1:5000".parse().expect("address")
    }

    /// Sends a request in a message of its own; the body that it completes, and what is answered.
    fn ask(&mut self, code: Code, options: &[(u16, &[u8])], payload: &[u8]) -> (Option<Vec<u8>>, Vec<Answer>) {
        self.id += 1;
        let datagram = message((Type::Confirmable, code, self.id), options, payload);
        let arrival = Arrival { now_ms: 1_000, peer: Self::peer(), trusted: false };
        let mut upload = None;
        if let Event::Request(request) = self.endpoint.handle_datagram(&arrival, &datagram) {
            upload = Some(request.body().to_vec());
            let (exchange, none) = (request.exchange, OptionList::new());
            let observer = (request.message.observe() == Some(0)).then(|| self.observe(&exchange)).flatten();
            let reply = Reply { observer, ..Reply::new(Code::CONTENT, &none, &[b'x'; 100]) };
            self.endpoint.reply(1_000, &exchange, &reply);
        }
        (upload, self.sent())
    }

    fn observe(&mut self, exchange: &tidegate_coap::Exchange) -> Option<ObserverId> {
        self.endpoint.observe(1_000, exchange, true)
    }

    fn handled(&mut self, datagram: &[u8]) -> bool {
        let arrival = Arrival { now_ms: 1_000, peer: Self::peer(), trusted: false };
        matches!(self.endpoint.handle_datagram(&arrival, datagram), Event::Handled(Handled::Ignored(_)))
    }

    fn notify(&mut self, observer: ObserverId) -> Vec<Answer> {
        let none = OptionList::new();
        let (code, payload) = (Code::CONTENT, &b"state"[..]);
        let notification = Notification { code, options: &none, payload, confirmable: false, counts: false };
        self.endpoint.notify(1_000, observer, &notification);
        self.sent()
    }

    fn sent(&mut self) -> Vec<Answer> {
        let outbox = self.endpoint.outbox();
        let read = |(_, bytes): (SocketAddr, &[u8])| {
            let message = Message::decode(bytes, 64).expect("what we send is valid");
            let block = message.block(OptionNumber::BLOCK2).flatten();
            (message.code, message.message_id, message.observe(), block)
        };
        let sent = outbox.iter().map(read).collect();
        outbox.clear();
        sent
    }
}

fn message((kind, code, message_id): (Type, Code, u16), options: &[(u16, &[u8])], payload: &[u8]) -> Vec<u8> {
    let mut list = OptionList::new();
    for (number, value) in options {
        list.push(*number, value);
    }
    let mut out = Vec::new();
    let head = Head { kind, code, message_id, token: Token::new(b"t").expect("short") };
    encode(&mut out, &head, [&list, &OptionList::new()], payload);
    out
}

fn block(num: u8, more: bool) -> [u8; 1] {
    [num << 4 | u8::from(more) << 3]
}

// RFC7959-3.3-1
#[test]
fn the_last_block_of_a_request_may_say_how_its_answer_is_cut_and_what_no_cache_knows_tells_no_bodies_apart() {
    let mut bench = Bench::new();
    let first =
        bench.ask(Code::POST, &[(OptionNumber::BLOCK1, &block(0, true)), (OptionNumber::SIZE1, &[20])], &[1; 16]);
    assert_eq!((first.0, first.1[0].0), (None, Code::CONTINUE));
    let others: [(u16, &[u8]); 4] = [
        (OptionNumber::BLOCK1, &block(1, false)),
        (OptionNumber::BLOCK2, &[1]),
        (OptionNumber::SIZE2, &[]),
        (252, b"e"),
    ];
    let (upload, answers) = bench.ask(Code::POST, &others, &[2; 4]);
    assert_eq!(upload, Some([vec![1; 16], vec![2; 4]].concat()));
    assert_eq!(answers[0].3, Some(Block { num: 0, more: true, szx: 1 }));
}

// RFC7959-2.5-1 RFC7959-2.5-3
#[test]
fn a_block_that_comes_again_is_taken_once_and_one_that_does_not_follow_spoils_nothing() {
    let mut bench = Bench::new();
    let mut put = |num: u8, more: bool, with: u8, len: usize| {
        let (upload, answers) = bench.ask(Code::PUT, &[(OptionNumber::BLOCK1, &block(num, more))], &vec![with; len]);
        (upload.map(|body| body.len()), answers[0].0)
    };
    assert_eq!(put(0, true, 1, 16), (None, Code::CONTINUE));
    for _ in 0..2 {
        assert_eq!(put(1, true, 2, 16), (None, Code::CONTINUE), "in another message: its 2.31 was lost");
    }
    for (num, with) in [(1, 9), (3, 4), (5, 6)] {
        assert_eq!(put(num, true, with, 16), (None, Code::REQUEST_ENTITY_INCOMPLETE), "another one, or out of order");
    }
    assert_eq!(put(2, false, 3, 7), (Some(39), Code::CONTENT));
    assert_eq!(put(2, false, 3, 7).1, Code::REQUEST_ENTITY_INCOMPLETE, "it is over");
}

// RFC7641-4.4-1
#[test]
fn the_numbers_of_a_token_go_on_when_it_is_registered_again() {
    let mut bench = Bench::new();
    let mut numbers = Vec::new();
    for _ in 0..3 {
        let (_, answers) = bench.ask(Code::GET, &[(OptionNumber::OBSERVE, b"")], b"");
        numbers.extend(answers[0].2);
        let observer = bench.endpoint.observers_of(Bench::peer())[0];
        numbers.extend(bench.notify(observer)[0].2);
    }
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]) && numbers.len() == 6, "{numbers:?}");
}

// RFC7252-4.2-2 RFC7252-4.2-3
#[test]
fn a_reset_with_something_in_it_and_an_acknowledgement_that_asks_settle_nothing() {
    let mut bench = Bench::new();
    bench.ask(Code::GET, &[(OptionNumber::OBSERVE, b"")], b"");
    let observer = bench.endpoint.observers_of(Bench::peer())[0];
    let id = bench.notify(observer)[0].1;
    for (kind, code) in [
        (Type::Reset, Code::CONTENT),
        (Type::Reset, Code::GET),
        (Type::Acknowledgement, Code::GET),
        (Type::Acknowledgement, Code::new(7, 1)),
    ] {
        assert!(bench.handled(&message((kind, code, id), &[], b"")), "{kind:?} {code}");
    }
    assert_eq!(bench.notify(observer).len(), 1, "it observes on");
}

// RFC7252-4.4-2
#[test]
fn ids_of_separate_responses_do_not_come_again_however_many_there_are() {
    let mut bench = Bench::new();
    let mut given = HashSet::new();
    for id in 0..5_000 {
        let datagram = message((Type::Confirmable, Code::GET, id), &[], b"");
        let arrival = Arrival { now_ms: 1_000, peer: Bench::peer(), trusted: false };
        let Event::Request(request) = bench.endpoint.handle_datagram(&arrival, &datagram) else {
            unreachable!("a request")
        };
        let mut exchange = request.exchange;
        bench.endpoint.accept(&mut exchange);
        bench.sent();
        bench.endpoint.reply(1_000, &exchange, &Reply::new(Code::CONTENT, &OptionList::new(), b"late"));
        let own = bench.sent()[0].1;
        assert!(given.insert(own), "{own} after {id}");
        let mut ack = Vec::new();
        tidegate_coap::encode_empty(&mut ack, Type::Acknowledgement, own);
        bench.handled(&ack);
    }
}
