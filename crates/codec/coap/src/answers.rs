//! Answers that may have to be sent again: a ring of bytes in which the newest
//! overwrite the oldest. Nothing is allocated per answer.

/// Where an answer stands; of no use once the ring has gone round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AnswerRef {
    at: u64,
    len: u32,
}

#[derive(Debug)]
pub(crate) struct Answers {
    bytes: Box<[u8]>,
    /// Bytes ever written, gaps at the end of the ring included.
    head: u64,
}

impl Answers {
    pub(crate) fn new(capacity: usize) -> Self {
        Answers { bytes: vec![0; capacity].into_boxed_slice(), head: 0 }
    }

    /// `None`: longer than a quarter of the ring.
    pub(crate) fn write(&mut self, answer: &[u8]) -> Option<AnswerRef> {
        let capacity = self.bytes.len();
        if answer.len() > capacity / 4 {
            return None;
        }
        let place = (self.head % capacity as u64) as usize;
        let gap = if place + answer.len() > capacity { capacity - place } else { 0 };
        let at = self.head + gap as u64;
        let place = (at % capacity as u64) as usize;
        self.bytes[place..place + answer.len()].copy_from_slice(answer);
        self.head = at + answer.len() as u64;
        Some(AnswerRef { at, len: answer.len() as u32 })
    }

    /// `None`: overwritten since.
    pub(crate) fn read(&self, answer: AnswerRef) -> Option<&[u8]> {
        let capacity = self.bytes.len() as u64;
        if self.head - answer.at > capacity {
            return None;
        }
        let place = (answer.at % capacity) as usize;
        self.bytes.get(place..place + answer.len as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_answer_is_read_as_written_or_not_at_all(
            answers in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 1..60),
        ) {
            let mut ring = Answers::new(100);
            let mut written: Vec<(AnswerRef, Vec<u8>)> = Vec::new();
            for answer in answers {
                let place = ring.write(&answer);
                prop_assert_eq!(place.is_some(), answer.len() <= 25);
                written.extend(place.map(|place| (place, answer)));
                for (place, answer) in &written {
                    prop_assert!(ring.read(*place).is_none_or(|read| read == &answer[..]));
                }
                prop_assert!(written.last().is_none_or(|(place, answer)| ring.read(*place) == Some(&answer[..])));
            }
        }
    }
}
