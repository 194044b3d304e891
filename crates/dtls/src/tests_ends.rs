//! What ends a session, and what must not: goodbyes, hellos that nobody has said, renegotiation.

use super::{Client, Handled, Net, at};

fn plain() -> Client {
    Client::new(("plant-7", b"secret"), false)
}

/// Shakes hands, and keeps the hello that has brought the cookie back.
fn connect(net: &mut Net, client: &mut Client) -> Vec<u8> {
    client.shake_hands(&[]).expect("begun");
    net.give(at(1), &client.take_output()[0]);
    let (_, verify) = net.take().pop().expect("asked");
    client.shake_hands(&verify).expect("goes on");
    let hello = client.take_output().pop().expect("a hello with its cookie");
    net.give(at(1), &hello);
    for _ in 0..10 {
        let flight = net.take();
        let done = flight.iter().any(|(_, datagram)| client.shake_hands(datagram).expect("goes on"));
        for datagram in client.take_output() {
            net.give(at(1), &datagram);
        }
        if done {
            assert_eq!(net.opened.len(), 1);
            return hello;
        }
    }
    unreachable!("no end of the handshake");
}

fn goes_on(net: &mut Net, client: &mut Client) {
    assert_eq!((net.server.len(), net.server.poll_closed()), (1, None));
    let before = net.data.len();
    let record = client.write(b"on");
    net.give(at(1), &record);
    assert_eq!(net.data.len(), before + 1);
}

#[test]
fn a_late_copy_of_the_hello_does_not_end_the_session_that_it_has_begun() {
    for connection_id in [false, true] {
        let (mut net, mut client) = (Net::new(), Client::new(("plant-7", b"secret"), connection_id));
        let hello = connect(&mut net, &mut client);
        assert_eq!(net.give(at(1), &hello), Handled::Taken);
        goes_on(&mut net, &mut client);
        assert!(net.take().is_empty());
    }
}

#[test]
fn a_hello_behind_other_records_ends_nothing_whoever_has_said_it() {
    let (mut net, mut client, mut stranger) = (Net::new(), plain(), plain());
    let known = connect(&mut net, &mut client);
    stranger.shake_hands(&[]).expect("begun");
    let unknown = stranger.take_output().pop().expect("a hello");
    let noise = [23, 254, 253, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1, 0];
    let empty = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0];
    for hidden in [&known[..], &unknown, &known[..40], &[1]] {
        for before in [&noise[..], &empty] {
            net.give(at(1), &[before, hidden].concat());
            goes_on(&mut net, &mut client);
        }
    }
    assert!(net.take().is_empty(), "nobody is answered");
}

#[test]
fn what_stands_behind_a_record_and_is_none_ends_nothing() {
    let noise = [23, 254, 253, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1, 0];
    for connection_id in [false, true] {
        let (mut net, mut client) = (Net::new(), Client::new(("plant-7", b"secret"), connection_id));
        connect(&mut net, &mut client);
        for tail in 1..40 {
            net.give(at(1), &[&noise[..], &vec![1; tail]].concat());
            net.give(at(1), &[&noise[..], &noise[..tail.min(13)]].concat());
            goes_on(&mut net, &mut client);
            // Nor does it hide the record.
            let before = net.data.len();
            let record = client.write(b"with a tail");
            net.give(at(1), &[&record[..], &vec![1; tail]].concat());
            assert_eq!(net.data.len(), before + 1);
        }
    }
}

#[test]
fn a_goodbye_is_answered_by_one_and_ends_the_session() {
    let (mut net, mut client) = (Net::new(), plain());
    connect(&mut net, &mut client);
    let name = net.opened[0].0;
    let goodbye = client.close();
    net.give(at(1), &goodbye);
    assert_eq!((net.server.len(), net.server.poll_closed()), (0, Some((name, "dtls-closed"))));
    let answers = net.take();
    assert_eq!(answers.len(), 1);
    assert_eq!((answers[0].0, answers[0].1[0]), (at(1), 21));
    // It comes again: nobody is there.
    assert_eq!(net.give(at(1), &goodbye), Handled::Dropped("dtls-unknown"));
    assert!(net.take().is_empty());
}

#[test]
fn renegotiation_is_refused_and_the_session_goes_on() {
    let (mut net, mut client) = (Net::new(), plain());
    connect(&mut net, &mut client);
    let hello = client.renegotiate();
    net.give(at(1), &hello);
    assert_eq!((net.server.len(), net.server.poll_closed(), net.opened.len()), (1, None, 1));
    let answers = net.take();
    assert_eq!((answers.len(), answers[0].1[0]), (1, 21), "an alert says so");
    let name = net.opened[0].0;
    assert!(net.server.seal(net.now, name, b"still"));
}
