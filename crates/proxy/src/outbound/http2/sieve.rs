//! Frames of an upstream on their way to `h2` (RFC 9113 section 4). What goes on mostly goes on where it stands in the
//! buffer that was read. What `h2` would end the connection for, where an error of the stream or nothing at
//! all would do, goes on as something else: a malformed head with a field for which `h2` resets its stream,
//! empty DATA not at all.

use super::answers::Answers;
use super::hpack::{HeadWatch, Marks, forbidden};
use tokio::io::ReadBuf;

const HEADER: usize = 9;
/// Longest payload: SETTINGS_MAX_FRAME_SIZE as it is by default.
const PAYLOAD_MAX: usize = 16 << 10;
/// CONTINUATION frames of one head.
const CONTINUATIONS: usize = 20;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
pub(super) const RST_STREAM: u8 = 0x3;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// What stands in front of a frame's payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    pub(super) length: usize,
    pub(super) kind: u8,
    flags: u8,
    pub(super) stream: u32,
}

impl Frame {
    fn parse(bytes: &[u8]) -> Option<Frame> {
        let &[high, middle, low, kind, flags, a, b, c, d] = bytes.first_chunk::<HEADER>()?;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        Some(Frame { length, kind, flags, stream: u32::from_be_bytes([a & 0x7f, b, c, d]) })
    }

    const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether it is the last of its stream.
    pub(super) const fn ends_stream(self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.has(END_STREAM)
    }

    pub(super) const fn is_data(self) -> bool {
        self.kind == DATA
    }

    /// DATA that brings nothing.
    pub(super) const fn is_empty_data(self) -> bool {
        self.kind == DATA && self.length == 0 && !self.has(END_STREAM | PADDED)
    }

    /// A head that does not end its stream.
    #[cfg(test)]
    pub(super) const fn head_of(stream: u32) -> Frame {
        Frame { length: 0, kind: HEADERS, flags: END_HEADERS, stream }
    }

    const fn len(self) -> usize {
        HEADER + self.length
    }

    /// The field block in its payload (section 6.2); what is broken is `h2`'s to refuse.
    fn fragment(self, payload: &[u8]) -> &[u8] {
        if self.kind != HEADERS {
            return payload;
        }
        let (padding, rest) = match payload.split_first() {
            Some((length, rest)) if self.has(PADDED) => (usize::from(*length), rest),
            _ => (0, payload),
        };
        let rest = if self.has(PRIORITY) { rest.get(5..).unwrap_or_default() } else { rest };
        &rest[..rest.len().saturating_sub(padding)]
    }
}

impl Frame {
    /// A block in the place of this head.
    fn of_head(self, block: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + block.len());
        let (mut kind, mut flags, mut rest) = (HEADERS, self.flags & END_STREAM, block);
        loop {
            let (part, behind) = rest.split_at(rest.len().min(PAYLOAD_MAX));
            flags |= if behind.is_empty() { END_HEADERS } else { 0 };
            out.extend_from_slice(&(part.len() as u32).to_be_bytes()[1..]);
            out.extend_from_slice(&[kind, flags]);
            out.extend_from_slice(&self.stream.to_be_bytes());
            out.extend_from_slice(part);
            if behind.is_empty() {
                return out;
            }
            (kind, flags, rest) = (CONTINUATION, 0, behind);
        }
    }
}

/// What becomes of the bytes at hand.
enum Look {
    NeedMore,
    /// So many go on as they are, and as many of a payload behind them.
    Pass(usize, usize),
    /// So many give way to these.
    Replace(usize, Vec<u8>),
}

/// See the module.
#[derive(Default)]
pub(super) struct Sieve {
    answers: Answers,
    watch: HeadWatch,
    /// Bytes of a payload that go on unseen.
    skip: usize,
    /// The beginning of a frame that must be seen whole.
    held: Vec<u8>,
    /// What goes on before anything else is read, and how much of it did.
    ready: Vec<u8>,
    given: usize,
}

impl Sieve {
    /// Hands on what is ready. `false`: nothing is.
    pub(super) fn give(&mut self, read: &mut ReadBuf<'_>) -> bool {
        let rest = &self.ready[self.given..];
        if rest.is_empty() {
            return false;
        }
        let fits = rest.len().min(read.remaining());
        read.put_slice(&rest[..fits]);
        self.given += fits;
        if self.given == self.ready.len() {
            (self.ready, self.given) = (Vec::new(), 0);
        }
        true
    }

