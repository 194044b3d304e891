//! A connection of HTTP/2 as its client sees it: octets in, frames out.

mod frames;

use frames::{CONFIG, CONTINUATION, DATA, ENDS, GOAWAY, HEAD, HEADERS, PING, RST_STREAM, SETTINGS, frame, literal};
use tidegate_http2::{Config, Connection, Failure, Flood, Reason, RemoteEnd, RequestHead, StreamKey, TakeRequest};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const WINDOW_UPDATE: u8 = 8;
/// GET http://a/ of the static table, with `:authority` a.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'a'];
const POST: &[u8] = &[0x83, 0x86, 0x84, 0x41, 1, b'a'];

#[derive(Debug, PartialEq, Eq)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

#[derive(Default)]
struct Came(Vec<(StreamKey, String, bool)>);

impl TakeRequest for Came {
    fn take(&mut self, key: StreamKey, head: &mut RequestHead, ends: bool) -> Result<(), Reason> {
        if head.protocol().is_some_and(|protocol| protocol != b"websocket") {
            return Err(Reason::PROTOCOL_ERROR);
        }
        self.0.push((key, String::from_utf8_lossy(&head.text).into_owned(), ends));
        Ok(())
    }
}

struct Client {
    connection: Connection,
    came: Came,
    now: u64,
}

impl Client {
    /// After the preface and settings.
    fn new() -> Client {
        Client::with(CONFIG)
    }

    fn with(config: Config) -> Client {
        let mut client = Client { connection: Connection::new(config), came: Came::default(), now: 0 };
        client.send(PREFACE);
        client.send(&frame(SETTINGS, 0, 0, &[]));
        assert!(client.connection.has_settings());
        client.hear();
        client
    }

    fn send(&mut self, bytes: &[u8]) {
        self.connection.receive(bytes, self.now, &mut self.came);
    }

    /// Sends in pieces of so many octets.
    fn drip(&mut self, bytes: &[u8], step: usize) {
        bytes.chunks(step).for_each(|piece| self.send(piece));
    }

    fn hear(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut out = self.connection.out();
        while !out.is_empty() {
            let length = u32::from_be_bytes([0, out[0], out[1], out[2]]) as usize;
            let stream = u32::from_be_bytes([out[5], out[6], out[7], out[8]]);
            frames.push(Frame { kind: out[3], flags: out[4], stream, payload: out[9..9 + length].to_vec() });
            out = &out[9 + length..];
        }
        let count = self.connection.out().len();
        self.connection.took(count);
        frames
    }

    fn open(&mut self, stream: u32, flags: u8, block: &[u8]) -> StreamKey {
        self.send(&frame(HEADERS, flags, stream, block));
        self.came.0.last().expect("a request").0
    }
}

fn rst(stream: u32, reason: Reason) -> Frame {
    Frame { kind: RST_STREAM, flags: 0, stream, payload: reason.0.to_be_bytes().to_vec() }
}

fn window(stream: u32, more: u32) -> Frame {
    Frame { kind: WINDOW_UPDATE, flags: 0, stream, payload: more.to_be_bytes().to_vec() }
}

/// How a connection ends that is sent this behind its settings.
fn failure(bytes: &[u8]) -> Option<Failure> {
    let mut client = Client::new();
    client.send(bytes);
    let failure = client.connection.failure();
    let last = client.hear().pop();
    assert_eq!(failure.is_some(), last.is_some_and(|last| last.kind == GOAWAY), "the client hears of it");
    failure
}

fn fails(bytes: &[u8], reason: Reason) {
    assert_eq!(failure(bytes), Some(Failure::Rule(reason)), "{bytes:02x?}");
}

/// What stream 1 is reset with for that head.
fn reset_for(block: &[u8], flags: u8) -> Option<Reason> {
    let mut client = Client::new();
    client.send(&frame(HEADERS, flags, 1, block));
    assert_eq!(client.connection.failure(), None, "{block:02x?}");
    let resets = client.hear().into_iter().filter(|frame| frame.kind == RST_STREAM);
    resets.map(|frame| Reason(u32::from_be_bytes(frame.payload.try_into().expect("four octets")))).next()
}

