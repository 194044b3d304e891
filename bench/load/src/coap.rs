//! Clients of CoAP over UDP or DTLS, each with a socket of its own and one confirmable GET in
//! flight, over and over. The value they get is put first.

use crate::args::Args;
use crate::link::{Link, Server};
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// The least patience of a client, and how often that is looked at.
const AGAIN: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(100);
/// Clients that begin with one turn.
const BEGIN: usize = 8;
/// Uri-Path: t, bench.
const PATH: &[u8] = b"\xb1t\x05bench";
const GET: u8 = 1;
const PUT: u8 = 3;

struct Client {
    link: Link,
    message: Vec<u8>,
    id: u16,
    sent: Instant,
    /// After how long without an answer the same message is sent again: not everybody at once.
    patience: Duration,
}

impl Client {
    fn new(server: &Server, id: u16) -> Result<Client, String> {
        let patience = AGAIN + Duration::from_millis(u64::from(id) % 500);
        Ok(Client { link: Link::open(server)?, message: Vec::new(), id, sent: Instant::now(), patience })
    }

    /// Sends the next request: version 1, confirmable, a token of one byte.
    fn ask(&mut self, (code, payload): (u8, &[u8]), now: Instant) -> Result<(), String> {
        self.id = self.id.wrapping_add(1);
        let [high, low] = self.id.to_be_bytes();
        self.message.clear();
        self.message.extend_from_slice(&[0x41, code, high, low, 7]);
        self.message.extend_from_slice(PATH);
        self.message.extend_from_slice(payload);
        self.send(now)
    }

    fn send(&mut self, now: Instant) -> Result<(), String> {
        self.sent = now;
        self.link.send(&self.message)
    }

    /// Takes what has come. `true`: the answer to what was asked.
    fn take(&mut self) -> Result<bool, String> {
        let mut bytes = [0; 1_500];
        while let Some(count) = self.link.receive(&mut bytes)? {
            // A late answer to what was sent twice.
            if count < 4 || bytes[2..4] != self.id.to_be_bytes() {
                continue;
            }
            // 2.01, 2.04 and 2.05 are answers, anything else is none.
            if bytes[1] >> 5 != 2 {
                return Err(format!("{}.{:02} was answered", bytes[1] >> 5, bytes[1] & 31));
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Asks once, and waits for the answer.
    fn ask_surely(&mut self, request: (u8, &[u8])) -> Result<(), String> {
        for _ in 0..10 {
            let now = Instant::now();
            self.ask(request, now)?;
            while now.elapsed() < AGAIN {
                if self.take()? {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_micros(50));
            }
        }
        Err("nothing answers a request".to_owned())
    }
}

/// The clients of a run.
struct Crowd {
    clients: Vec<Client>,
    poll: Poll,
    events: Events,
    latencies: Histogram<u64>,
}

#[derive(Default)]
struct Counts {
    answers: u64,
    again: u64,
    seconds: f64,
}

impl Crowd {
    /// Everybody asks over and over for that long; then what is in flight is waited for, and counts.
    fn ask_for(&mut self, seconds: f64) -> Result<Counts, String> {
        let (start, mut counts) = (Instant::now(), Counts::default());
        let end = start + Duration::from_secs_f64(seconds);
        let (mut now, mut look_at, mut begun, mut in_flight) = (start, start + LOOK, 0, 0_usize);
        self.latencies.reset();
        while now < end || (in_flight > 0 && now < end + AGAIN) {
            let is_last = now >= end;
            if !is_last {
                counts.seconds = (now - start).as_secs_f64();
                // No socket holds what all of them ask at once: some more begin with every turn.
                for client in self.clients.iter_mut().skip(begun).take(BEGIN) {
                    client.ask((GET, b""), now)?;
                    (begun, in_flight) = (begun + 1, in_flight + 1);
                }
            }
            let wait = if begun < self.clients.len() { Duration::from_millis(1) } else { LOOK };
            match self.poll.poll(&mut self.events, Some(wait)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.to_string()),
                _ => {}
            }
            now = Instant::now();
            for event in &self.events {
                let client = &mut self.clients[event.token().0];
                if client.take()? {
                    counts.answers += 1;
                    self.latencies.saturating_record((now - client.sent).as_micros() as u64);
                    match is_last {
                        true => in_flight = in_flight.saturating_sub(1),
                        false => client.ask((GET, b""), now)?,
                    }
                }
            }
            if now >= look_at && !is_last {
                look_at = now + LOOK;
                for client in self.clients.iter_mut().take(begun).filter(|client| now - client.sent > client.patience) {
                    counts.again += 1;
                    client.send(now)?;
                }
            }
        }
        Ok(counts)
    }
}

/// Runs `--clients` for `--seconds`, after `--warm` seconds of the same. With `--met` each has its first
/// answer before they begin together.
pub fn run(args: &Args) -> Result<String, String> {
    let server = Server::read(args)?;
    let (count, seconds): (usize, f64) = (args.value("clients", 16)?, args.value("seconds", 5.0)?);
    Client::new(&server, 0)?.ask_surely((PUT, b"\xff21.5"))?;
    let poll = Poll::new().map_err(|error| error.to_string())?;
    let mut clients = Vec::with_capacity(count);
    for index in 0..count {
        let mut client = Client::new(&server, index as u16)?;
        if args.has("met") {
            client.ask_surely((GET, b""))?;
        }
        let registered = poll.registry().register(&mut client.link.socket, Token(index), Interest::READABLE);
        registered.map_err(|error| error.to_string())?;
        clients.push(client);
    }
    let latencies = Histogram::new_with_bounds(1, 60_000_000, 3).map_err(|error| error.to_string())?;
    let mut crowd = Crowd { clients, poll, events: Events::with_capacity(1_024), latencies };
    crowd.ask_for(args.value("warm", 0.0)?)?;
    if args.has("gate") {
        crate::wait_for_line()?;
    }
    let Counts { answers, again, seconds } = crowd.ask_for(seconds)?;
    let at = |quantile| crowd.latencies.value_at_quantile(quantile);
    let (p50, p99) = (at(0.5), at(0.99));
    Ok(format!(
        "{{\"answers\":{answers},\"again\":{again},\"seconds\":{seconds:.3},\"p50_us\":{p50},\"p99_us\":{p99}}}"
    ))
}
