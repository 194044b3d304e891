//! A client's requests against this crate's own server, over a network of function
//! calls that loses, repeats and delays.

use std::net::SocketAddr;

use tidegate_coap::{
    Answer, Arrival, Block, Code, Endpoint, EndpointConfig, Event, Failure, Head, Message, OptionList, OptionNumber,
    Reply, Requester, RequesterConfig, Token, Type, encode, encode_empty,
};

const CONFIG: RequesterConfig = RequesterConfig {
    ack_timeout_ms: 1_000,
    max_retransmit: 4,
    nstart: 1,
    max_body: 10_000,
    max_options: 64,
    seed: 77,
};

fn get() -> (Code, OptionList, Vec<u8>) {
    let mut options = OptionList::new();
    options.push(OptionNumber::URI_PATH, b"x");
    (Code::GET, options, Vec::new())
}

/// A server that answers with the beginning of what it was sent, or with `large` bytes to a GET.
struct Net {
    client: Requester,
    server: Endpoint,
    now: u64,
    served: Vec<(Code, usize)>,
    large: usize,
}

impl Net {
    fn new(large: usize) -> Net {
        let server = Endpoint::new(EndpointConfig::default());
        Net { client: Requester::new(CONFIG), server, now: 0, served: Vec::new(), large }
    }

    /// Carries datagrams both ways as far as `passes` lets them, until nothing moves.
    fn settle(&mut self, mut passes: impl FnMut() -> bool) {
        let peer: SocketAddr = ([127, 0, 0, 1], 9).into();
        loop {
            let Some(datagram) = self.client.poll_output() else { return };
            if !passes() {
                continue;
            }
            let arrival = Arrival { now_ms: self.now, peer, trusted: true };
            if let Event::Request(request) = self.server.handle_datagram(&arrival, &datagram) {
                let body = request.body().to_vec();
                self.served.push((request.message.code, body.len()));
                let body = if request.message.code == Code::GET {
                    vec![7; self.large]
                } else {
                    body[..9.min(body.len())].to_vec()
                };
                let code = if request.message.code == Code::GET { Code::CONTENT } else { Code::CHANGED };
                let exchange = request.exchange;
                self.server.reply(self.now, &exchange, &Reply::new(code, &OptionList::new(), &body));
            }
            let answers: Vec<Vec<u8>> = self.server.outbox().iter().map(|(_, bytes)| bytes.to_vec()).collect();
            self.server.outbox().clear();
            for answer in answers {
                if passes() {
                    self.client.handle_datagram(self.now, &answer);
                }
            }
        }
    }

    fn answer(&mut self) -> (u64, Result<Answer, Failure>) {
        self.client.poll_done().expect("done")
    }
}

#[test]
fn a_request_comes_back_with_its_answer() {
    let mut net = Net::new(5);
    net.client.request(0, 42, get());
    net.settle(|| true);
    let (id, answer) = net.answer();
    let answer = answer.expect("an answer");
    assert_eq!((id, answer.code, answer.body), (42, Code::CONTENT, vec![7; 5]));
    assert!(net.client.is_idle() && net.client.next_timeout().is_none());
}

// RFC7959-2.5-2 RFC7959-4-1
#[test]
fn bodies_go_in_blocks_both_ways() {
    for len in [1_024, 1_025, 2_048, 5_000] {
        let mut net = Net::new(len);
        net.client.request(0, 1, (Code::PUT, get().1, vec![3; len]));
        net.client.request(0, 2, get());
        net.settle(|| true);
        // Blocks of the two take turns: which of them is over first does not matter.
        let mut answers = [net.answer(), net.answer()];
        answers.sort_by_key(|(id, _)| *id);
        let [echoed, read] = answers.map(|(_, answer)| answer.expect("an answer"));
        assert!(echoed.code == Code::CHANGED && echoed.body == [3; 9], "{len}");
        assert!(read.code == Code::CONTENT && read.body == vec![7; len], "{len}");
        assert!(net.served.contains(&(Code::PUT, len)));
    }
}

