//! One MQTT connection: read, decode, handle, drain; the flush task writes.

use super::enhanced::Enhanced;
use super::packets::{Handled, Later, handle};
use super::relay::Relay;
use crate::client::{Client, Input};
use crate::hooks::{self, HookView};
use crate::pubsub::{Framing, MqttLink};
use crate::worker::{Goodbye, READ_BYTES, Worker};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, ready};
use tidegate_broker::{CloseReason, Leave, SubscriberId};
use tidegate_message::Protocol;
use tidegate_mqtt::reason;
use tidegate_websocket::{Decoder, Delivery, Event, Opcode, Role, encode_close, encode_frame};

/// What wakes a connection's task.
enum Woken {
    Input(Input),
    /// The client closed, or its network did.
    Gone,
    /// The deadline passed.
    Late,
    /// The gateway drains or somebody kicks the client.
    Asked,
    /// The broker wants it closed.
    Closing(CloseReason),
    /// The upstream's broker is gone; whether the client has to be told.
    Lost(bool),
    /// The gateway itself has something for the upstream's broker.
    Answers,
}

/// What became of what was read.
enum Taken {
    /// Everything was handled, but for what is not whole yet.
    All,
    /// The connection ends.
    Over,
    /// A packet needs time; then it goes on with the rest.
    Later(Later, Rest),
}

/// Where bytes behind a packet that needs time are kept.
enum Rest {
    /// Carried over with the client.
    Read,
    /// In the inbox; whether the connection ends behind it.
    Inbox { is_last: bool },
}

/// One connection while it is served.
pub(crate) struct Connection {
    pub(crate) client: Box<Client>,
    pub(crate) link: Rc<MqttLink>,
    pub(crate) seat: Seat,
    pub(crate) publisher: crate::pubsub::Publisher,
    pub(crate) enhanced: Enhanced,
    /// Its way to a broker of an upstream, where its route leads to one.
    pub(crate) relay: Option<Box<Relay>>,
    /// How it ended, as policies hear it.
    pub(crate) ended: &'static str,
    frames: Option<Box<Decoder>>,
    /// Bytes of packets that came in pieces: over WebSocket, and those that a read
    /// buffer does not hold.
    inbox: Vec<u8>,
}

/// A connection's place in the broker; given up however its task ends.
pub(crate) struct Seat {
    worker: Rc<Worker>,
    /// The broker's name for it, from CONNACK on.
    pub(crate) id: Option<SubscriberId>,
    /// How it leaves, where the client said so.
    pub(crate) leave: Leave,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.worker.hub.outlets.borrow_mut().remove(id);
            let now = self.worker.clock.millis();
            self.worker.with_broker(|broker, sink| broker.disconnect(now, id, self.leave, sink));
        }
    }
}

/// Serves a connection, from what it carries on. What lives across a wait is part of its
/// task: all that the connection is stands beside it, in a box.
pub(crate) async fn serve(client: Box<Client>, framing: Framing) {
    let mut connection = Connection::new(client, framing);
    connection.run().await;
    Box::pin(connection.finish()).await;
}

impl Connection {
    fn new(client: Box<Client>, framing: Framing) -> Box<Self> {
        let worker = Rc::clone(&client.worker);
        let plan = worker.plan();
        let now = worker.clock.millis();
        client.deadline(now, plan.plan.mqtt.connect_timeout_ms);
        let settings = worker.hub.settings.borrow().clone();
        let link = MqttLink::new(settings, now, (framing, Rc::clone(&client.write), Rc::clone(&client.connection)));
        let decoder = || Box::new(Decoder::new(Role::Server, Delivery::Parts, &plan.plan.bounds));
        let publisher =
            crate::pubsub::Publisher { session: None, access: Default::default(), peer: client.peer.clone() };
        Box::new(Connection {
            client,
            link: Rc::new(link),
            seat: Seat { worker, id: None, leave: Leave::LOST },
            publisher,
            enhanced: Enhanced::No,
            relay: None,
            ended: "lost",
            frames: (framing == Framing::WebSocket).then(decoder),
            inbox: Vec::new(),
        })
    }

