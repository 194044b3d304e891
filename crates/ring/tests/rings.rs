//! Both rings, with the other side played by plain memory.
#![allow(unsafe_code, clippy::unwrap_used, missing_docs)]

use tidegate_ring::layout::*;
use tidegate_ring::{Answer, Decisions, EventKind, EventRecord, EventRing, Question, SharedMemory};

struct Side {
    words: Vec<u64>,
}

impl Side {
    fn new(bytes: usize, header: [u32; 3]) -> Side {
        let mut side = Side { words: vec![0; bytes.div_ceil(8)] };
        for (index, word) in header.into_iter().enumerate() {
            side.put(index * 4, word);
        }
        side
    }

    fn memory(&mut self) -> SharedMemory {
        unsafe { SharedMemory::new(self.words.as_mut_ptr().cast(), self.words.len() * 8) }
    }

    fn bytes(&self) -> &[u8] {
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.words.len() * 8) }
    }

    fn put(&mut self, at: usize, value: u32) {
        self.put_bytes(at, &value.to_le_bytes());
    }

    fn put_bytes(&mut self, at: usize, bytes: &[u8]) {
        let all = unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast::<u8>(), self.words.len() * 8) };
        all[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes()[at..at + 4].try_into().unwrap())
    }
}

fn record(text: &str) -> EventRecord<'_> {
    EventRecord { kind: EventKind::Opened, a: 1, b: 200, c: u32::MAX, time: 5.0, d: 12.5, text }
}

#[test]
fn a_full_event_ring_drops_and_counts() {
    let mut side = Side::new(event_ring_bytes(4), [EVENT_VERSION, 4, 64]);
    let mut ring = EventRing::open(side.memory()).unwrap();
    assert!(ring.push(&record("GET /a")));
    let long = "x".repeat(100);
    assert!(!ring.push(&record(&long)));
    assert_eq!((side.word(HEAD_AT), ring.dropped()), (4, 0), "100 bytes: 32 inline and two continuations");
    assert!(!ring.push(&record(&long)));
    assert_eq!((ring.dropped(), side.word(DROPPED_AT)), (1, 1));
    side.put(TAIL_AT, 4);
    assert!(ring.push(&record("")), "empty again: the reader needs waking");
    assert_eq!(&side.bytes()[HEADER_BYTES + EVENT_TEXT_AT..][..6], b"GET /a");
}

#[test]
fn an_access_record_waits_for_the_tick_or_for_one_that_must_not_or_for_half_a_ring() {
    let mut side = Side::new(event_ring_bytes(8), [EVENT_VERSION, 8, 64]);
    let mut ring = EventRing::open(side.memory()).unwrap();
    let access = EventRecord { kind: EventKind::Access, ..record("GET /a") };
    assert!(!ring.take_due());
    assert!(!ring.push(&access) && ring.take_due());
    assert!(!ring.take_due(), "the reader was woken once and has not read yet");
    side.put(TAIL_AT, 1);
    assert!(!ring.push(&access));
    assert!(ring.push(&record("")), "whoever must not wait takes the others along");
    assert!(!ring.take_due());
    side.put(TAIL_AT, 3);
    assert!((0..4).all(|_| !ring.push(&access)));
    assert!(ring.push(&access), "more than half of the ring is full");
    assert!(!ring.push(&access), "it was told");
    assert_eq!(ring.dropped(), 0);
    side.put(TAIL_AT, 9);
    assert!(!ring.push(&access));
    let long = "x".repeat(1_000);
    assert!(ring.push(&EventRecord { text: &long, ..access }), "there is no room, and nobody was told");
    assert_eq!(ring.dropped(), 1);
}

#[test]
fn another_layout_is_refused_in_words() {
    let mut side = Side::new(event_ring_bytes(4), [EVENT_VERSION + 7, 4, 64]);
    assert!(EventRing::open(side.memory()).unwrap_err().to_string().contains("do not belong together"));
    let mut small = Side::new(64, [DECISION_VERSION, 512, SLOT_BYTES as u32]);
    assert!(Decisions::open(small.memory()).is_err());
}

#[test]
fn a_question_is_answered_in_place_and_its_slot_is_used_again() {
    let mut side = Side::new(decision_ring_bytes(2), [DECISION_VERSION, 2, SLOT_BYTES as u32]);
    let mut decisions = Decisions::open(side.memory()).unwrap();
    let question = Question { is_handler: false, target: 3, plan: 1, bytes: b"\x03\0abc" };
    let (asked, wake) = decisions.ask(&question).unwrap();
    let (_, wake_again) = decisions.ask(&question).unwrap();
    assert!(wake && !wake_again);
    assert!(decisions.ask(&question).is_none(), "all slots are taken");
    let at = slots_at(2) + asked.slot as usize * SLOT_BYTES;
    assert_eq!(
        (side.word(at), side.word(at + SLOT_TARGET_AT), side.word(at + SLOT_QUESTION_LEN_AT)),
        (STATE_ASKED, 3, 5)
    );
    side.put_bytes(at + SLOT_ANSWER_AT, b"{}");
    side.put(at + SLOT_ANSWER_LEN_AT, 2);
    side.put(at, STATE_ANSWERED);
    let mut got = Vec::new();
    decisions.answers(|place, answer, bytes| got.push((place, answer, bytes.to_vec())));
    assert_eq!(got, [(asked, Answer::Verdict, b"{}".to_vec())]);
    assert_eq!(decisions.waiting(), 1);
    let (again, _) = decisions.ask(&question).unwrap();
    assert_eq!((again.slot, again.generation), (asked.slot, asked.generation + 1));
    assert_eq!(decisions.reset().len(), 2);
    assert_eq!((decisions.waiting(), side.word(TAIL_AT)), (0, 3));
}

#[test]
fn an_answer_that_claims_to_be_longer_than_its_place_is_invalid() {
    let mut side = Side::new(decision_ring_bytes(1), [DECISION_VERSION, 1, SLOT_BYTES as u32]);
    let mut decisions = Decisions::open(side.memory()).unwrap();
    let (asked, _) = decisions.ask(&Question { is_handler: true, target: 0, plan: 1, bytes: b"" }).unwrap();
    let at = slots_at(1) + asked.slot as usize * SLOT_BYTES;
    side.put(at + SLOT_ANSWER_LEN_AT, 1 << 30);
    side.put(at, STATE_ANSWERED);
    let mut got = Vec::new();
    decisions.answers(|_, answer, bytes| got.push((answer, bytes.len())));
    assert_eq!(got, [(Answer::Invalid, 0)]);
}
