//! The sessions of one worker's socket: found by address or by connection id, made once
//! a cookie has come back, bounded, and forgotten when they are silent for long. New
//! peers are shed where there are too many, never those that are there.

mod asking;
mod opening;
mod saving;
mod timing;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::RandomState;
use slab::Slab;

use self::asking::Asking;
use crate::engine::{Context, Progress};
use crate::held::Held;
use crate::names::slot;
use crate::record::{CID_LEN, examine};
use crate::{DtlsError, Record, Terms};

/// How often handshakes and silent sessions are looked at, milliseconds.
const TICK_MS: u64 = 250;

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
    /// A handshake claims an identity whose key the terms lack: it waits for
    /// [`Sessions::answer`].
    Claimed {
        /// The name that its session will have.
        name: SocketAddr,
        /// The identity.
        identity: &'a [u8],
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
    /// What became of the question for its key, until it is open.
    asking: Option<Box<Asking>>,
    /// Its key was not in the table.
    was_asked: bool,
    /// What it has proven, once it is open.
    identity: Option<Arc<str>>,
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
        let (datagram, has_hello) = examine(datagram);
        match Record::of(datagram) {
            None => Handled::Dropped("dtls-malformed"),
            Some(Record::ClientHello { sequence, message }) => {
                self.greet(now_ms, (from, datagram), (sequence, message), deliver)
            }
            Some(_) if has_hello => Handled::Dropped("dtls-malformed"),
            Some(Record::Plain) => match self.by_address.get(&from) {
                Some(slot) => self.feed(now_ms, *slot, datagram, deliver),
                None => Handled::Dropped("dtls-unknown"),
            },
            Some(Record::Connected { cid, number }) => self.follow(now_ms, (from, datagram), (cid, number), deliver),
        }
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
        if !entry.is_open
            && let Some(handled) = entry.hold(datagram, deliver)
        {
            return handled;
        }
        let Some(session) = entry.session.live() else {
            self.end(slot, "dtls-failed");
            return Handled::Dropped("dtls-failed");
        };
        let mut read = |plaintext: &[u8]| deliver(Event::Data { name, plaintext });
        let mut progress = session.feed(now_ms, datagram, &mut read);
        if progress.established {
            entry.is_open = true;
            entry.was_asked = matches!(entry.asking.take().as_deref(), Some(Asking::Over));
            entry.has_connection_id = session.has_connection_id();
            let identity = session.take_identity().and_then(|bytes| String::from_utf8(bytes.into_vec()).ok());
            entry.identity = identity.map(Arc::from);
            deliver(Event::Opened { name, identity: entry.identity.clone() });
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
}
