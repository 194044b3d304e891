//! Datagrams of two peers and frames of a stream at one endpoint that answers everything:
//! no panic, and no answer to an unproven address that is larger than the rule allows.
//! Each message stands behind a byte of instructions and a byte of length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::net::SocketAddr;
use tidegate_coap::{
    Arrival, Code, Endpoint, EndpointConfig, Event, Notification, Observe, ObserverId, OptionList, Reply, Request,
    Sleep, Transport, frame_len,
};
use tidegate_message::Limits;

struct World {
    endpoint: Endpoint,
    now_ms: u64,
    observers: Vec<ObserverId>,
}

fuzz_target!(|input: &[u8]| {
    let limits = Limits { body_collected: 2_000, ..Limits::default() };
    let sleep = Sleep { age_ms: 300_000, messages: 3, bytes: 100, total_bytes: 200 };
    let config = EndpointConfig { limits, max_observers: 4, dedup_entries: 16, sleep, ..EndpointConfig::default() };
    let mut world = World { endpoint: Endpoint::new(config), now_ms: 1_000, observers: Vec::new() };
    let mut rest = input;
    while let [instructions, len, tail @ ..] = rest {
        let (datagram, behind) = tail.split_at(tail.len().min(usize::from(*len)));
        world.step(*instructions, datagram);
        rest = behind;
    }
});

impl World {
    fn step(&mut self, instructions: u8, datagram: &[u8]) {
        self.now_ms += u64::from(instructions >> 4) * 700;
        let local = instructions & 1 == 0;
        let peer: SocketAddr = if local { ([127, 0, 0, 1], 9).into() } else { ([192, 0, 2, 1], 9).into() };
        self.endpoint.outbox().clear();
        let arrival = Arrival { now_ms: self.now_ms, peer, trusted: false };
        if instructions & 0x11 == 0x11 {
            return self.step_stream(instructions, datagram);
        }
        if let Event::Request(request) = self.endpoint.handle_datagram(&arrival, datagram) {
            self.answer(request, instructions);
        }
        // RFC 9175 section 2.4, before anything of the address is known.
        let unproven = !local && self.observers.is_empty() && instructions & 2 == 0;
        let sent: usize = self.endpoint.outbox().iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(!unproven || sent <= (datagram.len() * 3).max(256) + 16, "{sent} bytes for {}", datagram.len());
        if instructions & 4 != 0 {
            self.notify(instructions & 8 != 0);
        }
        self.endpoint.handle_timeout(self.now_ms);
        while let Some(gone) = self.endpoint.poll_gone() {
            self.observers.retain(|one| *one != gone.observer);
        }
    }

    /// A stream that is opened again when it was closed.
    fn step_stream(&mut self, instructions: u8, frame: &[u8]) {
        let peer: SocketAddr = ([192, 0, 2, 2], 9).into();
        let arrival = Arrival { now_ms: self.now_ms, peer, trusted: false };
        match self.endpoint.handle_frame(&arrival, frame) {
            Event::Request(request) => self.answer(request, instructions),
            Event::Handled(_) => {}
            Event::Closing => {
                self.endpoint.close_stream(peer);
                self.endpoint.open_stream(peer, Transport::Tcp);
            }
        }
        for (_, sent) in self.endpoint.outbox().iter() {
            assert_eq!(frame_len(sent), Some(sent.len()), "one whole frame");
        }
        match instructions & 6 {
            2 => self.endpoint.hold_stream(peer),
            4 => self.endpoint.resume_stream(peer),
            _ => self.notify(false),
        }
    }

    fn answer(&mut self, request: Request<'_>, instructions: u8) {
        let mut exchange = request.exchange;
        let (none, body) = (OptionList::new(), vec![b'x'; usize::from(instructions) * 16]);
        let mut reply = Reply::new(Code::CONTENT, &none, &body);
        if exchange.observe == Observe::Register {
            reply.observer = self.endpoint.observe(self.now_ms, &exchange, instructions & 8 != 0);
            self.observers.extend(reply.observer);
        }
        if instructions & 2 != 0 {
            self.endpoint.accept(&mut exchange);
        }
        self.endpoint.reply(self.now_ms, &exchange, &reply);
    }

    fn notify(&mut self, confirmable: bool) {
        let none = OptionList::new();
        // Some that only follow each other, some that all count.
        let counts = confirmable && self.now_ms % 2 == 0;
        let payload = b"new state";
        let notification = Notification { code: Code::CONTENT, options: &none, payload, confirmable, counts };
        for observer in self.observers.clone() {
            self.endpoint.notify(self.now_ms, observer, &notification);
        }
    }
}