#[test]
fn requests_come_as_http_1_however_the_octets_are_cut() {
    let head = [GET, &literal("x-a", "b"), &literal("cookie", "c=d"), &literal("cookie", "e=f")].concat();
    let (first, second) = head.split_at(9);
    let split = [frame(HEADERS, 1, 3, first), frame(CONTINUATION, HEAD, 3, second)].concat();
    let all =
        [frame(HEADERS, ENDS, 1, &head), split, frame(HEADERS, HEAD, 5, POST), frame(DATA, 1, 5, b"hello")].concat();
    for step in [1, 2, 7, 10_000] {
        let mut client = Client::new();
        client.drip(&all, step);
        let texts: Vec<(&str, bool)> = client.came.0.iter().map(|(_, text, ends)| (&text[..], *ends)).collect();
        let get = "GET / HTTP/1.1\r\nhost: a\r\nx-a: b\r\ncookie: c=d; e=f\r\n";
        assert_eq!(texts, [(get, true), (get, true), ("POST / HTTP/1.1\r\nhost: a\r\n", false)], "{step}");
        let key = client.came.0[2].0;
        assert_eq!((client.connection.body(key), client.connection.remote(key)), (&b"hello"[..], RemoteEnd::Ended));
        assert_eq!(client.hear(), []);
    }
}

#[test]
fn what_we_are_is_said_first() {
    let mut connection = Connection::new(Config { connection_window: 70_000, ..CONFIG });
    let mut expected =
        frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 4, 0, 8, 0, 0, 0, 1, 0, 4, 0, 0, 3, 232, 0, 6, 0, 0, 4, 0]);
    expected.extend(frame(WINDOW_UPDATE, 0, 0, &4_465_u32.to_be_bytes()));
    assert_eq!(connection.out(), expected);
    connection.receive(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", 0, &mut Came::default());
    assert_eq!(connection.failure(), Some(Failure::Rule(Reason::PROTOCOL_ERROR)));
    let mut connection = Connection::new(CONFIG);
    connection.receive(&[PREFACE, &frame(PING, 0, 0, &[0; 8])].concat(), 0, &mut Came::default());
    assert_eq!(connection.failure(), Some(Failure::Rule(Reason::PROTOCOL_ERROR)), "settings come first");
}

#[test]
fn frames_that_break_a_rule_of_the_connection_end_it() {
    let open = frame(HEADERS, HEAD, 1, POST);
    for bad in [
        frame(DATA, 0, 0, b"a"),
        frame(DATA, 0, 3, b"a"),
        [open.clone(), frame(DATA, 8, 1, &[5, 1, 2])].concat(),
        frame(HEADERS, ENDS, 0, GET),
        frame(HEADERS, ENDS, 2, GET),
        frame(2, 0, 0, &[0, 0, 0, 0, 1]),
        frame(RST_STREAM, 0, 0, &[0; 4]),
        frame(RST_STREAM, 0, 1, &[0; 4]),
        frame(SETTINGS, 0, 1, &[]),
        frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]),
        frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]),
        frame(5, 4, 1, &[0; 4]),
        frame(PING, 0, 1, &[0; 8]),
        frame(GOAWAY, 0, 1, &[0; 8]),
        frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
        frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
        frame(CONTINUATION, 4, 1, GET),
        [frame(HEADERS, 1, 1, GET), frame(DATA, 0, 1, b"")].concat(),
        [frame(HEADERS, 1, 1, GET), frame(CONTINUATION, 4, 3, b"")].concat(),
        frame(DATA, 0, 2, b"a"),
    ] {
        fails(&bad, Reason::PROTOCOL_ERROR);
    }
    for bad in [
        vec![0, 0x40, 1, DATA, 0, 0, 0, 0, 1],
        frame(RST_STREAM, 0, 1, &[0; 3]),
        frame(SETTINGS, 1, 0, &[0; 6]),
        frame(SETTINGS, 0, 0, &[0; 5]),
        frame(PING, 0, 0, &[0; 7]),
        frame(GOAWAY, 0, 0, &[0; 7]),
        frame(WINDOW_UPDATE, 0, 0, &[0; 5]),
        frame(HEADERS, 0x24, 1, &[0; 4]),
    ] {
        fails(&bad, Reason::FRAME_SIZE_ERROR);
    }
    fails(&frame(HEADERS, ENDS, 1, &[0xc0]), Reason::COMPRESSION_ERROR);
    for bad in [
        frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
        frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        [open, frame(DATA, 0, 1, &[0; 1_000]), frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])].concat(),
    ] {
        fails(&bad, Reason::FLOW_CONTROL_ERROR);
    }
}

