//! Statements of the specifications by number, as docs/coap-conformance.md has them; the
//! numbers are the project's own.

use std::net::SocketAddr;

use tidegate_coap::{
    Arrival, Block, Code, Endpoint, EndpointConfig, Event, Failure, Handled, Head, Message, Notification, OptionList,
    OptionNumber, Reply, Request, Requester, RequesterConfig, Token, Type, encode,
};
use tidegate_message::Limits;

const PEER: &str = "127.0.0.1:5000";

/// A message as it came out.
#[derive(Debug)]
struct Sent {
    kind: Type,
    code: Code,
    id: u16,
    token: Vec<u8>,
    options: Vec<(u16, Vec<u8>)>,
    payload: Vec<u8>,
}

impl Sent {
    fn read(datagram: &[u8]) -> Sent {
        let message = Message::decode(datagram, 64).expect("what we send is valid");
        Sent {
            kind: message.kind,
            code: message.code,
            id: message.message_id,
            token: message.token.as_bytes().to_vec(),
            options: message.options().map(|option| (option.number, option.value.to_vec())).collect(),
            payload: message.payload.to_vec(),
        }
    }

    fn option(&self, number: u16) -> Option<&[u8]> {
        self.options.iter().find(|(own, _)| *own == number).map(|(_, value)| &value[..])
    }
}

fn message(kind: Type, code: Code, id: u16, options: &[(u16, &[u8])], payload: &[u8]) -> Vec<u8> {
    let mut list = OptionList::new();
    options.iter().for_each(|(number, value)| {
        list.push(*number, value);
    });
    let head = Head { kind, code, message_id: id, token: Token::new(b"\0tk").expect("short") };
    let mut out = Vec::new();
    encode(&mut out, &head, [&list, &OptionList::new()], payload);
    out
}

struct Server(Endpoint);

impl Server {
    fn new() -> Server {
        let limits = Limits { body_collected: 4_000, ..Limits::default() };
        Server(Endpoint::new(EndpointConfig { limits, dedup_entries: 64, ..EndpointConfig::default() }))
    }

    fn arrive<'a>(&mut self, datagram: &'a [u8]) -> Event<'a> {
        let peer: SocketAddr = PEER.parse().expect("address");
        self.0.handle_datagram(&Arrival { now_ms: 1_000, peer, trusted: false }, datagram)
    }

    fn request<'a>(&mut self, datagram: &'a [u8]) -> Request<'a> {
        match self.arrive(datagram) {
            Event::Request(request) => request,
            other => unreachable!("not a request: {other:?}"),
        }
    }

    fn sent(&mut self) -> Vec<Sent> {
        let sent = self.0.outbox().iter().map(|(_, datagram)| Sent::read(datagram)).collect();
        self.0.outbox().clear();
        sent
    }

    /// What a datagram is answered with before anybody is asked.
    fn refusal(datagram: &[u8]) -> Option<Sent> {
        let mut server = Server::new();
        match server.arrive(datagram) {
            Event::Handled(_) => server.sent().pop(),
            _ => None,
        }
    }
}

fn get(id: u16, options: &[(u16, &[u8])]) -> Vec<u8> {
    message(Type::Confirmable, Code::GET, id, options, b"")
}

// RFC7252-4.2-1 RFC7252-4.2-3 RFC7252-4.3-3
#[test]
fn codes_of_reserved_classes_are_reset_or_passed_over() {
    for class in [1, 6, 7] {
        let reset = Server::refusal(&message(Type::Confirmable, Code::new(class, 1), 9, &[], b"")).expect("a reset");
        assert_eq!((reset.kind, reset.code, reset.id, reset.options.len()), (Type::Reset, Code::EMPTY, 9, 0));
        assert!(Server::refusal(&message(Type::NonConfirmable, Code::new(class, 1), 9, &[], b"")).is_none());
    }
}

