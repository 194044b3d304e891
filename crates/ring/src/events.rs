//! The event ring: one writer (the worker), one reader (JavaScript). Full: the
//! record is dropped and counted, for what is told must never hold up what is done.

use crate::layout::*;
use crate::memory::{LayoutError, SharedMemory};

/// What a record tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum EventKind {
    /// A request was answered: a route, b status, c upstream (`u32::MAX`: none), d microseconds.
    Access = 1,
    /// A connection opened.
    Opened = 2,
    /// A connection closed.
    Closed = 3,
    /// An endpoint was ejected or came back.
    Endpoint = 4,
    /// A message for a subscriber of the API: a subscription; text: JSON.
    Message = 5,
    /// Something for the log: a level, 20 debug, 30 info, 40 warn, 50 error.
    Log = 6,
    /// A span; text: JSON.
    Span = 7,
    /// The resource directory of CoAP has changed; what it was is asked for.
    Directory = 8,
}

impl EventKind {
    /// Whether a record may wait until more stand beside it, or the next tick: waking JavaScript
    /// costs more than the request that an access record tells of.
    const fn may_wait(self) -> bool {
        matches!(self, EventKind::Access | EventKind::Span)
    }
}

/// One record before it is written.
#[derive(Clone, Copy, Debug)]
pub struct EventRecord<'a> {
    /// What it tells.
    pub kind: EventKind,
    /// See [`EventKind`].
    pub a: u32,
    /// See [`EventKind`].
    pub b: u32,
    /// See [`EventKind`].
    pub c: u32,
    /// Milliseconds since 1970.
    pub time: f64,
    /// See [`EventKind`].
    pub d: f64,
    /// Text, cut at 65,535 bytes.
    pub text: &'a str,
}

/// The writing end.
#[derive(Debug)]
pub struct EventRing {
    memory: SharedMemory,
    capacity: usize,
    head: u32,
    dropped: u32,
    /// The reader has read everything before the oldest record that may wait, and was not woken.
    owes_waking: bool,
}

impl EventRing {
    /// Opens a ring that JavaScript prepared.
    ///
    /// # Errors
    /// Its version or size is not ours.
    pub fn open(memory: SharedMemory) -> Result<Self, LayoutError> {
        let capacity = memory.open(EVENT_VERSION, EVENT_BYTES, event_ring_bytes)?;
        Ok(EventRing {
            memory,
            capacity,
            head: memory.load(HEAD_AT),
            dropped: memory.load(DROPPED_AT),
            owes_waking: false,
        })
    }

    /// Whether somebody listens to that kind.
    pub fn wants(&self, kind: EventKind) -> bool {
        self.memory.load(WANTED_AT) >> (kind as u16) & 1 == 1
    }

    /// Records that are dropped so far.
    pub const fn dropped(&self) -> u32 {
        self.dropped
    }

    /// Whether the reader is to be woken for what was allowed to wait; for a tick.
    pub fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.owes_waking)
    }

    /// Writes a record. `true`: the reader needs waking now, since it had read everything before
    /// and this record, or a ring that is half full or has no room for it, must not wait.
    pub fn push(&mut self, record: &EventRecord<'_>) -> bool {
        let text = &record.text.as_bytes()[..record.text.len().min(usize::from(u16::MAX))];
        let (inline, rest) = text.split_at(text.len().min(EVENT_TEXT_INLINE));
        let records = 1 + rest.len().div_ceil(EVENT_BYTES);
        let tail = self.memory.load(TAIL_AT);
        let used = self.head.wrapping_sub(tail) as usize;
        if used + records > self.capacity {
            self.dropped = self.dropped.wrapping_add(1);
            self.memory.store(DROPPED_AT, self.dropped);
            return self.take_due();
        }
        let at = self.place(self.head);
        let mut head = [0; EVENT_TIME_AT];
        head[EVENT_KIND_AT..][..2].copy_from_slice(&(record.kind as u16).to_le_bytes());
        head[EVENT_TEXT_LEN_AT..][..2].copy_from_slice(&(text.len() as u16).to_le_bytes());
        head[EVENT_A_AT..][..4].copy_from_slice(&record.a.to_le_bytes());
        head[EVENT_B_AT..][..4].copy_from_slice(&record.b.to_le_bytes());
        head[EVENT_C_AT..][..4].copy_from_slice(&record.c.to_le_bytes());
        self.memory.write(at, &head);
        self.memory.store_f64(at + EVENT_TIME_AT, record.time);
        self.memory.store_f64(at + EVENT_D_AT, record.d);
        self.memory.write(at + EVENT_TEXT_AT, inline);
        for (index, part) in rest.chunks(EVENT_BYTES).enumerate() {
            self.memory.write(self.place(self.head.wrapping_add(1 + index as u32)), part);
        }
        let before = self.head;
        self.head = self.head.wrapping_add(records as u32);
        self.owes_waking |= self.memory.publish((HEAD_AT, self.head), (TAIL_AT, before));
        let waits = record.kind.may_wait() && used + records <= self.capacity / 2;
        !waits && self.take_due()
    }

    fn place(&self, index: u32) -> usize {
        HEADER_BYTES + (index as usize & (self.capacity - 1)) * EVENT_BYTES
    }
}
