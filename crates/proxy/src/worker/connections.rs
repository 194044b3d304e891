//! The connection table of one worker, and the one deadline that each connection
//! has. A lazy wheel: moving a deadline later costs one store; only when its old
//! slot comes round is it looked at again.

use crate::ends::End;
use crate::plan::Trust;
use slab::Slab;
use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use tidegate_message::{Peer, Protocol};

/// Milliseconds of one slot.
const TICK_MS: u64 = 100;
/// Slots: deadlines further away than 51.2 s are looked at once per round.
const SLOTS: usize = 512;
/// A tick that does not come: 13 years after the start.
const NEVER: u32 = u32::MAX;

/// The tick that is not before a time in milliseconds.
fn tick_at(time: u64) -> u32 {
    u32::try_from(time.div_ceil(TICK_MS)).unwrap_or(NEVER)
}

/// The tick by which a time in milliseconds is over.
fn tick_behind(time: u64) -> u32 {
    u32::try_from(time / TICK_MS + 1).unwrap_or(NEVER)
}

/// How a connection is asked to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Goodbye {
    /// The gateway drains: finish what is under way, say goodbye, close.
    Drain,
    /// An administrator wants it gone, now but politely.
    Kick,
}

/// What the table knows of a connection. Written by its task, read for the admin API.
pub(crate) struct Connection {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    /// The terms of its listener when it came.
    pub(crate) trust: Arc<Trust>,
    /// Who it is: of MQTT, once its CONNECT was accepted, with all that is known.
    peer: Cell<Option<Rc<Peer>>>,
    pub(crate) protocol: Cell<Option<Protocol>>,
    /// The client's socket or stream; its driver reads it, and the flush task writes.
    pub(crate) end: End,
    /// Of MQTT; there is one CONNECT.
    pub(crate) client_id: OnceCell<Arc<str>>,
    /// It came in as a user of the plan.
    pub(crate) is_users: Cell<bool>,
    pub(crate) is_active: Cell<bool>,
    pub(crate) created_at: u64,
    pub(crate) last_activity: Cell<u64>,
    pub(crate) bytes_in: Cell<u64>,
    pub(crate) bytes_out: Cell<u64>,
    /// When it was looked at last how much the client had taken, in milliseconds, and how many bytes that were: the
    /// low halves of both, of which only the differences count.
    pub(crate) taken: Cell<(u32, u32)>,
    pub(crate) goodbye: Cell<Option<Goodbye>>,
    pub(crate) timed_out: Cell<bool>,
    /// The client may still be sending when it is answered: close so that it can read the answer.
    pub(crate) lingers: Cell<bool>,
    /// Its request came by HTTP/1.0.
    pub(crate) is_http10: Cell<bool>,
    /// A stream of a connection that has an entry of its own.
    pub(crate) is_stream: Cell<bool>,
    /// When the identity of its client ends, as a tick; `NEVER`: it does not.
    ends_at: Cell<u32>,
    /// The tick at which its deadline has passed; 0: it has none.
    deadline: Cell<u32>,
    /// The tick at which it is looked at; 0: it stands nowhere in the wheel.
    scheduled: Cell<u32>,
    waker: Cell<Option<Waker>>,
}

impl Connection {
    /// Remembers who to wake: called with each poll, clones only when it changes.
    pub(crate) fn register(&self, waker: &Waker) {
        let known = self.waker.take().filter(|known| known.will_wake(waker));
        self.waker.set(Some(known.unwrap_or_else(|| waker.clone())));
    }

    /// Who it is.
    pub(crate) fn peer(&self) -> Rc<Peer> {
        let peer = self.peer.take();
        self.peer.set(peer.clone());
        peer.unwrap_or_else(|| Rc::new(Peer::new(SocketAddr::from(([0, 0, 0, 0], 0)))))
    }

    /// More is known of who it is.
    pub(crate) fn know(&self, peer: &Rc<Peer>) {
        self.peer.set(Some(Rc::clone(peer)));
    }

    /// Where its client is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.peer().address
    }

    /// Wakes its task.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake_by_ref();
            self.waker.set(Some(waker));
        }
    }

    /// Whether the gateway asked it to end.
    pub(crate) fn is_leaving(&self) -> bool {
        self.goodbye.get().is_some()
    }

    /// No deadline is later than the end of its client's identity.
    pub(crate) fn limit_to(&self, ends_at: u64) {
        self.ends_at.set(tick_at(ends_at));
    }

    /// Whether the identity has ended. Said once: what follows are the last words, with a deadline of their own.
    pub(crate) fn has_expired(&self, now: u64) -> bool {
        let ends_at = self.ends_at.get();
        let is_over = ends_at != NEVER && u64::from(ends_at) * TICK_MS <= now;
        if is_over {
            self.ends_at.set(NEVER);
        }
        is_over
    }

    fn state(&self) -> &'static str {
        match (self.is_leaving(), self.is_active.get()) {
            (true, _) => "closing",
            (false, true) => "active",
            (false, false) => "idle",
        }
    }
}