// RFC7252-4.2-4
#[test]
fn no_acknowledgement_and_no_reset_is_ever_answered() {
    for kind in [Type::Acknowledgement, Type::Reset] {
        for code in [Code::EMPTY, Code::GET, Code::CONTENT, Code::new(7, 1)] {
            let mut datagram = message(kind, code, 9, &[], b"");
            if code == Code::EMPTY {
                datagram = vec![0x40 | (kind as u8) << 4, 0, 0, 9];
            }
            assert!(Server::refusal(&datagram).is_none(), "{kind:?} {code}");
        }
    }
    assert!(Server::refusal(b"\x69\x01\x00\x01").is_none(), "a malformed one neither");
}

// RFC7252-3.2-2
#[test]
fn numbers_may_have_leading_zeros() {
    let datagram = get(1, &[(OptionNumber::ACCEPT, &[0, 50]), (OptionNumber::OBSERVE, &[0, 0, 0])]);
    let read = Message::decode(&datagram, 64).expect("valid");
    assert_eq!((read.accept(), read.observe(), read.bad_option()), (Some(50), Some(0), None));
}

// RFC7252-3.2-1
#[test]
fn numbers_are_written_in_as_few_bytes_as_they_need() {
    let mut options = OptionList::new();
    for value in [0, 1, 255, 256, 65_536, u32::MAX] {
        options.push_uint(OptionNumber::SIZE1, value);
    }
    let lengths: Vec<usize> = options.iter().map(|(_, value)| value.len()).collect();
    assert_eq!(lengths, [0, 1, 1, 2, 3, 4]);
}

// RFC7252-5.3.1-1 RFC7252-5.3.1-3
#[test]
fn a_token_comes_back_byte_for_byte() {
    for token in [&b""[..], b"\0", b"\0\0\0\0\0\0\0\0", b"\xff\xfe"] {
        let head = Head {
            kind: Type::NonConfirmable,
            code: Code::GET,
            message_id: 3,
            token: Token::new(token).expect("short"),
        };
        let mut datagram = Vec::new();
        encode(&mut datagram, &head, [&OptionList::new(), &OptionList::new()], b"");
        let mut server = Server::new();
        let exchange = server.request(&datagram).exchange;
        server.0.reply(1_000, &exchange, &Reply::new(Code::CONTENT, &OptionList::new(), b"x"));
        assert_eq!(server.sent().pop().expect("an answer").token, token);
    }
}

// RFC7252-5.2.2-1 RFC7252-5.2.2-2 RFC7252-4.2-6
#[test]
fn once_accepted_a_request_is_acknowledged_emptily_for_ever() {
    let mut server = Server::new();
    let datagram = get(5, &[]);
    let mut exchange = server.request(&datagram).exchange;
    server.0.accept(&mut exchange);
    server.0.reply(1_000, &exchange, &Reply::new(Code::CONTENT, &OptionList::new(), b"late"));
    let sent = server.sent();
    assert_eq!(
        sent.iter().map(|own| (own.kind, own.code)).collect::<Vec<_>>(),
        [(Type::Acknowledgement, Code::EMPTY), (Type::Confirmable, Code::CONTENT)]
    );
    // Its answer was acknowledged, which says nothing about whether our acknowledgement came.
    server.arrive(&[0x60, 0, (sent[1].id >> 8) as u8, sent[1].id as u8]);
    assert!(matches!(server.arrive(&datagram), Event::Handled(Handled::Duplicate)));
    let again = server.sent().pop().expect("an acknowledgement");
    assert_eq!((again.kind, again.code, again.id), (Type::Acknowledgement, Code::EMPTY, 5));
}

// RFC7252-5.2.2-4
#[test]
fn any_acknowledgement_or_reset_ends_the_retransmission_of_a_response() {
    for ack in [&b"\x60\x00"[..], b"\x60\x45", b"\x70\x00"] {
        let mut server = Server::new();
        let datagram = get(5, &[]);
        let mut exchange = server.request(&datagram).exchange;
        server.0.accept(&mut exchange);
        server.0.reply(1_000, &exchange, &Reply::new(Code::CONTENT, &OptionList::new(), b"late"));
        let id = server.sent().pop().expect("a response").id;
        assert!(server.0.next_timeout().is_some());
        server.arrive(&[ack, &id.to_be_bytes()].concat());
        server.0.handle_timeout(u64::MAX / 2);
        assert!(server.sent().is_empty() && server.0.next_timeout().is_none(), "{ack:?}");
    }
}

