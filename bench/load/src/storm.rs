//! Connections that are opened, accepted and left again, many at a time: the price of
//! a CONNECT. The gateway closes first, so that no port waits here.

use crate::args::Args;
use crate::packet::{self, Packet};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// `Opening -> Connected -> gone`.
struct Attempt {
    stream: TcpStream,
    id: String,
    asked: bool,
}

struct Storm {
    poll: Poll,
    address: SocketAddr,
    attempts: Vec<Attempt>,
    started: usize,
    accepted: usize,
    refused: usize,
}

/// Opens `--connections` in all, `--parallel` at a time.
pub fn run(args: &Args) -> Result<String, String> {
    let count: usize = args.value("connections", 10_000)?;
    let parallel = args.value("parallel", 64_usize)?.min(count);
    let poll = Poll::new().map_err(|error| error.to_string())?;
    let mut storm = Storm { poll, address: args.address()?, attempts: Vec::new(), started: 0, accepted: 0, refused: 0 };
    if args.has("gate") {
        crate::wait_for_line()?;
    }
    let start = Instant::now();
    (0..parallel).try_for_each(|slot| storm.open(slot))?;
    let mut events = Events::with_capacity(1_024);
    while storm.accepted + storm.refused < count {
        storm.poll.poll(&mut events, Some(Duration::from_secs(10))).map_err(|error| error.to_string())?;
        if events.is_empty() {
            return Err(format!("nothing for 10 s after {} connections", storm.accepted));
        }
        for event in &events {
            let slot = event.token().0;
            if storm.step(slot) && storm.started < count {
                storm.open(slot)?;
            }
        }
    }
    let Storm { accepted, refused, .. } = storm;
    let seconds = start.elapsed().as_secs_f64();
    Ok(format!("{{\"accepted\":{accepted},\"refused\":{refused},\"seconds\":{seconds:.3}}}"))
}

impl Storm {
    fn open(&mut self, slot: usize) -> Result<(), String> {
        let mut stream = TcpStream::connect(self.address).map_err(|error| error.to_string())?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(slot), interest).map_err(|error| error.to_string())?;
        self.started += 1;
        let id = format!("storm-{}-{}", std::process::id(), self.started);
        let attempt = Attempt { stream, id, asked: false };
        match self.attempts.get_mut(slot) {
            Some(place) => *place = attempt,
            None => self.attempts.push(attempt),
        }
        Ok(())
    }

    /// `true`: this attempt is over.
    fn step(&mut self, slot: usize) -> bool {
        let attempt = &mut self.attempts[slot];
        if !attempt.asked {
            attempt.asked = attempt.stream.write_all(&packet::connect(&attempt.id, false)).is_ok();
        }
        let mut bytes = [0; 64];
        loop {
            match attempt.stream.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) if packet::decode(&bytes[..count]).is_some_and(|(it, _)| it == Packet::ConnAck(0)) => {
                    self.accepted += 1;
                    attempt.id.clear();
                    let _ = attempt.stream.write_all(&packet::DISCONNECT);
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => return false,
                Err(_) => break,
            }
        }
        // Accepted attempts have given their id away; an attempt ends only once.
        let known = !attempt.id.is_empty();
        self.refused += usize::from(known);
        attempt.id.clear();
        let _ = self.poll.registry().deregister(&mut attempt.stream);
        true
    }
}
