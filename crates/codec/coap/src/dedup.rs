//! De-duplication (RFC 7252 section 4.5): which messages came already, and what was
//! answered. Bounded: 247 seconds at full rate would take gigabytes, so a new message
//! takes the place of the oldest of its four.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::SocketAddr;

use foldhash::fast::RandomState;

use crate::answers::{AnswerRef, Answers};

/// EXCHANGE_LIFETIME, RFC 7252 section 4.8.2.
const LIFETIME_MS: u64 = 247_000;
const WAYS: usize = 4;
/// Bytes of answers per entry: most are shorter.
const ANSWER_BYTES: usize = 128;

/// A place in the table that is valid as long as nobody else took it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DedupRef {
    index: u32,
    stamp: u32,
}

impl DedupRef {
    /// Of a message that cannot come twice.
    pub(crate) const NONE: DedupRef = DedupRef { index: u32::MAX, stamp: 0 };
}

/// What is known of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seen<'a> {
    /// Nothing: it is new, and remembered now.
    New(DedupRef),
    /// It is being worked on.
    Open,
    /// The same, and an empty acknowledgement was sent.
    Accepted,
    /// This was sent.
    Answered(&'a [u8]),
}

#[derive(Debug)]
pub(crate) struct Dedup {
    slots: Box<[Option<Slot>]>,
    answers: Answers,
    hasher: RandomState,
    next_stamp: u32,
    /// Where messages that were being worked on stand since the table has another size.
    moved: HashMap<u32, u32, RandomState>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    peer: SocketAddr,
    message_id: u16,
    stamp: u32,
    at_ms: u64,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Open,
    Accepted,
    Answered(AnswerRef),
}

impl Dedup {
    /// At least four entries; rounded up to a power of two.
    pub(crate) fn new(entries: usize) -> Self {
        let entries = rounded(entries);
        Dedup {
            moved: HashMap::default(),
            slots: vec![None; entries].into_boxed_slice(),
            answers: Answers::new((entries * ANSWER_BYTES).min(64 << 20), LIFETIME_MS),
            hasher: RandomState::default(),
            next_stamp: 0,
        }
    }

    /// Takes another number of entries; what is known goes along, the newest first where
    /// there is less room.
    pub(crate) fn resize(&mut self, entries: usize) {
        if rounded(entries) == self.slots.len() {
            return;
        }
        let before = std::mem::replace(self, Dedup::new(entries));
        self.next_stamp = before.next_stamp;
        let mut slots: Vec<Slot> = before.slots.iter().flatten().copied().collect();
        slots.sort_unstable_by_key(|slot| slot.at_ms);
        for mut slot in slots {
            if let State::Answered(answer) = slot.state {
                let Some(copied) =
                    before.answers.read(answer).and_then(|answer| self.answers.write(slot.at_ms, answer))
                else {
                    continue;
                };
                slot.state = State::Answered(copied);
            }
            let first = self.first_of(slot.peer, slot.message_id);
            let index = first + oldest(&self.slots[first..first + WAYS]);
            self.slots[index] = Some(slot);
            if !matches!(slot.state, State::Answered(_)) {
                self.moved.insert(slot.stamp, index as u32);
            }
        }
    }

    fn first_of(&self, peer: SocketAddr, message_id: u16) -> usize {
        let sets = self.slots.len() / WAYS;
        (self.hasher.hash_one((peer, message_id)) as usize % sets) * WAYS
    }

