//! Every seed of the fuzz corpus, whole and cut at each byte, on connections in each
//! state: no panic, and an output that is bounded by the input.

use std::path::Path;
use std::sync::Arc;
use tidegate_message::Outcome;
use tidegate_mqtt::{Accepted, AckKind, Event, Session, Settings};

const OPENINGS: [&[u8]; 3] =
    [b"", b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01a", b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a"];

/// What a driver does, until the input ends or breaks a rule.
fn run(session: &mut Session, input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut used = 0;
    while !session.is_closed() {
        let (event, len) = session.receive(0, &input[used..], out).ok()??;
        used += len;
        match event {
            Event::Connect(_) => session.connack(&Accepted::default(), out),
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
    Some(())
}

#[test]
fn no_seed_panics_or_makes_the_output_outgrow_the_input() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/mqtt");
    let files = std::fs::read_dir(&folder).expect("the corpus is part of the repository");
    let mut count = 0;
    for file in files {
        let seed = std::fs::read(file.expect("a readable folder").path()).expect("a readable seed");
        count += 1;
        for end in 0..=seed.len() {
            for opening in OPENINGS {
                let mut session = Session::new(Arc::new(Settings::default()), 0);
                let mut out = Vec::new();
                run(&mut session, opening, &mut out);
                run(&mut session, &seed[..end], &mut out);
                assert!(out.len() <= 200 + 4 * end, "{} bytes for {end}", out.len());
            }
        }
    }
    assert!(count >= 20, "{count} seeds");
}
