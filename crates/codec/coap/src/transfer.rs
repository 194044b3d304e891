//! One request as a client makes it: the blocks of its body, then those of its answer
//! (RFC 7959), and the one more try that an Echo takes (RFC 9175 section 2.3).

use crate::observing::Asked;
use crate::{Block, Code, Head, Message, OptionList, OptionNumber, Token, Type, encode};

/// Block of a request's body: 1,024 bytes, unless the endpoint wants smaller ones.
const SZX: u8 = 6;
/// How often an answer is fetched anew because it changed between its blocks.
const RESTARTS_MAX: u8 = 2;

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its code.
    pub code: Code,
    /// Its options, without those of blocks.
    pub options: OptionList,
    /// Its whole body.
    pub body: Vec<u8>,
    /// Whether it came in a confirmable message of its own.
    pub confirmable: bool,
}

impl Answer {
    /// Whether more will come by itself: it is the state of what is observed (RFC 7641
    /// section 3.1).
    pub fn observes(&self) -> bool {
        self.code.class() == 2 && self.options.contains(OptionNumber::OBSERVE)
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The endpoint has no context for the request, or does not speak CoAP.
    Reset,
    /// Nothing came.
    Timeout,
    /// The answer is longer than what is put together.
    TooLarge,
    /// Its blocks do not fit each other, or it has a critical option that is not known.
    Broken,
}

#[derive(Debug)]
pub(crate) struct Transfer {
    method: Code,
    options: OptionList,
    body: Vec<u8>,
    max_body: usize,
    /// Bytes of the body that the endpoint has, and the size of its blocks.
    sent: usize,
    szx: u8,
    /// What came of the answer, its blocks' size, and what it said of itself.
    collected: Vec<u8>,
    wanted: Option<u8>,
    etag: Option<Vec<u8>>,
    echo: Option<Vec<u8>>,
    restarts: u8,
    /// What its first message says about observing: 0 or 1 (RFC 7641 section 2).
    pub(crate) observe: Option<u32>,
}

impl Transfer {
    pub(crate) fn new((method, options, body): (Code, OptionList, Vec<u8>), max_body: usize) -> Self {
        Transfer {
            method,
            options,
            body,
            max_body,
            sent: 0,
            szx: SZX,
            collected: Vec::new(),
            wanted: None,
            etag: None,
            echo: None,
            restarts: 0,
            observe: None,
        }
    }

    /// What it began with.
    pub(crate) fn request(&self) -> Asked {
        (self.method, self.options.clone(), self.body.clone())
    }

    fn block_size(&self) -> usize {
        Block { num: 0, more: false, szx: self.szx }.size()
    }

    /// The message that is to be sent now.
    pub(crate) fn encode(&mut self, message_id: u16, token: Token) -> Vec<u8> {
        let mut added = OptionList::new();
        let mut payload: &[u8] = &self.body;
        let size = self.block_size();
        if self.body.len() > size || self.sent > 0 {
            let end = (self.sent + size).min(self.body.len());
            payload = &self.body[self.sent.min(end)..end];
            let block = Block { num: (self.sent / size) as u32, more: end < self.body.len(), szx: self.szx };
            // Once the endpoint has it all, only its answer is asked for (section 3.3).
            if self.wanted.is_none() {
                added.push_uint(OptionNumber::BLOCK1, block.to_uint());
                if self.sent == 0 {
                    added.push_uint(OptionNumber::SIZE1, self.body.len() as u32);
                }
            } else {
                payload = b"";
            }
        }
        if let Some(szx) = self.wanted {
            let size = Block { num: 0, more: false, szx }.size();
            let block = Block { num: (self.collected.len() / size) as u32, more: false, szx };
            added.push_uint(OptionNumber::BLOCK2, block.to_uint());
            // What the first block was validated by is no question of the later ones: they
            // name the same representation (RFC 7959 section 2.4), of which 2.03 has no block.
            self.options.remove(OptionNumber::ETAG);
        }
        if let Some(observe) = self.observe.filter(|_| self.wanted.is_none()) {
            added.push_uint(OptionNumber::OBSERVE, observe);
        }
        if let Some(echo) = &self.echo {
            added.push(OptionNumber::ECHO, echo);
        }
        let head = Head { kind: Type::Confirmable, code: self.method, message_id, token };
        let mut out = Vec::with_capacity(64 + payload.len());
        // RFC 7959 section 2.10: behind the first block it would be about what that has begun.
        let later = (self.sent > 0 && self.options.contains(OptionNumber::IF_NONE_MATCH)).then(|| {
            let mut later = self.options.clone();
            later.remove(OptionNumber::IF_NONE_MATCH);
            later
        });
        encode(&mut out, &head, [later.as_ref().unwrap_or(&self.options), &added], payload);
        out
    }

