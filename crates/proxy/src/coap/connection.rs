//! One connection that speaks CoAP over TCP or WebSocket: its bytes go to the shared
//! server as messages, and what that puts out is written.

use super::streams::{Line, OUTPUT_HIGH, Streams};
use crate::client::{Client, Input};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Poll, ready};
use tidegate_broker::Access;
use tidegate_coap::{STREAM_MESSAGE_MAX, Transport, frame_len};
use tidegate_websocket::{Decoder, Delivery, Event, Opcode, Role, encode_close, encode_close_answer, encode_frame};

struct Stream {
    client: Box<Client>,
    streams: Rc<Streams>,
    line: Rc<Line>,
    peer: SocketAddr,
    frames: Option<Box<Decoder>>,
    /// Bytes of the output that the socket has.
    sent: usize,
    /// A ping is out: nothing has come since.
    is_asked: bool,
    /// It was asked to leave, or has said that it will.
    is_released: bool,
    /// It sends nothing more, and may still read.
    is_ended: bool,
}

/// Why a wait ended.
enum Woken {
    Input(Input),
    /// Silent for long.
    Late,
    /// The gateway wants it gone.
    Asked,
    /// It has sent its last byte.
    Ended,
    /// It is gone, or nothing more is to be said.
    Over,
}

/// Serves a connection, from what it carries on, as the user it has logged in as.
pub(crate) async fn serve_stream(client: Box<Client>, (transport, access): (Transport, Access)) {
    client.limit_to(access.until());
    let streams = client.worker.coap.streams.of(&client);
    let (peer, line) = streams.open(&client, transport, access);
    let bounds = client.worker.plan().plan.bounds;
    let decoder = || Box::new(Decoder::new(Role::Server, Delivery::Messages, &bounds));
    let frames = (transport == Transport::WebSocket).then(decoder);
    client.connection.lingers.set(true);
    let mut stream =
        Stream { client, streams, line, peer, frames, sent: 0, is_asked: false, is_released: false, is_ended: false };
    stream.run().await;
    let Stream { client, streams, .. } = stream;
    streams.close(peer);
    client.close().await;
}

impl Stream {
    async fn run(&mut self) {
        self.expect_input();
        self.flush();
        let carried = self.client.carried();
        let mut alive = carried.is_none_or(|input| self.take(input));
        while alive {
            alive = match self.wait().await {
                Woken::Input(input) => self.take(input),
                Woken::Late if self.client.has_expired() => {
                    self.streams.server.borrow_mut().endpoint.abort_stream(self.peer, "the identity has ended");
                    self.flush();
                    false
                }
                Woken::Late => self.is_there(),
                Woken::Asked => {
                    self.is_released = true;
                    self.streams.server.borrow_mut().endpoint.release_stream(self.peer);
                    self.flush();
                    true
                }
                // What it has asked is answered; a WebSocket that ends without a goodbye is broken.
                Woken::Ended if self.frames.is_none() => {
                    self.is_ended = true;
                    true
                }
                Woken::Ended | Woken::Over => return,
            };
        }
        self.write_out().await;
    }

    /// Bytes of the peer, or why there are none; writes meanwhile.
    async fn wait(&mut self) -> Woken {
        poll_fn(|cx| {
            self.client.connection.register(cx.waker());
            if self.client.connection.timed_out.get() {
                return Poll::Ready(Woken::Late);
            }
            if self.client.connection.is_leaving() && !self.is_released {
                return Poll::Ready(Woken::Asked);
            }
            if self.write(cx).is_err() {
                return Poll::Ready(Woken::Over);
            }
            let waiting = self.line.out.borrow().len() - self.sent;
            let is_last = self.is_released || self.is_ended;
            if is_last && waiting == 0 && !self.streams.awaits(self.peer) {
                return Poll::Ready(Woken::Over);
            }
            // Who does not read his answers asks nothing more.
            if waiting > OUTPUT_HIGH || self.is_ended {
                return Poll::Pending;
            }
            match ready!(self.client.poll_input(cx)) {
                Ok(input) if !self.client.is_at_end => Poll::Ready(Woken::Input(input)),
                Ok(input) => {
                    self.client.worker.buffers.give(input.buffer);
                    Poll::Ready(Woken::Ended)
                }
                Err(_) => Poll::Ready(Woken::Over),
            }
        })
        .await
    }

    /// Writes as much as the socket takes.
    fn write(&mut self, cx: &mut std::task::Context<'_>) -> std::io::Result<()> {
        loop {
            let mut out = self.line.out.borrow_mut();
            while self.sent < out.len() {
                match self.client.write_now(cx, &out[self.sent..])? {
                    0 => return Ok(()),
                    count => self.sent += count,
                }
            }
            self.sent = 0;
            let mut empty = std::mem::take(&mut *out);
            drop(out);
            empty.clear();
            self.client.worker.buffers.give_write(empty);
            if !self.line.is_congested.replace(false) {
                return Ok(());
            }
            self.streams.resume(self.peer);
            self.flush();
        }
    }