#[test]
fn an_answer_that_is_too_large_is_given_up() {
    let mut net = Net::new(10_001);
    net.client.request(0, 1, get());
    net.settle(|| true);
    assert_eq!(net.answer().1.err(), Some(Failure::TooLarge));
}

// RFC7252-4.2-5 RFC7252-4.8-1
#[test]
fn lost_messages_are_sent_again_with_doubled_waits_and_then_given_up() {
    let mut net = Net::new(1);
    net.client.request(0, 1, get());
    let mut waits = Vec::new();
    net.settle(|| false);
    while let Some(due) = net.client.next_timeout() {
        waits.push(due - net.now);
        net.now = due;
        net.client.handle_timeout(due);
        net.settle(|| false);
    }
    assert_eq!(waits.len(), 5, "four times again, then no more");
    assert!((1_000..=1_500).contains(&waits[0]), "{waits:?}");
    assert!(waits.windows(2).all(|pair| pair[1] == 2 * pair[0]), "{waits:?}");
    assert_eq!(net.answer().1.err(), Some(Failure::Timeout));
}

#[test]
fn other_times_hold_for_what_is_sent_from_then_on() {
    let mut net = Net::new(1);
    net.client.configure(RequesterConfig { ack_timeout_ms: 100, max_retransmit: 1, nstart: 2, ..CONFIG });
    net.client.request(0, 1, get());
    net.client.request(0, 2, get());
    assert_eq!(std::iter::from_fn(|| net.client.poll_output()).count(), 2, "two at once");
    let mut tries = 0;
    while let Some(due) = net.client.next_timeout() {
        assert!(due - net.now <= 300, "{due}");
        net.now = due;
        net.client.handle_timeout(due);
        tries += std::iter::from_fn(|| net.client.poll_output()).count();
    }
    assert_eq!(tries, 2, "once again for each");
}

#[test]
fn every_transfer_survives_a_network_that_loses_a_third() {
    let mut net = Net::new(3_000);
    let mut random = 99_u32;
    net.client.request(0, 1, get());
    for _ in 0..60 {
        net.settle(|| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            random >> 24 > 85
        });
        let Some(due) = net.client.next_timeout() else { break };
        net.now = due;
        net.client.handle_timeout(due);
    }
    assert_eq!(net.answer().1.expect("an answer").body, vec![7; 3_000]);
}

// RFC7252-4.7-1
#[test]
fn no_more_than_nstart_are_outstanding() {
    let mut client = Requester::new(RequesterConfig { nstart: 2, ..CONFIG });
    for id in 0..5 {
        client.request(0, id, get());
    }
    let sent: Vec<Vec<u8>> = std::iter::from_fn(|| client.poll_output()).collect();
    assert_eq!(sent.len(), 2);
    // An acknowledgement ends an interaction: the next one begins (RFC 7252 section 4.7).
    let mut ack = Vec::new();
    let message_id = u16::from_be_bytes([sent[0][2], sent[0][3]]);
    encode_empty(&mut ack, Type::Acknowledgement, message_id);
    client.handle_datagram(0, &ack);
    assert!(client.poll_output().is_some() && client.poll_output().is_none());
}

fn respond(sent: &[u8], kind: Type, message_id: u16, token: Option<Token>) -> Vec<u8> {
    let message = Message::decode(sent, 64).expect("a request");
    let token = token.unwrap_or(message.token);
    let mut out = Vec::new();
    let head = Head { kind, code: Code::CONTENT, message_id, token };
    encode(&mut out, &head, [&OptionList::new(), &OptionList::new()], b"late");
    out
}

// RFC7252-5.2.2-3
#[test]
fn a_separate_response_is_acknowledged_each_time_it_comes_and_taken_once() {
    let mut client = Requester::new(CONFIG);
    client.request(0, 1, get());
    let sent = client.poll_output().expect("a request");
    let response = respond(&sent, Type::Confirmable, 500, None);
    for _ in 0..3 {
        client.handle_datagram(0, &response);
        let ack = client.poll_output().expect("an acknowledgement");
        assert_eq!(ack, [0x60, 0, 1, 244]);
    }
    assert_eq!(client.poll_done().expect("done").1.expect("an answer").body, b"late");
    assert!(client.poll_done().is_none());
}