#[test]
fn malformed_requests_end_their_stream_alone() {
    let with = |extra: &[u8]| [GET, extra].concat();
    let pseudo = |name: &str, value: &str| [&[0x82, 0x86][..], &literal(name, value)].concat();
    for malformed in [
        with(&literal("X-A", "b")),
        with(&literal("", "b")),
        with(&literal("x a", "b")),
        with(&literal("x-a", "b\r\nc: d")),
        with(&literal("x-a", " b")),
        with(&literal("x-a", "b\0")),
        with(&literal("connection", "x-a")),
        with(&literal("keep-alive", "1")),
        with(&literal("transfer-encoding", "chunked")),
        with(&literal("upgrade", "h2c")),
        with(&literal("te", "gzip")),
        with(&literal("host", "b")),
        with(&literal("host", "a:443")),
        with(&[literal("host", "a"), literal("host", "a")].concat()),
        with(&literal(":x", "b")),
        with(&literal(":status", "200")),
        with(&[0x84]),
        with(&literal(":protocol", "websocket")),
        with(&literal("content-length", "5")),
        with(&literal("content-length", "+0")),
        [&[0x82, 0x86][..], &literal("x-a", "b"), &[0x84]].concat(),
        pseudo(":path", ""),
        pseudo(":path", "a"),
        pseudo(":path", "/a b"),
        pseudo(":path", "http://b/"),
        [&[0x82, 0x86, 0x04, 2][..], b"/\xff"].concat(),
        [&[0x82, 0x84][..], &literal(":scheme", "http://b")].concat(),
        pseudo(":authority", "a"),
        vec![0x82, 0x84],
        vec![0x86, 0x84],
        [&[0x86, 0x84][..], &literal(":method", "GE T")].concat(),
        [&literal(":method", "CONNECT")[..], &[0x86, 0x84]].concat(),
        [literal(":method", "CONNECT"), literal(":protocol", "websocket")].concat(),
    ] {
        assert_eq!(reset_for(&malformed, ENDS), Some(Reason::PROTOCOL_ERROR), "{malformed:02x?}");
    }
    let of_https = [&[0x82, 0x87, 0x84][..], &literal(":authority", "a"), &literal("host", "a:443")].concat();
    for fine in [
        GET,
        &with(&literal("te", "trailers")),
        &with(&literal("host", "A")),
        &with(&literal("host", "a:80")),
        &of_https,
        &with(&literal("x-a", "\u{e4}")),
    ] {
        assert_eq!(reset_for(fine, ENDS), None, "{fine:02x?}");
    }
    assert_eq!(reset_for(&[&[0, 0, 0, 1, 9], GET].concat(), ENDS | 0x20), Some(Reason::PROTOCOL_ERROR), "of itself");
}

#[test]
fn what_http_1_has_rules_for_is_left_to_them() {
    let mut client = Client::new();
    client.open(1, ENDS, &[&[0x82, 0x86][..], &literal(":path", "/a#b"), &literal("host", "h")].concat());
    client.open(3, ENDS, &[&[0x82, 0x84][..], &literal(":scheme", "ftp")].concat());
    client.open(5, HEAD, &[literal(":method", "CONNECT"), literal(":authority", "a:1")].concat());
    let tunnel = [
        (":method", "CONNECT"),
        (":scheme", "https"),
        (":path", "/w"),
        (":authority", "a"),
        (":protocol", "websocket"),
    ];
    client.open(7, HEAD, &tunnel.iter().flat_map(|(name, value)| literal(name, value)).collect::<Vec<u8>>());
    let texts: Vec<&str> = client.came.0.iter().map(|(_, text, _)| &text[..]).collect();
    let expected = [
        "GET /a#b HTTP/1.1\r\nhost: h\r\n",
        "GET /# HTTP/1.1\r\n",
        "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n",
        "GET /w HTTP/1.1\r\nhost: a\r\n",
    ];
    assert_eq!(texts, expected);
}

