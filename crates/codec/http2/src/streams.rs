//! The streams of one connection: those that are open, and how the last of the others ended.

use crate::client::Asked;
use slab::Slab;
use std::collections::VecDeque;
use std::task::Waker;

/// Streams whose end is remembered: frames of them may still be on their way. The oldest give way.
const GONE_MAX: usize = 256;

/// How a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Gone {
    /// Both sides did.
    Ended,
    /// The other end took it back.
    Reset,
    /// We did.
    TakenBack,
    /// Longer ago than is remembered.
    Forgotten,
    /// It never was open: a later one was opened first.
    Skipped,
}

/// A stream as its user knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamKey {
    pub(crate) id: u32,
    slot: usize,
}

/// How far the other end is with what it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RemoteEnd {
    /// More may come.
    Open,
    /// It ended with what it said.
    Ended,
    /// It took the stream back, or broke a rule.
    Reset,
}

/// One stream.
pub(crate) struct Stream {
    pub(crate) id: u32,
    pub(crate) remote: RemoteEnd,
    /// Our side ended.
    pub(crate) is_answered: bool,
    /// Octets that we may send. A change of settings can make it negative (section 6.9.2).
    pub(crate) send_window: i64,
    /// Octets that the other end may send.
    pub(crate) receive_window: u32,
    /// What was read of it by its user, and the other end has not been told of.
    pub(crate) released: u32,
    /// The body as far as it came and was not read, and how much of that was.
    pub(crate) unread: Vec<u8>,
    pub(crate) read: usize,
    /// Octets that the body still must have, by its `content-length`.
    pub(crate) expected: Option<u64>,
    pub(crate) trailers: Vec<u8>,
    /// It waits for its own window; it stands in the line for the connection's; its turn has come.
    pub(crate) wants_window: bool,
    pub(crate) is_in_line: bool,
    pub(crate) has_turn: bool,
    pub(crate) waker: Option<Waker>,
    /// Of those that we opened.
    pub(crate) asked: Asked,
}

impl Stream {
    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Whether our side goes on.
    pub(crate) fn can_be_sent(&self) -> bool {
        !self.is_answered && self.remote != RemoteEnd::Reset
    }

    /// Whether it counts (section 5.1.2).
    pub(crate) fn is_open(&self) -> bool {
        self.remote != RemoteEnd::Reset && !(self.is_answered && self.remote == RemoteEnd::Ended)
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Streams {
    slots: Slab<Stream>,
    /// Numbers, rising, and where they are.
    order: Vec<(u32, u32)>,
    gone: VecDeque<(u32, Gone)>,
    has_forgotten: bool,
    /// Those that wait for room or for the connection's window.
    line: VecDeque<StreamKey>,
}

impl Streams {
    pub(crate) fn insert(&mut self, stream: Stream) -> StreamKey {
        let id = stream.id;
        let slot = self.slots.insert(stream);
        self.order.push((id, slot as u32));
        StreamKey { id, slot }
    }

    pub(crate) fn get(&self, key: StreamKey) -> Option<&Stream> {
        self.slots.get(key.slot).filter(|stream| stream.id == key.id)
    }

    pub(crate) fn get_mut(&mut self, key: StreamKey) -> Option<&mut Stream> {
        self.slots.get_mut(key.slot).filter(|stream| stream.id == key.id)
    }

    pub(crate) fn find(&self, id: u32) -> Option<StreamKey> {
        let place = self.order.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(StreamKey { id, slot: self.order[place].1 as usize })
    }

    pub(crate) fn remove(&mut self, key: StreamKey) -> Option<Stream> {
        self.get(key)?;
        if let Ok(place) = self.order.binary_search_by_key(&key.id, |(id, _)| *id) {
            self.order.remove(place);
        }
        Some(self.slots.remove(key.slot))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many count.
    pub(crate) fn open(&self) -> usize {
        self.slots.iter().filter(|(_, stream)| stream.is_open()).count()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn each(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.slots.iter_mut().map(|(_, stream)| stream)
    }

    /// It ended that way.
    pub(crate) fn is_gone(&mut self, id: u32, how: Gone) {
        if self.gone.len() == GONE_MAX {
            self.gone.pop_front();
            self.has_forgotten = true;
        }
        self.gone.push_back((id, how));
    }

    /// How a stream ended that is not open, and was before.
    pub(crate) fn end_of(&self, id: u32) -> Gone {
        match self.gone.iter().rev().find(|(gone, _)| *gone == id) {
            Some((_, how)) => *how,
            None if self.has_forgotten => Gone::Forgotten,
            None => Gone::Skipped,
        }
    }
}

/// The line of those that want to send.
impl Streams {
    pub(crate) fn stand_in_line(&mut self, key: StreamKey) {
        let Some(stream) = self.get_mut(key) else { return };
        if !std::mem::replace(&mut stream.is_in_line, true) {
            self.line.push_back(key);
        }
    }

    pub(crate) fn has_line(&self) -> bool {
        !self.line.is_empty()
    }

    /// Gives a turn to so many of those in front. Whether there was anyone.
    pub(crate) fn give_turns(&mut self, mut count: usize) -> bool {
        let mut any = false;
        while count > 0 {
            let Some(key) = self.line.pop_front() else { break };
            let Some(stream) = self.get_mut(key) else { continue };
            (stream.is_in_line, stream.has_turn) = (false, true);
            stream.wake();
            any = true;
            count -= 1;
        }
        any
    }
}

/// A stream that was opened with such windows.
pub(crate) fn opened(
    id: u32,
    (send_window, receive_window): (i64, u32),
    (ends, expected): (bool, Option<u64>),
) -> Stream {
    Stream {
        id,
        remote: if ends { RemoteEnd::Ended } else { RemoteEnd::Open },
        is_answered: false,
        send_window,
        receive_window,
        released: 0,
        unread: Vec::new(),
        read: 0,
        expected,
        trailers: Vec::new(),
        wants_window: false,
        is_in_line: false,
        has_turn: false,
        waker: None,
        asked: Asked::default(),
    }
}
