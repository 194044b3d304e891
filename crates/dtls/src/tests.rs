//! A server's sessions and clients of the same library, on a clock and a network made
//! of function calls.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::engine::client::Client;
use crate::sessions::{Bounds, Event, Handled, Sessions};
use crate::{DtlsPlan, PskPlan, Terms};

const BOUNDS: Bounds = Bounds { sessions: 4, handshakes: 3, handshakes_per_s: 100, idle_ms: 100_000 };

fn at(port: u16) -> SocketAddr {
    ([192, 0, 2, 1], port).into()
}

fn terms(connection_id: bool) -> Arc<Terms> {
    let psk = PskPlan { identity: "plant-*".into(), key_hex: "736563726574".into(), derived: false };
    let plan = DtlsPlan { psk: vec![psk], certificate: None, client_auth: None, connection_id, ask_for_key: false };
    Terms::load(&plan, None).expect("terms")
}

struct Net {
    server: Sessions,
    now: u64,
    opened: Vec<(SocketAddr, Option<Arc<str>>)>,
    data: Vec<(SocketAddr, Vec<u8>)>,
    claimed: Vec<(SocketAddr, Vec<u8>)>,
}

impl Net {
    fn new() -> Net {
        Net::of(&terms(true))
    }

    fn of(terms: &Arc<Terms>) -> Net {
        let server = Sessions::new(terms, (3, BOUNDS)).expect("sessions");
        Net { server, now: 1_000_000, opened: Vec::new(), data: Vec::new(), claimed: Vec::new() }
    }

    /// Where keys are asked for, besides the one of `plant-*`.
    fn asking() -> Net {
        let terms = terms(true);
        Net::of(&Terms::load(&DtlsPlan { ask_for_key: true, ..terms.plan.clone() }, None).expect("terms"))
    }

    fn answer(&mut self, name: SocketAddr, key: Option<&[u8]>) {
        let (opened, data) = (&mut self.opened, &mut self.data);
        self.server.answer(self.now, (name, key), &mut |event| match event {
            Event::Opened { name, identity } => opened.push((name, identity)),
            Event::Data { name, plaintext } => data.push((name, plaintext.to_vec())),
            Event::Claimed { .. } => unreachable!("asked twice"),
        });
    }

    fn give(&mut self, from: SocketAddr, datagram: &[u8]) -> Handled {
        let (opened, data, claimed) = (&mut self.opened, &mut self.data, &mut self.claimed);
        self.server.handle(self.now, (from, datagram), &mut |event| match event {
            Event::Claimed { name, identity } => claimed.push((name, identity.to_vec())),
            Event::Opened { name, identity } => opened.push((name, identity)),
            Event::Data { name, plaintext } => data.push((name, plaintext.to_vec())),
        })
    }

    fn take(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        std::iter::from_fn(|| self.server.poll_output()).collect()
    }

    /// Carries datagrams until the client is done or fails.
    fn connect(&mut self, from: SocketAddr, client: &mut Client) -> Result<SocketAddr, i32> {
        let mut done = client.shake_hands(&[])?;
        for _ in 0..10 {
            for datagram in client.take_output() {
                self.give(from, &datagram);
            }
            if done {
                return Ok(self.opened.last().expect("opened").0);
            }
            for (to, datagram) in self.take() {
                assert_eq!(to, from);
                done = client.shake_hands(&datagram)?;
            }
        }
        Err(0)
    }
}

#[path = "tests_asking.rs"]
mod asking;
#[path = "tests_ends.rs"]
mod ends;

fn client() -> Client {
    Client::new(("plant-7", b"secret"), true)
}

#[test]
fn a_client_with_the_key_gets_in_under_its_identity_and_both_ways_carry_data() {
    let mut net = Net::new();
    let mut client = client();
    let name = net.connect(at(1), &mut client).expect("connected");
    assert_eq!(net.opened, [(name, Some(Arc::from("plant-7")))]);
    let record = client.write(b"ping");
    assert_eq!(net.give(at(1), &record), Handled::Taken);
    assert_eq!(net.data, [(name, b"ping".to_vec())]);
    assert!(net.server.seal(net.now, name, b"pong"));
    let (to, record) = net.take().pop().expect("a record");
    assert_eq!((to, client.read(&record)), (at(1), Some(b"pong".to_vec())));
}

#[test]
fn nothing_is_kept_before_the_cookie_has_come_back() {
    let mut net = Net::new();
    let mut hellos = Vec::new();
    for port in 1..200 {
        let mut client = client();
        client.shake_hands(&[]).expect("begun");
        hellos = client.take_output();
        assert_eq!(net.give(at(port), &hellos[0]), Handled::Taken);
    }
    assert!(net.server.is_empty());
    assert!(net.take().iter().all(|(_, answer)| answer.len() <= hellos[0].len()), "no amplification");
}

