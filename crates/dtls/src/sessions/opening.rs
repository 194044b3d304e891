//! How a session begins: a hello without a cookie is asked for one and leaves no state, a
//! hello with its cookie becomes a session if the bounds let it.

use std::net::SocketAddr;

use super::{Entry, Event, Handled, Sessions, TICK_MS};
use crate::held::Held;
use crate::hello::{ClientHello, write_verify_request};
use crate::names::name;
use crate::record::CID_LEN;

/// Handshakes under way from one address.
const HANDSHAKES_PER_SOURCE: usize = 32;

impl Sessions {
    /// A hello: asks for a cookie, or begins a session with the one that came back.
    pub(super) fn greet(
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
            if let Some(entry) = self.table.get(known).filter(|entry| entry.random == *hello.random) {
                // A late copy: the library would take it for a client that has begun anew.
                if entry.is_open {
                    return Handled::Taken;
                }
                // The same hello again: the flight that answered it was lost.
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
            asking: None,
            was_asked: false,
            identity: None,
        };
        self.table.insert(entry);
        self.by_address.insert(from, slot);
        self.handshakes.push(slot);
        if self.tick_at == 0 {
            self.tick_at = now_ms + TICK_MS;
        }
        Some(slot)
    }
}
