//! Bytes of a client, before and behind a CONNECT: no panic, answers that the input
//! bounds, and the same whether they come at once or in two parts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use tidegate_message::Outcome;
use tidegate_mqtt::{Accepted, AckKind, Event, Session, Settings};

const OPENINGS: [&[u8]; 3] =
    [b"", b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01a", b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a"];

fuzz_target!(|input: &[u8]| {
    for opening in OPENINGS {
        let whole = serve(opening, input, input.len());
        assert!(whole.len() <= 512 + 4 * input.len(), "{} bytes for {}", whole.len(), input.len());
        assert_eq!(serve(opening, input, input.len() / 2), whole, "in two parts");
    }
});

/// The answers to an opening and an input of which `cut` bytes come first.
fn serve(opening: &[u8], input: &[u8], cut: usize) -> Vec<u8> {
    let mut session = Session::new(Arc::new(Settings::default()), 0);
    let mut out = Vec::new();
    receive(&mut session, opening, &mut out);
    let used = receive(&mut session, &input[..cut], &mut out);
    if let Some(used) = used {
        receive(&mut session, &input[used..], &mut out);
    }
    session.handle_timeout(u64::MAX, &mut out);
    out
}

/// How many bytes were taken; `None`: the connection is over.
fn receive(session: &mut Session, input: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let mut used = 0;
    while !session.is_closed() {
        let Some((event, len)) = session.receive(0, &input[used..], out).ok()? else { return Some(used) };
        used += len;
        answer(session, event, out);
    }
    None
}

/// What a driver does that allows everything.
fn answer(session: &mut Session, event: Event<'_>, out: &mut Vec<u8>) {
    match event {
        Event::Connect(connect) => {
            let _ = connect.will.map(|will| will.message().0.build());
            session.connack(&Accepted::default(), out);
        }
        Event::Publish(publish) => {
            let _ = publish.message(0).build();
            let _ = session.publish_outcome((publish.packet_id, publish.qos), Outcome::Success, out);
        }
        Event::Ack(ack) if ack.kind == AckKind::PubRel => session.pubcomp(ack.packet_id, true, out),
        Event::Ack(ack) => session.pubrel(ack.packet_id, false, out),
        Event::Subscribe(packet) => {
            let codes: Vec<u8> = packet.filters.iter().map(|filter| filter.options.qos as u8).collect();
            let _ = session.suback(packet.packet_id, &codes, out);
        }
        Event::Unsubscribe(packet) => {
            let codes: Vec<u8> = packet.filters.iter().map(|_| 0).collect();
            let _ = session.unsuback(packet.packet_id, &codes, out);
        }
        _ => {}
    }
}
