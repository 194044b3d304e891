//! Large answers that a peer fetches block by block (RFC 7959 section 2.4): kept for
//! a moment, so that its later requests do not ask an upstream or handler again. What
//! was done once by POST must not be done once per block.

use super::view::{CoapView, type_of};
use crate::outbound::coap::passed_on;
use foldhash::fast::RandomState;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::rc::Rc;
use tidegate_coap::{Answer, Code, Exchange, OptionNumber};

/// Answers of one socket, and their bytes; the oldest go first.
const ANSWERS_MAX: usize = 64;
const BYTES_MAX: usize = 4 << 20;
/// How long a peer may take between two blocks.
const LIFETIME_MS: u64 = 60_000;
/// The block of a peer that named no size, and of one whose address is not proven.
const BLOCK: (usize, usize) = (1_024, 64);

/// What an answer is found by, and from which size on it comes in blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Continuation {
    key: u64,
    block: usize,
}

/// An answer as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(super) status: u16,
    /// The code as a CoAP upstream said it.
    pub(super) code: Option<Code>,
    pub(super) content_type: Option<Box<[u8]>>,
    pub(super) max_age: Option<u32>,
    /// Other options that a CoAP upstream said.
    pub(super) passed_on: Vec<(u16, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    /// A notification that its server wanted to be acknowledged.
    pub(super) confirmable: bool,
}

impl Whole {
    /// The code of the answer to a request.
    pub(super) fn code(&self, method: Code) -> Code {
        self.code.unwrap_or(Code::from_status(self.status, method))
    }
}

impl From<Answer> for Whole {
    fn from(answer: Answer) -> Whole {
        let format = answer.options.uint(OptionNumber::CONTENT_FORMAT).and_then(|format| u16::try_from(format).ok());
        Whole {
            status: 0,
            code: Some(answer.code),
            content_type: format.map(|format| type_of(format).as_bytes().into()),
            max_age: answer.options.uint(OptionNumber::MAX_AGE),
            passed_on: passed_on(&answer.options).map(|(number, value)| (number, value.to_vec())).collect(),
            confirmable: answer.confirmable,
            body: answer.body,
        }
    }
}

struct Kept {
    key: u64,
    at_ms: u64,
    answer: Rc<Whole>,
}

/// The answers of one socket.
#[derive(Default)]
pub(super) struct KeptAnswers {
    list: VecDeque<Kept>,
    bytes: usize,
    hasher: RandomState,
}

impl KeptAnswers {
    /// Of a request: its peer, method, host, path and query, what form is asked for, and the
    /// Request-Tag by which the peer tells its transfers apart (RFC 9175 section 3.3).
    pub(super) fn continuation(&self, exchange: &Exchange, view: &CoapView<'_>) -> Continuation {
        let mut query = Vec::new();
        view.message.write_query(&mut query);
        for tag in view.message.options().filter(|option| option.number == OptionNumber::REQUEST_TAG) {
            // No byte of a query is that.
            query.extend_from_slice(&[0, tag.value.len() as u8]);
            query.extend_from_slice(tag.value);
        }
        let asked = view.message.block(OptionNumber::BLOCK2).flatten().map(|block| block.size());
        Continuation {
            key: self.hasher.hash_one((exchange.peer, exchange.method.0, view.host(), view.path, query, view.accept())),
            block: asked.unwrap_or(if exchange.proven { BLOCK.0 } else { BLOCK.1 }),
        }
    }

    /// Keeps an answer, if it comes in blocks.
    pub(super) fn keep(&mut self, now_ms: u64, continuation: Continuation, answer: &Rc<Whole>) {
        let len = answer.body.len();
        if len <= continuation.block || len > BYTES_MAX {
            return;
        }
        self.list.retain(|kept| kept.key != continuation.key);
        self.list.push_back(Kept { key: continuation.key, at_ms: now_ms, answer: Rc::clone(answer) });
        self.bytes = self.list.iter().map(|kept| kept.answer.body.len()).sum();
        let too_many = |list: &VecDeque<Kept>, bytes| list.len() > ANSWERS_MAX || bytes > BYTES_MAX;
        let too_old = |list: &VecDeque<Kept>| list.front().is_some_and(|kept| now_ms > kept.at_ms + LIFETIME_MS);
        while too_many(&self.list, self.bytes) || too_old(&self.list) {
            let Some(oldest) = self.list.pop_front() else { return };
            self.bytes -= oldest.answer.body.len();
        }
    }

    pub(super) fn find(&self, now_ms: u64, continuation: Continuation) -> Option<Rc<Whole>> {
        let kept = self.list.iter().find(|kept| kept.key == continuation.key)?;
        (now_ms <= kept.at_ms + LIFETIME_MS).then(|| Rc::clone(&kept.answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(len: usize) -> Rc<Whole> {
        Rc::new(Whole { status: 200, body: vec![0; len], ..Whole::default() })
    }

    #[test]
    fn keeps_what_comes_in_blocks_for_a_while() {
        let mut answers = KeptAnswers::default();
        let of = |key| Continuation { key, block: 64 };
        answers.keep(0, of(1), &answer(64));
        answers.keep(0, of(2), &answer(65));
        assert!(answers.find(0, of(1)).is_none() && answers.find(LIFETIME_MS, of(2)).is_some());
        assert!(answers.find(LIFETIME_MS + 1, of(2)).is_none());
    }

    #[test]
    fn is_bounded_by_number_and_bytes_and_the_oldest_go() {
        let mut answers = KeptAnswers::default();
        let of = |key| Continuation { key, block: 64 };
        for key in 0..200 {
            answers.keep(0, of(key), &answer(100));
        }
        assert_eq!((answers.list.len(), answers.bytes), (ANSWERS_MAX, ANSWERS_MAX * 100));
        assert!(answers.find(0, of(199)).is_some() && answers.find(0, of(0)).is_none());
        for key in 0..3 {
            answers.keep(0, of(key), &answer(BYTES_MAX / 2));
        }
        assert_eq!((answers.list.len(), answers.bytes), (2, BYTES_MAX / 2 * 2));
    }
}