/// A row of `GET /v1/connections`.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConnectionRow {
    pub(crate) id: String,
    pub(crate) protocol: &'static str,
    pub(crate) listener: String,
    pub(crate) peer: String,
    pub(crate) client_id: Option<String>,
    pub(crate) state: &'static str,
    pub(crate) created_at: u64,
    pub(crate) last_activity_at: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// All connections of one worker.
pub(crate) struct Connections {
    table: RefCell<Slab<Rc<Connection>>>,
    /// Rows to look at, by tick. A row that another connection has meanwhile is looked at in vain.
    wheel: RefCell<Vec<Vec<u32>>>,
    generation: Cell<u32>,
    tick: Cell<u32>,
}

impl Connections {
    pub(crate) fn new(now: u64) -> Self {
        Connections {
            table: RefCell::default(),
            wheel: RefCell::new(vec![Vec::new(); SLOTS]),
            generation: Cell::new(0),
            tick: Cell::new(tick_behind(now) - 1),
        }
    }

    /// Enters a connection.
    pub(crate) fn open(&self, (trust, peer): (Arc<Trust>, &Rc<Peer>), end: End, now: u64) -> Rc<Connection> {
        let generation = self.generation.get().wrapping_add(1);
        self.generation.set(generation);
        let mut table = self.table.borrow_mut();
        let entry = table.vacant_entry();
        let connection = Rc::new(Connection {
            slot: entry.key() as u32,
            generation,
            trust,
            peer: Cell::new(Some(Rc::clone(peer))),
            protocol: Cell::new(None),
            end,
            client_id: OnceCell::new(),
            is_users: Cell::new(false),
            is_active: Cell::new(true),
            created_at: now,
            last_activity: Cell::new(now),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            taken: Cell::new((0, 0)),
            goodbye: Cell::new(None),
            timed_out: Cell::new(false),
            lingers: Cell::new(false),
            is_http10: Cell::new(false),
            is_stream: Cell::new(false),
            ends_at: Cell::new(NEVER),
            deadline: Cell::new(0),
            scheduled: Cell::new(0),
            waker: Cell::new(None),
        });
        entry.insert(Rc::clone(&connection));
        connection
    }

    /// Takes a connection out.
    pub(crate) fn close(&self, connection: &Connection) {
        self.table.borrow_mut().try_remove(connection.slot as usize);
    }

    /// The connection of that slot and generation.
    pub(crate) fn find(&self, slot: u32, generation: u32) -> Option<Rc<Connection>> {
        let table = self.table.borrow();
        table.get(slot as usize).filter(|connection| connection.generation == generation).cloned()
    }

    /// Every connection.
    pub(crate) fn all(&self) -> Vec<Rc<Connection>> {
        self.table.borrow().iter().map(|(_, connection)| Rc::clone(connection)).collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.table.borrow().len()
    }

    /// Rows for the admin API; `epoch` is the wall clock at the worker's time 0.
    pub(crate) fn rows(&self, worker: u16, epoch: u64) -> Vec<ConnectionRow> {
        let row = |connection: &Rc<Connection>| ConnectionRow {
            id: format!("{worker}-{}-{}", connection.slot, connection.generation),
            protocol: connection.protocol.get().map_or("detecting", Protocol::label),
            listener: connection.trust.name.to_string(),
            peer: connection.address().to_string(),
            client_id: connection.client_id.get().map(|id| id.to_string()),
            state: connection.state(),
            created_at: epoch + connection.created_at,
            last_activity_at: epoch + connection.last_activity.get(),
            bytes_in: connection.bytes_in.get(),
            bytes_out: connection.bytes_out.get(),
        };
        let table = self.table.borrow();
        table
            .iter()
            .filter(|(_, connection)| !connection.is_stream.get())
            .map(|(_, connection)| row(connection))
            .collect()
    }

    /// Sets the time at which `timed_out` becomes true and the task is woken; 0: never.
    pub(crate) fn set_deadline(&self, connection: &Connection, deadline: u64) {
        let ends_at = connection.ends_at.get();
        let deadline = if deadline == 0 { NEVER } else { tick_behind(deadline) }.min(ends_at.max(1));
        connection.deadline.set(if deadline == NEVER { 0 } else { deadline });
        connection.timed_out.set(false);
        if deadline == NEVER {
            return;
        }
        let tick = deadline.max(self.tick.get() + 1);
        let scheduled = connection.scheduled.get();
        if scheduled == 0 || tick < scheduled {
            self.schedule(connection, tick);
        }
    }

