//! One MQTT connection: read, decode, handle, drain; the flush task writes.

use super::enhanced::Enhanced;
use super::relay::Relay;
use super::seat::{Ending, Seat};
use super::taking::{Inbox, Taken};
use crate::client::{Client, Input};
use crate::pubsub::{Framing, MqttLink, Publisher, RelayEnd};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tidegate_broker::{CloseReason, Leave};
use tidegate_mqtt::reason;
use tidegate_websocket::{Decoder, Delivery, Role};

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
    /// The upstream's broker is gone.
    Lost(RelayEnd),
    /// The gateway itself has something for the upstream's broker.
    Answers,
    /// The client has room for what the broker has for it.
    Room,
}

/// How a connection goes on.
enum Turn {
    GoesOn,
    Over,
    /// What was taken needs time.
    Waits(Box<Taken>),
}

/// One connection while it is served.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) link: Rc<MqttLink>,
    pub(crate) seat: Seat,
    /// Where it stands with enhanced authentication; `None`: its CONNECT named no method.
    pub(crate) enhanced: Option<Box<Enhanced>>,
    /// Its way to a broker of an upstream, where its route leads to one.
    pub(crate) relay: Option<Box<Relay>>,
    /// Made for who speaks WebSocket, and for packets that a read buffer does not hold.
    pub(super) inbox: Option<Box<Inbox>>,
}

/// Serves a connection, from what it carries on. Of each idle client there is one, as a task of its own: it is
/// a pointer to all that the connection is, and what waits for something else has a box while it does.
pub(crate) struct Serving(Stage);

enum Stage {
    /// Takes what comes.
    Open(Box<Connection>),
    /// Something takes its time; then it is open again, or over.
    Busy(Pin<Box<dyn Future<Output = Option<Box<Connection>>>>>),
    Over,
}

impl Serving {
    pub(crate) fn new(client: Client, framing: Framing) -> Self {
        let mut connection = Connection::new(client, framing);
        let turn = match connection.client.carried() {
            Some(input) => connection.turn(Woken::Input(input)),
            None => Turn::GoesOn,
        };
        Serving(connection.stage(turn))
    }
}

impl Future for Serving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let turn = match &mut self.0 {
                Stage::Open(connection) => ready!(connection.poll_turns(cx)),
                Stage::Busy(busy) => {
                    self.0 = ready!(busy.as_mut().poll(cx)).map_or(Stage::Over, Stage::Open);
                    continue;
                }
                Stage::Over => return Poll::Ready(()),
            };
            if let Stage::Open(connection) = std::mem::replace(&mut self.0, Stage::Over) {
                self.0 = connection.stage(turn);
            }
        }
    }
}

impl Connection {
    fn new(client: Client, framing: Framing) -> Box<Self> {
        let worker = Rc::clone(&client.worker);
        let plan = worker.plan();
        let now = worker.clock.millis();
        client.deadline(now, plan.plan.mqtt.connect_timeout_ms);
        let settings = worker.hub.settings.borrow().clone();
        let link = MqttLink::new(settings, now, (framing, Rc::clone(&client.connection)));
        let inbox = || Inbox::of(Decoder::new(Role::Server, Delivery::Parts, &plan.plan.bounds));
        let publisher = Publisher { session: None, access: Default::default(), peer: Rc::clone(&client.peer) };
        Box::new(Connection {
            client,
            link: Rc::new(link),
            seat: Seat { worker, publisher, leave: Leave::LOST, ended: Ending::Lost },
            enhanced: None,
            relay: None,
            inbox: (framing == Framing::WebSocket).then(inbox).map(Box::new),
        })
    }

    /// How it goes on after a turn.
    fn stage(mut self: Box<Self>, turn: Turn) -> Stage {
        match turn {
            Turn::GoesOn => Stage::Open(self),
            Turn::Over => Stage::Busy(Box::pin(self.finish())),
            Turn::Waits(taken) => Stage::Busy(Box::pin(async move {
                if self.wait_for(*taken).await { Some(self) } else { Box::pin(self.finish()).await }
            })),
        }
    }

    /// Takes whatever comes, until the connection ends or has to wait for something else.
    fn poll_turns(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        loop {
            let woken = ready!(self.poll_woken(cx));
            match self.turn(woken) {
                Turn::GoesOn => {}
                turn => return Poll::Ready(turn),
            }
        }
    }

