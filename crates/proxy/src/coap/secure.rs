//! DTLS of one socket: records come in, what they carry goes to the server under the
//! session's name, which stays when the peer's address changes; what is for a name is
//! sealed. A record of another worker's session is handed over: the kernel deals by
//! address, and the peer's is a new one.

use super::keys::{KeyAnswer, Keys};
use super::saved::SavedSessions;
use super::server::Server;
use crate::plan::ListenerDto;
use crate::worker::{Level, Worker};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use tidegate_broker::Access;
use tidegate_dtls::{Bounds, Event, Handled, Sessions, Terms, is_name};
use tidegate_listener::Datagrams;
use tidegate_message::Protocol;
use tokio::sync::mpsc;

/// Records that wait for another worker; beyond, they are lost, as on the way.
const STRAYS_MAX: usize = 1_024;

/// A datagram and where it came from.
pub(super) type Stray = (SocketAddr, Box<[u8]>);

/// The ways to the workers of each listener. Locked only where a record has strayed.
#[derive(Default)]
pub(crate) struct Strays(Mutex<HashMap<(String, u8), mpsc::Sender<Stray>>>);

impl Strays {
    /// Hands a datagram over to a worker. `false`: it cannot take it.
    pub(super) fn pass_on(&self, (listener, worker): (&str, u8), stray: Stray) -> bool {
        let way = self.0.lock().get(&(listener.to_owned(), worker)).cloned();
        way.is_some_and(|way| way.try_send(stray).is_ok())
    }
}

/// DTLS of one socket.
pub(super) struct Secure {
    worker: Rc<Worker>,
    listener: String,
    /// `None`: the listener speaks none.
    sessions: Option<Sessions>,
    terms: Option<Arc<Terms>>,
    strays: mpsc::Receiver<Stray>,
    keys: Keys,
    /// The plan that the terms are from.
    version: u64,
    /// Sessions, as the counters know them.
    told: u64,
    /// It has not looked yet for those of before the start.
    is_new: bool,
}

impl Secure {
    pub(super) fn new(worker: &Rc<Worker>, listener: &ListenerDto) -> Self {
        let (way, strays) = mpsc::channel(STRAYS_MAX);
        worker.shared.strays.0.lock().insert((listener.name.clone(), worker.id as u8), way);
        let (worker, listener) = (Rc::clone(worker), listener.name.clone());
        let keys = Keys::new(&worker);
        let (sessions, terms, version, told) = (None, None, u64::MAX, 0);
        let mut secure = Secure { worker, listener, sessions, terms, strays, keys, version, told, is_new: true };
        secure.adopt();
        secure
    }

    /// Takes the terms of the plan that is in force; sessions keep those that they began with.
    pub(super) fn adopt(&mut self) {
        let plan = self.worker.plan();
        if plan.plan.version == self.version {
            return;
        }
        self.version = plan.plan.version;
        // A listener that is not in the plan any more has the terms that it began with.
        let Some(trust) = plan.plan.listeners.get(&self.listener) else { return };
        self.terms.clone_from(&trust.dtls);
        let Some(terms) = &self.terms else { return };
        let bounds = bounds(&self.worker);
        let adopted = match &mut self.sessions {
            Some(sessions) => sessions.adopt(terms, bounds),
            None => Sessions::new(terms, (self.worker.id as u8, bounds)).map(|new| self.sessions = Some(new)),
        };
        if let Err(cause) = adopted {
            self.worker.log(Level::Error, &format!("{}: dtls stays as it was: {cause}", self.listener));
        }
    }

    fn saved(&self) -> Option<SavedSessions> {
        let folder = self.worker.shared.saved_sessions.as_ref()?;
        Some(SavedSessions::of(folder, (&self.listener, self.worker.id)))
    }

    /// Takes the sessions back that the process before has saved.
    pub(super) fn restore(&mut self, server: &mut Server) {
        let Some(saved) = self.saved().filter(|_| self.is_new && self.sessions.is_some()) else { return };
        self.is_new = false;
        let epoch_ms = self.worker.clock.epoch_ms() + server.now_ms;
        let (away_ms, bytes) = match saved.take(epoch_ms) {
            Ok(Some(taken)) => taken,
            Ok(None) => return,
            Err(cause) => {
                return self.worker.log(Level::Warn, &format!("{}: no saved DTLS sessions: {cause}", self.listener));
            }
        };
        if let Some(sessions) = &mut self.sessions {
            sessions.restore((server.now_ms, away_ms), &bytes, &mut |event| {
                if let Event::Opened { name, identity } = event {
                    server.reopen_secured(name, identity);
                }
            });
        }
    }

    /// Writes down the sessions that the next process can go on with: the last that is done
    /// with them.
    pub(super) fn save(&mut self, now_ms: u64) {
        let Some((saved, sessions)) = self.saved().zip(self.sessions.as_mut()) else { return };
        let bytes = sessions.save(now_ms);
        if bytes.is_empty() {
            return;
        }
        if let Err(cause) = saved.write(self.worker.clock.epoch_ms() + now_ms, &bytes) {
            self.worker.log(Level::Warn, &format!("{}: DTLS sessions are not saved: {cause}", self.listener));
        }
    }

