//! Observers of one resource of CoAP over UDP or DTLS, each with a socket of its own, and one
//! client that changes it. What is confirmable is acknowledged. Each change waits for the
//! one before to be with everybody.

use crate::args::Args;
use crate::link::{Link, Server};
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// Observe, and Uri-Path: t, bench.
const REGISTER: &[u8] = b"\x60\x51t\x05bench";
const PATH: &[u8] = b"\xb1t\x05bench";
/// Registrations that are not answered at once.
const WINDOW: usize = 32;
const AGAIN: Duration = Duration::from_secs(1);
/// What is not with everybody by then never will be.
const PATIENCE: Duration = Duration::from_secs(60);

struct Observer {
    link: Link,
    is_registered: bool,
    /// The change that it knows of.
    newest: u32,
}

/// What a datagram is.
struct Heard {
    confirmable: bool,
    id: [u8; 2],
    code: u8,
    /// The number of the change, which is the payload.
    change: Option<u32>,
}

#[derive(Default)]
struct Counts {
    told: u64,
    acknowledged: u64,
    /// The same state once more.
    again: u64,
}

fn heard(bytes: &[u8]) -> Option<Heard> {
    let [first, code, high, low, ..] = *bytes else { return None };
    let payload = bytes.iter().rposition(|byte| *byte == 0xff).map(|at| &bytes[at + 1..]);
    let change = payload.and_then(|payload| std::str::from_utf8(payload).ok()).and_then(|text| text.parse().ok());
    Some(Heard { confirmable: first & 0x30 == 0, id: [high, low], code, change })
}

impl Observer {
    fn register(&mut self) {
        // A message id that no other load has used from the same port: it would be taken for a
        // repetition.
        let message = [&[0x41, 1, 0xff, 0xf0, 7], REGISTER].concat();
        // One that is lost is sent again.
        let _ = self.link.send(&message);
    }

    /// Takes what has come. `true`: it knows a change that it did not.
    fn take(&mut self, counts: &mut Counts) -> Result<bool, String> {
        let (mut bytes, mut is_new) = ([0; 1_500], false);
        while let Some(count) = self.link.receive(&mut bytes)? {
            let Some(heard) = heard(&bytes[..count]).filter(|heard| heard.code != 0) else { continue };
            if heard.code >> 5 != 2 {
                return Err(format!("{}.{:02} was answered", heard.code >> 5, heard.code & 31));
            }
            if heard.confirmable {
                counts.acknowledged += 1;
                let _ = self.link.send(&[0x60, 0, heard.id[0], heard.id[1]]);
            }
            let Some(change) = heard.change else { continue };
            if !std::mem::replace(&mut self.is_registered, true) {
                self.newest = change;
            } else if change > self.newest {
                self.newest = change;
                counts.told += 1;
                is_new = true;
            } else {
                counts.again += 1;
            }
        }
        Ok(is_new)
    }
}

/// Changes the resource.
struct Writer {
    link: Link,
    id: u16,
    is_confirmable: bool,
}

impl Writer {
    fn put(&mut self, change: u32) {
        self.id = self.id.wrapping_add(1);
        let [high, low] = self.id.to_be_bytes();
        let first = if self.is_confirmable { 0x41 } else { 0x51 };
        let message = [&[first, 3, high, low, 9], PATH, b"\xff", format!("{change:08}").as_bytes()].concat();
        let _ = self.link.send(&message);
    }

    /// Puts a value until that is answered.
    fn put_surely(&mut self, change: u32) -> Result<(), String> {
        let mut bytes = [0; 1_500];
        for _ in 0..10 {
            self.put(change);
            let until = Instant::now() + AGAIN;
            while Instant::now() < until {
                match self.link.receive(&mut bytes)? {
                    Some(count) if count >= 4 && bytes[1] >> 5 == 2 => return Ok(()),
                    _ => std::thread::sleep(Duration::from_millis(2)),
                }
            }
        }
        Err("nothing answers a PUT".to_owned())
    }
}

