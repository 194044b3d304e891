//! Observers that fall silent and are heard again (RFC 7641 section 4.5).

use std::net::SocketAddr;

use tidegate_coap::{
    Arrival, Code, Endpoint, EndpointConfig, Event, GoneReason, Head, Message, Notification, Notified, ObserverId,
    OptionList, OptionNumber, Reply, Sleep, Token, Type, encode, encode_empty,
};

const AGE_MS: u64 = 3_600_000;

struct Bench {
    endpoint: Endpoint,
    now: u64,
    peer: SocketAddr,
    message_id: u16,
}

impl Bench {
    fn new(sleep: Sleep) -> Bench {
        let endpoint = Endpoint::new(EndpointConfig { sleep, ..EndpointConfig::default() });
        Bench { endpoint, now: 0, peer: ([127, 0, 0, 1], 9).into(), message_id: 0 }
    }

    fn sleeping() -> Sleep {
        Sleep { age_ms: AGE_MS, messages: 4, ..Sleep::default() }
    }

    /// A GET of the peer, with Observe where it wants to observe.
    fn ask(&mut self, observe: bool) -> Option<ObserverId> {
        self.ask_as(b"t", observe, None)
    }

    /// With a token; `before`: in place of that observation.
    fn ask_as(&mut self, token: &[u8], observe: bool, before: Option<ObserverId>) -> Option<ObserverId> {
        let mut options = OptionList::new();
        if observe {
            options.push_uint(OptionNumber::OBSERVE, 0);
        }
        self.message_id += 1;
        let token = Token::new(token).expect("short");
        let head = Head { kind: Type::Confirmable, code: Code::GET, message_id: self.message_id, token };
        let mut bytes = Vec::new();
        encode(&mut bytes, &head, [&options, &OptionList::new()], b"");
        let arrival = Arrival { now_ms: self.now, peer: self.peer, trusted: false };
        let Event::Request(request) = self.endpoint.handle_datagram(&arrival, &bytes) else {
            unreachable!("a new request")
        };
        let exchange = request.exchange;
        let observer = observe.then(|| self.endpoint.observe(self.now, &exchange, true)).flatten();
        if let (Some(before), Some(id)) = (before, observer) {
            self.endpoint.take_over(self.now, before, id);
        }
        let none = OptionList::new();
        let reply = Reply { observer, ..Reply::new(Code::CONTENT, &none, b"now") };
        self.endpoint.reply(self.now, &exchange, &reply);
        self.endpoint.handle_timeout(self.now);
        observer
    }

    fn tell(&mut self, observer: ObserverId, payload: &[u8], counts: bool) -> Notified {
        let options = OptionList::new();
        let notification = Notification { code: Code::CONTENT, options: &options, payload, confirmable: true, counts };
        self.endpoint.notify(self.now, observer, &notification)
    }

    fn sent(&mut self) -> Vec<(Type, u16, Vec<u8>)> {
        let outbox = self.endpoint.outbox();
        let read = |bytes: &[u8]| {
            let message = Message::decode(bytes, 64).expect("valid");
            (message.kind, message.message_id, message.payload.to_vec())
        };
        let sent = outbox.iter().map(|(_, bytes)| read(bytes)).collect();
        outbox.clear();
        sent
    }

    /// Acknowledges all that comes: the payloads of what was confirmable, in order.
    fn listen(&mut self) -> Vec<Vec<u8>> {
        let mut heard = Vec::new();
        loop {
            let sent = self.sent();
            if sent.is_empty() {
                return heard;
            }
            for (kind, message_id, payload) in sent {
                if kind == Type::Confirmable {
                    heard.push(payload);
                    let mut ack = Vec::new();
                    encode_empty(&mut ack, Type::Acknowledgement, message_id);
                    let arrival = Arrival { now_ms: self.now, peer: self.peer, trusted: false };
                    let _ = self.endpoint.handle_datagram(&arrival, &ack);
                }
            }
        }
    }

    /// Lets the time pass until nothing is sent again.
    fn fall_silent(&mut self) {
        let until = self.now + 200_000;
        while let Some(due) = self.endpoint.next_timeout().filter(|due| *due < until) {
            self.now = due;
            self.endpoint.handle_timeout(due);
            self.sent();
        }
    }
}

#[test]
fn what_was_published_while_it_slept_comes_in_order_when_it_is_heard() {
    let mut bench = Bench::new(Bench::sleeping());
    let observer = bench.ask(true).expect("room");
    bench.sent();
    assert_eq!(bench.tell(observer, b"1", true), Notified::Sent);
    bench.fall_silent();
    assert_eq!((bench.endpoint.asleep(), bench.endpoint.poll_gone()), (1, None));
    assert_eq!(bench.tell(observer, b"2", true), Notified::Queued);
    assert_eq!(bench.tell(observer, b"state 1", false), Notified::Queued);
    assert_eq!(bench.tell(observer, b"state 2", false), Notified::Replaced);
    assert_eq!(bench.tell(observer, b"3", true), Notified::Queued);
    assert_eq!(bench.tell(observer, b"4", true), Notified::Refused, "four wait");
    assert!(bench.sent().is_empty(), "nothing is sent to who sleeps");
    bench.ask(false);
    assert_eq!(bench.listen(), [&b"1"[..], b"2", b"state 2", b"3"]);
    assert_eq!((bench.endpoint.asleep(), bench.endpoint.poll_gone()), (0, None));
    assert_eq!(bench.tell(observer, b"5", true), Notified::Sent);
}

