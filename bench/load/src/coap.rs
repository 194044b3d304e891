//! Clients of CoAP over UDP, each with a socket of its own and one confirmable GET in
//! flight, over and over. The value they get is put first.

use crate::args::Args;
use hdrhistogram::Histogram;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use std::io::ErrorKind;
use std::net::SocketAddr;
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
    socket: UdpSocket,
    message: Vec<u8>,
    id: u16,
    sent: Instant,
    /// After how long without an answer the same message is sent again: not everybody at once.
    patience: Duration,
}

impl Client {
    fn new(to: SocketAddr, id: u16) -> Result<Client, String> {
        let named = |error: std::io::Error| format!("a socket for {to}: {error}");
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).map_err(named)?;
        socket.connect(to).map_err(named)?;
        let patience = AGAIN + Duration::from_millis(u64::from(id) % 500);
        Ok(Client { socket, message: Vec::new(), id, sent: Instant::now(), patience })
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
        match self.socket.send(&self.message) {
            // One that the socket has no room for is lost, as it would be on its way.
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(format!("sending: {error}")),
            _ => Ok(()),
        }
    }

    /// Takes what has come. `true`: the answer to what was asked.
    fn take(&self) -> Result<bool, String> {
        let mut bytes = [0; 1_500];
        loop {
            let count = match self.socket.recv(&mut bytes) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(format!("receiving: {error}")),
            };
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
    }
}

/// Runs `--clients` for `--seconds`.
pub fn run(args: &Args) -> Result<String, String> {
    let to = args.address()?;
    let (count, seconds): (usize, f64) = (args.value("clients", 16)?, args.value("seconds", 5.0)?);
    put(to)?;
    let mut poll = Poll::new().map_err(|error| error.to_string())?;
    let mut clients = Vec::with_capacity(count);
    for index in 0..count {
        let mut client = Client::new(to, index as u16)?;
        let registered = poll.registry().register(&mut client.socket, Token(index), Interest::READABLE);
        registered.map_err(|error| error.to_string())?;
        clients.push(client);
    }
    if args.has("gate") {
        crate::wait_for_line()?;
    }
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(seconds);
    let (mut answers, mut again) = (0_u64, 0_u64);
    let mut latencies = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).map_err(|error| error.to_string())?;
    let mut events = Events::with_capacity(1_024);
    let mut look_at = start + LOOK;
    let (mut now, mut begun) = (start, 0);
    while now < end {
        let wait = if begun < count { Duration::from_millis(1) } else { LOOK };
        match poll.poll(&mut events, Some(wait)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.to_string()),
            _ => {}
        }
        now = Instant::now();
        // No socket holds what all of them ask at once: some more begin with every turn.
        for client in clients.iter_mut().skip(begun).take(BEGIN) {
            client.ask((GET, b""), now)?;
            begun += 1;
        }
        for event in &events {
            let client = &mut clients[event.token().0];
            if client.take()? {
                answers += 1;
                latencies.saturating_record((now - client.sent).as_micros() as u64);
                client.ask((GET, b""), now)?;
            }
        }
        if now >= look_at {
            look_at = now + LOOK;
            for client in clients.iter_mut().take(begun).filter(|client| now - client.sent > client.patience) {
                again += 1;
                client.send(now)?;
            }
        }
    }
    let at = |quantile| latencies.value_at_quantile(quantile);
    let (p50, p99, seconds) = (at(0.5), at(0.99), start.elapsed().as_secs_f64());
    Ok(format!(
        "{{\"answers\":{answers},\"again\":{again},\"seconds\":{seconds:.3},\"p50_us\":{p50},\"p99_us\":{p99}}}"
    ))
}

/// Puts the value; waits for the answer.
fn put(to: SocketAddr) -> Result<(), String> {
    let mut client = Client::new(to, 0)?;
    for _ in 0..10 {
        client.ask((PUT, b"\xff21.5"), Instant::now())?;
        let until = Instant::now() + AGAIN;
        while Instant::now() < until {
            if client.take()? {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Err(format!("nothing at {to} answers a PUT"))
}
