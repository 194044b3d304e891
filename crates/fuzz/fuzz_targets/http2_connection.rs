//! What a client of HTTP/2 sends. However it is cut, it means the same; each head that is taken is one request
//! of HTTP/1.1 with nothing behind it, or none: a second reading is how requests are smuggled.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::mem::MaybeUninit;
use tidegate_http::{HEADERS_MAX, parse_request};
use tidegate_http2::{Allowed, Config, Connection, Reason, RequestHead, StreamKey, TakeRequest};
use tidegate_message::Limits;

const CONFIG: Config = Config {
    streams_max: 8,
    head_max: 4_096,
    stream_window: 4_096,
    connection_window: 65_535,
    out_max: 16 << 10,
    allowed: Allowed { resets_per_second: 20, control_per_second: 50 },
};
const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[derive(Default, PartialEq, Eq, Debug)]
struct Came(Vec<(StreamKey, Vec<u8>, bool)>);

impl TakeRequest for Came {
    fn take(&mut self, key: StreamKey, head: &mut RequestHead, ends: bool) -> Result<(), Reason> {
        let text = [&head.text[..], b"\r\n"].concat();
        let (limits, mut headers) = (Limits::default(), [MaybeUninit::uninit(); HEADERS_MAX]);
        if let Ok(request) = parse_request(&text, &limits, &mut headers) {
            let request = request.expect("a whole head");
            assert_eq!(request.len, text.len(), "{:?}", String::from_utf8_lossy(&text));
        }
        self.0.push((key, text, ends));
        Ok(())
    }
}

/// What comes of it, in pieces of so many octets; each stream is read and answered as it comes.
fn outcome(input: &[u8], step: usize) -> (Came, Vec<u8>, bool) {
    let (mut connection, mut came) = (Connection::new(CONFIG), Came::default());
    connection.receive(BEGINNING, 0, &mut came);
    for piece in input.chunks(step) {
        connection.receive(piece, 0, &mut came);
    }
    let mut out = connection.out().to_vec();
    connection.took(out.len());
    for (key, text, _) in &came.0 {
        let count = connection.body(*key).len();
        connection.consume(*key, count);
        if let Some(mut head) = connection.head(*key, 200) {
            head.field(b"x-length", text.len().to_string().as_bytes());
            head.finish(false);
        }
        if let Some(mut data) = connection.data(*key) {
            data.put(text);
            data.finish(false);
        }
        connection.give_turns();
        connection.close(*key);
    }
    assert!(connection.is_idle());
    out.extend_from_slice(connection.out());
    (came, out, connection.failure().is_some())
}

fuzz_target!(|input: &[u8]| {
    let whole = outcome(input, usize::MAX);
    for step in [1, 13] {
        assert_eq!(outcome(input, step), whole, "in pieces of {step}");
    }
});