    async fn run(&mut self) {
        let mut woken = match self.client.carried() {
            Some(input) => Woken::Input(input),
            None => self.wait().await,
        };
        loop {
            match woken {
                Woken::Input(input) => {
                    let mut taken = self.take(input);
                    while let Taken::Later(later, rest) = taken {
                        let alive = Box::pin(later.run(self)).await;
                        self.mark();
                        taken = if alive { self.go_on(rest) } else { Taken::Over };
                    }
                    let sent = self.flush_relay().await;
                    if !sent || matches!(taken, Taken::Over) {
                        return;
                    }
                }
                Woken::Gone | Woken::Lost(false) => return,
                Woken::Answers => {
                    if !self.flush_relay().await {
                        return;
                    }
                }
                // Not for good: the client may come again, and meets another endpoint.
                Woken::Lost(true) => return self.leave("upstream-lost", reason::USE_ANOTHER_SERVER),
                Woken::Late if self.client.has_expired() => return self.leave("expired", reason::MAXIMUM_CONNECT_TIME),
                Woken::Late if !self.is_late() => {}
                Woken::Late => {
                    self.ended = "keep-alive";
                    return;
                }
                Woken::Asked => return self.leave("asked", self.leaving_code()),
                Woken::Closing(CloseReason::TakenOver) => return self.leave("taken-over", reason::SESSION_TAKEN_OVER),
                Woken::Closing(CloseReason::Administrative) => {
                    return self.leave("kicked", reason::ADMINISTRATIVE_ACTION);
                }
            }
            if self.client.worker.hub.links.is_congested() {
                Box::pin(self.client.worker.hub.links.uncongested()).await;
            }
            woken = self.wait().await;
        }
    }

    /// Waits for whatever comes first.
    async fn wait(&mut self) -> Woken {
        let (client, link, relay) = (&mut self.client, &self.link, self.relay.as_deref());
        poll_fn(|cx| {
            client.connection.register(cx.waker());
            if link.is_broken.get() {
                return Poll::Ready(Woken::Gone);
            }
            if let Some(is_untold) = link.relay_ended.get() {
                return Poll::Ready(Woken::Lost(is_untold));
            }
            if let Some(reason) = link.closing.get() {
                return Poll::Ready(Woken::Closing(reason));
            }
            if client.connection.is_leaving() {
                return Poll::Ready(Woken::Asked);
            }
            if client.connection.timed_out.get() {
                return Poll::Ready(Woken::Late);
            }
            if relay.is_some_and(Relay::has_gathered) {
                return Poll::Ready(Woken::Answers);
            }
            link.poll_unblock(&client.worker, cx);
            match ready!(client.poll_input(cx)) {
                Ok(input) if client.is_at_end => {
                    client.worker.buffers.give(input.buffer);
                    Poll::Ready(Woken::Gone)
                }
                Ok(input) => Poll::Ready(Woken::Input(input)),
                Err(_) => Poll::Ready(Woken::Gone),
            }
        })
        .await
    }

    /// Whether the client has really been silent too long; otherwise a new deadline is set.
    fn is_late(&mut self) -> bool {
        let now = self.client.worker.clock.millis();
        let mut session = self.link.session.borrow_mut();
        let late = !session.is_connected() || session.handle_timeout(now, &mut self.link.out.borrow_mut());
        if !late {
            let next = session.deadline().map_or(0, |deadline| deadline.saturating_sub(now));
            self.client.connection.timed_out.set(false);
            if next > 0 {
                self.client.deadline(now, next);
            }
        }
        late
    }

    /// Takes what was read.
    fn take(&mut self, mut input: Input) -> Taken {
        let unframed = match self.frames.take() {
            None if self.inbox.is_empty() => return self.take_packets(input),
            None => {
                self.inbox.extend_from_slice(input.bytes());
                input.start = input.end;
                true
            }
            Some(mut decoder) => {
                let unframed = self.unframe(&mut decoder, &mut input);
                self.frames = Some(decoder);
                unframed
            }
        };
        self.client.stash(input);
        self.take_inbox(unframed)
    }

