//! One connection that speaks JSON frames.

use super::frame::{self, Frame};
use crate::client::{Client, Ended, Input};
use crate::http::Subscribed;
use crate::pubsub::{Publisher, Publishing, publish};
use std::collections::HashSet;
use std::future::poll_fn;
use std::task::Poll;
use tidegate_broker::{Access, Published};
use tidegate_message::{MessageBuilder, Outcome, Protocol, Qos};
use tidegate_websocket::{Decoder, Delivery, Event, Opcode, Role, encode_close, encode_close_answer, encode_frame};

/// Messages of QoS 1 that a client may owe an ack for; beyond, they are sent without.
const UNACKED_MAX: usize = 1_024;

struct Connection {
    client: Box<Client>,
    subscribed: Subscribed,
    decoder: Decoder,
    publisher: Publisher,
    out: Vec<u8>,
    next_id: u64,
    unacked: HashSet<u64>,
    /// When its time is over, whatever is said; `u64::MAX`: never.
    ends_at: u64,
    /// Asked whether it lives, and not heard since.
    is_asked: bool,
}

/// Serves the frames of a client that has been upgraded.
pub(crate) async fn serve(client: Box<Client>, access: Access) {
    let plan = client.worker.plan();
    client.limit_to(access.until());
    let subscribed = Subscribed::new(&client, access.clone(), Protocol::WebSocket);
    let ends_at = match plan.plan.limits.websocket_lifetime_ms {
        0 => u64::MAX,
        lifetime_ms => client.worker.clock.millis() + lifetime_ms,
    };
    let publisher = Publisher { session: None, access, peer: client.peer.clone() };
    let decoder = Decoder::new(Role::Server, Delivery::Messages, &plan.plan.bounds);
    let mut connection = Connection {
        client,
        subscribed,
        decoder,
        publisher,
        out: Vec::new(),
        next_id: 1,
        unacked: HashSet::new(),
        ends_at,
        is_asked: false,
    };
    connection.rest();
    let carried = connection.client.carried();
    connection.run(carried).await;
    let Connection { client, subscribed, .. } = connection;
    drop(subscribed);
    client.connection.lingers.set(true);
    client.close().await;
}

impl Connection {
    async fn run(&mut self, first: Option<Input>) {
        let mut input = first;
        loop {
            let alive = match input.take() {
                Some(input) => self.take(input).await,
                None => true,
            };
            if !self.write().await || !alive {
                return;
            }
            match self.wait().await {
                Ok(Some(ready)) => input = Some(ready),
                Ok(None) => {}
                Err(Ended::Asked) => return self.say_goodbye(1012, "the gateway restarts").await,
                Err(Ended::TimedOut) if self.client.has_expired() => {
                    return self.say_goodbye(1008, "the identity has ended").await;
                }
                Err(Ended::TimedOut) if self.client.worker.clock.millis() >= self.ends_at => {
                    self.client.worker.dropped(Protocol::WebSocket, "lifetime");
                    return self.say_goodbye(1012, "the connection has lived its time: connect again").await;
                }
                Err(Ended::TimedOut) if self.is_asked => {
                    self.client.worker.dropped(Protocol::WebSocket, "idle");
                    return self.say_goodbye(1001, "nothing was said for too long").await;
                }
                Err(Ended::TimedOut) => {
                    self.is_asked = true;
                    encode_frame(&mut self.out, Opcode::Ping, b"");
                    self.rest();
                }
                Err(_) => return,
            }
        }
    }

    async fn write(&mut self) -> bool {
        if self.out.is_empty() {
            return true;
        }
        let stall = self.client.worker.plan().plan.limits.stall_timeout_ms;
        self.client.deadline(self.client.worker.clock.millis(), stall);
        let out = std::mem::take(&mut self.out);
        let written = self.client.write_all(&out).await.is_ok();
        self.rest();
        written
    }

    async fn say_goodbye(&mut self, code: u16, why: &str) {
        encode_close(&mut self.out, code, why);
        self.write().await;
    }

    /// Half of its idle time: then it is asked, and has the other half for its Pong.
    fn rest(&self) {
        let limits = &self.client.worker.plan().plan.limits;
        let now = self.client.worker.clock.millis();
        let idles_at =
            if limits.websocket_idle_ms == 0 { u64::MAX } else { now + limits.websocket_idle_ms.div_ceil(2) };
        let at = idles_at.min(self.ends_at);
        self.client.worker.connections.set_deadline(&self.client.connection, if at == u64::MAX { 0 } else { at });
    }

    /// Bytes of the client, or messages for it (then `None`).
    async fn wait(&mut self) -> Result<Option<Input>, Ended> {
        poll_fn(|cx| {
            self.client.connection.register(cx.waker());
            if self.client.connection.is_leaving() {
                return Poll::Ready(Err(Ended::Asked));
            }
            if self.client.connection.timed_out.get() {
                return Poll::Ready(Err(Ended::TimedOut));
            }
            let (mut any, now_ms) = (false, self.client.worker.clock.millis());
            while self.out.len() < 64 << 10 {
                let Some(queued) = self.subscribed.pop(cx.waker()) else { break };
                let wants_ack = queued.qos != Qos::AtMostOnce && self.unacked.len() < UNACKED_MAX;
                let id = wants_ack.then_some(self.next_id);
                if wants_ack {
                    self.unacked.insert(self.next_id);
                    self.next_id += 1;
                }
                encode_frame(&mut self.out, Opcode::Text, frame::message(&queued, id, now_ms).as_bytes());
                any = true;
            }
            if any {
                return Poll::Ready(Ok(None));
            }
            match std::task::ready!(self.client.poll_input(cx)) {
                Ok(input) if !self.client.is_at_end => Poll::Ready(Ok(Some(input))),
                Ok(input) => {
                    self.client.worker.buffers.give(input.buffer);
                    Poll::Ready(Err(Ended::Closed))
                }
                Err(_) => Poll::Ready(Err(Ended::Closed)),
            }
        })
        .await
    }