#[test]
fn heads_that_are_too_large_are_answered_with_431() {
    let long = literal("x-a", &"b".repeat(100));
    let many: Vec<u8> = (0..129).flat_map(|_| [0x90]).collect();
    for block in [[GET, &long.repeat(9)].concat(), [GET, &many].concat()] {
        let mut client = Client::new();
        client.send(&frame(HEADERS, ENDS, 1, &block));
        client.send(&frame(HEADERS, HEAD, 3, &block));
        let heard = client.hear();
        let kinds: Vec<(u8, u32)> = heard.iter().map(|frame| (frame.kind, frame.stream)).collect();
        assert_eq!(kinds, [(HEADERS, 1), (HEADERS, 3), (RST_STREAM, 3)]);
        assert!(heard[0].flags == ENDS && heard[0].payload.ends_with(b"431"));
        client.open(5, ENDS, GET);
        assert!(client.came.0.len() == 1 && client.connection.failure().is_none());
    }
}

#[test]
fn bodies_are_as_long_as_they_say() {
    let five = [POST, &literal("content-length", "5")].concat();
    for (pieces, is_fine) in [
        (vec![(&b"hello"[..], 1)], true),
        (vec![(b"hel", 0), (b"lo", 1)], true),
        (vec![(b"hello", 0), (b"", 1)], true),
        (vec![(b"hell", 1)], false),
        (vec![(b"hello!", 0)], false),
        (vec![(b"hello", 0), (b"!", 1)], false),
    ] {
        let mut client = Client::new();
        client.open(1, HEAD, &five);
        for (data, flags) in &pieces {
            client.send(&frame(DATA, *flags, 1, data));
        }
        let expected = if is_fine { vec![] } else { vec![rst(1, Reason::PROTOCOL_ERROR)] };
        assert_eq!(client.hear(), expected, "{pieces:?}");
    }
}

#[test]
fn trailers_end_a_stream_and_have_no_pseudo_header_fields() {
    for (flags, block, is_fine) in [
        (ENDS, literal("x-b", "c"), true),
        (HEAD, literal("x-b", "c"), false),
        (ENDS, vec![0x84], false),
        (ENDS, literal("X-B", "c"), false),
    ] {
        let mut client = Client::new();
        let key = client.open(1, HEAD, POST);
        client.send(&frame(DATA, 0, 1, b"a"));
        client.send(&frame(HEADERS, flags, 1, &block));
        let expected = if is_fine { vec![] } else { vec![rst(1, Reason::PROTOCOL_ERROR)] };
        assert_eq!(client.hear(), expected);
        let (remote, lines) = (client.connection.remote(key), client.connection.take_trailers(key));
        assert_eq!((remote == RemoteEnd::Ended, &lines[..] == b"x-b: c\r\n"), (is_fine, is_fine));
    }
}

#[test]
fn windows_open_again_when_half_of_them_was_read() {
    let mut client = Client::new();
    let key = client.open(1, HEAD, POST);
    client.send(&frame(DATA, 0, 1, &[1; 600]));
    assert_eq!(client.hear(), [], "nobody read it");
    client.connection.consume(key, 499);
    assert_eq!(client.hear(), []);
    client.connection.consume(key, 101);
    assert_eq!(client.hear(), [window(1, 600)]);
    // Padding is read by nobody.
    client.send(&frame(DATA, 8, 1, &[vec![255], vec![1; 244], vec![0; 255]].concat()));
    client.connection.consume(key, 244);
    assert_eq!(client.hear(), [window(1, 500)]);
    client.send(&frame(DATA, 0, 1, &[1; 1_000]));
    assert_eq!(client.connection.failure(), None);
    client.send(&frame(DATA, 0, 1, &[1; 1]));
    assert_eq!(client.hear(), [rst(1, Reason::FLOW_CONTROL_ERROR)]);
}