    /// Takes a record.
    pub(super) fn handle(&mut self, server: &mut Server, (from, datagram): (SocketAddr, &[u8])) {
        // Without terms nothing begins; what is there goes on.
        let Some(sessions) = self.sessions.as_mut().filter(|sessions| self.terms.is_some() || !sessions.is_empty())
        else {
            return self.worker.dropped(Protocol::Coap, "dtls-off");
        };
        let mut unnamed = None;
        let handled = sessions.handle(server.now_ms, (from, datagram), &mut |event| match event {
            Event::Claimed { name, identity } => match std::str::from_utf8(identity) {
                Ok(identity) => self.keys.ask(name, identity.into()),
                Err(_) => unnamed = Some(name),
            },
            other => server.handle_event(other),
        });
        if let Some(name) = unnamed {
            // What is no text is nobody's name.
            self.give_key(server, (name, None));
        }
        match handled {
            Handled::Taken => {}
            Handled::Dropped(reason) => self.worker.dropped(Protocol::Coap, reason),
            Handled::Strayed(worker) => self.pass_on(worker, (from, datagram.into())),
        }
    }

    fn pass_on(&self, worker: u8, stray: Stray) {
        if !self.worker.shared.strays.pass_on((&self.listener, worker), stray) {
            self.worker.dropped(Protocol::Coap, "dtls-strayed");
        }
    }

    /// The next key that somebody was asked for.
    pub(super) fn poll_key(&mut self, cx: &mut Context<'_>) -> Option<KeyAnswer> {
        self.keys.poll_answer(cx)
    }

    /// A handshake has its key, or there is none.
    pub(super) fn give_key(&mut self, server: &mut Server, (name, key): KeyAnswer) {
        if let Some(sessions) = &mut self.sessions {
            sessions.answer(server.now_ms, (name, key.as_deref()), &mut |event| server.handle_event(event));
        }
    }

    /// The next datagram that strayed to another worker.
    pub(super) fn poll_stray(&mut self, cx: &mut Context<'_>) -> Option<Stray> {
        match self.strays.poll_recv(cx) {
            Poll::Ready(stray) => stray,
            Poll::Pending => None,
        }
    }

    /// Seals what is for a session. `false`: it is for an address.
    pub(super) fn seal(&mut self, now_ms: u64, (to, plaintext): (SocketAddr, &[u8])) -> bool {
        let Some(sessions) = self.sessions.as_mut().filter(|_| is_name(&to)) else { return false };
        if !sessions.seal(now_ms, to, plaintext) {
            self.worker.dropped(Protocol::Coap, "dtls-gone");
        }
        true
    }

    /// Tells the server who is gone, and queues what the sessions want to send.
    pub(super) fn flush(&mut self, server: &mut Server, datagrams: &mut Datagrams) {
        let Some(sessions) = &mut self.sessions else { return };
        while let Some((peer, reason)) = sessions.poll_closed() {
            if reason != "dtls-closed" {
                self.worker.dropped(Protocol::Coap, reason);
            }
            server.close_secured(peer);
        }
        while let Some((to, datagram)) = sessions.poll_output() {
            datagrams.queue(to, |out| out.extend_from_slice(&datagram));
        }
        // Other sockets of the worker have theirs.
        let counter = &self.worker.counters.dtls_sessions;
        let told = std::mem::replace(&mut self.told, sessions.len() as u64);
        counter.set(counter.value() + self.told - told);
    }

    pub(super) fn next_timeout(&self) -> Option<u64> {
        self.sessions.as_ref()?.next_timeout()
    }

    pub(super) fn handle_timeouts(&mut self, now_ms: u64) {
        if let Some(sessions) = &mut self.sessions {
            sessions.handle_timeout(now_ms);
        }
    }

    /// Says goodbye to everybody.
    pub(super) fn leave(&mut self) {
        if let Some(sessions) = &mut self.sessions {
            sessions.leave();
        }
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        self.worker.shared.strays.0.lock().remove(&(self.listener.clone(), self.worker.id as u8));
        let counter = &self.worker.counters.dtls_sessions;
        counter.set(counter.value() - self.told);
    }
}

fn bounds(worker: &Worker) -> Bounds {
    let plan = worker.plan();
    let coap = &plan.plan.coap;
    let workers = worker.shared.registry.workers.len().max(1);
    Bounds {
        sessions: coap.max_sessions.div_ceil(workers),
        handshakes: coap.max_handshakes.div_ceil(workers),
        handshakes_per_s: coap.max_handshakes_per_s.div_ceil(workers as u32),
        idle_ms: coap.session_idle_ms,
    }
}

impl Server {
    fn handle_event(&mut self, event: Event<'_>) {
        match event {
            Event::Opened { name, identity } => self.open_secured(name, identity),
            Event::Data { name, plaintext } => self.handle_secured(name, plaintext),
            // A handshake claims one identity, and asks for its key where it claims it.
            Event::Claimed { .. } => {}
        }
    }

    /// A handshake has ended well: who it is counts for topics.
    fn open_secured(&mut self, name: SocketAddr, identity: Option<Arc<str>>) {
        self.worker.counters.dtls_handshakes.add(1);
        self.reopen_secured(name, identity);
    }

    fn reopen_secured(&mut self, name: SocketAddr, identity: Option<Arc<str>>) {
        if identity.is_some() {
            self.log_in(name, Access::of(identity, None));
        }
    }

    /// A session is gone, and what it observed with it.
    pub(super) fn close_secured(&mut self, name: SocketAddr) {
        self.log_out(name);
        self.endpoint.forget_peer(name);
    }
}
