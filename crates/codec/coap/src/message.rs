//! Messages as a datagram holds them (RFC 7252 section 3), borrowed from its bytes.
//! Code, token, options and payload are the same over every transport; only the four
//! bytes in front are those of UDP.

use tidegate_kit::{Reader, Truncated};

use crate::{Block, Code, OptionNumber, OptionRef, Options, Token};

/// How a message is delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Type {
    /// Is to be acknowledged.
    Confirmable = 0,
    /// Is not.
    NonConfirmable = 1,
    /// Acknowledges, and may carry the response.
    Acknowledgement = 2,
    /// Could not be processed.
    Reset = 3,
}

/// A valid message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// How it is delivered.
    pub kind: Type,
    /// What it asks or answers.
    pub code: Code,
    /// What ties an acknowledgement to it.
    pub message_id: u16,
    /// What ties a response to its request.
    pub token: Token,
    /// Body; empty where there is none.
    pub payload: &'a [u8],
    options: &'a [u8],
}

/// A datagram that is no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// The broken rule.
    pub rule: &'static str,
    /// What was wrong.
    pub what: &'static str,
    /// Type and message id as far as they could be read: a confirmable one is rejected
    /// with a Reset (section 4.2), all others in silence (section 4.3).
    pub header: Option<(Type, u16)>,
}

impl<'a> Message<'a> {
    pub(crate) const fn new(
        (kind, code, message_id): (Type, Code, u16),
        token: Token,
        (options, payload): (&'a [u8], &'a [u8]),
    ) -> Self {
        Message { kind, code, message_id, token, payload, options }
    }

    /// Reads a datagram. `max_options`: options before it counts as a flood.
    ///
    /// # Errors
    /// The broken rule, with what is needed to reject it.
    pub fn decode(datagram: &'a [u8], max_options: usize) -> Result<Self, Malformed> {
        let Some((&[first, code, high, low], rest)) = datagram.split_first_chunk::<4>() else {
            return Err(Malformed { rule: "RFC 7252 section 3", what: "shorter than a header", header: None });
        };
        // RFC 7252 section 3: other versions are ignored in silence.
        if first >> 6 != 1 {
            return Err(Malformed { rule: "RFC 7252 section 3", what: "unknown version", header: None });
        }
        let kind =
            [Type::Confirmable, Type::NonConfirmable, Type::Acknowledgement, Type::Reset][usize::from(first >> 4 & 3)];
        let message_id = u16::from_be_bytes([high, low]);
        let header = Some((kind, message_id));
        let parts = Parts { code: Code(code), token_len: first & 15, max_options };
        let (token, options, payload) = parts.decode(rest).map_err(|(rule, what)| Malformed { rule, what, header })?;
        Ok(Message::new((kind, Code(code), message_id), token, (options, payload)))
    }

    /// Its options, in order.
    pub fn options(&self) -> Options<'a> {
        Options::new(self.options)
    }

    /// The first option of that number.
    pub fn option(&self, number: u16) -> Option<OptionRef<'a>> {
        self.options().take_while(|option| option.number <= number).find(|option| option.number == number)
    }

    /// A numeric option's value; none where its length is one that it may not have (RFC 7252
    /// section 5.4.3), which of a critical one [`Message::bad_option`] tells.
    pub fn uint(&self, number: u16) -> Option<u32> {
        self.option(number).filter(OptionRef::has_fitting_length)?.uint()
    }

    /// 0: the peer wants to observe; 1: no longer.
    pub fn observe(&self) -> Option<u32> {
        self.uint(OptionNumber::OBSERVE)
    }

    /// The Content-Format of its payload.
    pub fn content_format(&self) -> Option<u16> {
        self.uint(OptionNumber::CONTENT_FORMAT)?.try_into().ok()
    }

    /// The Content-Format that it accepts.
    pub fn accept(&self) -> Option<u16> {
        self.uint(OptionNumber::ACCEPT)?.try_into().ok()
    }

    /// Block1 or Block2; `Some(None)`: there, but not a valid block.
    pub fn block(&self, number: u16) -> Option<Option<Block>> {
        self.option(number).map(|option| Block::decode(option.value))
    }

    /// The first option with which it can be neither taken nor passed on: a critical one as
    /// [`Message::bad_option`] has them, but not one that is only unknown and safe to forward;
    /// and any that is unknown and unsafe (RFC 7252 section 5.7.1). `passed_on`: the elective
    /// ones, too, which who takes it ignores.
    pub fn unfit_option(&self, passed_on: bool) -> Option<u16> {
        let mut before = None;
        let mut unfit = |option: &OptionRef<'_>| {
            let twice = before == Some(option.number) && option.is_single();
            before = Some(option.number);
            match OptionNumber::is_known(option.number) {
                true => option.is_critical() && (twice || !option.is_well_formed()),
                false => OptionNumber::is_unsafe(option.number) && (passed_on || option.is_critical()),
            }
        };
        self.options().find(|option| unfit(option)).map(|option| option.number)
    }

    /// The first critical option that is unknown, has a length that it may not have,
    /// or stands twice where it may not (RFC 7252 sections 5.4.1, 5.4.3, 5.4.5).
    pub fn bad_option(&self) -> Option<u16> {
        let mut before = None;
        let mut bad = |option: &OptionRef<'_>| {
            let twice = before == Some(option.number) && option.is_single();
            before = Some(option.number);
            option.is_critical() && (twice || !option.is_well_formed())
        };
        self.options().find(|option| bad(option)).map(|option| option.number)
    }
}

/// What the parts behind the header are read with.
pub(crate) struct Parts {
    pub(crate) code: Code,
    pub(crate) token_len: u8,
    pub(crate) max_options: usize,
}

type Broken = (&'static str, &'static str);

impl Parts {
    pub(crate) fn decode<'a>(&self, rest: &'a [u8]) -> Result<(Token, &'a [u8], &'a [u8]), Broken> {
        let mut reader = Reader::new(rest);
        let token =
            reader.take(usize::from(self.token_len)).map_err(|Truncated| ("RFC 7252 section 3", "token cut off"))?;
        let token = Token::new(token).ok_or(("RFC 7252 section 3", "token longer than eight bytes"))?;
        if self.code == Code::EMPTY && !rest.is_empty() {
            return Err(("RFC 7252 section 4.1", "empty message with something in it"));
        }
        let body = reader.all();
        let mut options = Options::new(body);
        if options.by_ref().take(self.max_options + 1).count() > self.max_options {
            return Err(("RFC 7252 section 3.1", "too many options"));
        }
        let payload = match options.rest() {
            [] => &[][..],
            [0xff] => return Err(("RFC 7252 section 3", "payload marker without a payload")),
            [0xff, payload @ ..] => payload,
            _ => return Err(("RFC 7252 section 3.1", "malformed option")),
        };
        Ok((token, &body[..body.len() - options.rest().len()], payload))
    }
}
