//! One socket and its server: reads what is there, lets the server work, writes once.

use super::inbox::Inbox;
use super::protected::Protected;
use super::secure::Secure;
use super::server::{Listener, Server};
use crate::plan::ListenerDto;
use crate::worker::{Level, Worker};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tidegate_dtls::looks_like_dtls;
use tidegate_listener::Datagrams;
use tidegate_message::Protocol;
use tokio::time::{Instant, Sleep};

/// Datagrams of one wake-up, or a batch more; then other connections have their turn.
const TURN_MAX: usize = 256;
/// How long receiving rests after an error.
const REST_MS: u64 = 50;

struct Driver {
    number: u32,
    datagrams: Datagrams,
    server: Server,
    secure: Secure,
    protected: Protected,
    sleep: Pin<Box<Sleep>>,
    /// When `sleep` ends; 0: it does not matter.
    armed_at: u64,
    /// Nothing is received before that time.
    rest_until: u64,
}

/// Asks the driver to leave when the listener's task is dropped.
struct Leave(Rc<Inbox>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Serves a socket until the task is aborted; then observers are told, and requests
/// that are under way are answered.
pub(crate) async fn serve(worker: Rc<Worker>, listener: Arc<ListenerDto>, socket: std::net::UdpSocket) {
    let local = socket.local_addr().ok();
    let datagrams = match Datagrams::new(socket, worker.plan().plan.coap.datagrams_per_call) {
        Ok(datagrams) => datagrams,
        Err(error) => return worker.log(Level::Error, &format!("{} cannot be served: {error}", listener.name)),
    };
    let number = worker.coap.enter();
    let secure = Secure::new(&worker, &listener);
    let protected = Protected::new(&worker, &listener);
    let server = Server::new(worker, (Listener::new(&listener, local), number));
    let _leave = Leave(Rc::clone(&server.inbox));
    let sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
    let mut driver = Driver { number, datagrams, server, secure, protected, sleep, armed_at: 0, rest_until: 0 };
    let running = tokio::task::spawn_local(poll_fn(move |cx| driver.poll(cx)));
    // Its end, if it has one, is this task's.
    let _ = running.await;
}

impl Drop for Driver {
    fn drop(&mut self) {
        let Server { worker, observations, .. } = &self.server;
        worker.coap.release(self.number);
        worker.observed.borrow_mut().retain(|(place, _)| !observations.owns(*place));
        worker.relays.forget(|place| observations.owns(place));
    }
}

/// Which layer a datagram is for.
fn take(
    (server, secure, protected): (&mut Server, &mut Secure, &mut Protected),
    (from, datagram): (SocketAddr, &[u8]),
) {
    if looks_like_dtls(datagram) {
        secure.handle(server, (from, datagram));
    } else if !protected.handle(server, (from, datagram)) {
        server.handle(from, datagram);
    }
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.server.inbox.register(cx.waker());
        self.server.worker.coap.register(self.number, cx.waker());
        self.server.now_ms = self.server.worker.clock.millis();
        let is_leaving = self.server.inbox.is_leaving();
        self.server.adopt();
        self.datagrams.set_batch(self.server.worker.plan.borrow().plan.coap.datagrams_per_call);
        self.secure.adopt();
        self.secure.restore(&mut self.server);
        self.protected.adopt(&mut self.server);
        let has_more = self.receive(cx);
        while let Some((from, datagram)) = self.secure.poll_stray(cx) {
            take((&mut self.server, &mut self.secure, &mut self.protected), (from, &datagram));
        }
        while let Some(answer) = self.secure.poll_key(cx) {
            self.secure.give_key(&mut self.server, answer);
        }
        if is_leaving {
            self.server.leave();
        }
        self.server.take_finished();
        self.server.handle_timeouts();
        self.secure.handle_timeouts(self.server.now_ms);
        self.server.take_observed();
        self.server.worker.coap.set_waiting(self.number, self.server.load());
        self.flush();
        if self.server.is_done() {
            // A listener that leaves alone does not come back.
            if self.server.worker.is_draining.get() {
                self.secure.save(self.server.now_ms);
            }
            self.secure.leave();
            self.flush();
            return Poll::Ready(());
        }
        if has_more || self.arm(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Takes what has come. `true`: there may be more.
    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        if self.server.now_ms < self.rest_until {
            return false;
        }
        let mut taken = 0;
        while taken < TURN_MAX {
            let count = match self.datagrams.poll_receive(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(error)) => {
                    self.server.worker.log(Level::Error, &format!("CoAP receives nothing for a moment: {error}"));
                    self.rest_until = self.server.now_ms + REST_MS;
                    return false;
                }
            };
            for index in 0..count {
                // RFC 7252 section 8.2: what is for a group may be passed over, and is: many
                // would answer one datagram whose source is anybody's word.
                if self.datagrams.is_to_group(index) {
                    self.server.worker.dropped(Protocol::Coap, "coap-group");
                    continue;
                }
                // One that was cut is too large by its length, which the server sees.
                if let Some((peer, datagram, _)) = self.datagrams.received(index) {
                    take((&mut self.server, &mut self.secure, &mut self.protected), (peer, datagram));
                }
            }
            taken += count;
        }
        true
    }

    fn flush(&mut self) {
        let now_ms = self.server.now_ms;
        let outbox = self.server.endpoint.outbox();
        for (to, datagram) in outbox.iter() {
            let is_sealed =
                self.protected.seal(&mut self.datagrams, (to, datagram)) || self.secure.seal(now_ms, (to, datagram));
            if !is_sealed {
                self.datagrams.queue(to, |out| out.extend_from_slice(datagram));
            }
        }
        outbox.clear();
        self.protected.flush(&mut self.datagrams);
        self.secure.flush(&mut self.server, &mut self.datagrams);
        if !self.datagrams.has_queued() {
            return;
        }
        let lost = self.datagrams.flush();
        if lost > 0 {
            self.server.worker.counters.dropped(Protocol::Coap, "coap-send-full", lost as u64);
        }
    }

    /// Ready: something is due already.
    fn arm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let rest = (self.rest_until > self.server.now_ms).then_some(self.rest_until);
        let Some(due) = self.server.next_timeout().into_iter().chain(rest).chain(self.secure.next_timeout()).min()
        else {
            return Poll::Pending;
        };
        if due != self.armed_at {
            self.armed_at = due;
            let wait = Duration::from_millis(due.saturating_sub(self.server.worker.clock.millis()));
            self.sleep.as_mut().reset(Instant::now() + wait);
        }
        self.sleep.as_mut().poll(cx)
    }
}
