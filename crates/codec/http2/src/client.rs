//! The end that asks: an upstream's connection (RFC 9113 sections 3.4, 5.1.1 and 8.1).

use crate::answer::{Answer, AnswerHead};
use crate::connection::{Broken, Config, Connection, TakeRequest, rule};
use crate::frame::{HEADER, Reason};
use crate::head::{RequestHead, Target};
use crate::message::Nobody;
use crate::stream::HeadWriter;
use crate::streams::{RemoteEnd, StreamKey, opened};
use std::collections::VecDeque;

/// Interim answers of a stream that nobody has read.
const INTERIM_MAX: usize = 16;
/// Numbers of streams end there (section 5.1.1).
const ID_MAX: u32 = (1 << 31) - 1;

/// What only the end that asks has.
pub(crate) struct Asking {
    /// SETTINGS_MAX_CONCURRENT_STREAMS of the other end.
    pub(crate) streams_allowed: u32,
    /// SETTINGS_ENABLE_CONNECT_PROTOCOL of the other end (RFC 8441).
    pub(crate) takes_tunnels: bool,
}

/// What a stream's answer is read by.
#[derive(Default)]
pub(crate) struct Asked {
    /// Heads that nobody has read.
    pub(crate) answers: VecDeque<Answer>,
    /// The final one came.
    pub(crate) is_answered: bool,
    /// Whatever the fields say, nothing follows: it was asked by HEAD.
    has_no_content: bool,
    pub(crate) cause: Cause,
}

/// Why a stream ended before its answer did.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Cause {
    /// Its connection did.
    #[default]
    Lost,
    /// The other end left before it, and did nothing for it (section 6.8).
    LeftOut,
    /// The other end reset it.
    Reset(Reason),
    /// The answer broke a rule.
    Broken,
}

/// Why nothing was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AskError {
    /// The connection takes no more requests.
    Left,
    /// HTTP/2 cannot say it.
    Unsayable,
}

/// A server asks nothing.
struct NoRequests;

impl TakeRequest for NoRequests {
    fn take(&mut self, _: StreamKey, _: &mut RequestHead, _: bool) -> Result<(), Reason> {
        Err(Reason::INTERNAL_ERROR)
    }
}

/// What is asked.
impl Connection {
    /// A connection to a server, to whom everything that it must know is said at once.
    pub fn client(config: Config) -> Self {
        Self::begin(config, Some(Asking { streams_allowed: u32::MAX, takes_tunnels: false }))
    }

    /// Takes what the server sent, at that time. After a [`crate::Failure`] nothing is read.
    pub fn receive_answers(&mut self, bytes: &[u8], now_ms: u64) {
        self.receive(bytes, now_ms, &mut NoRequests);
    }

    /// How many streams the server takes at once.
    pub fn streams_allowed(&self) -> u32 {
        self.asking.as_ref().map_or(0, |asking| asking.streams_allowed)
    }

    /// Whether it takes an extended CONNECT (RFC 8441).
    pub fn takes_tunnels(&self) -> bool {
        self.asking.as_ref().is_some_and(|asking| asking.takes_tunnels)
    }

    /// Whether it takes another request, now or later.
    pub const fn is_open(&self) -> bool {
        self.failure.is_none() && !self.is_left && self.last < ID_MAX - 1
    }

    /// Opens a stream with that head, which fields may follow. The stream is there when the head is finished.
    ///
    /// # Errors
    /// It was not opened.
    pub fn ask(&mut self, target: &Target<'_>) -> Result<HeadWriter<'_>, AskError> {
        if !self.is_open() {
            return Err(AskError::Left);
        }
        if !target.is_fine() {
            return Err(AskError::Unsayable);
        }
        self.last = (self.last + 1) | 1;
        let mut stream = opened(self.last, (self.initial_window, self.config.stream_window), (false, None));
        stream.asked.has_no_content = target.method == b"HEAD";
        let key = self.streams.insert(stream);
        let from = self.out.len();
        self.out.extend_from_slice(&[0; HEADER]);
        self.encoder.begin(&mut self.out);
        self.encoder.target(target, &mut self.out);
        Ok(HeadWriter::opening(self, key, from))
    }

    /// No more is asked: the connection is over when its streams are.
    pub fn retire(&mut self) {
        if !self.is_left && self.failure.is_none() {
            self.put_goaway(0, Reason::NO_ERROR);
        }
        self.is_left = true;
    }

    /// The connection is gone: so are its streams, but for what came of them.
    pub fn lose(&mut self) {
        self.is_left = true;
        for stream in self.streams.each() {
            if stream.remote == RemoteEnd::Open {
                stream.remote = RemoteEnd::Reset;
            }
            stream.wake();
        }
    }
}

/// What is answered.
impl Connection {
    /// The next head that came, if any.
    pub fn take_answer(&mut self, key: StreamKey) -> Option<Answer> {
        self.streams.get_mut(key)?.asked.answers.pop_front()
    }

    /// Why a stream is [`RemoteEnd::Reset`].
    pub fn cause(&self, key: StreamKey) -> Cause {
        self.streams.get(key).map_or(Cause::Lost, |stream| stream.asked.cause)
    }

    /// Whether more can be sent on the stream.
    pub fn can_be_sent(&self, key: StreamKey) -> bool {
        self.streams.get(key).is_some_and(|stream| stream.can_be_sent())
    }

    /// Streams above that were not looked at (section 6.8).
    pub(crate) fn left_out(&mut self, last: u32) {
        for stream in self.streams.each().filter(|stream| stream.id > last && stream.remote == RemoteEnd::Open) {
            (stream.remote, stream.asked.cause) = (RemoteEnd::Reset, Cause::LeftOut);
            stream.wake();
        }
    }

    /// A whole head came, or trailers.
    pub(crate) fn answer(&mut self, (id, ends): (u32, bool), block: &[u8]) -> Result<(), Broken> {
        if self.is_unopened(id) {
            return rule(Reason::PROTOCOL_ERROR);
        }
        let key = self.streams.find(id);
        let stream = key.and_then(|key| self.streams.get_mut(key));
        let Some(stream) = stream.filter(|stream| stream.remote == RemoteEnd::Open) else {
            // The table is the connection's, whatever becomes of the stream.
            self.decoder.decode(block, &mut Nobody).map_or(rule(Reason::COMPRESSION_ERROR), Ok)?;
            return self.on_closed(id, true);
        };
        let mut head = AnswerHead::begin(self.config.head_max as usize, stream.asked.is_answered);
        self.decoder.decode(block, &mut head).map_or(rule(Reason::COMPRESSION_ERROR), Ok)?;
        let Some(answer) = head.finish(ends) else { return Err(Broken::Stream(id, Reason::PROTOCOL_ERROR)) };
        if !stream.asked.is_answered && !answer.is_interim() {
            let has_none = stream.asked.has_no_content || matches!(answer.status, 204 | 304);
            stream.expected = if has_none { Some(0) } else { answer.content_length };
        }
        // Section 8.1.1.
        if ends && stream.expected.is_some_and(|left| left > 0) {
            return Err(Broken::Stream(id, Reason::PROTOCOL_ERROR));
        }
        if stream.asked.is_answered {
            stream.trailers = answer.lines;
        } else if stream.asked.answers.len() < INTERIM_MAX {
            stream.asked.is_answered = !answer.is_interim();
            stream.asked.answers.push_back(answer);
        } else {
            return Err(Broken::Stream(id, Reason::ENHANCE_YOUR_CALM));
        }
        if ends {
            stream.remote = RemoteEnd::Ended;
        }
        stream.wake();
        Ok(())
    }
}