    /// Goes on behind a packet that has taken its time.
    fn go_on(&mut self, rest: Rest) -> Taken {
        match rest {
            Rest::Inbox { is_last } => self.take_inbox(!is_last),
            Rest::Read => match self.client.carried() {
                Some(input) => self.take_packets(input),
                None => Taken::All,
            },
        }
    }

    /// Handles every whole packet of the inbox; `goes_on`: the connection does, behind them.
    fn take_inbox(&mut self, goes_on: bool) -> Taken {
        let mut bytes = std::mem::take(&mut self.inbox);
        let (mut at, mut taken) = (0, Taken::All);
        while at < bytes.len() {
            match handle(self, &bytes[at..]) {
                Handled::Used(used) => at += used,
                Handled::More => break,
                Handled::End => {
                    taken = Taken::Over;
                    break;
                }
                Handled::Later(later, used) => {
                    at += used;
                    taken = Taken::Later(later, Rest::Inbox { is_last: !goes_on });
                    break;
                }
            }
        }
        if at == bytes.len() {
            bytes = Vec::new();
        } else if at > 0 {
            bytes.drain(..at);
        }
        self.inbox = bytes;
        self.client.connection.last_activity.set(self.client.worker.clock.millis());
        self.mark();
        if goes_on || matches!(taken, Taken::Later(..)) { taken } else { Taken::Over }
    }

    /// Moves payloads of WebSocket messages to the inbox. `false`: the client closes or broke a rule.
    fn unframe(&mut self, decoder: &mut Decoder, input: &mut Input) -> bool {
        loop {
            let (start, end) = (input.start, input.end);
            let decoded = decoder.decode(&mut input.buffer[start..end]);
            let mut frame = Vec::new();
            match decoded {
                Ok((used, event)) => {
                    // A frame that ends no message yields nothing; behind it may stand another.
                    let is_over = used == 0 && event.is_none();
                    match event {
                        // MQTT-6.0.0-1: packets travel in binary messages.
                        Some(Event::Data { text: true, .. }) => {
                            encode_close(&mut frame, 1003, "MQTT wants binary messages");
                            self.link.put_frame(&frame);
                            return false;
                        }
                        Some(Event::Data { payload, .. }) => self.inbox.extend_from_slice(payload),
                        Some(Event::Ping(payload)) => encode_frame(&mut frame, Opcode::Pong, payload),
                        Some(Event::Close(_)) => {
                            encode_close(&mut frame, 1000, "");
                            self.link.put_frame(&frame);
                            return false;
                        }
                        Some(Event::Pong(_)) | None => {}
                    }
                    input.start += used;
                    if !frame.is_empty() {
                        self.link.put_frame(&frame);
                    }
                    if is_over {
                        return true;
                    }
                }
                Err(error) => {
                    encode_close(&mut frame, error.code, error.what);
                    self.link.put_frame(&frame);
                    return false;
                }
            }
        }
    }

    /// Handles every packet that a read brought, in place.
    fn take_packets(&mut self, mut input: Input) -> Taken {
        while !input.is_empty() {
            match handle(self, input.bytes()) {
                Handled::Used(used) => input.start += used,
                Handled::More => break,
                Handled::End => {
                    self.client.worker.buffers.give(input.buffer);
                    self.mark();
                    return Taken::Over;
                }
                Handled::Later(later, used) => {
                    input.start += used;
                    self.client.stash(input);
                    self.mark();
                    return Taken::Later(later, Rest::Read);
                }
            }
        }
        self.keep(input);
        Taken::All
    }

