//! What was read of a connection, packet by packet: in place, or by way of an inbox where
//! packets came in pieces or in messages of a WebSocket. Never waits: a packet that needs time
//! is handed back, and what stands behind it is kept.

use super::packets::{Handled, Later, handle};
use super::serve::Connection;
use crate::client::Input;
use crate::worker::READ_BYTES;
use tidegate_websocket::{Decoder, Event, Opcode, encode_close, encode_close_answer, encode_frame};

/// What became of what was read.
pub(super) enum Taken {
    /// Everything was handled, but for what is not whole yet.
    All,
    /// The connection ends.
    Over,
    /// A packet needs time; then it goes on with the rest.
    Later(Later, Rest),
}

/// Where bytes behind a packet that needs time are kept.
pub(super) enum Rest {
    /// Carried over with the client.
    Read,
    /// In the inbox; whether the connection ends behind it.
    Inbox { is_last: bool },
}

/// The frame by which a WebSocket ends.
type Close = Vec<u8>;

/// Bytes of packets that came in pieces.
#[derive(Default)]
pub(super) struct Inbox {
    /// What they come out of, over WebSocket.
    frames: Option<Decoder>,
    bytes: Vec<u8>,
    /// Why it ends, where somebody has a reason.
    close: Option<Close>,
}

impl Inbox {
    /// Of who speaks WebSocket.
    pub(super) const fn of(frames: Decoder) -> Self {
        Inbox { frames: Some(frames), bytes: Vec::new(), close: None }
    }

    pub(super) const fn is_framed(&self) -> bool {
        self.frames.is_some()
    }

    /// It ends with that code, unless it ends with another already.
    pub(super) fn close_with(&mut self, code: u16) {
        self.close.get_or_insert_with(|| close(code, ""));
    }

    /// The frame behind everything else; `None`: there are no frames.
    pub(super) fn last_frame(&self) -> Option<Vec<u8>> {
        self.is_framed().then(|| self.close.clone().unwrap_or_else(|| close(1000, "")))
    }
}

/// RFC 6455 section 7.4.
fn close(code: u16, why: &str) -> Close {
    let mut frame = Vec::new();
    encode_close(&mut frame, code, why);
    frame
}

impl Connection {
    /// Takes what was read.
    pub(super) fn take(&mut self, mut input: Input) -> Taken {
        if self.inbox.is_none() {
            return self.take_packets(input);
        }
        let unframed = self.fill_inbox(&mut input);
        self.client.stash(input);
        self.take_inbox(unframed)
    }

    /// The bytes that wait in the inbox.
    pub(super) fn waiting(&mut self) -> &mut Vec<u8> {
        &mut self.inbox.get_or_insert_default().bytes
    }

    /// Moves what was read to the inbox, out of its frames. `false`: the client closes or broke a rule.
    pub(super) fn fill_inbox(&mut self, input: &mut Input) -> bool {
        let mut inbox = self.inbox.take().unwrap_or_default();
        match &mut inbox.frames {
            Some(decoder) => inbox.close = self.unframe(decoder, (input, &mut inbox.bytes)).err(),
            None => {
                inbox.bytes.extend_from_slice(input.bytes());
                input.start = input.end;
            }
        }
        let goes_on = inbox.close.is_none();
        self.inbox = Some(inbox);
        goes_on
    }

    /// Goes on behind a packet that has taken its time.
    pub(super) fn go_on(&mut self, rest: Rest) -> Taken {
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
        let mut bytes = std::mem::take(self.waiting());
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
        match &mut self.inbox {
            Some(inbox) if inbox.is_framed() || !bytes.is_empty() => inbox.bytes = bytes,
            _ => self.inbox = None,
        }
        self.client.connection.last_activity.set(self.client.worker.clock.millis());
        self.mark();
        if goes_on || matches!(taken, Taken::Later(..)) { taken } else { Taken::Over }
    }

    /// Moves payloads of WebSocket messages to `bytes`.
    ///
    /// # Errors
    /// The client closes or broke a rule.
    fn unframe(&self, decoder: &mut Decoder, (input, bytes): (&mut Input, &mut Vec<u8>)) -> Result<(), Close> {
        loop {
            let (start, end) = (input.start, input.end);
            let decoded = decoder.decode(&mut input.buffer[start..end]);
            let (used, event) = decoded.map_err(|error| close(error.code, error.what))?;
            // A frame that ends no message yields nothing; behind it may stand another.
            let is_over = used == 0 && event.is_none();
            match event {
                // MQTT-6.0.0-1: packets travel in binary messages.
                Some(Event::Data { text: true, .. }) => return Err(close(1003, "MQTT wants binary messages")),
                Some(Event::Data { payload, .. }) => bytes.extend_from_slice(payload),
                Some(Event::Ping(payload)) => {
                    let mut frame = Vec::new();
                    encode_frame(&mut frame, Opcode::Pong, payload);
                    self.link.put_frame(&frame);
                }
                Some(Event::Close(said)) => {
                    let mut answer = Vec::new();
                    encode_close_answer(&mut answer, said);
                    return Err(answer);
                }
                Some(Event::Pong(_)) | None => {}
            }
            input.start += used;
            if is_over {
                return Ok(());
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

    /// Keeps what is left of a read for later.
    fn keep(&mut self, mut input: Input) {
        self.client.connection.last_activity.set(self.client.worker.clock.millis());
        if input.bytes().len() > READ_BYTES / 2 {
            // More than half a packet that may not fit a read buffer: it grows on its own.
            self.waiting().extend_from_slice(input.bytes());
            input.start = input.end;
        }
        self.client.stash(input);
        self.mark();
    }
}