    fn schedule(&self, connection: &Connection, tick: u32) {
        // Beyond one round it is visited on the way and scheduled again.
        let tick = tick.min(self.tick.get() + SLOTS as u32 - 1);
        connection.scheduled.set(tick);
        self.wheel.borrow_mut()[tick as usize % SLOTS].push(connection.slot);
    }

    /// Turns the wheel up to `now`: wakes whom it is time for.
    pub(crate) fn turn(&self, now: u64) {
        while self.tick.get() < tick_behind(now) - 1 {
            let tick = self.tick.get() + 1;
            self.tick.set(tick);
            let mut due = std::mem::take(&mut self.wheel.borrow_mut()[tick as usize % SLOTS]);
            for slot in due.drain(..) {
                let connection = self.table.borrow().get(slot as usize).cloned();
                if let Some(connection) = connection {
                    self.visit(&connection, tick);
                }
            }
            let mut wheel = self.wheel.borrow_mut();
            let slot = &mut wheel[tick as usize % SLOTS];
            if slot.is_empty() && due.capacity() <= 1_024 {
                *slot = due;
            }
        }
    }

    fn visit(&self, connection: &Connection, tick: u32) {
        let (deadline, scheduled) = (connection.deadline.get(), connection.scheduled.get());
        if scheduled > tick {
            return; // An earlier entry, of a deadline that was moved or of a row's last connection.
        }
        connection.scheduled.set(0);
        if deadline == 0 {
            return;
        }
        if deadline <= tick {
            connection.deadline.set(0);
            connection.timed_out.set(true);
            connection.wake();
            return;
        }
        self.schedule(connection, deadline);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> (Connections, Rc<Connection>) {
        let table = Connections::new(0);
        let peer = Rc::new(Peer::new(SocketAddr::from(([127, 0, 0, 1], 1))));
        let connection = table.open((Arc::new(Trust::nobody("tcp://test")), &peer), End::nowhere(), 0);
        (table, connection)
    }

    #[test]
    fn a_deadline_fires_after_its_time_and_only_once() {
        let (table, connection) = table();
        table.set_deadline(&connection, 1_000);
        table.turn(1_000);
        assert!(!connection.timed_out.get());
        table.turn(1_200);
        assert!(connection.timed_out.get());
    }

    #[test]
    fn a_deadline_moves_both_ways() {
        let (table, connection) = table();
        table.set_deadline(&connection, 1_000);
        table.set_deadline(&connection, 9_000);
        table.turn(5_000);
        assert!(!connection.timed_out.get(), "moved later");
        table.set_deadline(&connection, 6_000);
        table.turn(6_200);
        assert!(connection.timed_out.get(), "moved earlier");
        table.set_deadline(&connection, 8_000);
        table.set_deadline(&connection, 0);
        table.turn(60_000);
        assert!(!connection.timed_out.get(), "taken back");
    }

    #[test]
    fn a_deadline_beyond_one_round_waits_for_its_round() {
        let (table, connection) = table();
        table.set_deadline(&connection, 200_000);
        for now in (0..200_000).step_by(10_000) {
            table.turn(now);
            assert!(!connection.timed_out.get(), "at {now}");
        }
        table.turn(200_300);
        assert!(connection.timed_out.get());
    }

    #[test]
    fn no_deadline_is_later_than_the_identity() {
        let (table, connection) = table();
        connection.limit_to(1_000);
        table.set_deadline(&connection, 0);
        assert!(!connection.has_expired(900));
        table.turn(1_200);
        assert!(connection.timed_out.get() && connection.has_expired(1_200));
        assert!(!connection.has_expired(1_200), "said once");
        table.set_deadline(&connection, 60_000);
        table.turn(1_500);
        assert!(!connection.timed_out.get(), "the last words have their own time");
    }

    #[test]
    fn a_closed_connection_is_not_found_under_its_slot() {
        let (table, old) = table();
        table.set_deadline(&old, 500);
        table.close(&old);
        let new = table.open((Arc::clone(&old.trust), &old.peer()), End::nowhere(), 0);
        assert_eq!(new.slot, old.slot);
        table.set_deadline(&new, 2_000);
        table.turn(1_900);
        assert!(!new.timed_out.get() && table.find(old.slot, old.generation).is_none());
        table.turn(2_200);
        assert!(new.timed_out.get());
    }
}
