//! The sessions of one worker's socket: found by address or by connection id, made once
//! a cookie has come back, bounded, and forgotten when they are silent for long. New
//! peers are shed where there are too many, never those that are there.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::RandomState;
use slab::Slab;

use crate::engine::{Context, Progress};
use crate::held::Held;
use crate::hello::{ClientHello, write_verify_request};
use crate::names::{name, slot};
use crate::record::CID_LEN;
use crate::{DtlsError, Record, Terms};

/// How often handshakes and silent sessions are looked at, milliseconds.
const TICK_MS: u64 = 250;
/// How long a handshake may take, milliseconds.
const HANDSHAKE_MS: u64 = 30_000;
/// Handshakes under way from one address.
const HANDSHAKES_PER_SOURCE: usize = 32;
/// Sessions that one tick looks at, so that none takes long.
const SWEEP: usize = 1_024;
/// A session that has nothing to do for that long is kept as a few hundred bytes.
const FREEZE_MS: u64 = 10_000;

/// What sessions may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Sessions of this worker.
    pub sessions: usize,
    /// Handshakes that may be under way.
    pub handshakes: usize,
    /// Handshakes that may begin in a second.
    pub handshakes_per_s: u32,
    /// After which silence a session is forgotten, milliseconds.
    pub idle_ms: u64,
}

/// What became of a datagram that led to no plaintext of its own accord.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handled {
    /// It was taken.
    Taken,
    /// It belongs to a session of that worker.
    Strayed(u8),
    /// It was dropped, with the name for metrics.
    Dropped(&'static str),
}

/// What a datagram leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// A handshake has ended well.
    Opened {
        /// The session's name, as long as it lives.
        name: SocketAddr,
        /// What it has proven: the identity of its key, or its certificate's common name.
        identity: Option<Arc<str>>,
    },
    /// Plaintext of a session.
    Data {
        /// The session's name.
        name: SocketAddr,
        /// One record's.
        plaintext: &'a [u8],
    },
}

struct Entry {
    session: Held,
    name: SocketAddr,
    address: SocketAddr,
    cid: [u8; CID_LEN],
    /// The hello that it began with.
    random: [u8; 32],
    /// The newest record that was authentic: only a newer one moves the address.
    newest: u64,
    used_at: u64,
    /// When it last had something to do, in either direction.
    touched_at: u64,
    is_open: bool,
    has_connection_id: bool,
}

/// The sessions of one socket.
pub struct Sessions {
    terms: Arc<Terms>,
    context: Rc<Context>,
    bounds: Bounds,
    worker: u8,
    generation: u32,
    table: Slab<Entry>,
    by_address: HashMap<SocketAddr, usize, RandomState>,
    handshakes: Vec<usize>,
    /// Begun in the second that `second` names.
    begun: (u64, u32),
    sweep_at: usize,
    tick_at: u64,
    outbox: VecDeque<(SocketAddr, Vec<u8>)>,
    closed: VecDeque<(SocketAddr, &'static str)>,
}

impl Sessions {
    /// No session yet.
    ///
    /// # Errors
    /// The library refuses what it took before.
    pub fn new(terms: &Arc<Terms>, (worker, bounds): (u8, Bounds)) -> Result<Self, DtlsError> {
        Ok(Sessions {
            terms: Arc::clone(terms),
            context: Context::new(terms)?,
            bounds,
            worker,
            generation: 0,
            table: Slab::new(),
            by_address: HashMap::default(),
            handshakes: Vec::new(),
            begun: (0, 0),
            sweep_at: 0,
            tick_at: 0,
            outbox: VecDeque::new(),
            closed: VecDeque::new(),
        })
    }

    /// Takes other terms, which hold for the sessions that begin from now on.
    ///
    /// # Errors
    /// The library refuses what it took before; the terms of before stay.
    pub fn adopt(&mut self, terms: &Arc<Terms>, bounds: Bounds) -> Result<(), DtlsError> {
        self.bounds = bounds;
        if !Arc::ptr_eq(&self.terms, terms) {
            self.context = Context::new(terms)?;
            self.terms = Arc::clone(terms);
        }
        Ok(())
    }