#[test]
fn a_cookie_of_another_address_is_worth_nothing() {
    let mut net = Net::new();
    let mut client = client();
    client.shake_hands(&[]).expect("begun");
    net.give(at(1), &client.take_output()[0]);
    let (_, verify) = net.take().pop().expect("asked");
    client.shake_hands(&verify).expect("goes on");
    let second = client.take_output().pop().expect("a hello with the cookie");
    net.give(at(2), &second);
    assert!(net.server.is_empty());
    net.give(at(1), &second);
    assert_eq!(net.server.len(), 1);
}

#[test]
fn an_identity_that_nobody_has_and_a_wrong_key_do_not_get_in() {
    let mut net = Net::new();
    let mut unknown = Client::new(("stranger", b"secret"), true);
    assert!(net.connect(at(1), &mut unknown).is_err());
    assert_eq!(net.server.poll_closed(), Some((at(1), "dtls-unknown-identity")));
    let mut wrong = Client::new(("plant-7", b"guess"), true);
    assert!(net.connect(at(2), &mut wrong).is_err());
    assert!(net.opened.is_empty());
    net.now += 31_000;
    net.server.handle_timeout(net.now);
    assert!(net.server.is_empty());
}

#[test]
fn a_client_goes_on_from_another_address_without_a_handshake() {
    let mut net = Net::new();
    let mut client = client();
    let name = net.connect(at(1), &mut client).expect("connected");
    let first = client.write(b"one");
    net.give(at(1), &first);
    let moved = client.write(b"two");
    assert_eq!(moved[0], 25, "with the connection id");
    net.give(at(9), &moved);
    assert_eq!(net.data, [(name, b"one".to_vec()), (name, b"two".to_vec())]);
    assert!(net.server.seal(net.now, name, b"here"));
    let (to, record) = net.take().pop().expect("a record");
    assert_eq!((to, client.read(&record)), (at(9), Some(b"here".to_vec())));
}

#[test]
fn an_address_is_believed_only_after_a_record_that_is_authentic_and_newer() {
    let mut net = Net::new();
    let mut client = client();
    let name = net.connect(at(1), &mut client).expect("connected");
    let (old, new) = (client.write(b"old"), client.write(b"new"));
    net.give(at(1), &new);
    let mut forged = client.write(b"forged");
    let genuine = forged.clone();
    *forged.last_mut().expect("a tag") ^= 1;
    net.give(at(6), &forged);
    // A record that was held back, sent from elsewhere.
    net.give(at(7), &old);
    // And one that was here already.
    net.give(at(8), &new);
    net.server.seal(net.now, name, b"x");
    assert_eq!(net.take().pop().expect("a record").0, at(1));
    assert_eq!(net.data.len(), 2, "neither forged nor replayed");
    net.give(at(9), &genuine);
    net.server.seal(net.now, name, b"x");
    assert_eq!(net.take().pop().expect("a record").0, at(9));
}

#[test]
fn a_record_of_another_workers_session_says_whose_it_is() {
    let mut net = Net::new();
    let mut client = client();
    net.connect(at(1), &mut client).expect("connected");
    let record = client.write(b"x");
    let mut other = Sessions::new(&terms(true), (4, BOUNDS)).expect("sessions");
    assert_eq!(other.handle(net.now, (at(9), &record), &mut |_| {}), Handled::Strayed(3));
}

#[test]
fn new_peers_are_shed_where_there_are_too_many_and_old_ones_stay() {
    let mut net = Net::new();
    let mut clients: Vec<Client> = (0..4).map(|_| client()).collect();
    for (port, client) in (1..).zip(&mut clients) {
        net.connect(at(port), client).expect("connected");
    }
    let mut fifth = client();
    fifth.shake_hands(&[]).expect("begun");
    net.give(at(5), &fifth.take_output()[0]);
    let (_, verify) = net.take().pop().expect("asked");
    fifth.shake_hands(&verify).expect("goes on");
    assert_eq!(net.give(at(5), &fifth.take_output()[0]), Handled::Dropped("dtls-sessions-full"));
    let record = clients[0].write(b"still here");
    net.give(at(1), &record);
    assert_eq!(net.data.len(), 1);
    // Silence makes room.
    net.now += BOUNDS.idle_ms + 1;
    net.server.handle_timeout(net.now);
    assert!(net.server.is_empty());
}

#[test]
fn handshakes_under_way_are_bounded() {
    let mut net = Net::new();
    let mut outcomes = Vec::new();
    for port in 1..=4 {
        let mut client = client();
        client.shake_hands(&[]).expect("begun");
        net.give(at(port), &client.take_output()[0]);
        let (_, verify) = net.take().pop().expect("asked");
        client.shake_hands(&verify).expect("goes on");
        outcomes.push(net.give(at(port), &client.take_output()[0]));
        net.take();
    }
    assert_eq!(outcomes[2..], [Handled::Taken, Handled::Dropped("dtls-handshakes-full")]);
}

