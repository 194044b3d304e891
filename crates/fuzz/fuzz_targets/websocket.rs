//! Frames of both ends: the same messages however they are cut, within the limit, and
//! text that is UTF-8.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_message::Limits;
use tidegate_websocket::{Decoder, Delivery, Event, Role};

const MAX: usize = 300;

#[derive(PartialEq, Eq, Debug)]
enum Seen {
    Data(bool, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close,
    Refused(u16),
}

fuzz_target!(|input: &[u8]| {
    for role in [Role::Server, Role::Client] {
        let whole = drive(role, Delivery::Messages, input, input.len());
        assert_eq!(drive(role, Delivery::Messages, input, 1), whole, "byte by byte");
        for seen in &whole {
            let Seen::Data(text, data) = seen else { continue };
            assert!(data.len() <= MAX && (!text || std::str::from_utf8(data).is_ok()));
        }
        drive(role, Delivery::Parts, input, 3);
    }
});

/// Feeds `step` bytes at a time, as a driver that keeps what was not taken.
fn drive(role: Role, delivery: Delivery, input: &[u8], step: usize) -> Vec<Seen> {
    let limits = Limits { websocket_message: MAX, ..Limits::default() };
    let mut decoder = Decoder::new(role, delivery, &limits);
    let (mut seen, mut kept) = (Vec::new(), Vec::new());
    for part in input.chunks(step.max(1)) {
        kept.extend_from_slice(part);
        loop {
            let (used, event) = match decoder.decode(&mut kept) {
                Ok((used, event)) => (used, event.map(record)),
                Err(error) => {
                    seen.push(Seen::Refused(error.code));
                    return seen;
                }
            };
            assert!(used > 0 || event.is_none());
            kept.drain(..used);
            seen.extend(event);
            if used == 0 {
                break;
            }
        }
        assert!(decoder.buffered() <= MAX);
    }
    seen
}

fn record(event: Event<'_>) -> Seen {
    match event {
        Event::Data { text, payload, .. } => Seen::Data(text, payload.to_vec()),
        Event::Ping(payload) => Seen::Ping(payload.to_vec()),
        Event::Pong(payload) => Seen::Pong(payload.to_vec()),
        Event::Close(_) => Seen::Close,
    }
}