#[test]
fn what_is_never_read_gives_its_window_back() {
    let mut client = Client::new();
    for stream in (1..200).step_by(2) {
        let key = client.open(stream, HEAD, POST);
        client.send(&frame(DATA, 0, stream, &[1; 1_000]));
        client.connection.close(key);
        // It was on its way.
        client.send(&frame(DATA, 0, stream, &[1; 1_000]));
        client.now += 1_000;
    }
    let heard = client.hear();
    let more: u32 = heard
        .iter()
        .filter(|frame| frame.kind == WINDOW_UPDATE)
        .map(|frame| {
            assert_eq!(frame.stream, 0);
            u32::from_be_bytes(frame.payload[..].try_into().expect("four octets"))
        })
        .sum();
    assert!(client.connection.failure().is_none() && (200_000 - 32_767..=200_000).contains(&more), "{more}");
    // Each was taken back once, and what was on its way is no error.
    assert_eq!(heard.iter().filter(|frame| frame.kind == RST_STREAM).count(), 100);
}

#[test]
fn frames_of_streams_that_are_over_are_told_apart() {
    let mut client = Client::new();
    let key = client.open(1, ENDS, GET);
    client.send(&frame(DATA, 0, 1, b"a"));
    assert_eq!(client.hear(), [rst(1, Reason::STREAM_CLOSED)]);
    client.connection.close(key);
    client.send(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]));
    client.send(&frame(RST_STREAM, 0, 1, &[0; 4]));
    let key = client.open(3, ENDS, GET);
    client.connection.head(key, 204).expect("a stream").finish(true);
    client.connection.close(key);
    client.hear();
    client.send(&frame(RST_STREAM, 0, 3, &[0; 4]));
    let key = client.open(5, ENDS, GET);
    client.send(&frame(HEADERS, ENDS, 5, GET));
    assert_eq!((client.hear(), client.connection.failure()), (vec![rst(5, Reason::STREAM_CLOSED)], None));
    client.connection.close(key);
    client.send(&frame(DATA, 0, 5, b"a"));
    client.send(&frame(HEADERS, ENDS, 5, GET));
    assert_eq!((client.hear(), client.connection.failure()), (vec![], None), "the client did not know yet");
    client.send(&frame(HEADERS, ENDS, 3, GET));
    assert_eq!(client.connection.failure(), Some(Failure::Rule(Reason::STREAM_CLOSED)));
}

#[test]
fn numbers_of_streams_rise_and_ends_are_forgotten_at_some_time() {
    fails(&[frame(HEADERS, ENDS, 5, GET), frame(HEADERS, ENDS, 3, GET)].concat(), Reason::PROTOCOL_ERROR);
    let mut client = Client::new();
    for stream in (3..1_003).step_by(2) {
        let key = client.open(stream, ENDS, GET);
        client.connection.head(key, 204).expect("a stream").finish(true);
        client.connection.close(key);
    }
    client.hear();
    for stream in [1, 3] {
        client.send(&frame(HEADERS, ENDS, stream, GET));
        assert_eq!(client.hear(), [rst(stream, Reason::STREAM_CLOSED)]);
    }
    client.open(1_005, ENDS, GET);
    assert_eq!(client.connection.failure(), None);
}

#[test]
fn streams_beyond_the_limit_are_refused_and_those_that_are_over_do_not_count() {
    let mut client = Client::new();
    let first = client.open(1, ENDS, GET);
    for stream in [3, 5, 7] {
        client.open(stream, ENDS, GET);
    }
    client.send(&frame(HEADERS, ENDS, 9, GET));
    assert_eq!(client.hear(), [rst(9, Reason::REFUSED_STREAM)]);
    client.connection.head(first, 200).expect("a stream").finish(true);
    client.open(11, ENDS, GET);
    assert_eq!((client.came.0.len(), client.hear().len()), (5, 1));
}

