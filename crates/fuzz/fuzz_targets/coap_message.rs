//! Datagrams and frames: what was read is written and read again the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_coap::{Head, Message, OptionList, OptionNumber, Transport, encode, encode_frame, frame_len};

fuzz_target!(|input: &[u8]| {
    frame(input);
    let Ok(message) = Message::decode(input, 64) else { return };
    let mut path = Vec::new();
    message.write_path(&mut path);
    message.write_query(&mut path);
    let _ = (message.bad_option(), message.observe(), message.content_format(), message.host());
    let _ = (message.block(OptionNumber::BLOCK1), message.block(OptionNumber::BLOCK2), message.query_value("q"));
    if let Ok(destination) = message.destination() {
        let _ = destination.address();
        let redirected = message.redirected(Transport::Datagram, &destination, false);
        let again = Message::decode(&redirected, usize::MAX - 1).expect("what we write is valid");
        assert!(again.is_proxied() && again.destination().is_ok());
    }
    let mut options = OptionList::new();
    message.options().for_each(|option| {
        options.push(option.number, option.value);
    });
    let head = Head { kind: message.kind, code: message.code, message_id: message.message_id, token: message.token };
    let mut out = Vec::new();
    encode(&mut out, &head, [&options, &OptionList::new()], message.payload);
    let again = Message::decode(&out, 64).expect("what we write is valid");
    assert_eq!((again.kind, again.code, again.message_id), (message.kind, message.code, message.message_id));
    assert_eq!((again.token.as_bytes(), again.payload), (message.token.as_bytes(), message.payload));
    let pairs = |message: &Message<'_>| message.options().map(|it| (it.number, it.value.to_vec())).collect::<Vec<_>>();
    assert_eq!(pairs(&again), pairs(&message));
});

fn frame(input: &[u8]) {
    let Some(bytes) = frame_len(input).and_then(|len| input.get(..len)) else { return };
    let Ok(message) = Message::decode_as(Transport::Tcp, bytes, 64) else { return };
    let mut options = OptionList::new();
    message.options().for_each(|option| {
        options.push(option.number, option.value);
    });
    let mut out = Vec::new();
    encode_frame(
        &mut out,
        (Transport::Tcp, message.code, message.token),
        [&options, &OptionList::new()],
        message.payload,
    );
    assert_eq!(frame_len(&out), Some(out.len()));
    let again = Message::decode_as(Transport::Tcp, &out, 64).expect("what we write is valid");
    assert_eq!(
        (again.code, again.token.as_bytes(), again.payload),
        (message.code, message.token.as_bytes(), message.payload)
    );
}