// RFC7252-5.4.1-1 RFC7252-5.4.1-2 RFC7252-5.4.1-3 RFC7252-5.4.1-5 RFC7252-5.5.2-1 RFC7252-5.9.2-1
#[test]
fn unknown_options_are_ignored_or_named() {
    let mut server = Server::new();
    let elective = get(1, &[(2_050, b"x"), (65_002, b"")]);
    assert!(matches!(server.arrive(&elective), Event::Request(_)));
    let refused = Server::refusal(&get(2, &[(2_051, b"x")])).expect("an answer");
    assert_eq!((refused.code, &refused.payload[..]), (Code::BAD_OPTION, &b"option 2051"[..]));
    assert!(Server::refusal(&message(Type::NonConfirmable, Code::GET, 3, &[(2_051, b"x")], b"")).is_none());
    // One that is safe to forward is whoever's it is passed on to, so that only who takes it rejects it.
    assert_eq!(server.request(&get(4, &[(2_049, b"x")])).message.bad_option(), Some(2_049));
}

// RFC7252-5.4.3-1 RFC7252-5.4.5-2
#[test]
fn an_option_of_a_wrong_length_or_too_often_is_an_unknown_one() {
    for (number, value) in [
        (OptionNumber::OBSERVE, &[0, 0, 0, 0][..]),
        (OptionNumber::MAX_AGE, &[0, 0, 0, 0, 9]),
        (OptionNumber::CONTENT_FORMAT, &[0, 0, 50]),
        (OptionNumber::NO_RESPONSE, &[0, 26]),
    ] {
        let datagram = message(Type::Confirmable, Code::PUT, 1, &[(number, value)], b"x");
        let read = Message::decode(&datagram, 64).expect("valid");
        assert_eq!((read.uint(number), read.bad_option()), (None, None), "{number} is elective");
    }
    for (number, value) in
        [(OptionNumber::ACCEPT, &[0, 0, 50][..]), (OptionNumber::URI_HOST, b""), (OptionNumber::IF_NONE_MATCH, b"x")]
    {
        assert_eq!(Server::refusal(&get(1, &[(number, value)])).expect("an answer").code, Code::BAD_OPTION);
    }
    let twice = get(1, &[(OptionNumber::MAX_AGE, &[9]), (OptionNumber::MAX_AGE, &[7])]);
    assert_eq!(Message::decode(&twice, 64).expect("valid").uint(OptionNumber::MAX_AGE), Some(9));
    let twice = get(1, &[(OptionNumber::URI_PORT, &[9]), (OptionNumber::URI_PORT, &[9])]);
    assert_eq!(Server::refusal(&twice).expect("an answer").code, Code::BAD_OPTION);
}

// RFC7252-5.8-1
#[test]
fn an_unknown_method_is_4_05_in_the_acknowledgement() {
    for detail in [8, 15, 31] {
        let refused =
            Server::refusal(&message(Type::Confirmable, Code::new(0, detail), 4, &[], b"")).expect("an answer");
        assert_eq!((refused.kind, refused.code, refused.id), (Type::Acknowledgement, Code::METHOD_NOT_ALLOWED, 4));
    }
}

// RFC7252-5.9.2-2 RFC7959-2.9-1 RFC7959-2.9-3
#[test]
fn what_is_too_large_is_told_how_much_may_come() {
    let block = Block { num: 0, more: true, szx: 6 }.to_uint().to_be_bytes();
    let options: &[(u16, &[u8])] = &[(OptionNumber::BLOCK1, &block[3..]), (OptionNumber::SIZE1, &[255, 255])];
    for datagram in [
        message(Type::Confirmable, Code::PUT, 1, options, &[0; 1_024]),
        message(Type::Confirmable, Code::PUT, 1, &[], &[0; 1_500]),
    ] {
        let refused = Server::refusal(&datagram).expect("an answer");
        assert_eq!(refused.code, Code::REQUEST_ENTITY_TOO_LARGE);
        assert_eq!(refused.option(OptionNumber::SIZE1), Some(&4_000_u16.to_be_bytes()[..]));
        // RFC 7959 section 2.9.3: in blocks of that size.
        let block = Block::decode(refused.option(OptionNumber::BLOCK1).expect("a hint"));
        assert_eq!(block, Some(Block { num: 0, more: false, szx: 6 }));
    }
}