// RFC7252-4.4-3 RFC7252-5.3.2-1 RFC7252-5.3.2-2
#[test]
fn responses_to_nothing_are_reset_and_forged_ones_passed_over() {
    let mut client = Requester::new(CONFIG);
    client.request(0, 1, get());
    let sent = client.poll_output().expect("a request");
    let message_id = u16::from_be_bytes([sent[2], sent[3]]);
    let wrong = Token::new(b"guess");
    client.handle_datagram(0, &respond(&sent, Type::Acknowledgement, message_id, wrong));
    client.handle_datagram(0, &respond(&sent, Type::Acknowledgement, message_id.wrapping_add(1), None));
    assert!(client.poll_done().is_none() && client.poll_output().is_none());
    client.handle_datagram(0, &respond(&sent, Type::Confirmable, 9, wrong));
    assert_eq!(client.poll_output(), Some(vec![0x70, 0, 0, 9]));
    client.handle_datagram(0, b"garbage");
    let mut reset = Vec::new();
    encode_empty(&mut reset, Type::Reset, message_id);
    client.handle_datagram(0, &reset);
    assert_eq!(client.poll_done().expect("done").1.err(), Some(Failure::Reset));
}

// RFC9175-2.3-2
#[test]
fn an_echo_that_is_asked_for_is_given_once() {
    let mut client = Requester::new(CONFIG);
    client.request(0, 1, get());
    for round in 0..2 {
        let sent = client.poll_output().expect("a request");
        let message = Message::decode(&sent, 64).expect("a request");
        assert_eq!(message.option(OptionNumber::ECHO).map(|echo| echo.value), (round == 1).then_some(&b"prove"[..]));
        let mut options = OptionList::new();
        options.push(OptionNumber::ECHO, b"prove");
        let head = Head {
            kind: Type::Acknowledgement,
            code: Code::UNAUTHORIZED,
            message_id: message.message_id,
            token: message.token,
        };
        let mut out = Vec::new();
        encode(&mut out, &head, [&options, &OptionList::new()], b"");
        client.handle_datagram(0, &out);
    }
    assert_eq!(client.poll_done().expect("done").1.expect("an answer").code, Code::UNAUTHORIZED);
}

#[test]
fn what_is_forgotten_makes_room() {
    let mut client = Requester::new(CONFIG);
    client.request(0, 1, get());
    client.request(0, 2, get());
    assert!(client.poll_output().is_some() && client.poll_output().is_none());
    client.forget(0, 1);
    assert!(client.poll_output().is_some());
    assert!(!client.is_idle());
}

/// Answers the message that is out with a block, and gives back what it asked for.
/// The token of a datagram, and the number of its block of either kind.
fn asked(datagram: &[u8]) -> (Token, Option<u32>, Option<u32>) {
    let message = Message::decode(datagram, 64).expect("a message");
    let number = |option| message.block(option).flatten().map(|block: Block| block.num);
    (message.token, number(OptionNumber::BLOCK1), number(OptionNumber::BLOCK2))
}

fn block_response(id: u16, token: Token, (code, option, block): (Code, u16, Block), payload: &[u8]) -> Vec<u8> {
    let mut options = OptionList::new();
    options.push_uint(option, block.to_uint());
    let mut out = Vec::new();
    let head = Head { kind: Type::Confirmable, code, message_id: id, token };
    encode(&mut out, &head, [&options, &OptionList::new()], payload);
    out
}

