//! The codec: what was encoded is decoded, examples of the specification, every
//! malformed form, and the corpus.

use std::path::PathBuf;

use proptest::prelude::*;
use tidegate_coap::{Block, Code, Head, Message, OptionList, OptionNumber, Token, Type, encode, encode_empty};

fn head(kind: Type, code: Code) -> Head {
    Head { kind, code, message_id: 0x7d34, token: Token::new(&[0x20]).expect("short") }
}

fn encoded(head: &Head, options: &OptionList, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, head, [options, &OptionList::new()], payload);
    out
}

// RFC7252-3-1 RFC7252-3.1-1
#[test]
fn reads_and_writes_the_examples_of_the_specification() {
    // RFC 7252 appendix A, figures 16 and 19: a GET and its piggybacked response.
    let mut options = OptionList::new();
    options.push(OptionNumber::URI_PATH, b"temperature");
    let request = Head { kind: Type::Confirmable, code: Code::GET, message_id: 0x7d34, token: Token::default() };
    let bytes = encoded(&request, &options, b"");
    assert_eq!(bytes, b"\x40\x01\x7d\x34\xbbtemperature");
    let message = Message::decode(&bytes, 64).expect("valid");
    assert_eq!(message.path_segments().collect::<Vec<_>>(), [b"temperature"]);
    let response = head(Type::Acknowledgement, Code::CONTENT);
    assert_eq!(encoded(&response, &OptionList::new(), b"22.3 C"), b"\x61\x45\x7d\x34\x20\xff22.3 C");
    let mut out = Vec::new();
    encode_empty(&mut out, Type::Reset, 0x0102);
    assert_eq!(out, b"\x70\x00\x01\x02");
}

// RFC7252-3-2 RFC7252-3-3 RFC7252-3-4 RFC7252-3.1-2 RFC7252-4.1-1
#[test]
fn malformed_datagrams_name_their_rule_and_what_to_reject() {
    for (datagram, header) in [
        (&b""[..], None),
        (b"\x40\x01\x00", None),
        (b"\x80\x01\x00\x01", None),
        (b"\x49\x01\x00\x01123456789", Some((Type::Confirmable, 1))),
        (b"\x42\x01\x00\x01a", Some((Type::Confirmable, 1))),
        (b"\x50\x01\x00\x01\xff", Some((Type::NonConfirmable, 1))),
        (b"\x40\x01\x00\x01\xf1a", Some((Type::Confirmable, 1))),
        (b"\x40\x01\x00\x01\x1fa", Some((Type::Confirmable, 1))),
        (b"\x40\x01\x00\x01\x13ab", Some((Type::Confirmable, 1))),
        (b"\x40\x01\x00\x01\xd1", Some((Type::Confirmable, 1))),
        (b"\x40\x01\x00\x01\xe0\xff\xff", Some((Type::Confirmable, 1))),
        (b"\x40\x00\x00\x01a", Some((Type::Confirmable, 1))),
        (b"\x41\x00\x00\x01a", Some((Type::Confirmable, 1))),
    ] {
        let error = Message::decode(datagram, 64).expect_err("malformed");
        assert_eq!(error.header, header, "{datagram:?}");
        assert!(error.rule.starts_with("RFC 7252"));
    }
}

#[test]
fn an_option_flood_is_malformed() {
    let flood = [&b"\x40\x01\x00\x01"[..], &[0xb0], &[0; 64]].concat();
    assert!(Message::decode(&flood, 64).is_err());
    assert!(Message::decode(&flood[..flood.len() - 1], 64).is_ok());
}

// RFC7252-5.4.3-1 RFC7252-5.10.1-1
#[test]
fn names_the_critical_option_that_it_cannot_take() {
    let bad = |number: u16, values: &[&[u8]]| {
        let mut options = OptionList::new();
        values.iter().for_each(|value| {
            options.push(number, value);
        });
        let bytes = encoded(&head(Type::Confirmable, Code::GET), &options, b"");
        Message::decode(&bytes, 64).expect("valid").bad_option()
    };
    assert_eq!(bad(9, &[b""]), Some(9), "unknown and critical");
    assert_eq!(bad(65_003, &[b""]), Some(65_003));
    assert_eq!(bad(65_002, &[b""]), None, "unknown and elective");
    assert_eq!(bad(OptionNumber::URI_HOST, &[b""]), Some(3), "too short");
    assert_eq!(bad(OptionNumber::URI_PATH, &[&[b'a'; 256]]), Some(11), "too long");
    assert_eq!(bad(OptionNumber::URI_PATH, &[b"a", b".."]), Some(11), "a segment that leaves the path");
    assert_eq!(bad(OptionNumber::ACCEPT, &[b"\x01", b"\x02"]), Some(17), "twice");
    assert_eq!(bad(OptionNumber::URI_PATH, &[b"a", b"b"]), None);
}

