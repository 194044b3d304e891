//! An answer's head out of its fields (RFC 9113 section 8.3.2).

use crate::head::{Size, is_of_a_message, length_of, put};
use crate::hpack::TakeField;
use std::ops::Range;

/// The head of an answer, final or interim.
#[derive(Default, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Of three digits, and never 101 (section 8.6).
    pub status: u16,
    /// The fields, as lines of HTTP/1.1.
    pub lines: Vec<u8>,
    /// What `content-length` says.
    pub content_length: Option<u64>,
    /// Nothing follows it.
    pub ends: bool,
    content_type: Range<usize>,
}

impl Answer {
    /// Whether the final answer is still to come (RFC 9110 section 15.2).
    pub const fn is_interim(&self) -> bool {
        self.status < 200
    }

    /// The value of the first `content-type`, or nothing.
    pub fn content_type(&self) -> &[u8] {
        &self.lines[self.content_type.clone()]
    }
}

/// An answer's head, or its trailers, while it is read.
#[derive(Default)]
pub(crate) struct AnswerHead {
    answer: Answer,
    is_trailers: bool,
    has_fields: bool,
    size: Size,
    /// It is malformed, or too large.
    is_refused: bool,
}

impl AnswerHead {
    /// Fields come; all of them may have so many octets (section 6.5.2).
    pub(crate) fn begin(size_max: usize, is_trailers: bool) -> AnswerHead {
        AnswerHead { is_trailers, size: Size::of(size_max), ..AnswerHead::default() }
    }

    /// All of them came; `ends`: nothing follows. `None`: it is malformed, or too large.
    pub(crate) fn finish(self, ends: bool) -> Option<Answer> {
        let AnswerHead { mut answer, is_trailers, is_refused, .. } = self;
        answer.ends = ends;
        let is_whole = if is_trailers { ends } else { answer.status > 0 && !(ends && answer.is_interim()) };
        (!is_refused && is_whole).then_some(answer)
    }

    fn status(&mut self, value: &[u8]) {
        let is_second = self.answer.status > 0 || self.has_fields || self.is_trailers;
        match value {
            [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] if !is_second && value != b"101" => {
                self.answer.status = value.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
            }
            _ => self.is_refused = true,
        }
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        self.has_fields = true;
        let length = if name == b"content-length" { length_of(value) } else { None };
        let is_no_length = name == b"content-length" && length.is_none();
        if !is_of_a_message(name, value) || is_no_length {
            self.is_refused = true;
            return;
        }
        let answer = &mut self.answer;
        // Whether there may be several is for the rules of HTTP/1.1.
        answer.content_length = answer.content_length.or(length);
        put(&mut answer.lines, &[name, b": ", value, b"\r\n"]);
        if name == b"content-type" && answer.content_type == (0..0) {
            let end = answer.lines.len() - 2;
            answer.content_type = end - value.len()..end;
        }
    }
}

impl TakeField for AnswerHead {
    fn take(&mut self, name: &[u8], value: &[u8]) {
        self.is_refused |= !self.size.take(name, value);
        match name {
            _ if self.is_refused => {}
            b":status" => self.status(value),
            _ if name.first() == Some(&b':') => self.is_refused = true,
            _ => self.field(name, value),
        }
    }
}
