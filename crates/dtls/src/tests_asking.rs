//! Keys that are asked for: the handshake waits, and is bound to whom the question was about.

use super::{Net, at, client};
use crate::engine::client::Client;

/// Goes as far as a client comes without an answer: the name of its question.
fn wait_for_key(net: &mut Net, port: u16, client: &mut Client) -> std::net::SocketAddr {
    assert!(net.connect(at(port), client).is_err(), "nothing answers yet");
    net.claimed.last().expect("asked").0
}

/// Carries the end of the handshake to the client.
fn finish(net: &mut Net, client: &mut Client) -> Result<bool, i32> {
    let mut done = Ok(false);
    for (_, datagram) in net.take() {
        done = client.shake_hands(&datagram);
        done?;
    }
    done
}

#[test]
fn a_handshake_waits_for_its_key_and_goes_on_without_the_client_sending_again() {
    let mut net = Net::asking();
    let mut other = Client::new(("other-7", b"its own"), true);
    let name = wait_for_key(&mut net, 1, &mut other);
    assert_eq!(net.claimed, [(name, b"other-7".to_vec())]);
    assert!(net.opened.is_empty());
    net.answer(name, Some(b"its own"));
    assert_eq!(net.opened, [(name, Some("other-7".into()))]);
    assert_eq!(finish(&mut net, &mut other), Ok(true));
    net.give(at(1), &other.write(b"ping"));
    assert_eq!(net.data, [(name, b"ping".to_vec())]);
}

/// The library cuts its ClientKeyExchange, and each part may come in any order.
#[test]
fn an_identity_in_fragments_is_asked_about_once_all_of_it_has_come() {
    for identity in ["other-".repeat(30), "plant-".repeat(30)] {
        for backwards in [false, true] {
            let mut net = Net::asking();
            let mut client = Client::new((&identity, b"secret"), true);
            client.shake_hands(&[]).expect("begun");
            for _ in 0..2 {
                for hello in client.take_output() {
                    net.give(at(1), &hello);
                }
                client.limit_datagrams(90);
                for (_, flight) in net.take() {
                    client.shake_hands(&flight).expect("goes on");
                }
            }
            // The end of the handshake is encrypted, and stays behind.
            let (mut parts, end): (Vec<_>, Vec<_>) =
                client.take_output().into_iter().partition(|datagram| datagram[0] == 22 && datagram[4] == 0);
            assert!(parts.len() > 2, "{} datagrams", parts.len());
            if backwards {
                parts.reverse();
            }
            for datagram in parts.iter().chain(&end) {
                net.give(at(1), datagram);
            }
            let asked: Vec<_> = net.claimed.iter().map(|(_, identity)| String::from_utf8_lossy(identity)).collect();
            if identity.starts_with("plant") {
                assert!(asked.is_empty(), "its key is known");
            } else {
                assert_eq!(asked, [identity.as_str()]);
                let name = net.claimed[0].0;
                net.answer(name, Some(b"secret"));
            }
            let who = net.opened.last().map(|(_, who)| who.as_deref());
            assert_eq!(who, Some(Some(identity.as_str())), "backwards: {backwards}");
            assert_eq!(finish(&mut net, &mut client), Ok(true));
        }
    }
}

#[test]
fn a_key_that_is_known_is_not_asked_for() {
    let mut net = Net::asking();
    net.connect(at(1), &mut client()).expect("connected");
    assert!(net.claimed.is_empty());
}

#[test]
fn no_key_and_a_wrong_one_do_not_get_in() {
    for (key, reason) in [(None, "dtls-unknown-identity"), (Some(&b"guess"[..]), "dtls-wrong-key")] {
        let mut net = Net::asking();
        let mut other = Client::new(("other-7", b"its own"), true);
        let name = wait_for_key(&mut net, 1, &mut other);
        net.answer(name, key);
        assert!(finish(&mut net, &mut other).is_err(), "an alert");
        assert_eq!(net.server.poll_closed(), Some((at(1), reason)));
        assert!(net.opened.is_empty() && net.server.is_empty());
    }
}

#[test]
fn others_go_on_while_one_waits_and_a_late_answer_finds_nobody() {
    let mut net = Net::asking();
    let mut slow = Client::new(("other-7", b"its own"), true);
    let name = wait_for_key(&mut net, 1, &mut slow);
    net.connect(at(2), &mut client()).expect("connected");
    net.now += 40_000;
    net.server.handle_timeout(net.now);
    assert_eq!(net.server.poll_closed(), Some((at(1), "dtls-timeout")));
    net.answer(name, Some(b"its own"));
    assert_eq!(net.opened.len(), 1);
}

#[test]
fn what_a_waiting_client_sends_again_is_held_up_to_a_bound() {
    use crate::sessions::Handled;
    let mut net = Net::asking();
    let mut other = Client::new(("other-7", b"its own"), true);
    let name = wait_for_key(&mut net, 1, &mut other);
    let again = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0];
    let results: Vec<Handled> = (0..8).map(|_| net.give(at(1), &again)).collect();
    assert_eq!(results.last(), Some(&Handled::Dropped("dtls-held-full")));
    net.answer(name, Some(b"its own"));
    assert_eq!(net.opened.len(), 1);
}

/// The flight claims `victim` where the question was about `own`: the key is not the victim's.
#[test]
fn a_key_is_good_for_the_identity_that_was_asked_about_only() {
    let mut net = Net::asking();
    let mut thief = Client::new(("victim", b"my key"), true);
    let mut done = thief.shake_hands(&[]).expect("begun");
    let mut asked = None;
    for _ in 0..10 {
        for datagram in thief.take_output() {
            if crate::key_exchange::claimed_identity(&mut None, &datagram).is_some() && asked.is_none() {
                // Ahead of it one that the library passes over for its place in the flight, with
                // a number of its own, for an own identity.
                let mut own = datagram.clone();
                own[13 + 4..13 + 6].copy_from_slice(&[0, 0]);
                own[10] += 10;
                let at_identity = own.windows(6).position(|window| window == b"victim").expect("claimed");
                own[at_identity..at_identity + 6].copy_from_slice(b"thief1");
                net.give(at(1), &own);
                asked = Some(net.claimed.last().expect("asked").clone());
            }
            net.give(at(1), &datagram);
        }
        for (_, datagram) in net.take() {
            done = thief.shake_hands(&datagram).expect("goes on");
        }
    }
    let (name, identity) = asked.expect("asked");
    assert_eq!((identity.as_slice(), done), (&b"thief1"[..], false));
    net.answer(name, Some(b"my key"));
    assert!(net.opened.is_empty());
    assert_eq!(net.server.poll_closed(), Some((at(1), "dtls-unknown-identity")));
}
