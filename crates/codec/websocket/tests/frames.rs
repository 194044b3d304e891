//! Frames against the specification: its own examples, each forbidden form, and
//! every way to cut the input.

use std::path::PathBuf;

use proptest::prelude::*;
use tidegate_kit::DecodeError;
use tidegate_message::Limits;
use tidegate_websocket::{
    Close, Decoder, Delivery, Event, Opcode, Role, encode_close, encode_close_answer, encode_frame, encode_masked_frame,
};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[derive(Clone, PartialEq, Eq, Debug)]
enum Seen {
    Data(bool, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

fn decoder(role: Role, max_message: usize) -> Decoder {
    let limits = Limits { websocket_message: max_message, ..Limits::default() };
    Decoder::new(role, Delivery::Messages, &limits)
}

/// Drives a decoder as a connection does: parts of any size, the rest is kept.
fn drive(mut decoder: Decoder, parts: &[&[u8]]) -> (Vec<Seen>, Option<DecodeError>) {
    let (mut seen, mut kept) = (Vec::new(), Vec::new());
    for part in parts {
        kept.extend_from_slice(part);
        loop {
            let (used, event) = match decoder.decode(&mut kept) {
                Ok((used, event)) => (used, event.map(owned)),
                Err(error) => return (seen, Some(error)),
            };
            let progress = used > 0 || event.is_some();
            seen.extend(event);
            kept.drain(..used);
            if !progress {
                break;
            }
        }
        assert!(kept.len() < 139, "the driver keeps {} bytes", kept.len());
    }
    (seen, None)
}

fn owned(event: Event<'_>) -> Seen {
    match event {
        Event::Data { text, payload, last } => {
            assert!(last, "messages are whole");
            Seen::Data(text, payload.to_vec())
        }
        Event::Ping(payload) => Seen::Ping(payload.to_vec()),
        Event::Pong(payload) => Seen::Pong(payload.to_vec()),
        Event::Close(close) => Seen::Close(close.code, close.reason.to_owned()),
    }
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_masked_frame(&mut out, Opcode::Text, payload, KEY);
    out[0] = first;
    out
}

fn code_of(input: &[u8]) -> Option<u16> {
    drive(decoder(Role::Server, 1_000), &[input]).1.map(|error| error.code)
}

#[test]
fn reads_the_examples_of_the_specification() {
    // RFC 6455 section 5.7.
    let hello = || vec![Seen::Data(true, b"Hello".to_vec())];
    let client = |input: &[u8]| drive(decoder(Role::Client, 1 << 20), &[input]).0;
    assert_eq!(client(b"\x81\x05Hello"), hello());
    assert_eq!(client(b"\x01\x03Hel\x80\x02lo"), hello());
    assert_eq!(client(b"\x89\x05Hello"), [Seen::Ping(b"Hello".to_vec())]);
    let server = |input: &[u8]| drive(decoder(Role::Server, 1 << 20), &[input]).0;
    assert_eq!(server(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), hello());
    assert_eq!(server(b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), [Seen::Pong(b"Hello".to_vec())]);
    let mut long = vec![0x82, 0x7e, 0x01, 0x00];
    long.resize(4 + 256, 7);
    assert_eq!(client(&long), [Seen::Data(false, vec![7; 256])]);
}

#[test]
fn control_frames_come_between_the_fragments_of_a_message() {
    let input = [masked(0x01, b"a"), masked(0x89, b"p"), masked(0x00, b"b"), masked(0x80, b"c")].concat();
    let (seen, error) = drive(decoder(Role::Server, 10), &[&input]);
    assert_eq!((seen, error), (vec![Seen::Ping(b"p".to_vec()), Seen::Data(true, b"abc".to_vec())], None));
}

#[test]
fn closes_with_1002_when_a_frame_is_malformed() {
    let frames: &[(&str, Vec<u8>)] = &[
        ("no mask from a client", b"\x81\x05Hello".to_vec()),
        ("first reserved bit", masked(0xc1, b"a")),
        ("last reserved bit", masked(0x91, b"a")),
        ("reserved data opcode", masked(0x83, b"a")),
        ("reserved control opcode", masked(0x8b, b"a")),
        ("split control frame", masked(0x09, b"a")),
        ("long control frame", masked(0x89, &[0; 126])),
        ("length with the top bit", b"\x82\xff\x80\0\0\0\0\0\0\0".to_vec()),
        ("16-bit length below 126", b"\x82\xfe\0\x7d".to_vec()),
        ("64-bit length below 65,536", b"\x82\xff\0\0\0\0\0\0\xff\xff".to_vec()),
        ("continuation of nothing", masked(0x80, b"a")),
        ("message within a message", [masked(0x01, b"a"), masked(0x81, b"b")].concat()),
        ("close with half a code", masked(0x88, &[3])),
        ("close with a code for nobody to send", masked(0x88, &1005_u16.to_be_bytes())),
        ("close with an unknown code", masked(0x88, &2999_u16.to_be_bytes())),
    ];
    for (case, frame) in frames {
        assert_eq!(code_of(frame), Some(1002), "{case}");
    }
    assert!(drive(decoder(Role::Client, 10), &[&masked(0x81, b"a")]).1.is_some(), "a mask from a server");
}

#[test]
fn closes_with_1007_at_the_first_byte_that_is_not_utf8() {
    assert_eq!(code_of(&masked(0x81, b"\xff")), Some(1007));
    assert_eq!(code_of(&masked(0x81, b"\xc3")), Some(1007), "an open character at the end");
    assert_eq!(code_of(&masked(0x01, b"\xed\xa0")), Some(1007), "before the message has ended");
    assert_eq!(code_of(&[masked(0x01, b"\xc3"), masked(0x80, b"\xa4")].concat()), None);
    assert_eq!(code_of(&masked(0x88, b"\x03\xe8\xff")), Some(1007));
    assert_eq!(code_of(&masked(0x82, b"\xff")), None);
}

#[test]
fn closes_with_1009_before_the_payload_of_a_message_that_is_too_large() {
    assert_eq!(code_of(&masked(0x82, &[0; 1_001])[..8]), Some(1009));
    let endless = [masked(0x02, &[0; 600]), masked(0x00, &[0; 401])].concat();
    assert_eq!(code_of(&endless), Some(1009));
    assert_eq!(code_of(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"), Some(1009));
}

#[test]
fn passes_over_everything_behind_a_close() {
    let input = [masked(0x88, b"\x03\xe8bye"), masked(0x81, b"late"), b"garbage".to_vec()].concat();
    let (seen, error) = drive(decoder(Role::Server, 10), &[&input]);
    assert_eq!((seen, error), (vec![Seen::Close(Some(1000), "bye".into())], None));
    let (empty, _) = drive(decoder(Role::Server, 10), &[&masked(0x88, b"")]);
    assert_eq!(empty, [Seen::Close(None, String::new())]);
}

#[test]
fn holds_nothing_once_a_joined_message_was_handed_over() {
    let mut decoder = decoder(Role::Server, 100);
    let mut input = [masked(0x01, b"ab"), masked(0x80, b"c")].concat();
    let (used, _) = decoder.decode(&mut input).expect("valid");
    assert_eq!(decoder.buffered(), 2);
    let (_, event) = decoder.decode(&mut input[used..]).expect("valid");
    assert!(matches!(event, Some(Event::Data { payload: b"abc", .. })));
    assert_eq!(decoder.decode(&mut []), Ok((0, None)));
    assert_eq!(decoder.buffered(), 0);
}

#[test]
fn hands_over_parts_without_joining_them_where_asked() {
    let mut decoder =
        Decoder::new(Role::Server, Delivery::Parts, &Limits { websocket_message: 1, ..Limits::default() });
    let mut input = masked(0x82, &[9; 100]);
    let mut total = 0;
    for chunk in input.chunks_mut(50) {
        let len = chunk.len();
        let (used, event) = decoder.decode(chunk).expect("valid");
        assert_eq!(used, len, "nothing is left over");
        if let Some(Event::Data { text: false, payload, .. }) = event {
            assert!(payload.iter().all(|byte| *byte == 9));
            total += payload.len();
        }
    }
    assert_eq!((total, decoder.buffered()), (100, 0));
}

#[test]
fn a_close_reason_is_cut_at_a_character() {
    let mut out = Vec::new();
    encode_close(&mut out, 1012, &"ä".repeat(100));
    let (seen, _) = drive(decoder(Role::Client, 10), &[&out]);
    assert_eq!(seen, [Seen::Close(Some(1012), "ä".repeat(61))]);
}

#[test]
fn a_close_is_answered_with_what_it_said() {
    for code in [Some(1000), Some(3005), None] {
        let mut out = Vec::new();
        encode_close_answer(&mut out, Close { code, reason: "bye" });
        let (seen, _) = drive(decoder(Role::Client, 10), &[&out]);
        assert_eq!(seen, [Seen::Close(code, String::new())]);
    }
}

#[test]
fn the_corpus_neither_panics_nor_grows_however_it_is_cut() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/websocket");
    let mut seeds = 0;
    for entry in std::fs::read_dir(folder).expect("corpus").flatten() {
        let seed = std::fs::read(entry.path()).expect("seed");
        for end in 0..=seed.len() {
            for role in [Role::Server, Role::Client] {
                let (seen, _) = drive(decoder(role, 64), &[&seed[..end], &seed[end..]]);
                assert!(seen.iter().all(|seen| !matches!(seen, Seen::Data(_, data) if data.len() > 64)));
            }
        }
        seeds += 1;
    }
    assert!(seeds > 0);
}

fn message() -> impl Strategy<Value = (Opcode, Vec<u8>)> {
    prop_oneof![
        any::<String>().prop_map(|text| (Opcode::Text, text.into_bytes())),
        prop::collection::vec(any::<u8>(), 0..400).prop_map(|bytes| (Opcode::Binary, bytes)),
        prop::collection::vec(any::<u8>(), 0..125).prop_map(|bytes| (Opcode::Ping, bytes)),
        Just((Opcode::Binary, vec![5; 70_000])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_was_encoded_is_decoded_however_it_is_cut(
        messages in prop::collection::vec(message(), 1..6), key in any::<[u8; 4]>(), size in 1_usize..5_000,
    ) {
        let (mut client, mut server) = (Vec::new(), Vec::new());
        for (opcode, payload) in &messages {
            encode_masked_frame(&mut client, *opcode, payload, key);
            encode_frame(&mut server, *opcode, payload);
        }
        let expected: Vec<_> = messages.into_iter().map(|(opcode, payload)| match opcode {
            Opcode::Ping => Seen::Ping(payload),
            opcode => Seen::Data(opcode == Opcode::Text, payload),
        }).collect();
        for (role, bytes) in [(Role::Server, client), (Role::Client, server)] {
            let parts: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(drive(decoder(role, 1 << 20), &parts), (expected.clone(), None));
        }
    }

    #[test]
    fn garbage_never_panics(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6)) {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        drive(decoder(Role::Server, 64), &parts);
        drive(decoder(Role::Client, 64), &parts);
    }
}