// RFC7252-5.10.6-1 RFC7252-5.10.6-2
#[test]
fn a_tag_that_the_representation_has_stays_and_validates() {
    let tag = b"theirs";
    let asked = |value: &'static [u8]| {
        let mut server = Server::new();
        let datagram = get(1, &[(OptionNumber::ETAG, b"other"), (OptionNumber::ETAG, value)]);
        let exchange = server.request(&datagram).exchange;
        let mut options = OptionList::new();
        options.push(OptionNumber::ETAG, tag);
        server.0.reply(1_000, &exchange, &Reply::new(Code::CONTENT, &options, b"21.5"));
        server.sent().pop().expect("an answer")
    };
    for (value, code) in [(&tag[..], Code::VALID), (b"their", Code::CONTENT), (b"", Code::CONTENT)] {
        let answer = asked(value);
        assert_eq!((answer.code, answer.option(OptionNumber::ETAG)), (code, Some(&tag[..])));
    }
}

// RFC7959-2.1-2
#[test]
fn a_block_option_twice_is_a_bad_option() {
    for number in [OptionNumber::BLOCK1, OptionNumber::BLOCK2] {
        let refused = Server::refusal(&get(1, &[(number, &[2]), (number, &[2])])).expect("an answer");
        assert_eq!(refused.code, Code::BAD_OPTION);
    }
}

// RFC7959-2.2-1 RFC7959-2.4-1
#[test]
fn more_means_nothing_where_a_block_is_asked_for() {
    for more in [false, true] {
        let mut server = Server::new();
        let asked = Block { num: 1, more, szx: 1 }.to_uint() as u8;
        let datagram = get(1, &[(OptionNumber::BLOCK2, &[asked])]);
        let exchange = server.request(&datagram).exchange;
        server.0.reply(1_000, &exchange, &Reply::new(Code::CONTENT, &OptionList::new(), &[[1; 32], [2; 32]].concat()));
        let sent = server.sent().pop().expect("an answer");
        assert_eq!(sent.payload, [2; 32]);
        assert_eq!(sent.option(OptionNumber::BLOCK2), Some(&[0x11][..]), "the last one");
    }
}

fn put_block(id: u16, (num, more): (u32, bool), others: &[(u16, &[u8])]) -> Vec<u8> {
    let block = [Block { num, more, szx: 0 }.to_uint() as u8];
    let mut options = others.to_vec();
    options.push((OptionNumber::BLOCK1, &block));
    message(Type::Confirmable, Code::PUT, id, &options, &[num as u8; 16])
}

// RFC7959-2.3-6 RFC9175-3.4-1
#[test]
fn blocks_of_another_format_or_another_tag_are_not_joined() {
    for (first, second) in [
        ((OptionNumber::CONTENT_FORMAT, &[50][..]), (OptionNumber::CONTENT_FORMAT, &[60][..])),
        ((OptionNumber::REQUEST_TAG, b"a"), (OptionNumber::REQUEST_TAG, b"b")),
    ] {
        let mut server = Server::new();
        server.arrive(&put_block(1, (0, true), &[first]));
        assert_eq!(server.sent().pop().expect("an answer").code, Code::CONTINUE);
        server.arrive(&put_block(2, (1, false), &[second]));
        assert_eq!(server.sent().pop().expect("an answer").code, Code::REQUEST_ENTITY_INCOMPLETE);
        let last = put_block(3, (1, false), &[first]);
        assert_eq!(server.request(&last).body().len(), 32, "the first body goes on");
    }
}

