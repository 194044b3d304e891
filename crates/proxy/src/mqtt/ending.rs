//! The end of a connection: what is said to the client and told to policies, and that all of it leaves.

use super::seat::Ending;
use super::serve::Connection;
use crate::hooks::{self, HookView};
use crate::worker::Goodbye;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use tidegate_message::Protocol;
use tidegate_mqtt::reason;

impl Connection {
    /// Why a connection is asked to leave: somebody kicked it, or the gateway drains.
    pub(super) fn leaving_code(&self) -> u8 {
        match self.client.connection.goodbye.get() {
            Some(Goodbye::Kick) => reason::ADMINISTRATIVE_ACTION,
            _ => reason::SERVER_SHUTTING_DOWN,
        }
    }

    /// Tells `onDisconnect` of a client that had come in.
    fn tell_policies(&self) {
        let worker = &self.client.worker;
        let plan = worker.plan();
        if plan.plan.hooks.disconnect.is_empty() || (self.seat.id().is_none() && self.relay.is_none()) {
            return;
        }
        let client_id = self.seat.publisher.access.client_id.as_deref();
        let view = HookView::new(Protocol::Mqtt, &self.seat.publisher.peer, client_id)
            .with("hook", &b"disconnect"[..])
            .with("reason", self.seat.ended.label().as_bytes());
        hooks::disconnected(worker, &plan, &view);
    }

    /// Says goodbye to the client.
    pub(super) fn say_goodbye(&mut self, code: u8) {
        let plan = self.client.worker.plan();
        match plan.plan.mqtt.redirect.as_ref().filter(|_| code == reason::SERVER_SHUTTING_DOWN) {
            Some(redirect) => {
                let mut session = self.link.session.borrow_mut();
                session.redirect((&redirect.to, redirect.permanent), &mut self.link.out.borrow_mut());
            }
            None => self.link.session.borrow_mut().disconnect(code, &mut self.link.out.borrow_mut()),
        }
        if let Some(inbox) = &mut self.inbox
            && code == reason::SERVER_SHUTTING_DOWN
        {
            inbox.close_with(1012);
        }
        self.mark();
    }

    /// The last frame of a WebSocket, behind what MQTT had to say.
    fn close_frames(&mut self) {
        let is_gone = self.client.is_at_end || self.link.is_broken.get();
        let Some(inbox) = self.inbox.as_mut().filter(|_| !is_gone) else { return };
        if self.seat.ended == Ending::ProtocolError {
            inbox.close_with(1002);
        }
        if let Some(frame) = inbox.last_frame() {
            self.link.put_frame(&frame);
        }
    }

    /// Leaves the broker, lets the last bytes out, closes.
    pub(super) async fn finish(mut self: Box<Self>) -> Option<Box<Self>> {
        let worker = Rc::clone(&self.client.worker);
        let now = worker.clock.millis();
        self.tell_policies();
        self.close_frames();
        // Behind its DISCONNECT a client sends nothing that could make a reset of the close (MQTT-3.14.4-2); over
        // WebSocket it still answers the close frame.
        let sends_on = self.seat.ended != Ending::Client || self.inbox.as_ref().is_some_and(|inbox| inbox.is_framed());
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
        connection.lingers.set(sends_on);
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
        Box::new(self.client).close().await;
        None
    }
}
