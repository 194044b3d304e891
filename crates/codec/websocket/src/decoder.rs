//! One direction of a connection: frames to messages.
//!
//! ```text
//! Head --header--> Payload --all of it--> Head          (data frames)
//! Head --control frame, whole--> Head | Closed          (ping, pong | close)
//! ```
//! The driver keeps at most the bytes that `decode` did not take: a header and a
//! control frame, 139 bytes.

use tidegate_kit::DecodeError;
use tidegate_message::Limits;

use crate::header::Header;
use crate::utf8::Utf8;
use crate::{Close, Opcode, mask};

/// Which end decodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Frames of a client, which must be masked.
    Server,
    /// Frames of a server, which must not be.
    Client,
}

/// How messages are handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// Whole; fragments are joined up to the limit.
    Messages,
    /// In parts as they come, without a limit: for a byte stream inside of binary
    /// messages, as MQTT is (MQTT-6.0.0-2).
    Parts,
}

/// What came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// A message, or a part of one.
    Data {
        /// Checked UTF-8 rather than bytes. A part may end within a character.
        text: bool,
        /// The bytes.
        payload: &'a [u8],
        /// Whether the message ends with it; always, unless parts were asked for.
        last: bool,
    },
    /// To be answered by a pong with this payload.
    Ping(&'a [u8]),
    /// An answer to a ping.
    Pong(&'a [u8]),
    /// The peer closes; everything behind it is passed over.
    Close(Close<'a>),
}

/// Decoder of one connection.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    delivery: Delivery,
    max_message: u64,
    state: State,
    message: Option<Message>,
    joined: Vec<u8>,
    /// `joined` was handed out and is of no more use.
    delivered: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Head,
    Payload { header: Header, done: u64 },
    Closed,
}

/// The message whose fragments come in.
#[derive(Clone, Copy, Debug)]
struct Message {
    text: bool,
    len: u64,
    utf8: Utf8,
}

impl Decoder {
    /// A decoder with the limit `websocket_message`.
    pub const fn new(role: Role, delivery: Delivery, limits: &Limits) -> Self {
        Decoder {
            role,
            delivery,
            max_message: limits.websocket_message as u64,
            state: State::Head,
            message: None,
            joined: Vec::new(),
            delivered: false,
        }
    }

    /// Takes bytes from the front of `input`, unmasking them in place. Gives how many
    /// it took and what they ended. Call again as long as it takes any; 0 and `None`:
    /// more bytes are needed behind those that are left.
    ///
    /// # Errors
    /// The broken rule with its close code: 1002, 1007 or 1009.
    pub fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<(usize, Option<Event<'a>>), DecodeError> {
        if self.delivered {
            self.joined = Vec::new();
            self.delivered = false;
        }
        match self.state {
            State::Head => self.decode_head(input),
            State::Payload { header, done } => self.decode_payload(header, done, (0, input)),
            State::Closed => Ok((input.len(), None)),
        }
    }

    /// Bytes that it holds.
    pub fn buffered(&self) -> usize {
        self.joined.len()
    }

    fn decode_head<'a>(&'a mut self, input: &'a mut [u8]) -> Result<(usize, Option<Event<'a>>), DecodeError> {
        let Some((header, used)) = Header::decode(input, self.role)? else { return Ok((0, None)) };
        if header.opcode.is_control() {
            return self.decode_control(header, (used, input));
        }
        self.start(&header)?;
        self.decode_payload(header, 0, (used, &mut input[used..]))
    }

    /// At most 125 bytes: taken only as a whole.
    fn decode_control<'a>(
        &mut self,
        header: Header,
        (used, input): (usize, &'a mut [u8]),
    ) -> Result<(usize, Option<Event<'a>>), DecodeError> {
        let end = used + header.len as usize;
        let Some(payload) = input.get_mut(used..end) else { return Ok((0, None)) };
        mask::apply(header.mask, 0, payload);
        let event = match header.opcode {
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Pong(payload),
            _ => {
                self.state = State::Closed;
                Event::Close(Close::decode(payload)?)
            }
        };
        Ok((end, Some(event)))
    }

    /// Opens a message or goes on with one (RFC 6455 section 5.4).
    fn start(&mut self, header: &Header) -> Result<(), DecodeError> {
        let text = header.opcode == Opcode::Text;
        let message = match (self.message, header.opcode) {
            (Some(message), Opcode::Continuation) => message,
            (None, Opcode::Text | Opcode::Binary) => Message { text, len: 0, utf8: Utf8::default() },
            _ => return Err(DecodeError::close(1002, "RFC 6455 section 5.4", "fragment out of place")),
        };
        let len = message.len.saturating_add(header.len);
        if self.delivery == Delivery::Messages && len > self.max_message {
            return Err(DecodeError::close(1009, "RFC 6455 section 7.4.1", "message larger than the limit"));
        }
        self.message = Some(Message { len, ..message });
        Ok(())
    }

    /// `input` begins `used` bytes behind what the caller gave.
    fn decode_payload<'a>(
        &'a mut self,
        header: Header,
        done: u64,
        (used, input): (usize, &'a mut [u8]),
    ) -> Result<(usize, Option<Event<'a>>), DecodeError> {
        let take = usize::try_from(header.len - done).unwrap_or(usize::MAX).min(input.len());
        let part = &mut input[..take];
        mask::apply(header.mask, done, part);
        let ended = done + take as u64 == header.len;
        self.state = if ended { State::Head } else { State::Payload { header, done: done + take as u64 } };
        let last = ended && header.fin;
        let text = self.check(part, last)?;
        Ok((used + take, self.deliver(text, part, last)))
    }

    /// Checks a part of a text; says whether the message is text.
    fn check(&mut self, part: &[u8], last: bool) -> Result<bool, DecodeError> {
        // `start` opened it.
        let Some(message) = &mut self.message else { return Ok(false) };
        let text = message.text;
        if text && !(message.utf8.feed(part) && (!last || message.utf8.is_whole())) {
            return Err(DecodeError::close(1007, "RFC 6455 section 8.1", "text is not UTF-8"));
        }
        if last {
            self.message = None;
        }
        Ok(text)
    }

    /// A message that came in one piece is not copied.
    fn deliver<'a>(&'a mut self, text: bool, part: &'a [u8], last: bool) -> Option<Event<'a>> {
        if self.delivery == Delivery::Parts {
            return (last || !part.is_empty()).then_some(Event::Data { text, payload: part, last });
        }
        if last && self.joined.is_empty() {
            return Some(Event::Data { text, payload: part, last });
        }
        self.joined.extend_from_slice(part);
        self.delivered = last;
        last.then_some(Event::Data { text, payload: &self.joined, last })
    }
}