#[test]
fn a_client_that_begins_anew_takes_the_place_of_its_old_session() {
    let mut net = Net::new();
    let plain = || Client::new(("plant-7", b"secret"), false);
    let (mut before, mut after) = (plain(), plain());
    let first = net.connect(at(1), &mut before).expect("connected");
    let second = net.connect(at(1), &mut after).expect("connected again");
    assert_ne!(first, second);
    assert_eq!(net.server.poll_closed(), Some((first, "dtls-replaced")));
    assert!(!net.server.seal(net.now, first, b"x") && net.server.seal(net.now, second, b"x"));
}

#[test]
fn whoever_gets_the_address_of_a_client_that_has_moved_does_not_end_its_session() {
    let mut net = Net::new();
    let (mut moved, mut other) = (client(), client());
    let first = net.connect(at(1), &mut moved).expect("connected");
    net.connect(at(1), &mut other).expect("connected");
    let record = moved.write(b"from elsewhere");
    net.give(at(2), &record);
    assert_eq!(net.data, [(first, b"from elsewhere".to_vec())]);
    let record = other.write(b"from there");
    net.give(at(1), &record);
    assert_eq!(net.data.len(), 2);
}

#[test]
fn a_lost_flight_is_sent_again_by_time() {
    let mut net = Net::new();
    let mut client = client();
    client.shake_hands(&[]).expect("begun");
    net.give(at(1), &client.take_output()[0]);
    let (_, verify) = net.take().pop().expect("asked");
    client.shake_hands(&verify).expect("goes on");
    net.give(at(1), &client.take_output()[0]);
    let lost = net.take();
    net.now += 1_100;
    net.server.handle_timeout(net.now);
    assert_eq!(net.take().len(), lost.len());
}

#[test]
fn hostile_datagrams_change_nothing() {
    let mut net = Net::new();
    let mut client = client();
    net.connect(at(1), &mut client).expect("connected");
    let record = client.write(b"good");
    for index in 0..record.len() {
        let mut broken = record.clone();
        broken[index] ^= 0x55;
        net.give(at(1), &broken);
        net.give(at(1), &record[..index]);
    }
    assert!(net.data.is_empty());
    net.give(at(1), &record);
    assert_eq!(net.data.len(), 1);
}

#[test]
fn a_session_with_nothing_to_do_is_frozen_and_goes_on_as_if_it_had_not_been() {
    let mut net = Net::new();
    let mut client = client();
    let name = net.connect(at(1), &mut client).expect("connected");
    let (first, replayed) = (client.write(b"one"), client.write(b"two"));
    net.give(at(1), &first);
    net.give(at(1), &replayed);
    assert!(net.server.frozen_bytes(name).is_none());
    for round in 0..3_u16 {
        net.now += 11_000;
        net.server.handle_timeout(net.now);
        let bytes = net.server.frozen_bytes(name).expect("frozen");
        assert!(bytes < 400, "{bytes} bytes");
        // What came already is known, and an address may change meanwhile.
        net.give(at(1), &replayed);
        let before = net.data.len();
        let record = client.write(b"three");
        net.give(at(10 + round), &record);
        assert_eq!(net.data.len(), before + 1);
        net.now += 11_000;
        net.server.handle_timeout(net.now);
        assert!(net.server.seal(net.now, name, b"answer"));
        let (to, record) = net.take().pop().expect("a record");
        assert_eq!((to, client.read(&record)), (at(10 + round), Some(b"answer".to_vec())));
    }
    assert_eq!(net.data.len(), 5, "no replay was taken");
}

