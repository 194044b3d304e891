//! The end that asks, as servers see it: our own server at the other end, and octets that break a rule.

mod frames;

use frames::{CONFIG, CONTINUATION, DATA, ENDS, GOAWAY, HEAD, HEADERS, PING, RST_STREAM, SETTINGS, frame, literal};
use tidegate_http2::{
    Allowed, Answer, AskError, Cause, Config, Connection, Failure, Reason, RemoteEnd, RequestHead, StreamKey,
    TakeRequest, Target,
};

const PUSH_PROMISE: u8 = 5;
const END: u8 = 1;
/// `:status` 200 of the static table.
const OK: &[u8] = &[0x88];

const GET: Target<'_> = Target { method: b"GET", scheme: b"http", authority: b"a", path: b"/", protocol: None };

/// A client whose server said its settings.
fn client(settings: &[u8]) -> Connection {
    let mut connection = Connection::client(CONFIG);
    connection.receive_answers(&frame(SETTINGS, 0, 0, settings), 0);
    assert!(connection.has_settings());
    let said = connection.out().len();
    connection.took(said);
    connection
}

fn ask(connection: &mut Connection, target: &Target<'_>, ends: bool) -> StreamKey {
    let head = connection.ask(target).expect("an open connection");
    let key = head.key();
    head.finish(ends);
    key
}

/// What of a stream there is to read.
fn hear(connection: &mut Connection, key: StreamKey) -> (Vec<(u16, String)>, Vec<u8>, RemoteEnd) {
    let mut heads = Vec::new();
    while let Some(Answer { status, lines, .. }) = connection.take_answer(key) {
        heads.push((status, String::from_utf8_lossy(&lines).into_owned()));
    }
    let body = connection.body(key).to_vec();
    connection.consume(key, body.len());
    (heads, body, connection.remote(key))
}

#[derive(Default)]
struct Came(Vec<(StreamKey, String, bool)>);

impl TakeRequest for Came {
    fn take(&mut self, key: StreamKey, head: &mut RequestHead, ends: bool) -> Result<(), Reason> {
        self.0.push((key, String::from_utf8_lossy(&head.text).into_owned(), ends));
        Ok(())
    }
}

#[test]
fn what_we_are_is_said_first() {
    let connection = Connection::client(CONFIG);
    let mut expected = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // ENABLE_PUSH, INITIAL_WINDOW_SIZE, MAX_HEADER_LIST_SIZE.
    expected.extend(frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 0, 0, 4, 0, 0, 3, 232, 0, 6, 0, 0, 4, 0]));
    assert_eq!(connection.out(), expected);
}

#[test]
fn both_ends_understand_each_other_however_what_they_say_is_cut() {
    for step in [1, 7, 100, usize::MAX] {
        let (mut client, mut server, mut came) = (Connection::client(CONFIG), Connection::new(CONFIG), Came::default());
        let talk = |client: &mut Connection, server: &mut Connection, came: &mut Came| {
            for _ in 0..8 {
                let (up, down) = (client.out().to_vec(), server.out().to_vec());
                client.took(up.len());
                server.took(down.len());
                up.chunks(step).for_each(|piece| server.receive(piece, 0, came));
                down.chunks(step).for_each(|piece| client.receive_answers(piece, 0));
            }
            assert_eq!((client.failure(), server.failure()), (None, None));
        };
        talk(&mut client, &mut server, &mut came);
        assert_eq!((client.streams_allowed(), client.takes_tunnels()), (4, true));
        for round in 0..20 {
            let body = vec![b'x'; round * 331];
            let mut head = client.ask(&Target { method: b"PUT", path: b"/a?b", ..GET }).expect("open");
            assert!(head.field(b"X-Round", round.to_string().as_bytes()));
            let key = head.key();
            head.finish(false);
            talk(&mut client, &mut server, &mut came);
            let (served, text, ends) = came.0.pop().expect("a request");
            assert_eq!((text, ends), (format!("PUT /a?b HTTP/1.1\r\nhost: a\r\nx-round: {round}\r\n"), false));
            let (mut sent, mut heard) = (0, Vec::new());
            while sent < body.len() {
                if let Some(mut data) = client.data(key) {
                    sent += data.put(&body[sent..]);
                    data.finish(sent == body.len());
                }
                talk(&mut client, &mut server, &mut came);
                heard.extend_from_slice(server.body(served));
                server.consume(served, usize::MAX);
            }
            if body.is_empty() {
                client.end(key);
                talk(&mut client, &mut server, &mut came);
            }
            assert!(heard == body && server.remote(served) == RemoteEnd::Ended);
            let mut answer = server.head(served, 203).expect("a stream");
            answer.field(b"content-type", b"a/b");
            answer.finish(false);
            if let Some(mut data) = server.data(served) {
                data.put(b"well");
                data.finish(false);
            }
            server.trailers(served, [(&b"x-sum"[..], &b"4"[..])].into_iter());
            server.close(served);
            talk(&mut client, &mut server, &mut came);
            let told = vec![(203, "content-type: a/b\r\n".to_owned())];
            assert_eq!(hear(&mut client, key), (told, b"well".to_vec(), RemoteEnd::Ended));
            assert_eq!(client.take_trailers(key), b"x-sum: 4\r\n");
            client.close(key);
        }
        assert!(client.is_idle() && server.is_idle());
        client.retire();
        talk(&mut client, &mut server, &mut came);
        assert!(client.is_over() && server.is_over());
    }
}