    pub(crate) fn see(&mut self, now_ms: u64, peer: SocketAddr, message_id: u16) -> Seen<'_> {
        let first = self.first_of(peer, message_id);
        let set = &self.slots[first..first + WAYS];
        let same = |slot: &Slot| {
            slot.message_id == message_id && slot.peer == peer && now_ms.saturating_sub(slot.at_ms) < LIFETIME_MS
        };
        let found = set.iter().position(|slot| slot.as_ref().is_some_and(same));
        let state = found.and_then(|way| set[way]).map(|slot| slot.state);
        let way = match (found, state) {
            (_, Some(State::Open)) => return Seen::Open,
            (_, Some(State::Accepted)) => return Seen::Accepted,
            (Some(_), Some(State::Answered(answer))) if self.answers.read(answer).is_some() => {
                return self.answers.read(answer).map_or(Seen::Open, Seen::Answered);
            }
            // Its answer is lost: to do it again is the best that is left.
            (Some(way), _) => way,
            _ => oldest(set),
        };
        self.next_stamp = self.next_stamp.wrapping_add(1);
        let stamp = self.next_stamp;
        self.slots[first + way] = Some(Slot { peer, message_id, stamp, at_ms: now_ms, state: State::Open });
        Seen::New(DedupRef { index: (first + way) as u32, stamp })
    }

    pub(crate) fn forget(&mut self, peer: SocketAddr, message_id: u16) {
        let first = self.first_of(peer, message_id);
        for slot in &mut self.slots[first..first + WAYS] {
            slot.take_if(|slot| slot.message_id == message_id && slot.peer == peer);
        }
    }

    pub(crate) fn accept(&mut self, place: DedupRef) {
        if let Some(slot) = self.slot(place) {
            slot.state = State::Accepted;
        }
    }

    pub(crate) fn answer(&mut self, now_ms: u64, place: DedupRef, answer: &[u8]) {
        let written = self.answers.write(now_ms, answer);
        let Some(slot) = self.slot(place) else { return };
        match written {
            Some(written) => slot.state = State::Answered(written),
            None => {
                let index = self.index_of(place);
                self.slots[index] = None;
            }
        }
    }

    fn slot(&mut self, place: DedupRef) -> Option<&mut Slot> {
        let index = self.index_of(place);
        self.slots.get_mut(index)?.as_mut().filter(|slot| slot.stamp == place.stamp)
    }

    fn index_of(&self, place: DedupRef) -> usize {
        let moved = (!self.moved.is_empty()).then(|| self.moved.get(&place.stamp)).flatten();
        moved.copied().unwrap_or(place.index) as usize
    }
}

fn rounded(entries: usize) -> usize {
    entries.clamp(WAYS, 1 << 24).next_power_of_two()
}

fn oldest(set: &[Option<Slot>]) -> usize {
    let age = |slot: &Option<Slot>| slot.as_ref().map_or(0, |slot| slot.at_ms + 1);
    (0..set.len()).min_by_key(|way| age(&set[*way])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    #[test]
    fn remembers_a_message_and_its_answer_for_its_lifetime() {
        let mut dedup = Dedup::new(64);
        let Seen::New(place) = dedup.see(0, peer(1), 7) else { unreachable!("first of its kind") };
        assert_eq!(dedup.see(1, peer(1), 7), Seen::Open);
        dedup.accept(place);
        assert_eq!(dedup.see(1, peer(1), 7), Seen::Accepted);
        dedup.answer(1, place, b"answer");
        assert_eq!(dedup.see(1, peer(1), 7), Seen::Answered(b"answer"));
        assert!(matches!(dedup.see(1, peer(2), 7), Seen::New(_)), "another peer");
        assert!(matches!(dedup.see(LIFETIME_MS, peer(1), 7), Seen::New(_)), "too old");
    }

    #[test]
    fn a_table_of_another_size_knows_what_the_one_before_knew() {
        for entries in [16, 1_024] {
            let mut dedup = Dedup::new(256);
            let Seen::New(answered) = dedup.see(0, peer(1), 1) else { unreachable!("first of its kind") };
            dedup.answer(0, answered, b"answer");
            let Seen::New(open) = dedup.see(0, peer(1), 2) else { unreachable!("first of its kind") };
            dedup.resize(entries);
            assert_eq!(dedup.slots.len(), entries);
            assert_eq!(dedup.see(1, peer(1), 1), Seen::Answered(b"answer"));
            assert_eq!(dedup.see(1, peer(1), 2), Seen::Open);
            // What was begun before is answered where it stands now.
            dedup.answer(1, open, b"late");
            assert_eq!(dedup.see(1, peer(1), 2), Seen::Answered(b"late"));
            assert!(matches!(dedup.see(1, peer(1), 3), Seen::New(_)));
        }
        let mut full = Dedup::new(64);
        for id in 0..64 {
            full.see(u64::from(id), peer(1), id);
        }
        full.resize(4);
        assert!(full.slots.iter().flatten().all(|slot| slot.at_ms >= 60 && slot.message_id >= 60), "the newest stay");
    }

    #[test]
    fn an_answer_that_comes_late_does_not_reach_who_took_the_place() {
        let mut dedup = Dedup::new(4);
        let Seen::New(old) = dedup.see(0, peer(1), 0) else { unreachable!("first of its kind") };
        for id in 1..=4 {
            assert!(matches!(dedup.see(u64::from(id), peer(1), id), Seen::New(_)));
        }
        dedup.answer(9, old, b"late");
        assert!((1..=4).all(|id| dedup.see(9, peer(1), id) == Seen::Open));
    }
}
