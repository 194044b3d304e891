//! CoAP over streams (RFC 8323) of one listener on one worker: one server for all
//! connections, and the task that tells them what comes from elsewhere.

use super::protected_streams::{ProtectedStreams, Taken};
use super::server::{Listener, Server};
use crate::client::Client;
use crate::worker::Connection;
use foldhash::fast::RandomState;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tidegate_broker::Access;
use tidegate_coap::Transport;
use tidegate_message::Protocol;
use tidegate_websocket::{Opcode, encode_frame};
use tokio::time::{Instant, Sleep};

/// Output of a connection from which on it counts as one that does not read, bytes.
pub(super) const OUTPUT_HIGH: usize = 64 << 10;

/// One connection's output.
pub(super) struct Line {
    pub(super) out: RefCell<Vec<u8>>,
    pub(super) is_congested: Cell<bool>,
    connection: Rc<Connection>,
    transport: Transport,
}

impl Line {
    /// Adds a message to the output.
    fn put(&self, frame: &[u8]) {
        let mut out = self.out.borrow_mut();
        match self.transport {
            Transport::WebSocket => encode_frame(&mut out, Opcode::Binary, frame),
            Transport::Tcp | Transport::Datagram => out.extend_from_slice(frame),
        }
    }
}

/// What the connections of a listener share.
pub(crate) struct Streams {
    pub(super) server: RefCell<Server>,
    protected: RefCell<ProtectedStreams>,
    lines: RefCell<HashMap<SocketAddr, Rc<Line>, RandomState>>,
    /// Those that go with their last answer, which may be one that is not sent.
    leaving: RefCell<HashSet<SocketAddr, RandomState>>,
    number: u32,
    /// Makes the names of connections differ that come from the same address.
    opened: Cell<u32>,
}

/// A listener's name, and whether it is anonymous.
type Key = (Box<str>, bool);

/// The shared parts of the listeners that have connections now.
#[derive(Default)]
pub(crate) struct StreamsByListener {
    table: RefCell<HashMap<Key, Weak<Streams>, RandomState>>,
}

impl StreamsByListener {
    /// Those of a client's listener; begun where there are none.
    pub(super) fn of(&self, client: &Client) -> Rc<Streams> {
        let key = (client.trust().name.clone(), client.trust().anonymous);
        if let Some(streams) = self.table.borrow().get(&key).and_then(Weak::upgrade) {
            return streams;
        }
        let worker = Rc::clone(&client.worker);
        let number = worker.coap.enter();
        let own = Listener::of_streams(client.trust().anonymous, client.ends().map(|(_, own)| own));
        let protected = RefCell::new(ProtectedStreams::new(&worker, client.trust()));
        let server = RefCell::new(Server::new(worker, (own, number)));
        let (lines, leaving) = (RefCell::default(), RefCell::default());
        let streams = Rc::new(Streams { server, protected, lines, leaving, number, opened: Cell::new(0) });
        let mut table = self.table.borrow_mut();
        table.retain(|_, streams| streams.strong_count() > 0);
        table.insert(key, Rc::downgrade(&streams));
        let mut task = Task { streams: Rc::clone(&streams), sleep: Box::pin(tokio::time::sleep(Duration::ZERO)) };
        tokio::task::spawn_local(poll_fn(move |cx| task.poll(cx)));
        streams
    }
}

impl Streams {
    /// Enters a connection: its name as a peer, and its output.
    pub(super) fn open(&self, client: &Client, transport: Transport, access: Access) -> (SocketAddr, Rc<Line>) {
        self.opened.set(self.opened.get().wrapping_add(1));
        let peer = named(client.peer.address, self.opened.get());
        let connection = Rc::clone(&client.connection);
        let line = Line { out: RefCell::default(), is_congested: Cell::new(false), connection, transport };
        let line = Rc::new(line);
        self.lines.borrow_mut().insert(peer, Rc::clone(&line));
        self.server.borrow_mut().open_stream(peer, transport, access);
        (peer, line)
    }

    /// Forgets a connection; the last one ends the task.
    pub(super) fn close(&self, peer: SocketAddr) {
        self.lines.borrow_mut().remove(&peer);
        let (mut server, mut protected) = (self.server.borrow_mut(), self.protected.borrow_mut());
        protected.peers_on(peer).into_iter().for_each(|peer| server.close_stream(peer));
        protected.close(peer);
        server.inbox.wake();
    }