#[test]
fn all_blocks_of_a_request_have_its_token_and_an_answer_to_one_before_is_passed_over() {
    let mut client = Requester::new(CONFIG);
    client.request(0, 1, (Code::PUT, get().1, vec![3; 2_500]));
    let (token, first, _) = asked(&client.poll_output().expect("a block"));
    assert_eq!(first, Some(0));
    let block = |num, more| Block { num, more, szx: 6 };
    let go_on = |id, num| block_response(id, token, (Code::CONTINUE, OptionNumber::BLOCK1, block(num, true)), b"");
    let mut next = |datagram: &[u8]| {
        client.handle_datagram(0, datagram);
        let sent: Vec<_> = std::iter::from_fn(|| client.poll_output()).collect();
        sent.into_iter().filter(|datagram| datagram.len() > 4).map(|datagram| asked(&datagram)).next()
    };
    assert_eq!(next(&go_on(900, 0)), Some((token, Some(1), None)));
    // The first block was sent twice, and the server answers each.
    assert_eq!(next(&go_on(901, 0)), None);
    assert_eq!(next(&go_on(902, 1)), Some((token, Some(2), None)));
    let content = |id, num, more, body: &[u8]| {
        block_response(id, token, (Code::CHANGED, OptionNumber::BLOCK2, block(num, more)), body)
    };
    assert_eq!(next(&content(903, 0, true, &[7; 1_024])), Some((token, None, Some(1))));
    assert_eq!(next(&content(904, 0, true, &[7; 1_024])), None);
    assert_eq!(next(&content(905, 1, false, b"end")), None);
    let answer = client.poll_done().expect("done").1.expect("an answer");
    assert_eq!((answer.code, answer.body.len()), (Code::CHANGED, 1_027));
}

fn answer_block(client: &mut Requester, etag: &[u8], block: Block, payload: &[u8]) -> (bool, Option<u32>) {
    let sent = client.poll_output().expect("a request");
    let message = Message::decode(&sent, 64).expect("a request");
    let mut options = OptionList::new();
    options.push(OptionNumber::ETAG, etag).push_uint(OptionNumber::BLOCK2, block.to_uint());
    let (kind, code) = (Type::Acknowledgement, Code::CONTENT);
    let head = Head { kind, code, message_id: message.message_id, token: message.token };
    let mut out = Vec::new();
    encode(&mut out, &head, [&options, &OptionList::new()], payload);
    client.handle_datagram(0, &out);
    let asked = message.block(OptionNumber::BLOCK2).flatten().map(|block| block.num);
    (message.option(OptionNumber::ETAG).is_some(), asked)
}

const fn block(num: u32, more: bool) -> Block {
    Block { num, more, szx: 0 }
}

#[test]
fn only_the_first_block_is_asked_for_with_the_tag_that_is_validated() {
    let mut client = Requester::new(CONFIG);
    let (method, mut options, body) = get();
    options.push(OptionNumber::ETAG, b"old");
    client.request(0, 1, (method, options, body));
    assert_eq!(answer_block(&mut client, b"new", block(0, true), &[1; 16]), (true, None));
    assert_eq!(answer_block(&mut client, b"new", block(1, false), &[2; 4]), (false, Some(1)));
    assert_eq!(client.poll_done().expect("done").1.expect("an answer").body, [[1; 16].as_slice(), &[2; 4]].concat());
}

// RFC7959-2.4-4
#[test]
fn a_representation_that_changes_between_its_blocks_is_fetched_anew_a_few_times() {
    let mut client = Requester::new(CONFIG);
    client.request(0, 1, get());
    assert_eq!(answer_block(&mut client, b"a", block(0, true), &[1; 16]).1, None);
    assert_eq!(answer_block(&mut client, b"b", block(1, true), &[2; 16]).1, Some(1));
    assert_eq!(answer_block(&mut client, b"b", block(0, true), &[3; 16]).1, None);
    assert_eq!(answer_block(&mut client, b"b", block(1, false), &[4; 4]).1, Some(1));
    assert_eq!(client.poll_done().expect("done").1.expect("an answer").body, [[3; 16].as_slice(), &[4; 4]].concat());

    client.request(0, 2, get());
    for tag in 0..3_u8 {
        answer_block(&mut client, &[2 * tag], block(0, true), &[1; 16]);
        answer_block(&mut client, &[2 * tag + 1], block(1, true), &[1; 16]);
    }
    assert_eq!(client.poll_done().expect("done").1.err(), Some(Failure::Broken));
}
