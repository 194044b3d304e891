//! Datagrams that wait to be sent, in one buffer that is used again.

use std::net::SocketAddr;

/// What a wake-up has produced.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    /// To whom, and where in `bytes` the datagram ends.
    queued: Vec<(SocketAddr, usize)>,
}

impl Outbox {
    /// In the order they were made.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let mut start = 0;
        self.queued.iter().map(move |(to, end)| (*to, &self.bytes[std::mem::replace(&mut start, *end)..*end]))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.queued.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// Forgets what was sent; a burst does not keep its memory.
    pub fn clear(&mut self) {
        self.queued.clear();
        self.bytes.clear();
        self.bytes.shrink_to(128 << 10);
    }

    /// Adds what `write` appends, and gives it back for those who keep a copy.
    pub(crate) fn queue(&mut self, to: SocketAddr, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.queued.push((to, self.bytes.len()));
        &self.bytes[start..]
    }
}
