//! A client that observes (RFC 7641) against this crate's own server.

use std::net::SocketAddr;

use tidegate_coap::{
    Answer, Arrival, Code, Endpoint, EndpointConfig, Event, Failure, Head, Message, Notification, Observe, ObserverId,
    OptionList, OptionNumber, Reply, Requester, RequesterConfig, Type, encode,
};

const CONFIG: RequesterConfig = RequesterConfig {
    ack_timeout_ms: 1_000,
    max_retransmit: 4,
    nstart: 1,
    max_body: 10_000,
    max_options: 64,
    seed: 77,
};

/// A server of one resource whose state is `len` times its number.
struct Net {
    client: Requester,
    server: Endpoint,
    now: u64,
    state: Vec<u8>,
    observer: Option<ObserverId>,
    gets: usize,
}

impl Net {
    fn observing(len: usize) -> Net {
        let mut net = Net {
            client: Requester::new(CONFIG),
            server: Endpoint::new(EndpointConfig::default()),
            now: 0,
            state: vec![0; len],
            observer: None,
            gets: 0,
        };
        net.client.observe(0, 9, resource());
        net.settle();
        assert_eq!(net.next().expect("an answer").body, vec![0; len]);
        net
    }

    fn peer() -> SocketAddr {
        ([127, 0, 0, 1], 9).into()
    }

    /// Carries datagrams both ways until nothing moves.
    fn settle(&mut self) {
        loop {
            for bytes in self.take_sent() {
                self.client.handle_datagram(self.now, &bytes);
            }
            let Some(datagram) = self.client.poll_output() else { return };
            let arrival = Arrival { now_ms: self.now, peer: Net::peer(), trusted: true };
            if let Event::Request(request) = self.server.handle_datagram(&arrival, &datagram) {
                let exchange = request.exchange;
                self.gets += 1;
                let observer = match exchange.observe {
                    Observe::Register => self.server.observe(self.now, &exchange, true),
                    Observe::No => None,
                };
                self.observer = observer.or(self.observer);
                let options = OptionList::new();
                let reply = Reply { observer, ..Reply::new(Code::CONTENT, &options, &self.state) };
                self.server.reply(self.now, &exchange, &reply);
            }
        }
    }

    fn take_sent(&mut self) -> Vec<Vec<u8>> {
        let sent = self.server.outbox().iter().map(|(_, bytes)| bytes.to_vec()).collect();
        self.server.outbox().clear();
        sent
    }

    /// Tells a new state, as a datagram that is under way.
    fn tell(&mut self, code: Code, byte: u8) {
        self.state.fill(byte);
        let id = self.observer.expect("observed");
        let options = OptionList::new();
        let notification =
            Notification { code, options: &options, payload: &self.state, confirmable: true, counts: false };
        self.server.notify(self.now, id, &notification);
    }

    fn next(&mut self) -> Result<Answer, Failure> {
        let (id, answer) = self.client.poll_done().expect("something came");
        assert_eq!(id, 9);
        answer
    }
}

fn resource() -> (Code, OptionList, Vec<u8>) {
    let mut options = OptionList::new();
    options.push(OptionNumber::URI_PATH, b"x");
    (Code::GET, options, Vec::new())
}

// RFC7641-3.2-1
#[test]
fn each_new_state_comes_whole_under_the_id_of_the_registration() {
    for len in [3, 1_024, 1_025, 5_000] {
        let mut net = Net::observing(len);
        for byte in 1..5 {
            net.tell(Code::CONTENT, byte);
            net.settle();
            let answer = net.next().expect("a state");
            assert!(answer.observes() && answer.confirmable, "{len}");
            assert_eq!(answer.body, vec![byte; len], "{len}");
        }
        assert!(net.client.poll_done().is_none() && !net.client.is_idle());
    }
}

#[test]
fn a_newer_state_ends_the_fetching_of_an_older_one() {
    let mut net = Net::observing(3_000);
    net.tell(Code::CONTENT, 1);
    let first = net.take_sent();
    net.client.handle_datagram(0, &first[0]);
    // Its next block is asked for, and meanwhile the state changes.
    let _ = (net.client.poll_output(), net.client.poll_output());
    net.tell(Code::CONTENT, 2);
    let arrival = Arrival { now_ms: 0, peer: Net::peer(), trusted: true };
    let id = Message::decode(&first[0], 64).expect("valid").message_id;
    let mut ack = Vec::new();
    tidegate_coap::encode_empty(&mut ack, Type::Acknowledgement, id);
    let _ = net.server.handle_datagram(&arrival, &ack);
    net.settle();
    assert_eq!(net.next().expect("a state").body, vec![2; 3_000]);
    assert!(net.client.poll_done().is_none());
}