#[test]
fn interim_answers_come_before_the_final_one_and_are_bounded() {
    let mut connection = client(&[]);
    let key = ask(&mut connection, &GET, true);
    let interim = [&[8, 3][..], b"103", &literal("link", "x")].concat();
    connection.receive_answers(&[frame(HEADERS, HEAD, 1, &interim), frame(HEADERS, ENDS, 1, OK)].concat(), 0);
    let heads = vec![(103, "link: x\r\n".to_owned()), (200, String::new())];
    assert_eq!(hear(&mut connection, key), (heads, Vec::new(), RemoteEnd::Ended));
    let key = ask(&mut connection, &GET, true);
    for _ in 0..40 {
        connection.receive_answers(&frame(HEADERS, HEAD, 3, &interim), 0);
    }
    assert_eq!((connection.remote(key), connection.cause(key)), (RemoteEnd::Reset, Cause::Broken));
    assert_eq!(hear(&mut connection, key).0.len(), 16);
}

#[test]
fn an_answer_that_breaks_a_rule_is_none_and_costs_no_other_stream() {
    let length = |text: &str| [OK, &literal("content-length", text)].concat();
    let status = |text: &str| [&[8, 3][..], text.as_bytes()].concat();
    for bad in [
        // A head: without a status, with one that is none, with two, one behind a field, one of a request.
        frame(HEADERS, ENDS, 1, &literal("a", "b")),
        frame(HEADERS, ENDS, 1, &status("2x0")),
        frame(HEADERS, ENDS, 1, &status("099")),
        frame(HEADERS, ENDS, 1, &status("101")),
        frame(HEADERS, ENDS, 1, &[OK, OK].concat()),
        frame(HEADERS, ENDS, 1, &[&literal("a", "b"), OK].concat()),
        frame(HEADERS, ENDS, 1, &[OK, &[0x84]].concat()),
        // Fields that are a connection's own, or no fields.
        frame(HEADERS, ENDS, 1, &[OK, &literal("connection", "close")].concat()),
        frame(HEADERS, ENDS, 1, &[OK, &literal("transfer-encoding", "chunked")].concat()),
        frame(HEADERS, ENDS, 1, &[OK, &literal("A", "b")].concat()),
        frame(HEADERS, ENDS, 1, &[OK, &literal("a", "b\r\nc: d")].concat()),
        frame(HEADERS, ENDS, 1, &[OK, &literal("a", " b")].concat()),
        // Lengths.
        frame(HEADERS, ENDS, 1, &length("5")),
        frame(HEADERS, HEAD, 1, &length("+5")),
        [frame(HEADERS, HEAD, 1, &length("5")), frame(DATA, 0, 1, b"123456")].concat(),
        [frame(HEADERS, HEAD, 1, &length("5")), frame(DATA, END, 1, b"1234")].concat(),
        [frame(HEADERS, HEAD, 1, &[0x89]), frame(DATA, END, 1, b"1")].concat(),
        // Data before a head, or before the final one; an interim answer that ends; a head that is too large.
        frame(DATA, END, 1, b"1"),
        [frame(HEADERS, HEAD, 1, &status("100")), frame(DATA, END, 1, b"1")].concat(),
        frame(HEADERS, ENDS, 1, &status("100")),
        frame(HEADERS, ENDS, 1, &[OK, &[0, 1, b'a', 0x7f, 0xe1, 7], &[b'x'; 1_120]].concat()),
        // Trailers that go on, that have a status.
        [frame(HEADERS, HEAD, 1, OK), frame(HEADERS, HEAD, 1, &literal("a", "b"))].concat(),
        [frame(HEADERS, HEAD, 1, OK), frame(HEADERS, ENDS, 1, OK)].concat(),
        // More than the window.
        [frame(HEADERS, HEAD, 1, OK), frame(DATA, 0, 1, &[0; 1_001])].concat(),
    ] {
        let mut connection = client(&[]);
        let (key, other) = (ask(&mut connection, &GET, true), ask(&mut connection, &GET, true));
        connection.receive_answers(&[bad.clone(), frame(HEADERS, ENDS, 3, OK)].concat(), 0);
        assert_eq!((connection.remote(key), connection.cause(key)), (RemoteEnd::Reset, Cause::Broken), "{bad:?}");
        let well = vec![(200, String::new())];
        assert_eq!(hear(&mut connection, other), (well, Vec::new(), RemoteEnd::Ended), "{bad:?}");
        assert_eq!(connection.failure(), None);
    }
}