    /// Whether blocks have gone or come, and others follow.
    pub(crate) const fn is_midway(&self) -> bool {
        self.sent > 0 || self.wanted.is_some()
    }

    /// Whether a response is about a block that is done with: it has come twice, as two
    /// messages, where the request was sent twice.
    pub(crate) fn has_taken(&self, message: &Message<'_>) -> bool {
        let offset = |number| message.block(number).flatten().map(|block: Block| block.offset());
        match message.code {
            Code::CONTINUE => offset(OptionNumber::BLOCK1).is_some_and(|offset| offset < self.sent),
            code if code.class() == 2 && self.wanted.is_some() => {
                offset(OptionNumber::BLOCK2).is_some_and(|offset| offset < self.collected.len())
            }
            _ => false,
        }
    }

    /// Takes a response. `None`: another message is to be sent.
    pub(crate) fn handle(&mut self, message: &Message<'_>) -> Option<Result<Answer, Failure>> {
        // RFC 7252 section 5.9.1.3: nobody has asked whether anything is still valid.
        let is_unasked = message.code == Code::VALID && !self.options.contains(OptionNumber::ETAG);
        if is_unasked || message.unfit_option(true).is_some() {
            return Some(Err(Failure::Broken));
        }
        let block1 = message.block(OptionNumber::BLOCK1).flatten();
        match (message.code, block1) {
            (Code::CONTINUE, Some(block)) if self.wanted.is_none() => return self.go_on(block),
            (Code::CONTINUE, _) => return Some(Err(Failure::Broken)),
            // Section 2.9.3: smaller blocks, from the beginning.
            (Code::REQUEST_ENTITY_TOO_LARGE, Some(block)) if self.sent == 0 && block.szx < self.szx => {
                self.szx = block.szx;
                return None;
            }
            _ => {}
        }
        if let (Code::UNAUTHORIZED, Some(echo), None) = (message.code, message.option(OptionNumber::ECHO), &self.echo) {
            self.echo = Some(echo.value.to_vec());
            self.sent = 0;
            return None;
        }
        match message.block(OptionNumber::BLOCK2) {
            Some(None) => Some(Err(Failure::Broken)),
            Some(Some(block)) if message.code.class() == 2 => self.collect(message, block),
            _ => self.done(message, message.payload.to_vec()),
        }
    }

    /// The endpoint has one more block, and may want smaller ones from now on.
    fn go_on(&mut self, block: Block) -> Option<Result<Answer, Failure>> {
        let size = self.block_size();
        if block.num as usize != self.sent / size && block.offset() != self.sent {
            return Some(Err(Failure::Broken));
        }
        self.sent += size;
        self.szx = self.szx.min(block.szx);
        match self.sent < self.body.len() {
            true => None,
            false => Some(Err(Failure::Broken)),
        }
    }

    fn collect(&mut self, message: &Message<'_>, block: Block) -> Option<Result<Answer, Failure>> {
        let etag = message.option(OptionNumber::ETAG).map(|option| option.value.to_vec());
        // Section 2.4: another tag is another representation, which is fetched from its
        // beginning where that changes nothing.
        if self.wanted.is_some() && self.etag != etag && self.is_safe() && self.restarts < RESTARTS_MAX {
            self.restarts += 1;
            self.collected.clear();
            self.wanted = None;
            return None;
        }
        if block.offset() != self.collected.len() || (self.wanted.is_some() && self.etag != etag) {
            return Some(Err(Failure::Broken));
        }
        if self.collected.len() + message.payload.len() > self.max_body {
            return Some(Err(Failure::TooLarge));
        }
        if block.more && message.payload.len() != block.size() {
            return Some(Err(Failure::Broken));
        }
        self.collected.extend_from_slice(message.payload);
        if block.more {
            (self.wanted, self.etag) = (Some(block.szx), etag);
            return None;
        }
        let body = std::mem::take(&mut self.collected);
        self.done(message, body)
    }

    /// A method that may be repeated, without a body in blocks.
    fn is_safe(&self) -> bool {
        self.method == Code::GET || (self.method == Code::FETCH && self.sent == 0)
    }

    fn done(&self, message: &Message<'_>, body: Vec<u8>) -> Option<Result<Answer, Failure>> {
        if body.len() > self.max_body {
            return Some(Err(Failure::TooLarge));
        }
        let mut options = OptionList::new();
        let of_layer = [
            OptionNumber::BLOCK1,
            OptionNumber::BLOCK2,
            OptionNumber::SIZE1,
            OptionNumber::SIZE2,
            OptionNumber::OBSERVE,
        ];
        for option in message.options().filter(|option| !of_layer.contains(&option.number)) {
            options.push(option.number, option.value);
        }
        let confirmable = message.kind == Type::Confirmable;
        Some(Ok(Answer { code: message.code, options, body, confirmable }))
    }
}