#[test]
fn answers_leave_as_far_as_windows_and_room_reach() {
    let mut client = Client::with(Config { out_max: 40_000, ..CONFIG });
    let (first, second) = (client.open(1, ENDS, GET), client.open(3, ENDS, GET));
    for key in [first, second] {
        let mut head = client.connection.head(key, 200).expect("a stream");
        assert!(head.field(b"Server", b"x") && !head.field(b"a b", b"c") && !head.field(b"a", b"c\n"));
        head.finish(false);
    }
    let heard = client.hear();
    assert!(heard.iter().all(|frame| frame.kind == HEADERS && frame.flags == HEAD));
    let send = |client: &mut Client, key| {
        let mut sent = 0;
        while let Some(mut data) = client.connection.data(key) {
            sent += data.put(&[7; 20_000]);
            data.finish(false);
        }
        sent
    };
    // Frames of 16 KiB, until no room is left.
    let sent = send(&mut client, first);
    assert!((39_000..=40_000).contains(&sent), "{sent}");
    assert_eq!(send(&mut client, second), 0);
    assert!(!client.connection.give_turns(), "nothing was taken");
    assert!(client.hear().iter().all(|frame| frame.payload.len() <= 16_384));
    // The first one waits as well: the second has its turn as soon.
    assert!(client.connection.give_turns());
    assert!(send(&mut client, second) > 16_000, "its turn");
    client.hear();
    while client.connection.give_turns() {
        send(&mut client, first);
        send(&mut client, second);
        client.hear();
    }
    // The connection's window is used up; each stream's own is not.
    let all = |client: &mut Client| client.connection.data(first).is_none() && client.connection.data(second).is_none();
    assert!(all(&mut client) && !client.connection.give_turns());
    client.send(&frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 10]));
    assert!(client.connection.give_turns());
    assert_eq!(client.connection.data(first).expect("its turn").room(), 10);
    client.connection.end(first);
    assert_eq!(client.hear(), [Frame { kind: DATA, flags: 1, stream: 1, payload: vec![] }], "needs no window");
}

#[test]
fn a_window_that_settings_made_negative_opens_by_what_it_lacks() {
    let mut client = Client::new();
    let key = client.open(1, ENDS, GET);
    client.connection.head(key, 200).expect("a stream").finish(false);
    let mut data = client.connection.data(key).expect("a window");
    data.put(&[1; 1_000]);
    assert_eq!(data.finish(false), 1_000);
    client.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 100]));
    assert!(client.connection.data(key).is_none());
    client.send(&frame(WINDOW_UPDATE, 0, 1, &900_u32.to_be_bytes()));
    assert!(client.connection.data(key).is_none() && client.connection.waits_for_window(key), "at zero");
    client.send(&frame(WINDOW_UPDATE, 0, 1, &7_u32.to_be_bytes()));
    assert_eq!(client.connection.data(key).expect("a window").room(), 7);
}

#[test]
fn a_head_that_was_given_up_leaves_no_trace() {
    let mut client = Client::new();
    let key = client.open(1, ENDS, GET);
    for _ in 0..3 {
        let mut head = client.connection.head(key, 200).expect("a stream");
        head.field(b"x-a", b"a value that is kept");
    }
    assert_eq!(client.hear(), []);
    let mut head = client.connection.head(key, 200).expect("a stream");
    head.field(b"x-a", b"a value that is kept");
    head.finish(true);
    let payload = client.hear().remove(0).payload;
    // An empty table, then as large as it was; no entry of it is named.
    assert_eq!(payload[..2], [0x20, 0x3f]);
    assert!(payload.ends_with(b"a value that is kept"));
    assert!(client.connection.head(key, 200).is_none(), "it has its answer");
}

#[test]
fn a_long_head_goes_in_several_frames() {
    let mut client = Client::new();
    let key = client.open(1, ENDS, GET);
    let mut head = client.connection.head(key, 200).expect("a stream");
    for index in 0..5 {
        assert!(head.field(format!("x-{index}").as_bytes(), &[b'v'; 9_000]));
    }
    head.finish(true);
    let frames: Vec<(u8, u8)> = client.hear().iter().map(|frame| (frame.kind, frame.flags)).collect();
    assert_eq!(frames, [(HEADERS, 1), (CONTINUATION, 0), (CONTINUATION, 4)]);
}

