//! What was read of a connection, packet by packet: in place, or by way of an inbox where
//! packets came in pieces or in messages of a WebSocket. Never waits: a packet that needs time
//! is handed back, and what stands behind it is kept.

use super::packets::{Handled, Later, handle};
use super::serve::Connection;
use crate::client::Input;
use crate::worker::READ_BYTES;
use tidegate_websocket::{Decoder, Event, Opcode, encode_close, encode_frame};

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

impl Connection {
    /// Takes what was read.
    pub(super) fn take(&mut self, mut input: Input) -> Taken {
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
    pub(super) fn unframe(&mut self, decoder: &mut Decoder, input: &mut Input) -> bool {
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
}