// RFC7641-3.4-1
#[test]
fn an_older_notification_that_comes_late_is_not_told() {
    let mut net = Net::observing(3);
    let id = net.observer.expect("observed");
    let options = OptionList::new();
    let told: Vec<Vec<u8>> = (1..=2)
        .flat_map(|byte| {
            let notification = Notification {
                code: Code::CONTENT,
                options: &options,
                payload: &[byte],
                confirmable: false,
                counts: false,
            };
            net.server.notify(0, id, &notification);
            net.take_sent()
        })
        .collect();
    net.client.handle_datagram(0, &told[1]);
    net.client.handle_datagram(0, &told[0]);
    net.client.handle_datagram(0, &told[1]);
    assert_eq!(net.next().expect("a state").body, [2]);
    assert!(net.client.poll_done().is_none());
    // RFC 7641 section 3.4: beyond 128 seconds the order is that of arrival.
    net.client.handle_datagram(128_001, &told[0]);
    assert_eq!(net.next().expect("a state").body, [1]);
}

#[test]
fn registering_again_keeps_the_token_and_brings_the_state() {
    let mut net = Net::observing(3);
    net.now = 70_000;
    net.client.refresh(net.now, 9);
    net.client.refresh(net.now, 9);
    net.settle();
    assert!(net.next().expect("a state").observes());
    assert_eq!(net.gets, 2, "once, not twice");
    net.tell(Code::CONTENT, 7);
    net.settle();
    assert_eq!(net.next().expect("a state").body, [7; 3]);
}

#[test]
fn an_endpoint_that_does_not_answer_the_registration_again_is_lost() {
    let mut net = Net::observing(3);
    net.client.refresh(0, 9);
    while let Some(due) = net.client.next_timeout() {
        net.client.handle_timeout(due);
    }
    assert_eq!(net.next().err(), Some(Failure::Timeout));
    assert!(net.client.is_idle());
}

#[test]
fn an_error_is_the_last_that_comes() {
    let mut net = Net::observing(3);
    net.tell(Code::NOT_FOUND, 1);
    net.settle();
    let last = net.next().expect("an answer");
    assert!(last.code == Code::NOT_FOUND && !last.observes());
    assert!(net.client.is_idle());
}

// RFC7641-3.5-1 RFC7641-3.6-1
#[test]
fn cancelling_tells_the_server_and_what_comes_then_is_reset() {
    let mut net = Net::observing(3);
    net.tell(Code::CONTENT, 1);
    let late = net.take_sent();
    net.client.cancel(0, 9);
    net.settle();
    assert!(net.server.poll_gone().is_some(), "deregistered");
    assert!(net.client.poll_done().is_none() && net.client.is_idle());
    net.client.handle_datagram(0, &late[0]);
    let reset = net.client.poll_output().expect("an answer");
    assert_eq!(Message::decode(&reset, 64).expect("valid").kind, Type::Reset);
    // One that is not confirmable, too (RFC 7641 section 3.6).
    let told = Message::decode(&late[0], 64).expect("valid");
    let mut bytes = Vec::new();
    let head =
        Head { kind: Type::NonConfirmable, code: Code::CONTENT, message_id: told.message_id + 1, token: told.token };
    let mut options = OptionList::new();
    options.push_uint(OptionNumber::OBSERVE, 99);
    encode(&mut bytes, &head, [&options, &OptionList::new()], b"x");
    net.client.handle_datagram(0, &bytes);
    assert!(net.client.poll_output().is_some_and(|reset| reset[0] >> 4 & 3 == Type::Reset as u8));
}

#[test]
fn a_server_that_does_not_let_itself_be_observed_answers_once() {
    let mut net = Net::observing(3);
    net.server = Endpoint::new(EndpointConfig { max_observers: 0, ..EndpointConfig::default() });
    net.client.refresh(0, 9);
    net.settle();
    assert!(!net.next().expect("an answer").observes());
    assert!(net.client.is_idle());
}