    /// Looks at what was read behind `before`. `false`: none of it goes on yet.
    pub(super) fn pass(&mut self, read: &mut ReadBuf<'_>, before: usize) -> bool {
        let new = &read.filled()[before..];
        if new.is_empty() {
            // The end: what was held is `h2`'s to wonder about.
            self.ready = std::mem::take(&mut self.held);
            self.give(read);
            return true;
        }
        let (good, replaced) = if self.held.is_empty() { self.scan(new) } else { (0, None) };
        if good == new.len() {
            return true;
        }
        let (gone, anew) = replaced.unwrap_or_default();
        self.ready = anew;
        self.held.extend_from_slice(&new[good + gone..]);
        read.set_filled(before + good);
        self.digest();
        good > 0 || self.give(read)
    }

    /// Goes on with what is held.
    fn digest(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        let mut at = 0;
        loop {
            let (good, replaced) = self.scan(&held[at..]);
            self.ready.extend_from_slice(&held[at..at + good]);
            at += good;
            let Some((gone, anew)) = replaced else { break };
            self.ready.extend_from_slice(&anew);
            at += gone;
        }
        if at < held.len() {
            held.drain(..at);
            self.held = held;
        }
    }

    /// How many bytes go on as they are, and what takes the place of how many behind them.
    fn scan(&mut self, bytes: &[u8]) -> (usize, Option<(usize, Vec<u8>)>) {
        let mut at = 0;
        loop {
            let skipped = self.skip.min(bytes.len() - at);
            self.skip -= skipped;
            at += skipped;
            match self.look(&bytes[at..]) {
                Look::Pass(count, payload) => {
                    at += count;
                    self.skip = payload;
                }
                Look::Replace(count, anew) => return (at, Some((count, anew))),
                Look::NeedMore => return (at, None),
            }
        }
    }

    fn look(&mut self, bytes: &[u8]) -> Look {
        let Some(frame) = Frame::parse(bytes) else { return Look::NeedMore };
        if frame.kind != HEADERS || frame.length > PAYLOAD_MAX {
            let goes_on = self.answers.frame(frame);
            return if goes_on { Look::Pass(HEADER, frame.length) } else { Look::Replace(frame.len(), Vec::new()) };
        }
        if !frame.has(END_HEADERS) {
            return self.gather(frame, bytes);
        }
        let Some(payload) = bytes.get(HEADER..frame.len()) else { return Look::NeedMore };
        self.answers.frame(frame);
        match self.judge(frame, frame.fragment(payload)) {
            Some(anew) => Look::Replace(frame.len(), anew),
            None => Look::Pass(frame.len(), 0),
        }
    }

    /// A head in several frames: it goes on in one, since `h2` takes a malformed first one for the whole.
    fn gather(&mut self, first: Frame, bytes: &[u8]) -> Look {
        let mut parts = [None; CONTINUATIONS + 1];
        let (mut at, mut next, mut is_whole) = (0, Some(first), false);
        for part in &mut parts {
            let Some(frame) = next.filter(|_| !is_whole) else { break };
            *part = Some((frame, at + HEADER));
            at += frame.len();
            is_whole = frame.has(END_HEADERS);
            let Some(behind) = bytes.get(at..).and_then(Frame::parse).or(is_whole.then_some(first)) else {
                return Look::NeedMore;
            };
            next = Some(behind).filter(|behind| behind.kind == CONTINUATION && behind.stream == first.stream);
        }
        if !is_whole {
            // Too many, or others between them: `h2` ends the connection.
            self.watch.lose();
            self.answers.frame(first);
            return Look::Pass(HEADER, first.length);
        }
        if bytes.len() < at {
            return Look::NeedMore;
        }
        let parts = parts.into_iter().flatten();
        let block: Vec<u8> =
            parts.flat_map(|(part, from)| part.fragment(&bytes[from..from + part.length])).copied().collect();
        self.answers.frame(first);
        match self.judge(first, &block) {
            Some(anew) => Look::Replace(at, anew),
            None if block.len() > PAYLOAD_MAX => Look::Pass(at, 0),
            None => Look::Replace(at, first.of_head(&block)),
        }
    }

    /// What goes on in place of a head that is malformed.
    fn judge(&mut self, frame: Frame, block: &[u8]) -> Option<Vec<u8>> {
        let (fields, anew) = self.watch.block(block);
        let is_malformed = self.answers.head(frame, fields) || fields.has(Marks::BAD);
        is_malformed.then(|| frame.of_head(&forbidden(anew.as_deref().unwrap_or(block))))
    }
}
