//! What waits for a peer: behind a message in flight, and while it sleeps. Of a state
//! only the newest waits; of what is not to be missed each, within bounds.

use std::collections::VecDeque;

use crate::peers::Confirmable;
use crate::{Head, Message, OptionList, OptionNumber, Token, encode};

/// Messages that wait where peers are not waited for when they sleep.
const QUEUE_MAX: usize = 16;

/// How long and how much is kept for peers that have fallen silent (they sleep).
#[derive(Clone, Copy, Debug)]
pub struct Sleep {
    /// How long a peer may sleep, milliseconds. Default 0: it is given up at once.
    pub age_ms: u64,
    /// Messages that wait for one peer. Default 100.
    pub messages: usize,
    /// Bytes of them. Default 65,536.
    pub bytes: usize,
    /// Bytes for all peers. Default 64 MiB.
    pub total_bytes: usize,
}

impl Default for Sleep {
    fn default() -> Self {
        Sleep { age_ms: 0, messages: 100, bytes: 64 << 10, total_bytes: 64 << 20 }
    }
}

/// What became of a message that has to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Queued {
    /// It waits.
    Kept,
    /// It waits in place of an older one, which is dropped.
    Replaced,
    /// There is no room.
    Refused,
}

/// The messages that wait for one peer, in order.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    list: VecDeque<Confirmable>,
    pub(crate) bytes: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Confirmable> {
        self.list.iter()
    }

    /// `total`: bytes for all peers. A state takes the place of the one before whatever its length, as a
    /// client must see the last one (RFC 7641 section 1.3): beyond the bounds by a block an observation.
    pub(crate) fn push(&mut self, message: Confirmable, (sleep, total): (&Sleep, usize)) -> Queued {
        let len = message.bytes.len();
        let is_state = |queued: &Confirmable| !queued.counts && queued.owner == message.owner;
        if let Some(older) = self.list.iter_mut().find(|queued| !message.counts && is_state(queued)) {
            self.bytes = self.bytes + len - older.bytes.len();
            *older = message;
            return Queued::Replaced;
        }
        if sleep.age_ms == 0 {
            let is_full = self.len() >= QUEUE_MAX;
            is_full.then(|| self.pop());
            self.append(message);
            return if is_full { Queued::Replaced } else { Queued::Kept };
        }
        // What was promised is held rather than what comes.
        if self.len() >= sleep.messages || self.bytes + len > sleep.bytes || total + len > sleep.total_bytes {
            return Queued::Refused;
        }
        self.append(message);
        Queued::Kept
    }

    pub(crate) fn append(&mut self, message: Confirmable) {
        self.bytes += message.bytes.len();
        self.list.push_back(message);
    }

    /// Puts the one that was in flight back in front.
    pub(crate) fn unpop(&mut self, message: Confirmable) {
        self.bytes += message.bytes.len();
        self.list.push_front(message);
    }

    pub(crate) fn pop(&mut self) -> Option<Confirmable> {
        let first = self.list.pop_front()?;
        self.bytes -= first.bytes.len();
        Some(first)
    }

    pub(crate) fn retain(&mut self, keeps: impl Fn(&Confirmable) -> bool) {
        self.list.retain(keeps);
        self.bytes = self.list.iter().map(|queued| queued.bytes.len()).sum();
    }
}

impl Confirmable {
    /// Says the Max-Age that is left after the time it has waited (RFC 7252 section 5.6.1).
    /// `None`: none is.
    pub(crate) fn aged(mut self, now_ms: u64) -> Option<Confirmable> {
        let waited_s = now_ms.saturating_sub(self.at_ms) / 1_000;
        let max_age = Message::decode(&self.bytes, usize::MAX - 1).ok()?.uint(OptionNumber::MAX_AGE);
        let Some(max_age) = max_age.filter(|_| waited_s > 0) else { return Some(self) };
        let left = u64::from(max_age).checked_sub(waited_s).filter(|left| *left > 0)?;
        self.rewrite(None, (OptionNumber::MAX_AGE, left as u32));
        self.at_ms = now_ms;
        Some(self)
    }

    /// Makes it one of another observation.
    pub(crate) fn readdress(&mut self, token: Token, sequence: u32) {
        self.rewrite(Some(token), (OptionNumber::OBSERVE, sequence));
    }

    fn rewrite(&mut self, token: Option<Token>, (number, value): (u16, u32)) {
        let Ok(message) = Message::decode(&self.bytes, usize::MAX - 1) else { return };
        let mut options = OptionList::new();
        for option in message.options().filter(|option| option.number != number) {
            options.push(option.number, option.value);
        }
        options.push_uint(number, value);
        let token = token.unwrap_or(message.token);
        let head = Head { kind: message.kind, code: message.code, message_id: self.message_id, token };
        let mut bytes = Vec::with_capacity(self.bytes.len() + 8);
        encode(&mut bytes, &head, [&options, &OptionList::new()], message.payload);
        self.bytes = bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, Type};

    const SLEEP: Sleep = Sleep { age_ms: 1, messages: 3, bytes: 100, total_bytes: 1_000 };

    fn message(len: usize, counts: bool) -> Confirmable {
        Confirmable { message_id: 1, owner: None, bytes: vec![0; len], counts, at_ms: 0 }
    }

    #[test]
    fn of_a_state_the_newest_waits_and_of_what_counts_each_within_bounds() {
        let mut queue = Queue::default();
        assert_eq!(queue.push(message(10, false), (&SLEEP, 0)), Queued::Kept);
        assert_eq!(queue.push(message(20, false), (&SLEEP, 0)), Queued::Replaced);
        assert_eq!(queue.push(message(10, true), (&SLEEP, 0)), Queued::Kept);
        assert_eq!(queue.push(message(71, true), (&SLEEP, 0)), Queued::Refused, "bytes");
        assert_eq!(queue.push(message(10, true), (&SLEEP, 991)), Queued::Refused, "bytes of all");
        assert_eq!(queue.push(message(10, true), (&SLEEP, 0)), Queued::Kept);
        assert_eq!(queue.push(message(1, true), (&SLEEP, 0)), Queued::Refused, "number");
        assert_eq!((queue.len(), queue.bytes), (3, 40));
        queue.pop();
        queue.retain(|queued| !queued.counts);
        assert_eq!((queue.len(), queue.bytes), (0, 0));
    }

    #[test]
    fn the_time_a_message_waits_counts_as_its_age() {
        let of = |max_age: Option<u32>| {
            let mut options = OptionList::new();
            if let Some(seconds) = max_age {
                options.push_uint(OptionNumber::MAX_AGE, seconds);
            }
            options.push_uint(OptionNumber::CONTENT_FORMAT, 50);
            let mut bytes = Vec::new();
            let head = Head { kind: Type::Confirmable, code: Code::CONTENT, message_id: 7, token: Token::default() };
            encode(&mut bytes, &head, [&options, &OptionList::new()], b"21.5");
            Confirmable { bytes, message_id: 7, ..message(0, true) }
        };
        let age = |aged: Option<Confirmable>| {
            let bytes = aged?.bytes;
            let message = Message::decode(&bytes, 9).expect("valid");
            assert_eq!((message.payload, message.content_format(), message.message_id), (&b"21.5"[..], Some(50), 7));
            Some(message.uint(OptionNumber::MAX_AGE))
        };
        assert_eq!(age(of(Some(60)).aged(20_999)), Some(Some(40)));
        assert_eq!(age(of(Some(60)).aged(60_000)), None);
        assert_eq!(age(of(None).aged(60_000)), Some(None));
        assert_eq!(age(of(Some(60)).aged(999)), Some(Some(60)));
    }
}