#[test]
fn what_breaks_a_rule_of_the_connection_ends_it() {
    for bad in [
        frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 1]),
        frame(SETTINGS, 0, 0, &[0, 8, 0, 0, 0, 2]),
        frame(PUSH_PROMISE, HEAD, 1, &[0, 0, 0, 2, 0x82]),
        frame(HEADERS, ENDS, 2, OK),
        frame(HEADERS, ENDS, 3, OK),
        frame(DATA, END, 3, b"1"),
        frame(RST_STREAM, 0, 3, &[0; 4]),
        frame(HEADERS, ENDS, 1, &[0xff, 0xff]),
        frame(CONTINUATION, HEAD, 1, OK),
        frame(GOAWAY, 0, 0, &[0; 7]),
    ] {
        let mut connection = client(&[]);
        let key = ask(&mut connection, &GET, true);
        let asked = connection.out().len();
        connection.receive_answers(&bad, 0);
        assert!(matches!(connection.failure(), Some(Failure::Rule(_))), "{bad:?}");
        // None of the server's streams was looked at: it has none.
        assert_eq!(
            connection.out()[asked..][..13],
            frame(GOAWAY, 0, 0, &[0; 8])[..13],
            "the last of its streams: none"
        );
        connection.lose();
        assert_eq!((connection.remote(key), connection.cause(key)), (RemoteEnd::Reset, Cause::Lost));
        assert_eq!(connection.ask(&GET).err(), Some(AskError::Left));
    }
    let mut connection = Connection::client(CONFIG);
    connection.receive_answers(b"HTTP/1.1 400 Bad Request\r\n\r\n", 0);
    assert!(connection.failure().is_some() && !connection.has_settings());
}

#[test]
fn a_server_that_leaves_says_what_it_did_nothing_for() {
    let mut connection = client(&[]);
    let (first, second) = (ask(&mut connection, &GET, true), ask(&mut connection, &GET, true));
    connection.receive_answers(&frame(GOAWAY, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]), 0);
    assert_eq!((connection.remote(first), connection.remote(second)), (RemoteEnd::Open, RemoteEnd::Open));
    connection.receive_answers(&frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]), 0);
    assert_eq!((connection.remote(second), connection.cause(second)), (RemoteEnd::Reset, Cause::LeftOut));
    assert!(!connection.is_open() && connection.ask(&GET).is_err() && !connection.is_over());
    connection.receive_answers(&frame(HEADERS, ENDS, 1, OK), 0);
    assert_eq!(connection.remote(first), RemoteEnd::Ended);
    connection.close(first);
    connection.close(second);
    assert!(connection.is_over());
}

