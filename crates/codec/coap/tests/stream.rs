//! Streams (RFC 8323): what a peer sends as frames and what the endpoint answers.

use std::net::SocketAddr;

use tidegate_coap::{
    Arrival, Block, Code, Endpoint, EndpointConfig, Event, GoneReason, Message, Notification, Notified, OptionList,
    OptionNumber, Reply, Token, Transport, encode_frame, frame_len,
};
use tidegate_message::Limits;

const MAX_MESSAGE_SIZE: u16 = 2;
const BLOCK_WISE: u16 = 4;

struct Stream {
    endpoint: Endpoint,
    peer: SocketAddr,
}

struct Sent {
    code: Code,
    options: Vec<(u16, Vec<u8>)>,
    payload: Vec<u8>,
}

impl Sent {
    fn option(&self, number: u16) -> Option<&[u8]> {
        self.options.iter().find(|(own, _)| *own == number).map(|(_, value)| &**value)
    }

    fn block(&self, number: u16) -> Option<Block> {
        Block::decode(self.option(number)?)
    }
}

fn frame(code: Code, token: &[u8], options: &[(u16, &[u8])], payload: &[u8]) -> Vec<u8> {
    let mut list = OptionList::new();
    for (number, value) in options {
        list.push(*number, value);
    }
    let mut out = Vec::new();
    let head = (Transport::Tcp, code, Token::new(token).expect("short"));
    encode_frame(&mut out, head, [&list, &OptionList::new()], payload);
    out
}

impl Stream {
    /// A connection that has said nothing.
    fn silent() -> Stream {
        let limits = Limits { body_collected: 1 << 20, ..Limits::default() };
        let mut endpoint = Endpoint::new(EndpointConfig { limits, ..EndpointConfig::default() });
        let peer = SocketAddr::from(([192, 0, 2, 1], 5683));
        endpoint.open_stream(peer, Transport::Tcp);
        Stream { endpoint, peer }
    }

    /// One whose peer takes messages of that length, with blocks.
    fn open(max_message: u16) -> Stream {
        let mut stream = Stream::silent();
        let size = max_message.to_be_bytes();
        assert!(stream.handled(&frame(Code::CSM, b"", &[(MAX_MESSAGE_SIZE, &size), (BLOCK_WISE, b"")], b"")));
        stream.sent();
        stream
    }

    fn arrival(&self) -> Arrival {
        Arrival { now_ms: 1, peer: self.peer, trusted: false }
    }

    /// Whether a frame leaves the connection open.
    fn handled(&mut self, frame: &[u8]) -> bool {
        matches!(self.endpoint.handle_frame(&self.arrival(), frame), Event::Handled(_))
    }

    fn answer(&mut self, request: &[u8], payload: &[u8]) {
        let arrival = self.arrival();
        let Event::Request(request) = self.endpoint.handle_frame(&arrival, request) else { unreachable!("no request") };
        self.endpoint.reply(1, &request.exchange, &Reply::new(Code::CONTENT, &OptionList::new(), payload));
    }

    fn sent(&mut self) -> Vec<Sent> {
        let outbox = self.endpoint.outbox();
        let read = |frame: &[u8]| {
            assert_eq!(frame_len(frame), Some(frame.len()));
            let message = Message::decode_as(Transport::Tcp, frame, 64).expect("valid");
            let options = message.options().map(|option| (option.number, option.value.to_vec())).collect();
            Sent { code: message.code, options, payload: message.payload.to_vec() }
        };
        let sent = outbox.iter().map(|(_, frame)| read(frame)).collect();
        outbox.clear();
        sent
    }
}

// RFC8323-5.3-1
#[test]
fn both_sides_begin_with_their_capabilities() {
    let mut stream = Stream::silent();
    let [csm] = &stream.sent()[..] else { unreachable!("one message") };
    assert_eq!(csm.code, Code::CSM);
    assert!(csm.option(MAX_MESSAGE_SIZE).is_some() && csm.option(BLOCK_WISE).is_some());
    // Section 5.3: who begins with anything else is told so and cut off.
    assert!(!stream.handled(&frame(Code::GET, b"", &[], b"")));
    assert_eq!(stream.sent()[0].code, Code::ABORT);
}

// RFC8323-5.2-1 RFC8323-5.6-1
#[test]
fn a_critical_option_of_a_csm_that_is_unknown_is_named() {
    let mut stream = Stream::silent();
    stream.sent();
    assert!(!stream.handled(&frame(Code::CSM, b"", &[(9, b"")], b"")));
    let [abort] = &stream.sent()[..] else { unreachable!("one message") };
    assert_eq!((abort.code, abort.option(2)), (Code::ABORT, Some(&[9][..])));
    let mut stream = Stream::silent();
    assert!(stream.handled(&frame(Code::CSM, b"", &[(10, b"x")], b"")));
}