// RFC7252-6.5-1
#[test]
fn a_path_is_escaped_so_that_routes_cannot_be_fooled() {
    let mut options = OptionList::new();
    for segment in [&b"a b"[..], b"c/d", b"\xc3\xa4", b""] {
        options.push(OptionNumber::URI_PATH, segment);
    }
    options.push(OptionNumber::URI_QUERY, b"q=1&2").push(OptionNumber::URI_QUERY, b"flag");
    let bytes = encoded(&head(Type::Confirmable, Code::GET), &options, b"");
    let message = Message::decode(&bytes, 64).expect("valid");
    let mut out = Vec::new();
    message.write_path(&mut out);
    assert_eq!(out, b"/a%20b/c%2Fd/%C3%A4/");
    assert!(message.write_query(&mut out));
    assert_eq!(out, b"q=1%262&flag");
    assert_eq!((message.query_value("q"), message.query_value("flag")), (Some(&b"1&2"[..]), Some(&b""[..])));
    assert_eq!(message.query_value("fla"), None);
}

// RFC7959-2.1-1
#[test]
fn block_values_are_read_as_written() {
    for block in [Block { num: 0, more: false, szx: 0 }, Block { num: 1_048_575, more: true, szx: 6 }] {
        let mut options = OptionList::new();
        options.push_uint(OptionNumber::BLOCK2, block.to_uint());
        let bytes = encoded(&head(Type::Confirmable, Code::GET), &options, b"");
        assert_eq!(Message::decode(&bytes, 64).expect("valid").block(OptionNumber::BLOCK2), Some(Some(block)));
    }
    assert_eq!(Block::decode(&[0x07]).map(|block| block.szx), Some(Block::BERT));
    assert_eq!([15, 16, 100, 1_024, 5_000].map(Block::szx_for), [0, 0, 2, 6, 6]);
}

#[test]
fn the_corpus_never_panics_however_it_is_cut() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/coap");
    let mut seeds = 0;
    for entry in std::fs::read_dir(folder).expect("corpus").flatten() {
        let seed = std::fs::read(entry.path()).expect("seed");
        (0..=seed.len()).for_each(|end| exercise(&seed[..end]));
        seeds += 1;
    }
    assert!(seeds > 0);
}

fn exercise(datagram: &[u8]) {
    let Ok(message) = Message::decode(datagram, 64) else { return };
    let mut out = Vec::new();
    message.write_path(&mut out);
    message.write_query(&mut out);
    let _ = (message.bad_option(), message.observe(), message.block(OptionNumber::BLOCK1), message.query_value("q"));
    assert!(message.options().count() <= 64);
}

fn kinds() -> impl Strategy<Value = Type> {
    prop::sample::select(vec![Type::Confirmable, Type::NonConfirmable, Type::Acknowledgement, Type::Reset])
}

proptest! {
    // RFC7252-3.1-1
    #[test]
    fn what_was_encoded_is_decoded(
        kind in kinds(), code in 1_u8.., message_id in any::<u16>(), token in prop::collection::vec(any::<u8>(), 0..=8),
        options in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..300)), 0..12),
        payload in prop::collection::vec(any::<u8>(), 0..100),
        extra in prop::collection::btree_map(any::<u16>(), any::<u32>(), 0..3),
    ) {
        let head = Head { kind, code: Code(code), message_id, token: Token::new(&token).expect("short") };
        let mut list = OptionList::new();
        options.iter().for_each(|(number, value)| { list.push(*number, value); });
        let mut added = OptionList::new();
        extra.iter().for_each(|(number, value)| { added.push_uint(*number, *value); });
        let mut out = Vec::new();
        encode(&mut out, &head, [&list, &added], &payload);
        let message = Message::decode(&out, 64).expect("what we encode is valid");
        prop_assert_eq!((message.kind, message.code, message.message_id), (kind, head.code, message_id));
        prop_assert_eq!((message.token.as_bytes(), message.payload), (&token[..], &payload[..]));
        let mut expected: Vec<(u16, Vec<u8>)> = options;
        expected.extend(extra.iter().map(|(number, value)| (*number, value.to_be_bytes()[value.leading_zeros() as usize / 8..].to_vec())));
        expected.sort_by_key(|(number, _)| *number);
        let mut seen: Vec<_> = message.options().map(|option| (option.number, option.value.to_vec())).collect();
        prop_assert!(seen.is_sorted_by_key(|(number, _)| *number));
        // An added number may stand in front of or behind one of the same number.
        expected.sort();
        seen.sort();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn garbage_never_panics(mut datagram in prop::collection::vec(any::<u8>(), 0..60)) {
        exercise(&datagram);
        if let Some(first) = datagram.first_mut() {
            *first = *first & 0x38 | 0x40;
        }
        exercise(&datagram);
    }
}