#[test]
fn a_server_that_takes_no_answer_to_its_frames_is_read_no_more() {
    let allowed = Allowed { control_per_second: u32::MAX, ..CONFIG.allowed };
    let mut connection = Connection::client(Config { out_max: 100, allowed, ..CONFIG });
    connection.receive_answers(&frame(SETTINGS, 0, 0, &[]), 0);
    let said = connection.out().len();
    connection.took(said);
    let ping = frame(PING, 0, 0, &[7; 8]);
    // What is due is four times what data may take: then whoever drives the connection stops reading.
    let answers = 4 * 100 / ping.len();
    for _ in 0..answers {
        connection.receive_answers(&ping, 0);
        assert!(!connection.is_clogged());
    }
    connection.receive_answers(&ping, 0);
    assert!(connection.is_clogged());
    connection.took(ping.len());
    assert!(!connection.is_clogged());
    // Data alone never gets there.
    let due = connection.out().len();
    connection.took(due);
    let key = ask(&mut connection, &GET, false);
    while let Some(mut data) = connection.data(key) {
        data.put(&[0; 50]);
        data.finish(false);
    }
    assert!(!connection.has_room() && !connection.is_clogged());
}

#[test]
fn a_reset_behind_a_whole_answer_takes_nothing_of_it() {
    let mut connection = client(&[]);
    let key = ask(&mut connection, &GET, false);
    let answer = [frame(HEADERS, HEAD, 1, OK), frame(DATA, END, 1, b"well"), frame(RST_STREAM, 0, 1, &[0; 4])];
    connection.receive_answers(&answer.concat(), 0);
    assert!(!connection.can_be_sent(key) && connection.data(key).is_none());
    assert_eq!(hear(&mut connection, key), (vec![(200, String::new())], b"well".to_vec(), RemoteEnd::Ended));
    let key = ask(&mut connection, &GET, true);
    connection.receive_answers(&frame(RST_STREAM, 0, 3, &[0, 0, 0, 7]), 0);
    assert_eq!(connection.cause(key), Cause::Reset(Reason::REFUSED_STREAM));
    // What is still on its way to a stream that was taken back.
    let key = ask(&mut connection, &GET, true);
    connection.close(key);
    connection.receive_answers(&[frame(HEADERS, HEAD, 5, OK), frame(DATA, END, 5, b"late")].concat(), 0);
    assert_eq!(connection.failure(), None);
}

#[test]
fn a_head_that_is_given_up_leaves_no_trace() {
    let mut connection = client(&[]);
    for bad in [
        Target { method: b"G T", ..GET },
        Target { authority: b"", ..GET },
        Target { authority: b"a@b", ..GET },
        Target { authority: b"a b", ..GET },
        Target { path: b"", ..GET },
        Target { path: b"/ ", ..GET },
        Target { path: b"http://a/", ..GET },
    ] {
        assert_eq!(connection.ask(&bad).err(), Some(AskError::Unsayable), "{bad:?}");
    }
    let mut head = connection.ask(&GET).expect("open");
    assert!(head.field(b"a", b"b") && !head.field(b"a b", b"c") && !head.field(b"a", b"b\r\nc"));
    drop(head);
    assert!(connection.is_idle() && connection.out().is_empty());
    assert_eq!(format!("{:?}", ask(&mut connection, &GET, true)), "StreamKey { id: 1, slot: 0 }");
}

#[test]
fn head_has_no_content_whatever_its_fields_say() {
    let mut connection = client(&[]);
    let key = ask(&mut connection, &Target { method: b"HEAD", ..GET }, true);
    connection.receive_answers(&frame(HEADERS, ENDS, 1, &[OK, &literal("content-length", "5")].concat()), 0);
    let heads = vec![(200, "content-length: 5\r\n".to_owned())];
    assert_eq!(hear(&mut connection, key), (heads, Vec::new(), RemoteEnd::Ended));
}
