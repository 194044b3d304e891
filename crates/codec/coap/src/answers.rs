//! Answers that may have to be sent again, in segments of bytes that follow one another. What is over makes room for
//! what comes, so that they take as much memory as is still of use, and at most so much: then the newest overwrite
//! the oldest. Nothing is allocated per answer.

use std::collections::VecDeque;

/// Bytes of a segment, and of the longest answer that is kept: no datagram is longer.
const SEGMENT: usize = 64 << 10;

/// Where an answer stands; of no use once its segment is used anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AnswerRef {
    segment: u64,
    at: u32,
    len: u32,
}

#[derive(Debug)]
pub(crate) struct Answers {
    /// The oldest first.
    segments: VecDeque<Segment>,
    /// Number of the oldest.
    first: u64,
    most: usize,
    lifetime_ms: u64,
}

#[derive(Debug, Default)]
struct Segment {
    bytes: Vec<u8>,
    /// When the last of it was written.
    last_ms: u64,
}

impl Answers {
    /// At most `capacity` bytes, two segments at least; an answer is over after its lifetime.
    pub(crate) fn new(capacity: usize, lifetime_ms: u64) -> Self {
        Answers { segments: VecDeque::new(), first: 0, most: (capacity / SEGMENT).max(2), lifetime_ms }
    }

    /// `None`: longer than a segment.
    pub(crate) fn write(&mut self, now_ms: u64, answer: &[u8]) -> Option<AnswerRef> {
        if answer.len() > SEGMENT {
            return None;
        }
        if self.segments.back().is_none_or(|last| last.bytes.len() + answer.len() > SEGMENT) {
            self.turn(now_ms);
        }
        let segment = self.first + self.segments.len() as u64 - 1;
        let last = self.segments.back_mut()?;
        let at = last.bytes.len() as u32;
        last.bytes.extend_from_slice(answer);
        last.last_ms = now_ms;
        Some(AnswerRef { segment, at, len: answer.len() as u32 })
    }

    /// `None`: overwritten since.
    pub(crate) fn read(&self, answer: AnswerRef) -> Option<&[u8]> {
        let index = answer.segment.checked_sub(self.first)?;
        let bytes = &self.segments.get(index as usize)?.bytes;
        bytes.get(answer.at as usize..(answer.at + answer.len) as usize)
    }

    /// Begins the next segment, in the memory of the oldest if that is over or there may be no more. Of what else is
    /// over, one is given back: a burst leaves none behind for long.
    fn turn(&mut self, now_ms: u64) {
        let is_over = |segment: &Segment| now_ms.saturating_sub(segment.last_ms) >= self.lifetime_ms;
        let is_free = self.segments.len() >= self.most || self.segments.front().is_some_and(is_over);
        let spare = self.segments.get(1).is_some_and(is_over);
        let mut next = if is_free { self.drop_first() } else { Segment::default() };
        if spare {
            self.drop_first();
        }
        next.bytes.clear();
        next.bytes.reserve_exact(SEGMENT);
        self.segments.push_back(next);
    }

    fn drop_first(&mut self) -> Segment {
        let first = self.segments.pop_front();
        self.first += u64::from(first.is_some());
        first.unwrap_or_default()
    }

    #[cfg(test)]
    fn held(&self) -> usize {
        self.segments.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIFETIME_MS: u64 = 1_000;

    proptest! {
        #[test]
        fn an_answer_is_read_as_written_or_not_at_all(
            answers in prop::collection::vec((0..20_000_usize, 0..400_u64), 1..120),
        ) {
            let mut kept = Answers::new(4 * SEGMENT, LIFETIME_MS);
            let mut written: Vec<(AnswerRef, u64, Vec<u8>)> = Vec::new();
            let mut now_ms = 0;
            for (turn, (len, after_ms)) in answers.into_iter().enumerate() {
                now_ms += after_ms;
                let answer = vec![turn as u8; len];
                let place = kept.write(now_ms, &answer).expect("shorter than a segment");
                written.push((place, now_ms, answer));
                prop_assert!(kept.held() <= 4);
                let mut bytes_since = 0;
                for (place, at_ms, answer) in written.iter().rev() {
                    bytes_since += answer.len() + 20_000;
                    let read = kept.read(*place);
                    prop_assert!(read.is_none_or(|read| read == &answer[..]));
                    // Three whole segments are behind the newest one.
                    let must_be_there = now_ms - at_ms < LIFETIME_MS && bytes_since < 2 * SEGMENT;
                    prop_assert!(!must_be_there || read.is_some());
                }
            }
        }
    }

    #[test]
    fn what_is_over_makes_room_and_a_burst_is_given_back() {
        let mut kept = Answers::new(16 * SEGMENT, LIFETIME_MS);
        let answer = vec![7; SEGMENT];
        // One segment every 400 ms: three are of use, and the one that is written.
        for turn in 0..50 {
            kept.write(turn * 400, &answer).expect("it fits");
            assert!(kept.held() <= 4, "{} held", kept.held());
        }
        for _ in 0..100 {
            kept.write(20_000, &answer).expect("it fits");
        }
        assert_eq!(kept.held(), 16);
        for turn in 0..20 {
            kept.write(30_000 + turn * 400, &answer).expect("it fits");
        }
        assert!(kept.held() <= 4, "{} held", kept.held());
        assert_eq!(kept.write(0, &vec![7; SEGMENT + 1]), None);
    }
}