// RFC7959-2.10-1
#[test]
fn if_none_match_stands_with_the_first_block_only_and_counts_for_all() {
    for condition in [false, true] {
        let mut server = Server::new();
        let first: &[(u16, &[u8])] = if condition { &[(OptionNumber::IF_NONE_MATCH, b"")] } else { &[] };
        server.arrive(&put_block(1, (0, true), first));
        let last = put_block(2, (1, false), &[]);
        let request = server.request(&last);
        assert_eq!((request.body().len(), request.exchange.if_none_match), (32, condition));
    }
    let mut client = client();
    let mut options = OptionList::new();
    options.push(OptionNumber::IF_NONE_MATCH, b"");
    client.request(0, 1, (Code::PUT, options, vec![0; 1_500]));
    let mut seen = Vec::new();
    for num in 0..2 {
        let sent = Sent::read(&client.poll_output().expect("a block"));
        seen.push(sent.option(OptionNumber::IF_NONE_MATCH).is_some());
        let block = [Block { num, more: true, szx: 6 }.to_uint() as u8];
        client.handle_datagram(0, &respond(&sent, Code::CONTINUE, &[(OptionNumber::BLOCK1, &block)]));
    }
    assert_eq!(seen, [true, false]);
}

fn client() -> Requester {
    Requester::new(RequesterConfig {
        ack_timeout_ms: 1_000,
        max_retransmit: 4,
        nstart: 1,
        max_body: 10_000,
        max_options: 64,
        seed: 77,
    })
}

fn respond(sent: &Sent, code: Code, options: &[(u16, &[u8])]) -> Vec<u8> {
    respond_as(Type::Acknowledgement, sent.id, sent, code, options)
}

fn respond_as(kind: Type, id: u16, sent: &Sent, code: Code, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut list = OptionList::new();
    options.iter().for_each(|(number, value)| {
        list.push(*number, value);
    });
    let head = Head { kind, code, message_id: id, token: Token::new(&sent.token).expect("short") };
    let mut out = Vec::new();
    encode(&mut out, &head, [&list, &OptionList::new()], b"");
    out
}

// RFC7252-5.4.1-4 RFC7252-5.7.1-7
#[test]
fn a_response_that_cannot_be_understood_is_rejected_and_is_no_answer() {
    // Critical and unknown, elective and unsafe, known and malformed.
    for (number, value) in [(2_051, &b"x"[..]), (2_050, b"x"), (OptionNumber::BLOCK2, &[0, 0, 0, 1])] {
        let mut client = client();
        client.request(0, 1, (Code::GET, OptionList::new(), Vec::new()));
        let sent = Sent::read(&client.poll_output().expect("a request"));
        client.handle_datagram(0, &respond_as(Type::Confirmable, 900, &sent, Code::CONTENT, &[(number, value)]));
        assert_eq!(client.poll_output(), Some(vec![0x70, 0, 3, 132]), "a reset");
        assert_eq!(client.poll_done().expect("done").1.err(), Some(Failure::Broken));
    }
}

// RFC7252-5.7.1-8
#[test]
fn what_is_unknown_and_safe_stays_with_the_answer() {
    let mut client = client();
    client.request(0, 1, (Code::GET, OptionList::new(), Vec::new()));
    let sent = Sent::read(&client.poll_output().expect("a request"));
    client.handle_datagram(0, &respond(&sent, Code::CONTENT, &[(2_048, b"a"), (2_049, b"b")]));
    let answer = client.poll_done().expect("done").1.expect("an answer");
    assert_eq!(answer.options.iter().collect::<Vec<_>>(), [(2_048, &b"a"[..]), (2_049, b"b")]);
}

// RFC7252-5.2.3-1 RFC7252-5.2.3-2 RFC7252-5.2.1-1
#[test]
fn an_answer_may_come_in_any_kind_of_message() {
    for kind in [Type::Acknowledgement, Type::Confirmable, Type::NonConfirmable] {
        let mut client = client();
        client.request(0, 1, (Code::GET, OptionList::new(), Vec::new()));
        let sent = Sent::read(&client.poll_output().expect("a request"));
        let id = if kind == Type::Acknowledgement { sent.id } else { 900 };
        client.handle_datagram(0, &respond_as(kind, id, &sent, Code::CONTENT, &[]));
        assert_eq!(client.poll_done().expect("done").1.expect("an answer").code, Code::CONTENT, "{kind:?}");
        // Section 5.2.2: the acknowledgement of a response is empty.
        let acknowledged = client.poll_output();
        assert_eq!(acknowledged, (kind == Type::Confirmable).then(|| vec![0x60, 0, 3, 132]));
    }
}