    /// Takes what was read. `false`: the connection ends.
    async fn take(&mut self, mut input: Input) -> bool {
        self.client.connection.last_activity.set(self.client.worker.clock.millis());
        self.is_asked = false;
        self.rest();
        let (mut frames, mut close) = (Vec::new(), Vec::new());
        self.decode(&mut input, &mut frames, &mut close);
        self.client.stash(input);
        for text in frames {
            self.frame(&text).await;
        }
        // RFC 6455 section 5.5.1: no message follows a Close, the answers to what stood before it neither.
        self.out.extend_from_slice(&close);
        close.is_empty()
    }

    /// Moves whole messages to `frames`; `close` is the frame that ends the connection behind them.
    fn decode(&mut self, input: &mut Input, frames: &mut Vec<Vec<u8>>, close: &mut Vec<u8>) {
        loop {
            let (start, end) = (input.start, input.end);
            match self.decoder.decode(&mut input.buffer[start..end]) {
                Ok((used, event)) => {
                    // A frame that ends no message yields nothing; behind it may stand another.
                    let is_over = used == 0 && event.is_none();
                    match event {
                        Some(Event::Data { payload, .. }) => frames.push(payload.to_vec()),
                        Some(Event::Ping(payload)) => encode_frame(&mut self.out, Opcode::Pong, payload),
                        Some(Event::Close(said)) => return encode_close_answer(close, said),
                        Some(Event::Pong(_)) | None => {}
                    }
                    input.start += used;
                    if is_over {
                        return;
                    }
                }
                Err(error) => return encode_close(close, error.code, error.what),
            }
        }
    }

    async fn frame(&mut self, text: &[u8]) {
        let answer = match serde_json::from_slice(text) {
            Ok(frame) => self.serve_frame(frame).await,
            Err(error) => {
                let id = serde_json::from_slice::<serde_json::Value>(text).ok().and_then(|value| value["id"].as_u64());
                Some(frame::error(id, "malformed", &error.to_string()))
            }
        };
        if let Some(answer) = answer {
            encode_frame(&mut self.out, Opcode::Text, answer.as_bytes());
        }
    }

    async fn serve_frame(&mut self, frame: Frame) -> Option<String> {
        let worker = self.client.worker.clone();
        if worker.hub.links.is_congested() {
            worker.hub.links.uncongested().await;
        }
        match frame {
            Frame::Publish(frame) => {
                let id = frame.id;
                let read = (frame::payload_bytes(&frame.payload), frame::promise(frame.qos), frame.properties());
                let (payload, qos, properties) = match read {
                    (Ok(payload), Ok(qos), Ok(properties)) => (payload, qos, properties),
                    (Err(why), ..) | (_, Err(why), _) | (.., Err(why)) => {
                        return Some(frame::error(id, "malformed", why));
                    }
                };
                let mut message = MessageBuilder::new(Protocol::WebSocket, &frame.topic, &payload);
                (message.qos, message.retain, message.properties) = (qos, frame.retain, properties);
                message.expires_at =
                    frame.expiry.map(|seconds| worker.clock.millis().saturating_add(seconds.saturating_mul(1_000)));
                let published = match publish(&worker, &self.publisher, message) {
                    Publishing::Done(published) => published,
                    Publishing::Later(later) => later.await,
                };
                let outcome = if let Published::New(outcome) = published { outcome } else { Outcome::Success };
                self.answer(id, outcome)
            }
            Frame::Subscribe { id, filter, qos } => {
                let qos = match frame::promise(qos) {
                    Ok(qos) => qos,
                    Err(why) => return Some(frame::error(id, "malformed", why)),
                };
                let outcome = self.subscribed.subscribe(&filter, qos).await.err().unwrap_or(Outcome::Success);
                self.answer(id, outcome)
            }
            Frame::Unsubscribe { id, filter } => {
                let subscriber = self.subscribed.id;
                let existed = worker.with_broker(|broker, sink| broker.unsubscribe(subscriber, &filter, sink));
                self.answer(id, if existed { Outcome::Success } else { Outcome::NotFound })
            }
            Frame::Ack { id } => {
                self.unacked.remove(&id);
                None
            }
            Frame::Ping { id } => Some(serde_json::json!({ "type": "pong", "id": id }).to_string()),
        }
    }

    fn answer(&self, id: Option<u64>, outcome: Outcome) -> Option<String> {
        match (id, outcome.is_accepted()) {
            (None, true) => None,
            (id, true) => Some(frame::ack(id, outcome)),
            (id, false) => Some(frame::error(id, outcome.label(), reason(outcome))),
        }
    }
}

/// What a frame that was refused hears.
const fn reason(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::InvalidTopic => {
            "topics have no + and no #; in a filter these stand alone in a level, # in the last; no NUL, 65,535 bytes at most"
        }
        Outcome::NotFound => "there is no such subscription",
        Outcome::Forbidden | Outcome::Unauthenticated => "the rules do not allow it",
        Outcome::QuotaExceeded => "a limit is reached; try again later",
        Outcome::Busy => "the gateway has no room now; try again later",
        _ => "the gateway refused it",
    }
}