    /// Sends what a proxied client's broker gets. `false`: it is gone.
    async fn flush_relay(&mut self) -> bool {
        let Some(relay) = &mut self.relay else { return true };
        if let Some(sent) = relay.flush_now() {
            return sent;
        }
        let timeout_ms = self.client.worker.plan.borrow().plan.limits.stall_timeout_ms;
        Box::pin(relay.flush(timeout_ms)).await
    }

    /// Keeps what is left of a read for later.
    fn keep(&mut self, mut input: Input) {
        self.client.connection.last_activity.set(self.client.worker.clock.millis());
        if input.bytes().len() > READ_BYTES / 2 {
            // More than half a packet that may not fit a read buffer: it grows on its own.
            self.inbox.extend_from_slice(input.bytes());
            input.start = input.end;
        }
        self.client.stash(input);
        self.mark();
    }

    /// Lets the flush task write what is in the link.
    pub(crate) fn mark(&self) {
        if self.link.waiting() > 0 {
            self.client.worker.hub.flusher.mark(&self.link);
        } else {
            // An idle connection owns no buffer.
            let empty = std::mem::take(&mut *self.link.out.borrow_mut());
            self.client.worker.buffers.give_write(empty);
        }
    }

    /// Why a connection is asked to leave: somebody kicked it, or the gateway drains.
    fn leaving_code(&self) -> u8 {
        match self.client.connection.goodbye.get() {
            Some(Goodbye::Kick) => reason::ADMINISTRATIVE_ACTION,
            _ => reason::SERVER_SHUTTING_DOWN,
        }
    }

    /// Says goodbye; `ended` is what policies hear.
    fn leave(&mut self, ended: &'static str, code: u8) {
        self.ended = ended;
        self.say_goodbye(code);
    }

    /// Tells `onDisconnect` of a client that had come in.
    fn tell_policies(&self) {
        let worker = &self.client.worker;
        let plan = worker.plan();
        if plan.plan.hooks.disconnect.is_empty() || (self.seat.id.is_none() && self.relay.is_none()) {
            return;
        }
        let client_id = self.publisher.access.client_id.as_deref();
        let view = HookView::new(Protocol::Mqtt, &self.publisher.peer, client_id)
            .with("hook", &b"disconnect"[..])
            .with("reason", self.ended.as_bytes());
        hooks::disconnected(worker, &plan, &view);
    }

    fn say_goodbye(&mut self, code: u8) {
        let plan = self.client.worker.plan();
        match plan.plan.mqtt.redirect.as_ref().filter(|_| code == reason::SERVER_SHUTTING_DOWN) {
            Some(redirect) => {
                let mut session = self.link.session.borrow_mut();
                session.redirect((&redirect.to, redirect.permanent), &mut self.link.out.borrow_mut());
            }
            None => self.link.session.borrow_mut().disconnect(code, &mut self.link.out.borrow_mut()),
        }
        if self.frames.is_some() {
            let mut frame = Vec::new();
            encode_close(&mut frame, if code == reason::SERVER_SHUTTING_DOWN { 1012 } else { 1000 }, "");
            self.link.put_frame(&frame);
        }
        self.mark();
    }

    /// Leaves the broker, lets the last bytes out, closes.
    async fn finish(self: Box<Self>) {
        let worker = Rc::clone(&self.client.worker);
        let now = worker.clock.millis();
        self.tell_policies();
        drop(self.seat);
        if self.link.is_slow.replace(false) {
            worker.counters.slow.sub(1);
        }
        self.client.deadline(now, worker.plan().plan.limits.stall_timeout_ms);
        if self.link.waiting() > 0 {
            worker.hub.flusher.mark(&self.link);
        }
        let link = Rc::clone(&self.link);
        let connection = Rc::clone(&self.client.connection);
        connection.lingers.set(true);
        poll_fn(|cx| {
            connection.register(cx.waker());
            link.poll_unblock(&worker, cx);
            if link.waiting() == 0 || link.is_broken.get() || connection.timed_out.get() {
                return Poll::Ready(());
            }
            if !link.is_blocked.get() {
                // The flush task runs behind this one; ask again after it.
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
        self.client.close().await;
    }
}