// RFC8323-3.4-1 RFC8323-5.4-1 RFC8323-5.6-1
#[test]
fn signals_are_answered_or_end_the_connection() {
    let mut stream = Stream::open(1_152);
    assert!(stream.handled(&frame(Code::PING, b"abc", &[(2, b"")], b"")));
    let [pong] = &stream.sent()[..] else { unreachable!("one message") };
    assert_eq!((pong.code, pong.option(2)), (Code::PONG, Some(&b""[..])));
    // Section 3.4: empty messages are ignored, responses to nothing too.
    assert!(stream.handled(&[0, 0]) && stream.handled(&frame(Code::CONTENT, b"x", &[], b"y")));
    assert!(stream.sent().is_empty());
    assert!(!Stream::open(1_152).handled(&frame(Code::ABORT, b"", &[], b"bye")));
    assert!(!Stream::open(1_152).handled(&frame(Code::new(7, 30), b"", &[], b"")));
}

// RFC8323-5.5-2
#[test]
fn who_leaves_gets_what_was_asked_before_and_nothing_new() {
    let mut stream = Stream::open(1_152);
    let arrival = stream.arrival();
    let before = frame(Code::GET, b"b", &[(11, b"x")], b"");
    let Event::Request(request) = stream.endpoint.handle_frame(&arrival, &before) else { unreachable!("no request") };
    assert!(!stream.endpoint.is_leaving(stream.peer));
    assert!(stream.handled(&frame(Code::RELEASE, b"", &[], b"")) && stream.endpoint.is_leaving(stream.peer));
    assert!(stream.handled(&frame(Code::GET, b"n", &[(11, b"x")], b"")));
    stream.endpoint.reply(1, &request.exchange, &Reply::new(Code::CONTENT, &OptionList::new(), b"21.5"));
    let codes: Vec<Code> = stream.sent().iter().map(|sent| sent.code).collect();
    assert_eq!(codes, [Code::SERVICE_UNAVAILABLE, Code::CONTENT]);
}

#[test]
fn an_answer_that_is_too_long_for_its_peer_begins_no_observation() {
    let mut stream = Stream::silent();
    assert!(stream.handled(&frame(Code::CSM, b"", &[], b"")));
    let arrival = stream.arrival();
    let asked = frame(Code::GET, b"o", &[(6, b""), (11, b"x")], b"");
    let Event::Request(request) = stream.endpoint.handle_frame(&arrival, &asked) else { unreachable!("no request") };
    let observer = stream.endpoint.observe(1, &request.exchange, true).expect("room");
    let (options, long) = (OptionList::new(), [7; 2_000]);
    let reply = Reply { observer: Some(observer), ..Reply::new(Code::CONTENT, &options, &long) };
    stream.endpoint.reply(1, &request.exchange, &reply);
    assert_eq!(stream.sent().last().map(|sent| sent.code), Some(Code::INTERNAL_SERVER_ERROR));
    assert_eq!(stream.endpoint.poll_gone().map(|gone| gone.reason), Some(GoneReason::Error));
}

#[test]
fn a_request_is_answered_under_its_token() {
    let mut stream = Stream::open(1_152);
    stream.answer(&frame(Code::GET, b"tok", &[(OptionNumber::URI_PATH, b"a")], b""), b"value");
    let [answer] = &stream.sent()[..] else { unreachable!("one message") };
    assert_eq!((answer.code, &answer.payload[..]), (Code::CONTENT, &b"value"[..]));
    assert!(stream.handled(&frame(Code::GET, b"t", &[(19, b"")], b"")));
    assert_eq!(stream.sent()[0].code, Code::BAD_OPTION);
}

// RFC8323-5.3.1-1 RFC8323-6-1
#[test]
fn a_body_is_cut_to_what_the_peer_takes() {
    let body: Vec<u8> = (0..10_000).map(|place| place as u8).collect();
    let get = |block: Option<Block>| {
        let value = block.map_or(0, Block::to_uint).to_be_bytes();
        let options: &[(u16, &[u8])] = if block.is_some() { &[(OptionNumber::BLOCK2, &value[1..])] } else { &[] };
        frame(Code::GET, b"t", options, b"")
    };
    let mut small = Stream::open(600);
    small.answer(&get(None), &body);
    let [first] = &small.sent()[..] else { unreachable!("one message") };
    assert_eq!(first.block(OptionNumber::BLOCK2), Some(Block { num: 0, more: true, szx: 5 }));
    assert_eq!(first.payload, body[..512]);

    let mut large = Stream::open(5_000);
    let (mut num, mut joined) = (0, Vec::new());
    loop {
        large.answer(&get(Some(Block { num, more: false, szx: Block::BERT })), &body);
        let [part] = &large.sent()[..] else { unreachable!("one message") };
        let block = part.block(OptionNumber::BLOCK2).expect("a block");
        assert_eq!((block.szx, block.num), (Block::BERT, num));
        joined.extend_from_slice(&part.payload);
        if !block.more {
            break;
        }
        assert_eq!(part.payload.len() % 1_024, 0);
        num += part.payload.len() as u32 / 1_024;
    }
    assert_eq!(joined, body);

    let mut whole = Stream::open(20_000);
    whole.answer(&get(None), &body);
    assert!(whole.sent()[0].block(OptionNumber::BLOCK2).is_none());
    // A smaller block that a peer names is kept to.
    whole.answer(&get(Some(Block { num: 1, more: false, szx: 2 })), &body);
    assert_eq!(whole.sent()[0].payload, body[64..128]);
}