    fn turn(&mut self, woken: Woken) -> Turn {
        let taken = match woken {
            Woken::Input(input) => self.take(input),
            Woken::Answers => Taken::All,
            Woken::Room => {
                self.replay_on();
                Taken::All
            }
            Woken::Gone | Woken::Lost(RelayEnd::Told) => return Turn::Over,
            Woken::Lost(RelayEnd::TakenOver) => return self.leave(Ending::TakenOver, reason::SESSION_TAKEN_OVER),
            Woken::Lost(RelayEnd::Silence) => return self.leave(Ending::KeepAlive, reason::KEEP_ALIVE_TIMEOUT),
            // Not for good: the client may come again, and meets another endpoint.
            Woken::Lost(RelayEnd::Lost) => return self.leave(Ending::UpstreamLost, reason::USE_ANOTHER_SERVER),
            Woken::Late if self.client.has_expired() => {
                return self.leave(Ending::Expired, reason::MAXIMUM_CONNECT_TIME);
            }
            Woken::Late if !self.is_late() => return self.unless_congested(),
            Woken::Late => {
                self.seat.ended = Ending::KeepAlive;
                return Turn::Over;
            }
            Woken::Asked => return self.leave(Ending::Asked, self.leaving_code()),
            Woken::Closing(CloseReason::TakenOver) => return self.leave(Ending::TakenOver, reason::SESSION_TAKEN_OVER),
            Woken::Closing(CloseReason::Administrative) => {
                return self.leave(Ending::Kicked, reason::ADMINISTRATIVE_ACTION);
            }
        };
        match (taken, self.relay.as_mut().map_or(Some(true), |relay| relay.flush_now())) {
            (_, Some(false)) | (Taken::Over, Some(true)) => Turn::Over,
            (Taken::All, Some(true)) => self.unless_congested(),
            (taken, _) => Turn::Waits(Box::new(taken)),
        }
    }

    fn unless_congested(&self) -> Turn {
        match self.client.worker.hub.links.is_congested() {
            true => Turn::Waits(Box::new(Taken::All)),
            false => Turn::GoesOn,
        }
    }

    /// Waits for what packets need, for the upstream's broker and for the other workers. `false`:
    /// the connection ends.
    async fn wait_for(&mut self, mut taken: Taken) -> bool {
        while let Taken::Later(later, mut rest) = taken {
            let alive = later.run(self, &mut rest).await;
            self.listen_again();
            self.mark();
            taken = if alive { self.go_on(rest) } else { Taken::Over };
        }
        if !self.flush_relay().await || matches!(taken, Taken::Over) {
            return false;
        }
        if self.client.worker.hub.links.is_congested() {
            self.client.worker.hub.links.uncongested().await;
            self.listen_again();
        }
        true
    }

    /// Nobody listened to the client for a while: that was not its silence.
    fn listen_again(&mut self) {
        self.link.session.borrow_mut().heard(self.client.worker.clock.millis());
    }

    /// Waits for whatever comes first.
    fn poll_woken(&mut self, cx: &mut Context<'_>) -> Poll<Woken> {
        let (client, link, relay) = (&mut self.client, &self.link, self.relay.as_deref());
        client.connection.register(cx.waker());
        if link.is_broken.get() {
            return Poll::Ready(Woken::Gone);
        }
        if let Some(how) = link.relay_ended.get() {
            return Poll::Ready(Woken::Lost(how));
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
        if link.takes_more() {
            return Poll::Ready(Woken::Room);
        }
        match ready!(client.poll_input(cx)) {
            Ok(input) if client.is_at_end => {
                client.worker.buffers.give(input.buffer);
                Poll::Ready(Woken::Gone)
            }
            Ok(input) => Poll::Ready(Woken::Input(input)),
            Err(_) => Poll::Ready(Woken::Gone),
        }
    }

    /// Goes on with what subscriptions are owed.
    fn replay_on(&self) {
        let (worker, Some(id)) = (&self.client.worker, self.seat.id()) else { return };
        // The broker asks again whether there is room, where there is more.
        self.link.has_more.set(false);
        let now = worker.clock.millis();
        worker.with_broker(|broker, sink| broker.replay_on(now, id, sink));
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

    /// Sends what a proxied client's broker gets. `false`: it is gone.
    async fn flush_relay(&mut self) -> bool {
        let Some(relay) = &mut self.relay else { return true };
        if let Some(sent) = relay.flush_now() {
            return sent;
        }
        let timeout_ms = self.client.worker.plan.borrow().plan.limits.stall_timeout_ms;
        relay.flush(timeout_ms).await
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

    /// Says goodbye; `ended` is what policies hear.
    fn leave(&mut self, ended: Ending, code: u8) -> Turn {
        self.seat.ended = ended;
        self.say_goodbye(code);
        Turn::Over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_of_a_connection_is_no_more_than_what_its_runtime_adds_to() {
        // With that, a task fills 128 bytes.
        assert!(size_of::<Serving>() <= 24, "{}", size_of::<Serving>());
    }

    #[test]
    fn what_each_idle_connection_is_does_not_grow_unnoticed() {
        // Each is an allocation of its own, in steps of 16 bytes.
        assert!(size_of::<Connection>() <= 216, "{}", size_of::<Connection>());
        assert!(size_of::<MqttLink>() <= 136, "{}", size_of::<MqttLink>());
        assert!(size_of::<crate::worker::Connection>() <= 168, "{}", size_of::<crate::worker::Connection>());
    }
}