    /// The last words, within the time that a slow client has.
    async fn write_out(&mut self) {
        let out = std::mem::take(&mut *self.line.out.borrow_mut());
        let stall = self.client.worker.plan().plan.limits.stall_timeout_ms;
        self.client.connection.timed_out.set(false);
        self.client.deadline(self.client.worker.clock.millis(), stall);
        // A client that is gone needs no last words.
        let _ = self.client.write_all(&out[self.sent..]).await;
    }

    fn expect_input(&mut self) {
        let worker = &self.client.worker;
        let now = worker.clock.millis();
        self.client.deadline(now, worker.plan().plan.limits.idle_timeout_ms);
        self.client.connection.last_activity.set(now);
        self.is_asked = false;
    }

    /// Section 5.4: asks a peer that is silent for long; who does not answer either is
    /// gone, and so is one whose output has not moved.
    fn is_there(&mut self) -> bool {
        if self.is_asked || self.line.out.borrow().len() > self.sent {
            return false;
        }
        self.client.connection.timed_out.set(false);
        self.expect_input();
        self.is_asked = true;
        self.streams.server.borrow_mut().endpoint.ping_stream(self.peer);
        self.flush();
        true
    }

    /// Takes what was read. `false`: the connection ends.
    fn take(&mut self, mut input: Input) -> bool {
        self.expect_input();
        let mut close = Vec::new();
        let alive = match self.frames.take() {
            None => self.take_messages(&mut input),
            Some(mut decoder) => {
                let alive = self.take_frames(&mut decoder, &mut input, &mut close);
                self.frames = Some(decoder);
                alive
            }
        };
        self.client.stash(input);
        self.flush();
        // RFC 6455 section 5.5.1: no message follows a Close.
        self.line.out.borrow_mut().extend_from_slice(&close);
        self.is_released |= self.streams.server.borrow().endpoint.is_leaving(self.peer);
        alive
    }

    fn take_messages(&mut self, input: &mut Input) -> bool {
        let mut server = self.streams.server.borrow_mut();
        server.now_ms = self.client.worker.clock.millis();
        while let Some(len) = frame_len(input.bytes()) {
            if len > STREAM_MESSAGE_MAX {
                server.endpoint.abort_stream(self.peer, "longer than Max-Message-Size");
                return false;
            }
            let Some(frame) = input.bytes().get(..len) else { break };
            let alive = self.streams.handle(&mut server, (self.peer, &self.line), frame);
            input.start += len;
            if !alive {
                return false;
            }
        }
        true
    }

    /// `close` is the frame that ends the connection behind everything else.
    fn take_frames(&mut self, decoder: &mut Decoder, input: &mut Input, close: &mut Vec<u8>) -> bool {
        loop {
            let (start, end) = (input.start, input.end);
            let alive = match decoder.decode(&mut input.buffer[start..end]) {
                Ok((used, event)) => {
                    input.start += used;
                    match event {
                        None if used == 0 => return true,
                        None => true,
                        Some(Event::Data { text: false, payload, .. }) => self.take_message(payload),
                        Some(Event::Data { .. }) => {
                            // RFC 8323 section 4.2: messages are binary.
                            encode_close(close, 1003, "CoAP wants binary messages");
                            false
                        }
                        Some(Event::Ping(payload)) => {
                            encode_frame(&mut self.line.out.borrow_mut(), Opcode::Pong, payload);
                            true
                        }
                        Some(Event::Close(said)) => {
                            encode_close_answer(close, said);
                            false
                        }
                        Some(Event::Pong(_)) => true,
                    }
                }
                Err(error) => {
                    encode_close(close, error.code, error.what);
                    false
                }
            };
            if !alive {
                return false;
            }
        }
    }

    fn take_message(&self, message: &[u8]) -> bool {
        let mut server = self.streams.server.borrow_mut();
        server.now_ms = self.client.worker.clock.millis();
        server.adopt();
        if message.len() > STREAM_MESSAGE_MAX {
            server.endpoint.abort_stream(self.peer, "longer than Max-Message-Size");
            return false;
        }
        let alive = self.streams.handle(&mut server, (self.peer, &self.line), message);
        // Frames keep their order: what this one led to stands before what follows.
        self.streams.flush(&mut server);
        alive
    }

    fn flush(&self) {
        let mut server = self.streams.server.borrow_mut();
        server.take_observed();
        self.streams.flush(&mut server);
    }
}