#[test]
fn leaving_serves_what_was_opened_before_the_client_knew() {
    let mut client = Client::new();
    let key = client.open(1, ENDS, GET);
    client.connection.leave();
    let heard = client.hear();
    assert_eq!((heard[0].kind, &heard[0].payload[..4], heard[1].kind), (GOAWAY, &[0x7f, 0xff, 0xff, 0xff][..], PING));
    let late = client.open(3, ENDS, GET);
    client.send(&frame(PING, 1, 0, &heard[1].payload));
    assert_eq!(client.hear()[0].payload[..4], [0, 0, 0, 3]);
    client.send(&frame(HEADERS, ENDS, 5, GET));
    assert_eq!((client.hear(), client.came.0.len()), (vec![], 2), "it was told");
    for key in [key, late] {
        assert!(!client.connection.is_over());
        client.connection.head(key, 200).expect("a stream").finish(true);
        client.connection.close(key);
    }
    assert!(client.connection.is_over());
    let mut client = Client::new();
    client.send(&frame(GOAWAY, 0, 0, &[0; 8]));
    assert!(client.connection.is_over(), "the client leaves");
}

#[test]
fn floods_end_the_connection() {
    let get = |stream: u32| [frame(HEADERS, ENDS, stream, GET), frame(RST_STREAM, 0, stream, &[0; 4])].concat();
    let resets: Vec<u8> = (0..51).flat_map(|index| get(2 * index + 1)).collect();
    assert_eq!(failure(&resets), Some(Failure::Flood(Flood::Resets)));
    let malformed: Vec<u8> = (0..101).flat_map(|index| frame(HEADERS, ENDS, 2 * index + 1, &[0x82])).collect();
    assert_eq!(failure(&malformed), Some(Failure::Flood(Flood::Resets)), "such as we are made to send");
    let open = frame(HEADERS, HEAD, 1, POST);
    for control in [
        frame(PING, 0, 0, &[0; 8]),
        frame(SETTINGS, 0, 0, &[]),
        frame(2, 0, 1, &[0, 0, 0, 0, 1]),
        frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
        frame(DATA, 0, 1, &[]),
        frame(DATA, 8, 1, &[1, 0]),
        frame(0x77, 0, 1, &[1, 0]),
    ] {
        assert_eq!(failure(&[&open[..], &control.repeat(199)].concat()), None);
        assert_eq!(
            failure(&[&open[..], &control.repeat(201)].concat()),
            Some(Failure::Flood(Flood::Control)),
            "{control:?}"
        );
    }
    let parts = |count| [frame(HEADERS, 1, 1, GET), frame(CONTINUATION, 0, 1, &[]).repeat(count)].concat();
    assert_eq!(failure(&parts(20)), None);
    assert_eq!(failure(&parts(21)), Some(Failure::Flood(Flood::Continuations)));
}

#[test]
fn octets_at_random_mean_the_same_however_they_are_cut() {
    let mut seed = 11_u32;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below
    };
    let sound = [
        frame(HEADERS, ENDS, 1, &[GET, &[0x40, 1, b'x', 1, b'y']].concat()),
        frame(HEADERS, HEAD, 3, &[POST, &[0xbe]].concat()),
        frame(DATA, 8, 3, &[1, b'a', b'b', 0]),
        frame(HEADERS, 1, 3, &literal("x-b", "c")),
        frame(CONTINUATION, HEAD, 3, &[0xbe]),
        frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 9]),
        frame(WINDOW_UPDATE, 0, 3, &[0, 0, 1, 0]),
        frame(PING, 0, 0, &[0; 8]),
        frame(RST_STREAM, 0, 1, &[0; 4]),
    ];
    for round in 0..20_000 {
        let mut bytes: Vec<u8> = (0..4 + random(8))
            .flat_map(|index| match index {
                0..4 => sound[index].clone(),
                _ => sound[random(sound.len())].clone(),
            })
            .collect();
        for _ in 0..random(4) {
            let place = random(bytes.len());
            bytes[place] = random(256) as u8;
        }
        let outcome = |step: usize| {
            let mut client = Client::new();
            client.drip(&bytes, step);
            let came = std::mem::take(&mut client.came.0);
            for (key, ..) in &came {
                let count = client.connection.body(*key).len();
                client.connection.consume(*key, count);
                if let Some(head) = client.connection.head(*key, 200) {
                    head.finish(false);
                }
                if let Some(mut data) = client.connection.data(*key) {
                    data.put(&bytes);
                    data.finish(false);
                }
                client.connection.close(*key);
            }
            assert!(client.connection.is_idle());
            (came, client.connection.failure(), client.hear())
        };
        let whole = outcome(usize::MAX);
        assert_eq!(outcome(1), whole, "round {round}");
    }
}