// RFC7252-4.4-2 RFC7252-5.3.1-2
#[test]
fn neither_message_ids_nor_tokens_come_again_soon() {
    let mut client = client();
    let (mut ids, mut tokens) = (std::collections::HashSet::new(), std::collections::HashSet::new());
    for id in 0..5_000 {
        client.request(0, id, (Code::GET, OptionList::new(), Vec::new()));
        let sent = Sent::read(&client.poll_output().expect("a request"));
        assert!(ids.insert(sent.id) && tokens.insert(sent.token.clone()));
        assert!(sent.token.len() >= 4, "32 bits of chance at least");
        client.handle_datagram(0, &respond(&sent, Code::CONTENT, &[]));
    }
}

fn tell(server: &mut Server, observer: tidegate_coap::ObserverId, format: Option<u32>) -> Sent {
    let mut options = OptionList::new();
    if let Some(format) = format {
        options.push_uint(OptionNumber::CONTENT_FORMAT, format);
    }
    let (code, payload) = (Code::CONTENT, &b"x"[..]);
    let notification = Notification { code, options: &options, payload, confirmable: false, counts: false };
    server.0.notify(1_000, observer, &notification);
    server.sent().pop().expect("a notification")
}

// RFC7641-4.2-3 RFC7641-4.2-4
#[test]
fn a_state_in_another_format_ends_an_observation_by_4_06() {
    for accept in [&[][..], &[(OptionNumber::ACCEPT, &[50][..])]] {
        let mut server = Server::new();
        let register = get(1, &[&[(OptionNumber::OBSERVE, &b""[..])], accept].concat());
        let exchange = server.request(&register).exchange;
        let observer = server.0.observe(1_000, &exchange, true).expect("room");
        let none = OptionList::new();
        let reply = Reply { observer: Some(observer), ..Reply::new(Code::CONTENT, &none, b"") };
        server.0.reply(1_000, &exchange, &reply);
        server.sent();
        for format in [None, Some(50), Some(50), None] {
            assert_eq!(tell(&mut server, observer, format).code, Code::CONTENT, "{format:?}");
        }
        let last = tell(&mut server, observer, Some(60));
        assert_eq!((last.code, last.option(OptionNumber::OBSERVE)), (Code::NOT_ACCEPTABLE, None));
        assert!(server.0.poll_gone().is_some());
    }
}

// RFC7641-2-1
#[test]
fn an_unknown_value_of_observe_is_no_observe() {
    let mut server = Server::new();
    let datagram = get(1, &[(OptionNumber::OBSERVE, &[2])]);
    assert_eq!(server.request(&datagram).exchange.observe, tidegate_coap::Observe::No);
    let put = message(Type::Confirmable, Code::PUT, 2, &[(OptionNumber::OBSERVE, b"")], b"x");
    assert_eq!(server.request(&put).exchange.observe, tidegate_coap::Observe::No, "nor is one of PUT");
}

// RFC7967-2-1 RFC7967-2-2 RFC7967-2-3
#[test]
fn no_response_means_the_classes_that_it_names() {
    for (value, wanted) in [
        (&[][..], [true, true, true]),
        (&[0], [true, true, true]),
        (&[2], [false, true, true]),
        (&[8], [true, false, true]),
        (&[16], [true, true, false]),
        (&[26], [false, false, false]),
        (&[1, 26], [true, true, true]),
    ] {
        for (code, wanted) in [Code::CHANGED, Code::NOT_FOUND, Code::BAD_GATEWAY].into_iter().zip(wanted) {
            let mut server = Server::new();
            let datagram = message(Type::NonConfirmable, Code::PUT, 1, &[(OptionNumber::NO_RESPONSE, value)], b"x");
            let exchange = server.request(&datagram).exchange;
            server.0.reply(1_000, &exchange, &Reply::new(code, &OptionList::new(), b""));
            assert_eq!(server.sent().len(), usize::from(wanted), "{value:?} {code}");
        }
    }
}
