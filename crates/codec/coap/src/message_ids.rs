//! Message ids of our own: none comes again for an endpoint within EXCHANGE_LIFETIME (RFC
//! 7252 section 4.4), whether anything else is known of it or not, and nobody else can guess
//! them. Endpoints share counters, each at a distance of its own.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;

/// Counters; each would have to give 265 ids a second for one to come again.
const COUNTERS: usize = 2_048;

#[derive(Debug)]
pub(crate) struct MessageIds {
    counters: Box<[u16]>,
    secret: RandomState,
}

impl MessageIds {
    pub(crate) fn new(secret: RandomState, seed: u64) -> Self {
        MessageIds { counters: vec![seed as u16; COUNTERS].into(), secret }
    }

    /// The next one for an endpoint.
    pub(crate) fn take(&mut self, peer: SocketAddr) -> u16 {
        let hash = self.secret.hash_one(peer);
        let counter = &mut self.counters[hash as usize % COUNTERS];
        *counter = counter.wrapping_add(1);
        counter.wrapping_add((hash >> 32) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_id_comes_again_for_an_endpoint_until_there_is_no_other() {
        let mut ids = MessageIds::new(RandomState::new(), 65_000);
        let peer = |port: u16| SocketAddr::from(([192, 0, 2, 1], port));
        let mut given = HashSet::new();
        for turn in 0..30_000_u16 {
            assert!(given.insert(ids.take(peer(7))));
            ids.take(peer(turn));
        }
    }
}