#[test]
fn one_that_falls_silent_again_keeps_what_it_did_not_get() {
    let mut bench = Bench::new(Bench::sleeping());
    let observer = bench.ask(true).expect("room");
    for payload in [&b"1"[..], b"2"] {
        bench.tell(observer, payload, true);
    }
    bench.fall_silent();
    bench.ask(false);
    bench.sent();
    bench.fall_silent();
    assert_eq!(bench.endpoint.asleep(), 1);
    bench.ask(false);
    assert_eq!(bench.listen(), [&b"1"[..], b"2"]);
}

#[test]
fn one_that_sleeps_for_too_long_is_forgotten_and_what_waited_is_counted() {
    let mut bench = Bench::new(Bench::sleeping());
    let observer = bench.ask(true).expect("room");
    bench.tell(observer, b"1", true);
    bench.fall_silent();
    bench.tell(observer, b"2", true);
    bench.now += AGE_MS;
    bench.endpoint.handle_timeout(bench.now);
    assert_eq!(bench.endpoint.poll_gone().map(|gone| gone.reason), Some(GoneReason::Timeout));
    assert_eq!((bench.endpoint.take_lost(), bench.endpoint.asleep()), (2, 0));
    assert!(bench.endpoint.next_timeout().is_none());
}

#[test]
fn the_bytes_of_all_are_bounded_and_given_back() {
    let mut bench = Bench::new(Sleep { total_bytes: 60, ..Bench::sleeping() });
    let observer = bench.ask(true).expect("room");
    bench.tell(observer, &[1; 30], true);
    bench.fall_silent();
    assert_eq!(bench.tell(observer, &[2; 30], true), Notified::Refused);
    bench.ask(false);
    assert_eq!(bench.listen(), [[1; 30]]);
    bench.tell(observer, &[3; 30], true);
    bench.fall_silent();
    bench.endpoint.forget_peer(bench.peer);
    assert_eq!(bench.endpoint.asleep(), 0);
    let observer = bench.ask(true).expect("room");
    bench.tell(observer, b"4", true);
    assert_eq!(bench.tell(observer, &[5; 30], true), Notified::Queued, "nothing of before is counted");
}

#[test]
fn one_that_registers_again_gets_what_waited_behind_the_answer() {
    for token in [&b"t"[..], b"another"] {
        let mut bench = Bench::new(Bench::sleeping());
        let observer = bench.ask(true).expect("room");
        bench.sent();
        bench.tell(observer, b"1", true);
        bench.fall_silent();
        bench.tell(observer, b"2", true);
        let again = bench.ask_as(token, true, (token != b"t").then_some(observer)).expect("room");
        let mut numbers = Vec::new();
        let mut payloads = Vec::new();
        let told = |bytes: &[u8]| {
            let message = Message::decode(bytes, 64).expect("valid");
            assert_eq!(message.token.as_bytes(), token);
            (message.observe().expect("a state"), message.message_id, message.payload.to_vec())
        };
        bench.tell(again, b"3", true);
        for _ in 0..4 {
            let sent: Vec<_> = bench.endpoint.outbox().iter().map(|(_, bytes)| told(bytes)).collect();
            bench.endpoint.outbox().clear();
            for (number, message_id, payload) in sent {
                numbers.push(number);
                payloads.push(payload);
                let mut ack = Vec::new();
                encode_empty(&mut ack, Type::Acknowledgement, message_id);
                let arrival = Arrival { now_ms: bench.now, peer: bench.peer, trusted: false };
                let _ = bench.endpoint.handle_datagram(&arrival, &ack);
            }
        }
        assert_eq!(payloads, [&b"now"[..], b"1", b"2", b"3"]);
        assert!(numbers.is_sorted() && numbers.windows(2).all(|pair| pair[0] != pair[1]), "{numbers:?}");
        assert_eq!(bench.endpoint.poll_gone().map(|gone| gone.observer), Some(observer));
        assert_eq!((bench.endpoint.poll_gone(), bench.endpoint.asleep()), (None, 0));
    }
}

#[test]
fn without_bounds_for_sleep_a_silent_observer_is_forgotten_at_once() {
    let mut bench = Bench::new(Sleep::default());
    let observer = bench.ask(true).expect("room");
    bench.tell(observer, b"1", true);
    bench.fall_silent();
    assert_eq!(bench.endpoint.poll_gone().map(|gone| gone.reason), Some(GoneReason::Timeout));
    assert_eq!(bench.tell(observer, b"2", true), Notified::Gone);
}

#[test]
fn an_address_that_is_not_proven_is_not_waited_for() {
    let mut bench = Bench { peer: ([192, 0, 2, 1], 9).into(), ..Bench::new(Bench::sleeping()) };
    let observer = bench.ask(true).expect("room");
    bench.tell(observer, b"1", true);
    bench.fall_silent();
    assert_eq!(bench.endpoint.poll_gone().map(|gone| gone.reason), Some(GoneReason::Timeout));
    assert_eq!(bench.endpoint.asleep(), 0);
}
