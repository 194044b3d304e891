//! A WebSocket on its way through: after the upstream's 101 bytes are passed on as they
//! are. Only the ends of frames are followed, so that the gateway can say Close between two
//! of them when it leaves or the connection's time is over.

use super::exchange::Exchange;
use super::failure::Flag;
use super::forward::{Link, opened};
use crate::client::Client;
use crate::outbound::Outbound;
use crate::worker::HEADROOM;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tidegate_message::Protocol;
use tidegate_upstream::Place;
use tidegate_websocket::{Border, Opcode, encode_close, encode_masked_frame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long the client has to answer a Close, and the upstream to finish its frame.
const LAST_WORDS_MS: u64 = 2_000;

const RESTART: (u16, &str) = (1012, "the gateway restarts");
const IDLE: (u16, &str) = (1001, "nothing was said for too long");
const OUTLIVED: (u16, &str) = (1012, "the connection has lived its time: connect again");

/// See the module. Owns no buffer while both sides take what they get.
struct Tunnel {
    exchange: Box<Exchange>,
    stream: Outbound,
    _place: Option<Place>,
    /// What the upstream and what the client did not take yet.
    up: Vec<u8>,
    down: Vec<u8>,
    /// Where frames of the server and of the client end.
    border: Border,
    client_border: Border,
    client_ended: bool,
    upstream_ended: bool,
    idle_ms: u64,
    /// When its time is over, whatever is said; `u64::MAX`: never.
    ends_at: u64,
    farewell: Farewell,
}

/// How far the gateway's own Close is.
#[derive(Clone, Copy)]
enum Farewell {
    Unsaid,
    /// A frame of the server has to end first.
    Wanted(u16, &'static str),
    /// The rest of what the server says is thrown away.
    Said(u16, &'static str),
}

/// Passes bytes on until one side has enough. `behind` came with the upstream's head.
pub(super) async fn run(mut client: Box<Client>, mut exchange: Box<Exchange>, behind: Box<[u8]>) {
    let Link::Open { stream, place, .. } = std::mem::replace(&mut exchange.link, Link::Closed) else { return };
    client.becomes(Protocol::WebSocket);
    opened(&mut exchange, &client);
    let mut tunnel = Tunnel::new(exchange, (stream, place));
    tunnel.border.pass(&behind);
    tunnel.down.extend_from_slice(&behind);
    drop(behind);
    tunnel.rest(&client);
    // What the client sent behind its upgrade was held until now.
    let flag = poll_fn(|cx| tunnel.poll(&mut client, cx)).await.err();
    if let (Some(Flag::Terminated), Some(stream)) = (flag, client.connection.end.as_stream()) {
        stream.cut();
    }
    tunnel.exchange.account(&client, flag);
    drop(tunnel);
    client.close().await;
}

impl Tunnel {
    fn new(mut exchange: Box<Exchange>, (stream, place): (Outbound, Option<Place>)) -> Self {
        let limits = &exchange.plan.plan.limits;
        let policy = exchange.plan.plan.routes[exchange.route].steps.timeout();
        let idle_ms = policy.and_then(|policy| policy.idle_ms).unwrap_or(limits.websocket_idle_ms);
        let lifetime_ms = policy.and_then(|policy| policy.total_ms).unwrap_or(limits.websocket_lifetime_ms);
        let began = exchange.facts.started_us / 1_000;
        Tunnel {
            stream,
            _place: place,
            up: exchange.request.take_rest(),
            down: std::mem::take(&mut exchange.response.pending),
            border: Border::default(),
            client_border: Border::default(),
            client_ended: false,
            upstream_ended: false,
            idle_ms,
            ends_at: if lifetime_ms == 0 { u64::MAX } else { began + lifetime_ms },
            farewell: Farewell::Unsaid,
            exchange,
        }
    }

    /// Ready: both sides have said what they had to, or why that is cut.
    fn poll(&mut self, client: &mut Client, cx: &mut Context<'_>) -> Poll<Result<(), Flag>> {
        client.connection.register(cx.waker());
        if client.connection.timed_out.get() && !self.time_over(client) {
            self.part(cx);
            return Poll::Ready(Ok(()));
        }
        if client.connection.is_leaving() {
            self.leave(client, RESTART);
        }
        if let Poll::Ready(Err(flag)) = self.pass_up(client, cx) {
            return Poll::Ready(Err(flag));
        }
        self.pass_down(client, cx)
    }

    /// A deadline has passed. `false`: there was one after the Close too.
    fn time_over(&mut self, client: &Client) -> bool {
        if !matches!(self.farewell, Farewell::Unsaid) {
            return false;
        }
        let is_old = client.worker.clock.millis() >= self.ends_at;
        client.worker.dropped(Protocol::WebSocket, if is_old { "lifetime" } else { "idle" });
        self.leave(client, if is_old { OUTLIVED } else { IDLE });
        true
    }

    fn leave(&mut self, client: &Client, (code, why): (u16, &'static str)) {
        if matches!(self.farewell, Farewell::Unsaid) {
            self.farewell = Farewell::Wanted(code, why);
            client.connection.lingers.set(true);
            client.deadline(client.worker.clock.millis(), LAST_WORDS_MS);
            self.say_farewell();
        }
    }

    /// Says Close where it may stand.
    fn say_farewell(&mut self) {
        if let Farewell::Wanted(code, why) = self.farewell
            && self.border.is_between()
        {
            if !self.border.is_closed() {
                encode_close(&mut self.down, code, why);
            }
            self.farewell = Farewell::Said(code, why);
        }
    }

    /// The client did not answer the Close: the upstream hears it from here, where it may stand.
    fn part(&mut self, cx: &mut Context<'_>) {
        if let Farewell::Said(code, why) = self.farewell
            && self.up.is_empty()
            && self.client_border.is_between()
            && !self.client_border.is_closed()
        {
            let mut close = Vec::new();
            let payload = [&code.to_be_bytes()[..], why.as_bytes()].concat();
            encode_masked_frame(&mut close, Opcode::Close, &payload, fastrand::u32(..).to_ne_bytes());
            // Who does not take it now is told by the end of the connection.
            let _ = Pin::new(&mut self.stream).poll_write(cx, &close);
            let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
        }
    }

    /// Something was said: from now on the connection is idle.
    fn rest(&self, client: &Client) {
        if matches!(self.farewell, Farewell::Unsaid) {
            let now = client.worker.clock.millis();
            let idles_at = if self.idle_ms == 0 { u64::MAX } else { now + self.idle_ms };
            let at = idles_at.min(self.ends_at);
            client.worker.connections.set_deadline(&client.connection, if at == u64::MAX { 0 } else { at.max(now) });
            client.connection.last_activity.set(now);
        }
    }

    /// From the client to the upstream. Ready: the client says nothing more, or is gone.
    fn pass_up(&mut self, client: &mut Client, cx: &mut Context<'_>) -> Poll<Result<(), Flag>> {
        while !self.client_ended {
            while !self.up.is_empty() {
                match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.up)) {
                    Ok(count) => drop(self.up.drain(..count)),
                    // What the upstream said before it broke off is still passed on.
                    Err(_) => return Poll::Ready(Ok(())),
                }
            }
            self.up = Vec::new();
            let input = match client.carried() {
                Some(input) => input,
                None => ready!(client.poll_input(cx)).map_err(|_| Flag::ClientGone)?,
            };
            if client.is_at_end && input.is_empty() {
                self.client_ended = true;
                let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
            } else {
                self.rest(client);
                let bytes = input.bytes();
                self.client_border.pass(bytes);
                let sent = match Pin::new(&mut self.stream).poll_write(cx, bytes) {
                    Poll::Ready(Ok(count)) => count,
                    Poll::Ready(Err(_)) | Poll::Pending => 0,
                };
                if sent < bytes.len() {
                    self.up.extend_from_slice(&bytes[sent..]);
                }
            }
            client.worker.buffers.give(input.buffer);
        }
        Poll::Ready(Ok(()))
    }

    /// From the upstream to the client. Ready: all that it said was taken.
    fn pass_down(&mut self, client: &mut Client, cx: &mut Context<'_>) -> Poll<Result<(), Flag>> {
        loop {
            if !self.flush(client, cx).map_err(|_| Flag::ClientGone)? {
                return Poll::Pending;
            }
            if self.upstream_ended {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = client.worker.buffers.take();
            let mut read = ReadBuf::new(&mut buffer[HEADROOM..]);
            let polled = Pin::new(&mut self.stream).poll_read(cx, &mut read);
            let end = HEADROOM + read.filled().len();
            let result = match polled {
                Poll::Ready(Ok(())) if end == HEADROOM => {
                    self.upstream_ended = true;
                    Ok(())
                }
                Poll::Ready(Ok(())) => self.said((client, cx), &buffer[HEADROOM..end]).map_err(|_| Flag::ClientGone),
                Poll::Ready(Err(_)) => Err(Flag::Terminated),
                Poll::Pending => {
                    client.worker.buffers.give(buffer);
                    return Poll::Pending;
                }
            };
            client.worker.buffers.give(buffer);
            result?;
        }
    }

    /// The upstream said that.
    fn said(&mut self, (client, cx): (&mut Client, &mut Context<'_>), bytes: &[u8]) -> io::Result<()> {
        let bytes = match self.farewell {
            Farewell::Unsaid => {
                self.border.pass(bytes);
                bytes
            }
            Farewell::Wanted(..) => &bytes[..self.border.next(bytes)],
            Farewell::Said(..) => return Ok(()),
        };
        self.exchange.response.body_bytes += bytes.len() as u64;
        self.rest(client);
        let sent = client.write_now(cx, bytes)?;
        if sent < bytes.len() {
            self.down.extend_from_slice(&bytes[sent..]);
        }
        self.say_farewell();
        Ok(())
    }

    /// Writes what waits for the client. `false`: it does not take all of it now.
    fn flush(&mut self, client: &mut Client, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut sent = 0;
        while sent < self.down.len() {
            match client.write_now(cx, &self.down[sent..])? {
                0 => break,
                count => sent += count,
            }
        }
        if sent < self.down.len() {
            self.down.drain(..sent);
            return Ok(false);
        }
        // An idle connection owns no buffer.
        self.down = Vec::new();
        Ok(true)
    }
}