/// Holds `--connections` observers; with `--writes` that many changes, each to all of them.
pub fn run(args: &Args) -> Result<String, String> {
    let server = Server::read(args)?;
    let (count, writes): (usize, u32) = (args.value("connections", 1_000)?, args.value("writes", 0)?);
    let mut writer =
        Writer { link: Link::open(&server)?, id: std::process::id() as u16, is_confirmable: !args.has("non") };
    writer.put_surely(1)?;
    let mut poll = Poll::new().map_err(|error| error.to_string())?;
    let mut observers = Vec::with_capacity(count);
    for index in 0..count {
        let mut observer = Observer { link: Link::open(&server)?, is_registered: false, newest: 0 };
        let registered = poll.registry().register(&mut observer.link.socket, Token(index), Interest::READABLE);
        registered.map_err(|error| error.to_string())?;
        observers.push(observer);
    }
    let (mut events, mut counts) = (Events::with_capacity(1_024), Counts::default());
    register(&mut observers, (&mut poll, &mut events), &mut counts)?;
    counts = Counts::default();
    crate::wait_for_line()?;
    let start = Instant::now();
    let mut times = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).map_err(|error| error.to_string())?;
    for change in 2..2 + writes {
        let began = Instant::now();
        writer.put(change);
        let (mut missing, mut put_at) = (observers.iter().filter(|one| one.newest < change).count(), began);
        while missing > 0 {
            if began.elapsed() > PATIENCE {
                return Err(format!("{missing} of {count} observers do not know change {change}"));
            }
            // A change that nobody knows of was lost on its way.
            if missing == count && put_at.elapsed() > AGAIN {
                put_at = Instant::now();
                writer.put(change);
            }
            wait(&mut poll, &mut events, 100)?;
            for event in &events {
                missing -= usize::from(observers[event.token().0].take(&mut counts)?);
            }
        }
        times.saturating_record(began.elapsed().as_micros() as u64);
    }
    let (seconds, p50) = (start.elapsed().as_secs_f64(), times.value_at_quantile(0.5));
    let Counts { told, acknowledged, again } = counts;
    Ok(format!(
        "{{\"connections\":{count},\"told\":{told},\"acknowledged\":{acknowledged},\"again\":{again},\"seconds\":{seconds:.3},\"p50_us\":{p50}}}"
    ))
}

/// Registers all of them, some at a time.
fn register(
    observers: &mut [Observer],
    (poll, events): (&mut Poll, &mut Events),
    counts: &mut Counts,
) -> Result<(), String> {
    let began = Instant::now();
    for from in (0..observers.len()).step_by(WINDOW) {
        let own = from..(from + WINDOW).min(observers.len());
        let mut asked_at = None::<Instant>;
        while observers[own.clone()].iter().any(|observer| !observer.is_registered) {
            if began.elapsed() > PATIENCE {
                return Err(format!("observer {from} is not registered"));
            }
            if asked_at.is_none_or(|at| at.elapsed() > AGAIN) {
                asked_at = Some(Instant::now());
                let missing = observers[own.clone()].iter_mut().filter(|observer| !observer.is_registered);
                missing.for_each(Observer::register);
            }
            wait(poll, events, 50)?;
            for event in events.iter() {
                observers[event.token().0].take(counts)?;
            }
        }
    }
    Ok(())
}

fn wait(poll: &mut Poll, events: &mut Events, ms: u64) -> Result<(), String> {
    match poll.poll(events, Some(Duration::from_millis(ms))) {
        Err(error) if error.kind() != ErrorKind::Interrupted => Err(error.to_string()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_says_which_change_it_is_about() {
        let found = heard(b"\x41\x45\x12\x34\x07\x61\x05\xff00000042").expect("a message");
        assert_eq!((found.confirmable, found.id, found.code, found.change), (true, [0x12, 0x34], 69, Some(42)));
        assert!(!heard(b"\x51\x45\x12\x34\x07").expect("a message").confirmable);
        assert!(heard(b"\x41\x45").is_none());
    }
}