    /// Takes a message of a connection, protected or not. `false`: the connection ends.
    pub(super) fn handle(&self, server: &mut Server, (peer, line): (SocketAddr, &Line), frame: &[u8]) -> bool {
        let taken = self.protected.borrow_mut().handle(server, (peer, line.transport), frame);
        match taken {
            Taken::Plain => return server.handle_frame(peer, frame),
            Taken::Answer(answer) => line.put(&answer),
            Taken::Done => {}
        }
        true
    }

    /// Whether a request of a connection that leaves waits for its answer; it is woken when one may be
    /// there.
    pub(super) fn awaits(&self, peer: SocketAddr) -> bool {
        let (server, protected) = (self.server.borrow(), self.protected.borrow());
        let awaits =
            server.waiting.len() > 0 && protected.peers_on(peer).into_iter().any(|peer| server.waiting.is_for(peer));
        if awaits {
            self.leaving.borrow_mut().insert(peer);
        }
        awaits
    }

    fn wake_leaving(&self) {
        for peer in self.leaving.take() {
            if let Some(line) = self.lines.borrow().get(&peer) {
                line.connection.wake();
            }
        }
    }

    /// A connection reads again.
    pub(super) fn resume(&self, peer: SocketAddr) {
        let (mut server, protected) = (self.server.borrow_mut(), self.protected.borrow());
        protected.peers_on(peer).into_iter().for_each(|peer| server.endpoint.resume_stream(peer));
    }

    /// Moves what the server has put out to its connections, and wakes them.
    pub(super) fn flush(&self, server: &mut Server) {
        let mut congested = Vec::new();
        let (lines, mut protected) = (self.lines.borrow(), self.protected.borrow_mut());
        let outbox = server.endpoint.outbox();
        for (to, frame) in outbox.iter() {
            let transport = |connection| lines.get(&connection).map(|line| line.transport);
            let Some((peer, frame)) = protected.seal((to, transport), frame) else { continue };
            let Some(line) = lines.get(&peer) else { continue };
            line.put(frame);
            if line.out.borrow().len() > OUTPUT_HIGH && !line.is_congested.replace(true) {
                congested.push(peer);
            }
            line.connection.wake();
        }
        outbox.clear();
        for peer in congested.into_iter().flat_map(|peer| protected.peers_on(peer)) {
            server.endpoint.hold_stream(peer);
        }
    }
}

/// Two connections may come from one address and port, to two of ours. The scope of an
/// IPv6 address, which a stream's peer has no use for, tells them apart.
fn named(address: SocketAddr, number: u32) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddrV6::new(ip, address.port(), 0, number).into()
}

/// Lets the server work when something other than a connection's bytes has come.
struct Task {
    streams: Rc<Streams>,
    sleep: Pin<Box<Sleep>>,
}

impl Task {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let streams = &self.streams;
        let mut server = streams.server.borrow_mut();
        server.inbox.register(cx.waker());
        server.worker.coap.register(streams.number, cx.waker());
        server.now_ms = server.worker.clock.millis();
        server.adopt();
        streams.protected.borrow_mut().adopt(&mut server);
        server.take_finished();
        streams.wake_leaving();
        server.handle_timeouts();
        server.take_observed();
        server.worker.coap.set_waiting(streams.number, server.load());
        streams.flush(&mut server);
        if streams.lines.borrow().is_empty() && server.waiting.len() == 0 {
            return Poll::Ready(());
        }
        let Some(due) = server.next_timeout() else { return Poll::Pending };
        let wait = Duration::from_millis(due.saturating_sub(server.now_ms));
        self.sleep.as_mut().reset(Instant::now() + wait);
        if self.sleep.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        let server = self.server.get_mut();
        server.worker.coap.release(self.number);
        server.worker.observed.borrow_mut().retain(|(place, _)| !server.observations.owns(*place));
        server.worker.relays.forget(|place| server.observations.owns(place));
    }
}

/// What a request's counters and conditions call the way it came.
pub(super) const fn protocol_of(transport: Transport) -> Protocol {
    match transport {
        Transport::Datagram => Protocol::Coap,
        Transport::Tcp | Transport::WebSocket => Protocol::CoapTcp,
    }
}
