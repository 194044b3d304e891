//! The last requests of a context with what was sent for them: one that comes again in
//! the same message is a retransmission, and gets the same bytes (RFC 7252 section 4.5).
//! They are kept sealed: to seal again would need a number that is used once.

use std::collections::VecDeque;
use std::net::SocketAddr;

/// Requests that are remembered.
const RECENT_MAX: usize = 8;

#[derive(Debug)]
struct Request {
    number: u64,
    message_id: u16,
    from: SocketAddr,
    answer: Option<Box<[u8]>>,
}

#[derive(Debug, Default)]
pub(crate) struct Recent(VecDeque<Request>);

impl Recent {
    pub(crate) fn enter(&mut self, number: u64, message_id: u16, from: SocketAddr) {
        if self.0.len() >= RECENT_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Request { number, message_id, from, answer: None });
    }

    /// What was sent for that message; `Some(None)`: nothing yet. `None`: it is not known.
    pub(crate) fn find(&self, number: u64, message_id: u16, from: SocketAddr) -> Option<Option<&[u8]>> {
        let is_it = |own: &&Request| (own.number, own.message_id, own.from) == (number, message_id, from);
        self.0.iter().find(is_it).map(|own| own.answer.as_deref())
    }

    /// Remembers the acknowledgement of a message, with or without the answer.
    pub(crate) fn answered(&mut self, message_id: u16, bytes: &[u8]) {
        if let Some(own) = self.0.iter_mut().rev().find(|own| own.message_id == message_id) {
            own.answer = Some(bytes.into());
        }
    }
}
