//! The one table of offsets and sizes, in bytes, little endian. `src/native/layout.ts`
//! says the same for JavaScript; a test compares the two.

/// Version words: another layout is another word, and is refused at start.
pub const EVENT_VERSION: u32 = 0x5447_0001;
/// As [`EVENT_VERSION`], for decision rings.
pub const DECISION_VERSION: u32 = 0x5447_0002;

/// Header of both rings.
pub const HEADER_BYTES: usize = 64;
/// Offset of the version word.
pub const VERSION_AT: usize = 0;
/// Offset of the capacity: records or slots, a power of two.
pub const CAPACITY_AT: usize = 4;
/// Offset of the size of a record or slot.
pub const SIZE_AT: usize = 8;
/// Offset of the write index, wrapping at 2^32; written by Rust.
pub const HEAD_AT: usize = 12;
/// Offset of the read index, wrapping; written by JavaScript.
pub const TAIL_AT: usize = 16;
/// Offset of the count of records that found the ring full; written by Rust.
pub const DROPPED_AT: usize = 20;

/// u32, bit `1 << kind`: somebody listens to records of that kind; written by JavaScript.
pub const WANTED_AT: usize = 24;

/// Goes up whenever a number in here changes its meaning; the package says its own when it loads us.
pub const LAYOUT_VERSION: u32 = 2;

/// Size of an event record and of a continuation.
pub const EVENT_BYTES: usize = 64;
/// u16: kind.
pub const EVENT_KIND_AT: usize = 0;
/// u16: length of the text, UTF-8; what does not fit inline stands in the records that follow.
pub const EVENT_TEXT_LEN_AT: usize = 2;
/// u32.
pub const EVENT_A_AT: usize = 4;
/// u32.
pub const EVENT_B_AT: usize = 8;
/// u32.
pub const EVENT_C_AT: usize = 12;
/// f64: milliseconds since 1970.
pub const EVENT_TIME_AT: usize = 16;
/// f64.
pub const EVENT_D_AT: usize = 24;
/// The first bytes of the text.
pub const EVENT_TEXT_AT: usize = 32;
/// How many.
pub const EVENT_TEXT_INLINE: usize = 32;

/// Size of a decision slot.
pub const SLOT_BYTES: usize = 2_048;
/// u32: 0 free, 1 asked, 2 answered.
pub const SLOT_STATE_AT: usize = 0;
/// u32: goes up with each use, so that a late answer is known.
pub const SLOT_GENERATION_AT: usize = 4;
/// u32: 1 decision, 2 handler.
pub const SLOT_KIND_AT: usize = 8;
/// u32: script id or handler index.
pub const SLOT_TARGET_AT: usize = 12;
/// u32: bytes of the question.
pub const SLOT_QUESTION_LEN_AT: usize = 16;
/// u32: bytes of the answer.
pub const SLOT_ANSWER_LEN_AT: usize = 20;
/// u32: 0 answered, 1 threw, 2 returned something invalid.
pub const SLOT_OUTCOME_AT: usize = 24;
/// u32: version of the plan that the script id or handler index belongs to.
pub const SLOT_PLAN_AT: usize = 28;
/// The question: for each declared field a u16 length (0xFFFF: absent) and its bytes.
pub const SLOT_QUESTION_AT: usize = 32;
/// How long it may be.
pub const SLOT_QUESTION_MAX: usize = 992;
/// The answer: JSON of a verdict; nothing where it changes nothing.
pub const SLOT_ANSWER_AT: usize = 1_024;
/// How long it may be.
pub const SLOT_ANSWER_MAX: usize = 1_024;

/// Slot is free.
pub const STATE_FREE: u32 = 0;
/// Slot holds a question.
pub const STATE_ASKED: u32 = 1;
/// Slot holds an answer.
pub const STATE_ANSWERED: u32 = 2;

/// Offset of the first slot behind the header and the queue of slot numbers.
pub const fn slots_at(capacity: usize) -> usize {
    HEADER_BYTES + (capacity * 4).next_multiple_of(64)
}

/// Bytes of a whole decision ring.
pub const fn decision_ring_bytes(capacity: usize) -> usize {
    slots_at(capacity) + capacity * SLOT_BYTES
}

/// Bytes of a whole event ring.
pub const fn event_ring_bytes(capacity: usize) -> usize {
    HEADER_BYTES + capacity * EVENT_BYTES
}
