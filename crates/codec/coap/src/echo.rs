//! Proof that a peer receives at the address it sends from (RFC 9175): a value that
//! only who received it can send back, and the addresses that have done so.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::SocketAddr;

/// How long a value is good for, seconds.
const FRESH_S: u32 = 60;
/// How long an address stays proven, milliseconds.
const PROVEN_MS: u64 = 300_000;
const ENTRIES: usize = 4_096;

/// Values are a time and a keyed hash (SipHash) of it and the address.
#[derive(Debug)]
pub(crate) struct Echo {
    secret: RandomState,
    /// Hash of an address and until when it is proven; made with the first proof.
    proven: Vec<(u64, u64)>,
}

impl Echo {
    pub(crate) const fn new(secret: RandomState) -> Self {
        Echo { secret, proven: Vec::new() }
    }

    pub(crate) fn value(&self, now_ms: u64, peer: SocketAddr) -> [u8; 12] {
        let at = (now_ms / 1_000) as u32;
        let mut value = [0; 12];
        value[..4].copy_from_slice(&at.to_be_bytes());
        value[4..].copy_from_slice(&self.hash((peer, at)).to_be_bytes());
        value
    }

    /// Whether a value that came back is ours, fresh, and for this address.
    pub(crate) fn verify(&self, now_ms: u64, peer: SocketAddr, value: &[u8]) -> bool {
        let Some((at, hash)) = value.split_first_chunk::<4>() else { return false };
        let at = u32::from_be_bytes(*at);
        let age = ((now_ms / 1_000) as u32).wrapping_sub(at);
        age <= FRESH_S && *hash == self.hash((peer, at)).to_be_bytes()
    }

    pub(crate) fn prove(&mut self, now_ms: u64, peer: SocketAddr) {
        let hash = self.hash(peer);
        self.proven.resize(ENTRIES, (0, 0));
        self.proven[hash as usize % ENTRIES] = (hash, now_ms + PROVEN_MS);
    }

    pub(crate) fn is_proven(&self, now_ms: u64, peer: SocketAddr) -> bool {
        if self.proven.is_empty() {
            return false;
        }
        let hash = self.hash(peer);
        let (own, until) = self.proven[hash as usize % ENTRIES];
        own == hash && now_ms < until
    }

    fn hash(&self, value: impl Hash) -> u64 {
        self.secret.hash_one(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_good_for_its_address_and_its_time_only() {
        let echo = Echo::new(RandomState::new());
        let (peer, other) = (([192, 0, 2, 1], 5).into(), ([192, 0, 2, 1], 6).into());
        let value = echo.value(1_000_000, peer);
        assert!(echo.verify(1_060_000, peer, &value));
        assert!(!echo.verify(1_000_000, other, &value) && !echo.verify(1_062_000, peer, &value));
        assert!(!echo.verify(990_000, peer, &value) && !echo.verify(1_000_000, peer, &value[..11]));
    }

    #[test]
    fn an_address_stays_proven_for_a_while() {
        let mut echo = Echo::new(RandomState::new());
        let peer = ([192, 0, 2, 1], 5).into();
        assert!(!echo.is_proven(0, peer));
        echo.prove(0, peer);
        assert!(echo.is_proven(PROVEN_MS - 1, peer) && !echo.is_proven(PROVEN_MS, peer));
    }
}
