//! The writing end of an MQTT connection: what the session and the broker put out
//! gathers here until the flush task writes it.

use crate::worker::{Connection, Level, Worker};
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use tidegate_broker::CloseReason;
use tidegate_mqtt::{Session, Settings};
use tidegate_websocket::{Opcode, encode_head};

/// How packets stand on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Framing {
    /// One after the other.
    Raw,
    /// In binary WebSocket messages (MQTT section 6).
    WebSocket,
}

/// Most that one connection may take of a turn, bytes.
const TURN_BYTES: usize = 64 << 10;

/// How the broker behind a proxied client went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RelayEnd {
    /// It has told the client itself.
    Told,
    /// Without a word, behind a newer connection of the client's.
    TakenOver,
    /// Without a word, behind one and a half keep-alives of the client's silence.
    Silence,
    /// Without a word.
    Lost,
}

/// Framed bytes that could not leave at once.
struct Wire {
    bytes: Vec<u8>,
    /// How many of them the socket has.
    sent: usize,
    /// What must be kept before they leave.
    needs: u64,
    /// Nothing is to follow them for now.
    holds: bool,
}

/// One connection's session and output. Every connected client has one: what only some need
/// stands in boxes.
pub(crate) struct MqttLink {
    pub(crate) session: RefCell<Session>,
    /// Packets that are not on the wire yet.
    pub(crate) out: RefCell<Vec<u8>>,
    /// What must be kept before `out` leaves.
    out_needs: Cell<u64>,
    wire: Cell<Option<Box<Wire>>>,
    pub(crate) connection: Rc<Connection>,
    framing: Framing,
    /// It reads too slowly, and that was said.
    pub(crate) is_slow: Cell<bool>,
    pub(crate) is_marked: Cell<bool>,
    /// The socket is full: the connection's task waits for room.
    pub(crate) is_blocked: Cell<bool>,
    pub(crate) is_broken: Cell<bool>,
    /// The broker behind a proxied client is gone.
    pub(crate) relay_ended: Cell<Option<RelayEnd>>,
    /// The broker wants the connection closed.
    pub(crate) closing: Cell<Option<CloseReason>>,
    /// The broker has more for the client when it has room.
    pub(crate) has_more: Cell<bool>,
}

impl MqttLink {
    pub(crate) fn new(settings: Arc<Settings>, now: u64, (framing, connection): (Framing, Rc<Connection>)) -> Self {
        MqttLink {
            session: RefCell::new(Session::new(settings, now)),
            out: RefCell::default(),
            out_needs: Cell::new(0),
            wire: Cell::default(),
            connection,
            framing,
            is_slow: Cell::new(false),
            is_marked: Cell::new(false),
            is_blocked: Cell::new(false),
            is_broken: Cell::new(false),
            relay_ended: Cell::new(None),
            closing: Cell::new(None),
            has_more: Cell::new(false),
        }
    }

    /// Whose connection it is, once that is known.
    pub(crate) fn client_id(&self) -> Option<&str> {
        self.connection.client_id.get().map(|id| &**id)
    }

    /// Bytes that wait for the client.
    pub(crate) fn waiting(&self) -> usize {
        let wire = self.wire.take();
        let framed = wire.as_ref().map_or(0, |wire| wire.bytes.len() - wire.sent);
        self.wire.set(wire);
        self.out.borrow().len() + framed
    }

    /// Whether something that can wait may be put out; where not, the connection's task hears when it may.
    pub(crate) fn has_room(&self) -> bool {
        let has_room = self.waiting() < TURN_BYTES;
        self.has_more.set(!has_room);
        has_room
    }

    /// Whether there is room again for which the broker has something.
    pub(crate) fn takes_more(&self) -> bool {
        self.has_more.get() && self.waiting() < TURN_BYTES
    }

    /// What stands in the output depends on what the call with that number appended.
    pub(crate) fn need(&self, number: u64) {
        self.out_needs.set(self.out_needs.get().max(number));
    }

    /// Puts bytes on the wire as they are: WebSocket control frames.
    pub(crate) fn put_frame(&self, frame: &[u8]) {
        let mut wire = self.framed(self.wire.take().map(|wire| *wire));
        wire.bytes.extend_from_slice(frame);
        self.wire.replace(Some(Box::new(wire)));
    }