    /// Sessions, those in their handshake too.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Takes a datagram: plaintext goes to `deliver` with the session's name.
    pub fn handle(
        &mut self,
        now_ms: u64,
        (from, datagram): (SocketAddr, &[u8]),
        deliver: &mut dyn FnMut(Event<'_>),
    ) -> Handled {
        match Record::of(datagram) {
            None => Handled::Dropped("dtls-malformed"),
            Some(Record::ClientHello { sequence, message }) => {
                self.greet(now_ms, (from, datagram), (sequence, message), deliver)
            }
            Some(Record::Plain) => match self.by_address.get(&from) {
                Some(slot) => self.feed(now_ms, *slot, datagram, deliver),
                None => Handled::Dropped("dtls-unknown"),
            },
            Some(Record::Connected { cid, number }) => self.follow(now_ms, (from, datagram), (cid, number), deliver),
        }
    }

    /// A hello: asks for a cookie, or begins a session with the one that came back.
    fn greet(
        &mut self,
        now_ms: u64,
        (from, datagram): (SocketAddr, &[u8]),
        (sequence, message): ([u8; 6], &[u8]),
        deliver: &mut dyn FnMut(Event<'_>),
    ) -> Handled {
        let Some(hello) = ClientHello::of(message) else { return Handled::Dropped("dtls-malformed") };
        let proof = (from, hello.random.as_slice());
        if !self.terms.cookies.verify(now_ms, proof, hello.cookie) {
            let cookie = self.terms.cookies.make(now_ms, proof);
            let mut answer = Vec::new();
            write_verify_request(&mut answer, sequence, &cookie);
            self.outbox.push_back((from, answer));
            return Handled::Taken;
        }
        if let Some(&known) = self.by_address.get(&from) {
            // The same hello again: the flight that answered it was lost.
            if self.table.get(known).is_some_and(|entry| entry.random == *hello.random) {
                return self.feed(now_ms, known, datagram, deliver);
            }
            // RFC 6347 section 4.2.8: the peer has begun anew, and the cookie proves it. One
            // with a connection id may be another, which has come to have this address.
            if !self.table.get(known).is_some_and(|entry| entry.is_open && entry.has_connection_id) {
                self.end(known, "dtls-replaced");
            }
        }
        if let Some(reason) = self.refusal(now_ms, from) {
            return Handled::Dropped(reason);
        }
        match self.begin(now_ms, from, *hello.random) {
            Some(slot) => self.feed(now_ms, slot, datagram, deliver),
            None => Handled::Dropped("dtls-failed"),
        }
    }

    /// Why no handshake begins now.
    fn refusal(&mut self, now_ms: u64, from: SocketAddr) -> Option<&'static str> {
        if self.table.len() >= self.bounds.sessions {
            return Some("dtls-sessions-full");
        }
        let table = &self.table;
        let of_source = |slot: &&usize| table.get(**slot).is_some_and(|entry| entry.address.ip() == from.ip());
        if self.handshakes.len() >= self.bounds.handshakes
            || self.handshakes.iter().filter(of_source).count() >= HANDSHAKES_PER_SOURCE
        {
            return Some("dtls-handshakes-full");
        }
        let second = now_ms / 1_000;
        if self.begun.0 != second {
            self.begun = (second, 0);
        }
        self.begun.1 += 1;
        (self.begun.1 > self.bounds.handshakes_per_s).then_some("dtls-handshake-rate")
    }

    fn begin(&mut self, now_ms: u64, from: SocketAddr, random: [u8; 32]) -> Option<usize> {
        let slot = self.table.vacant_key();
        self.generation = self.generation.wrapping_add(1);
        let mut cid = [0; CID_LEN];
        getrandom::fill(&mut cid).ok()?;
        // Whose it is, and where; the rest is nobody's to guess.
        cid[0] = self.worker;
        cid[1..4].copy_from_slice(&(slot as u32).to_be_bytes()[1..]);
        let entry = Entry {
            session: Held::open(&self.context, cid).ok()?,
            name: name(from, slot, self.generation),
            address: from,
            cid,
            random,
            newest: 0,
            used_at: now_ms,
            touched_at: now_ms,
            is_open: false,
            has_connection_id: false,
        };
        self.table.insert(entry);
        self.by_address.insert(from, slot);
        self.handshakes.push(slot);
        if self.tick_at == 0 {
            self.tick_at = now_ms + TICK_MS;
        }
        Some(slot)
    }

    /// A record that names its session, wherever it comes from.
    fn follow(
        &mut self,
        now_ms: u64,
        (from, datagram): (SocketAddr, &[u8]),
        (cid, number): ([u8; CID_LEN], u64),
        deliver: &mut dyn FnMut(Event<'_>),
    ) -> Handled {
        if cid[0] != self.worker {
            return Handled::Strayed(cid[0]);
        }
        let slot = u32::from_be_bytes([0, cid[1], cid[2], cid[3]]) as usize;
        let Some(entry) = self.table.get(slot).filter(|entry| entry.cid == cid) else {
            return Handled::Dropped("dtls-unknown");
        };
        let (before, newest) = (entry.address, entry.newest);
        let mut authentic = false;
        let handled = self.feed_noting(now_ms, slot, datagram, (deliver, &mut authentic));
        let Some(entry) = self.table.get_mut(slot).filter(|entry| entry.cid == cid && authentic) else {
            return handled;
        };
        entry.newest = newest.max(number);
        // RFC 9146 section 6: authentic, and newer than all before.
        if before != from && number > newest {
            entry.address = from;
            if self.by_address.get(&before) == Some(&slot) {
                self.by_address.remove(&before);
            }
            self.by_address.insert(from, slot);
        }
        handled
    }

    fn feed(&mut self, now_ms: u64, slot: usize, datagram: &[u8], deliver: &mut dyn FnMut(Event<'_>)) -> Handled {
        self.feed_noting(now_ms, slot, datagram, (deliver, &mut false))
    }

    fn feed_noting(
        &mut self,
        now_ms: u64,
        slot: usize,
        datagram: &[u8],
        (deliver, authentic): (&mut dyn FnMut(Event<'_>), &mut bool),
    ) -> Handled {
        let Some(entry) = self.table.get_mut(slot) else { return Handled::Dropped("dtls-unknown") };
        let name = entry.name;
        entry.touched_at = now_ms;
        let Some(session) = entry.session.live() else {
            self.end(slot, "dtls-failed");
            return Handled::Dropped("dtls-failed");
        };
        let mut read = |plaintext: &[u8]| deliver(Event::Data { name, plaintext });
        let mut progress = session.feed(now_ms, datagram, &mut read);
        if progress.established {
            entry.is_open = true;
            entry.has_connection_id = session.has_connection_id();
            let identity = session.take_identity().and_then(|bytes| String::from_utf8(bytes.into_vec()).ok());
            deliver(Event::Opened { name, identity: identity.map(Arc::from) });
            // Data may stand behind the end of the handshake.
            let mut read = |plaintext: &[u8]| deliver(Event::Data { name, plaintext });
            progress = session.read(&mut read);
            self.handshakes.retain(|own| *own != slot);
        }
        *authentic = progress.authentic;
        if progress.authentic {
            entry.used_at = now_ms;
        }
        self.settle(slot, progress);
        Handled::Taken
    }

    /// Notes what a session has become, and takes what it wants to send.
    fn settle(&mut self, slot: usize, progress: Progress) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        let address = entry.address;
        for datagram in entry.session.context().take_output() {
            self.outbox.push_back((address, datagram));
        }
        if let Some(reason) = progress.ended {
            self.end(slot, reason);
        }
    }

    fn end(&mut self, slot: usize, reason: &'static str) {
        let Some(entry) = self.table.try_remove(slot) else { return };
        if self.by_address.get(&entry.address) == Some(&slot) {
            self.by_address.remove(&entry.address);
        }
        if entry.is_open {
            self.closed.push_back((entry.name, reason));
        } else {
            self.handshakes.retain(|own| *own != slot);
            self.closed.push_back((entry.address, reason));
        }
    }

    /// Seals plaintext for a session. `false`: there is none of that name, or it is too long.
    pub fn seal(&mut self, now_ms: u64, name: SocketAddr, plaintext: &[u8]) -> bool {
        let place = slot(&name);
        let Some(entry) = place.and_then(|slot| self.table.get_mut(slot)).filter(|entry| entry.name == name) else {
            return false;
        };
        entry.touched_at = now_ms;
        let sealed = entry.session.live().is_some_and(|session| session.seal(now_ms, plaintext));
        for datagram in entry.session.context().take_output() {
            self.outbox.push_back((entry.address, datagram));
        }
        sealed
    }

    #[cfg(all(test, feature = "mbedtls"))]
    pub(crate) fn frozen_bytes(&self, name: SocketAddr) -> Option<usize> {
        self.table.get(slot(&name)?)?.session.frozen_bytes()
    }

    /// How many are frozen, and their bytes.
    #[cfg(all(test, feature = "mbedtls"))]
    pub(crate) fn table_frozen_bytes(&self) -> (usize, usize) {
        let frozen = self.table.iter().filter_map(|(_, entry)| entry.session.frozen_bytes());
        frozen.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes + size_of::<Entry>()))
    }

    /// The next datagram to be sent, and to whom.
    pub fn poll_output(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.outbox.pop_front()
    }

    /// The next one that has ended, and why: a session's name, or the address of a
    /// handshake that has come to nothing.
    pub fn poll_closed(&mut self) -> Option<(SocketAddr, &'static str)> {
        self.closed.pop_front()
    }

    /// When [`Sessions::handle_timeout`] is to be called, milliseconds.
    pub fn next_timeout(&self) -> Option<u64> {
        (!self.table.is_empty()).then_some(self.tick_at)
    }

    /// Sends flights again, and forgets what takes or is silent for too long.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        if self.table.is_empty() || now_ms < self.tick_at {
            return;
        }
        for slot in self.handshakes.clone() {
            let Some(entry) = self.table.get_mut(slot) else { continue };
            let progress = match now_ms.saturating_sub(entry.used_at) > HANDSHAKE_MS {
                true => Progress { ended: Some("dtls-timeout"), ..Progress::default() },
                false => entry.session.live().map_or_else(Progress::default, |session| session.handle_timeout(now_ms)),
            };
            self.settle(slot, progress);
        }
        for _ in 0..SWEEP.min(self.table.capacity()) {
            let slot = self.sweep_at;
            self.sweep_at = (slot + 1) % self.table.capacity().max(1);
            let silent = |entry: &Entry| entry.is_open && now_ms.saturating_sub(entry.used_at) > self.bounds.idle_ms;
            if self.table.get(slot).is_some_and(silent) {
                self.close(slot, "dtls-idle");
            } else if let Some(entry) = self.table.get_mut(slot)
                && entry.is_open
                && now_ms.saturating_sub(entry.touched_at) > FREEZE_MS
            {
                entry.session.freeze();
            }
        }
        // Without handshakes nothing is urgent.
        self.tick_at = now_ms + if self.handshakes.is_empty() { TICK_MS * 10 } else { TICK_MS };
    }

    /// Says goodbye to everybody.
    pub fn leave(&mut self) {
        let slots: Vec<usize> = self.table.iter().map(|(slot, _)| slot).collect();
        slots.into_iter().for_each(|slot| self.close(slot, "dtls-closed"));
    }

    fn close(&mut self, slot: usize, reason: &'static str) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        if let Some(session) = entry.session.live() {
            session.close();
        }
        self.settle(slot, Progress { ended: Some(reason), ..Progress::default() });
    }
}