#[test]
fn sessions_go_on_after_a_restart_and_what_came_before_is_known() {
    let mut net = Net::new();
    let (mut one, mut other) = (client(), client());
    net.connect(at(1), &mut one).expect("connected");
    net.connect(at(2), &mut other).expect("connected");
    let replayed = one.write(b"before");
    net.give(at(1), &replayed);
    let record = other.write(b"x");
    net.give(at(2), &record);
    let saved = net.server.save(net.now);
    assert!(net.server.is_empty() && net.take().is_empty(), "nobody is told");
    let mut after = Net::new();
    let restore = |net: &mut Net, away_ms, saved: &[u8]| {
        let opened = &mut net.opened;
        net.server.restore((net.now, away_ms), saved, &mut |event| {
            let Event::Opened { name, identity } = event else { unreachable!("no data yet") };
            opened.push((name, identity));
        })
    };
    assert_eq!(restore(&mut after, 5_000, &saved), 2);
    assert!(after.opened.iter().all(|(_, identity)| identity.as_deref() == Some("plant-7")));
    let name = after.opened[0].0;
    after.give(at(1), &replayed);
    assert!(after.data.is_empty(), "a replay");
    let record = one.write(b"after");
    after.give(at(9), &record);
    assert_eq!(after.data, [(name, b"after".to_vec())]);
    assert!(after.server.seal(after.now, name, b"answer"));
    let (to, record) = after.take().pop().expect("a record");
    assert_eq!((to, one.read(&record)), (at(9), Some(b"answer".to_vec())));
    // Away for longer than silence may last; other keys; another worker; a broken file.
    assert_eq!(restore(&mut Net::new(), BOUNDS.idle_ms + 1, &saved), 0);
    let mut plan = terms(true).plan.clone();
    plan.psk[0].key_hex = "00".into();
    assert_eq!(restore(&mut Net::of(&Terms::load(&plan, None).expect("terms")), 0, &saved), 0);
    let mut stranger = Net::new();
    stranger.server = Sessions::new(&terms(true), (4, BOUNDS)).expect("sessions");
    assert_eq!(restore(&mut stranger, 0, &saved), 0);
    for len in [0, 31, 32, 36, 40, saved.len() / 2] {
        assert!(restore(&mut Net::new(), 0, &saved[..len]) < 2, "{len} bytes");
    }
    for at in 0..saved.len() {
        let mut broken = saved.clone();
        broken[at] ^= 1;
        assert!(restore(&mut Net::new(), 0, &broken) < 2, "byte {at}");
    }
}

/// Every seed of the fuzz target of what is read at a start.
#[test]
fn no_seed_of_saved_sessions_does_harm_and_some_come_back() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/dtls_saved");
    let mut restored = 0;
    for file in std::fs::read_dir(folder).expect("the corpus is part of the repository") {
        let seed = std::fs::read(file.expect("a readable folder").path()).expect("a readable seed");
        let mut parts = Vec::new();
        let mut rest = &seed[1..];
        while let [place, high, low, behind @ ..] = rest {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            let (plain, next) = behind.split_at(behind.len().min(len));
            parts.push((u32::from(*place), plain));
            rest = next;
        }
        let mut net = Net::new();
        net.server = Sessions::new(&terms(true), (seed[0], BOUNDS)).expect("sessions");
        let saved = Sessions::sealed(&terms(true), &parts);
        let count = net.server.restore((net.now, 5), &saved, &mut |_| {});
        restored += usize::from(count > 0);
        assert_eq!(net.server.len(), count);
        assert!(count == 0 || !net.server.save(net.now).is_empty());
    }
    assert!(restored >= 2, "{restored} of them hold a session");
}

#[test]
fn a_session_in_its_handshake_and_one_whose_key_was_asked_for_are_not_saved() {
    let mut net = Net::asking();
    let mut asked = Client::new(("other-7", b"its own"), true);
    assert!(net.connect(at(1), &mut asked).is_err(), "nothing answers yet");
    let name = net.claimed.last().expect("asked").0;
    net.answer(name, Some(b"its own"));
    let mut begun = client();
    begun.shake_hands(&[]).expect("begun");
    net.give(at(2), &begun.take_output()[0]);
    assert!(net.server.save(net.now).is_empty());
    assert_eq!(net.server.len(), 1);
}

/// What a session costs (F8): `cargo test -p tidegate-dtls --profile ci --features mbedtls -- --ignored --nocapture`.
#[test]
#[ignore = "a figure, not a promise"]
fn memory_of_a_session() {
    const COUNT: u16 = 2_000;
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/statm").expect("Linux");
        status.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("pages") * 4_096
    };
    let bounds = Bounds { sessions: 10_000, handshakes: 10_000, handshakes_per_s: 100_000, idle_ms: 1_000_000 };
    let mut net = Net::new();
    net.server = Sessions::new(&terms(true), (3, bounds)).expect("sessions");
    let connect = |net: &mut Net, ports: std::ops::Range<u16>| {
        for port in ports {
            let mut client = client();
            net.connect(at(port), &mut client).expect("connected");
            let record = client.write(b"x");
            net.give(at(port), &record);
        }
        (net.opened, net.data) = (Vec::new(), Vec::new());
    };
    // What everybody has once is there already.
    connect(&mut net, 1..501);
    let before = resident();
    connect(&mut net, 501..501 + COUNT);
    let ready = resident();
    for _ in 0..8 {
        net.now += 11_000;
        net.server.handle_timeout(net.now);
    }
    let bytes = net.server.table_frozen_bytes();
    println!("ready: {:.2} KiB a session", (ready - before) as f64 / 1_024.0 / f64::from(COUNT));
    println!("frozen: {} bytes a session with its entry, of {} sessions", bytes.1 / bytes.0.max(1), bytes.0);
}