    /// From now on output waits for `release`: what is put out meanwhile stands behind what is said then.
    pub(crate) fn hold(&self) {
        let wire = self.framed(self.wire.take().map(|wire| *wire));
        self.wire.replace(Some(Box::new(Wire { holds: true, ..wire })));
    }

    /// Ends a `hold`: what has been put out since. Nothing without one.
    pub(crate) fn release(&self) -> Vec<u8> {
        let Some(mut wire) = self.wire.take() else { return Vec::new() };
        let held = std::mem::take(&mut wire.holds).then(|| std::mem::take(&mut *self.out.borrow_mut()));
        self.wire.set(Some(wire).filter(|wire| wire.sent < wire.bytes.len()));
        held.unwrap_or_default()
    }

    /// Asks the connection's task to close for that reason.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.closing.set(Some(reason));
        self.connection.wake();
    }

    /// Tells the connection's task that its broker is gone.
    pub(crate) fn end_relay(&self, how: RelayEnd) {
        self.relay_ended.set(Some(how));
        self.connection.wake();
    }

    /// `wire` with the output behind it.
    fn framed(&self, wire: Option<Wire>) -> Wire {
        let wire = wire.unwrap_or(Wire { bytes: Vec::new(), sent: 0, needs: 0, holds: false });
        if wire.holds {
            return wire;
        }
        let (mut out, out_needs) = (self.out.borrow_mut(), self.out_needs.take());
        let Wire { mut bytes, sent, needs, holds } = wire;
        match self.framing {
            _ if out.is_empty() => {}
            Framing::Raw if bytes.is_empty() => std::mem::swap(&mut *out, &mut bytes),
            framing => {
                if framing == Framing::WebSocket {
                    encode_head(&mut bytes, Opcode::Binary, out.len());
                }
                bytes.extend_from_slice(&out);
                out.clear();
            }
        }
        Wire { bytes, sent, needs: needs.max(out_needs), holds }
    }

    /// Writes what gathered, as far as the socket takes it.
    pub(crate) fn write(self: &Rc<Self>, worker: &Worker) {
        if self.is_blocked.get() || self.is_broken.get() {
            return;
        }
        let mut wire = self.wire.take().map_or_else(|| self.framed(None), |wire| *wire);
        if wire.needs > worker.hub.keeper.kept.get() {
            self.wire.replace(Some(Box::new(wire)));
            return worker.hub.keeper.hold(self);
        }
        if wire.holds && wire.sent == wire.bytes.len() {
            return self.wire.set(Some(Box::new(wire)));
        }
        let until = wire.bytes.len().min(wire.sent + TURN_BYTES);
        match self.connection.end.try_write(&wire.bytes[wire.sent..until]) {
            Ok(count) => {
                self.connection.bytes_out.set(self.connection.bytes_out.get() + count as u64);
                wire.sent += count;
                if wire.sent < until {
                    self.block();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.block(),
            Err(_) => {
                self.is_broken.set(true);
                self.connection.wake();
            }
        }
        if wire.sent < wire.bytes.len() || wire.holds {
            self.wire.replace(Some(Box::new(wire)));
        } else {
            if self.is_slow.replace(false) {
                worker.counters.slow.sub(1);
            }
            worker.buffers.give_write(wire.bytes);
        }
        if self.takes_more() {
            self.connection.wake();
        }
        if !self.is_blocked.get() && !self.is_broken.get() && self.waiting() > 0 {
            worker.hub.flusher.mark(self);
        }
    }

    fn block(&self) {
        self.is_blocked.set(true);
        self.connection.wake();
    }

    /// For the connection's task: asks to be woken when a full socket has room, and
    /// marks the link once it has.
    pub(crate) fn poll_unblock(self: &Rc<Self>, worker: &Worker, cx: &mut Context<'_>) {
        if self.is_blocked.get() && self.connection.end.poll_write_ready(cx).is_ready() {
            self.is_blocked.set(false);
            worker.hub.flusher.mark(self);
        }
    }
}

impl Worker {
    /// Says once, until it has caught up, that a client reads too slowly.
    pub(crate) fn name_slow(&self, link: &MqttLink) {
        if !link.is_slow.replace(true) {
            self.counters.slow.add(1);
            let id = link.client_id().unwrap_or_default();
            let (peer, waiting) = (link.connection.address(), link.waiting());
            let text = format!(
                "client \"{id}\" at {peer} reads too slowly: {waiting} bytes wait, messages for it are dropped"
            );
            self.log(Level::Warn, &text);
        }
    }
}
