//! What a client of HTTP/2 sends, and what a server does. However it is cut, it means the same; each head that is
//! taken is one of HTTP/1.1 with nothing behind it, or none: a second reading is how requests are smuggled.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::mem::MaybeUninit;
use tidegate_http::{HEADERS_MAX, parse_request, parse_response};
use tidegate_http2::{
    Allowed, Answer, Config, Connection, Reason, RemoteEnd, RequestHead, StreamKey, TakeRequest, Target,
};
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

/// What a server's octets come to for some requests, in pieces of so many.
fn answered(input: &[u8], step: usize) -> (Vec<(Vec<Answer>, Vec<u8>, RemoteEnd)>, Vec<u8>, bool) {
    let mut connection = Connection::client(CONFIG);
    connection.receive_answers(&BEGINNING[24..], 0);
    let mut keys = Vec::new();
    for method in [&b"GET"[..], b"HEAD", b"POST"] {
        let target = Target { method, scheme: b"http", authority: b"a", path: b"/", protocol: None };
        let head = connection.ask(&target).expect("an open connection");
        keys.push(head.key());
        head.finish(method != b"POST");
    }
    for piece in input.chunks(step) {
        connection.receive_answers(piece, 0);
    }
    let out = connection.out().to_vec();
    let mut came = Vec::new();
    for key in keys {
        let heads: Vec<Answer> = std::iter::from_fn(|| connection.take_answer(key)).collect();
        heads.iter().for_each(is_one);
        came.push((heads, connection.body(key).to_vec(), connection.remote(key)));
        connection.consume(key, usize::MAX);
        connection.close(key);
    }
    assert!(connection.is_idle());
    (came, out, connection.failure().is_some())
}

/// A head is one in HTTP/1.1, too, with nothing behind it; or none there.
fn is_one(answer: &Answer) {
    let text = [b"HTTP/1.1 200 OK\r\n", &answer.lines[..], b"\r\n"].concat();
    let (limits, mut headers) = (Limits::default(), [MaybeUninit::uninit(); HEADERS_MAX]);
    if let Ok(head) = parse_response(&text, &limits, false, &mut headers) {
        assert_eq!(head.expect("a whole head").len, text.len(), "{:?}", String::from_utf8_lossy(&text));
    }
}

fuzz_target!(|input: &[u8]| {
    let (whole, whole_answers) = (outcome(input, usize::MAX), answered(input, usize::MAX));
    for step in [1, 13] {
        assert_eq!(outcome(input, step), whole, "in pieces of {step}");
        assert_eq!(answered(input, step), whole_answers, "in pieces of {step}");
    }
});