// RFC8323-5.3.2-1
#[test]
fn a_peer_without_blocks_is_told_that_the_body_is_too_long() {
    let mut stream = Stream::silent();
    stream.handled(&frame(Code::CSM, b"", &[], b""));
    stream.sent();
    stream.answer(&frame(Code::GET, b"t", &[], b""), &[0; 2_000]);
    assert_eq!(stream.sent()[0].code, Code::INTERNAL_SERVER_ERROR);
}

// RFC8323-6-1
#[test]
fn an_upload_may_hold_several_blocks_a_message() {
    let mut stream = Stream::open(8_000);
    let body = vec![5; 5_000];
    let mut put = |num: u32, more: bool, part: &[u8]| {
        let value = Block { num, more, szx: Block::BERT }.to_uint().to_be_bytes();
        let request = frame(Code::PUT, b"t", &[(OptionNumber::BLOCK1, &value[1..])], part);
        match stream.endpoint.handle_frame(&Arrival { now_ms: 1, peer: stream.peer, trusted: false }, &request) {
            Event::Request(request) => Some(request.body().to_vec()),
            _ => None,
        }
    };
    assert_eq!(put(0, true, &body[..3_072]), None);
    assert_eq!(put(3, false, &body[3_072..]), Some(body.clone()));
    assert_eq!(put(0, true, &body[..1_000]), None, "not a multiple of 1,024");
    let codes: Vec<Code> = stream.sent().iter().map(|sent| sent.code).collect();
    assert_eq!(codes, [Code::CONTINUE, Code::BAD_REQUEST]);
}

// RFC8323-7-1
#[test]
fn notifications_wait_for_a_peer_that_does_not_read_and_the_newest_is_kept() {
    let mut stream = Stream::open(1_152);
    let request = frame(Code::GET, b"o", &[(OptionNumber::OBSERVE, b"")], b"");
    let arrival = stream.arrival();
    let Event::Request(request) = stream.endpoint.handle_frame(&arrival, &request) else { unreachable!("no request") };
    let exchange = request.exchange;
    let id = stream.endpoint.observe(1, &exchange, true).expect("room");
    let none = OptionList::new();
    let tell = |stream: &mut Stream, payload: &[u8]| {
        let notification =
            Notification { code: Code::CONTENT, options: &none, payload, confirmable: true, counts: false };
        stream.endpoint.notify(1, id, &notification)
    };
    assert_eq!(tell(&mut stream, b"1"), Notified::Sent);
    let [first] = &stream.sent()[..] else { unreachable!("one message") };
    assert_eq!(first.payload, b"1");
    assert!(first.option(OptionNumber::OBSERVE).is_some());
    let peer = stream.peer;
    stream.endpoint.hold_stream(peer);
    assert_eq!(tell(&mut stream, b"2"), Notified::Queued);
    assert_eq!(tell(&mut stream, b"3"), Notified::Replaced);
    assert!(stream.sent().is_empty());
    stream.endpoint.resume_stream(peer);
    assert_eq!(stream.sent().iter().map(|sent| sent.payload.clone()).collect::<Vec<_>>(), [b"3"]);
    stream.endpoint.close_stream(peer);
    let gone = stream.endpoint.poll_gone().expect("it observed");
    assert_eq!((gone.observer, gone.reason), (id, GoneReason::Timeout));
}

// RFC8323-5.5-1
#[test]
fn a_peer_that_is_asked_to_leave_gets_no_new_answers() {
    let mut stream = Stream::open(1_152);
    let peer = stream.peer;
    stream.endpoint.release_stream(peer);
    assert_eq!(stream.sent()[0].code, Code::RELEASE);
    assert!(stream.handled(&frame(Code::GET, b"t", &[], b"")));
    assert_eq!(stream.sent()[0].code, Code::SERVICE_UNAVAILABLE);
}

// RFC8323-6-2
#[test]
fn who_takes_messages_of_the_least_length_gets_blocks_but_none_of_bert() {
    let body = vec![b'x'; 5_000];
    let mut stream = Stream::silent();
    stream.handled(&frame(Code::CSM, b"", &[(4, b"")], b""));
    for asked in [&[][..], &[(OptionNumber::BLOCK2, &[7][..])]] {
        stream.sent();
        stream.answer(&frame(Code::GET, b"t", asked, b""), &body);
        let sent = stream.sent();
        assert_eq!(sent[0].block(OptionNumber::BLOCK2), Some(Block { num: 0, more: true, szx: 6 }));
    }
}
