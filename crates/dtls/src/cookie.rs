//! The proof that a peer receives at the address it sends from (RFC 6347 section
//! 4.2.1), without state: a time and a keyed hash of it, the address and the client's
//! random.

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Bytes of a cookie: the time and half of an HMAC-SHA-256.
pub(crate) const LEN: usize = 4 + 16;
/// How long one is good for, seconds.
const FRESH_S: u32 = 60;

/// The key of cookies, shared by all workers: whichever gets the second hello knows it.
#[derive(Clone, Copy)]
pub(crate) struct CookieKey([u8; 64]);

impl CookieKey {
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut key = [0; 64];
        getrandom::fill(&mut key)?;
        Ok(CookieKey(key))
    }

    pub(crate) fn make(&self, now_ms: u64, (peer, random): (SocketAddr, &[u8])) -> [u8; LEN] {
        let at = ((now_ms / 1_000) as u32).to_be_bytes();
        let mut cookie = [0; LEN];
        cookie[..4].copy_from_slice(&at);
        cookie[4..].copy_from_slice(&self.mac(at, (peer, random)).finalize().into_bytes()[..LEN - 4]);
        cookie
    }

    pub(crate) fn verify(&self, now_ms: u64, from: (SocketAddr, &[u8]), cookie: &[u8]) -> bool {
        let Some((at, proof)) = cookie.split_first_chunk::<4>().filter(|_| cookie.len() == LEN) else { return false };
        let age = ((now_ms / 1_000) as u32).wrapping_sub(u32::from_be_bytes(*at));
        age <= FRESH_S && self.mac(*at, from).verify_truncated_left(proof).is_ok()
    }

    fn mac(&self, at: [u8; 4], (peer, random): (SocketAddr, &[u8])) -> Hmac<Sha256> {
        // The key has the length of a block of the hash.
        let mut mac = Hmac::<Sha256>::new(self.0.as_slice().into());
        mac.update(&at);
        match peer.ip() {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&peer.port().to_be_bytes());
        mac.update(random);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_good_for_its_address_its_random_and_a_minute() {
        let key = CookieKey::random().expect("randomness");
        let (peer, other): (SocketAddr, SocketAddr) = (([192, 0, 2, 1], 5).into(), ([192, 0, 2, 1], 6).into());
        let cookie = key.make(1_000_000, (peer, b"random"));
        assert!(key.verify(1_060_000, (peer, b"random"), &cookie));
        assert!(!key.verify(1_062_000, (peer, b"random"), &cookie), "too old");
        assert!(!key.verify(990_000, (peer, b"random"), &cookie), "from the future");
        assert!(!key.verify(1_000_000, (other, b"random"), &cookie), "another port");
        assert!(!key.verify(1_000_000, (peer, b"nomdar"), &cookie), "another hello");
        assert!(!key.verify(1_000_000, (peer, b"random"), &cookie[..LEN - 1]) && !key.verify(0, (peer, b""), b""));
        let forged = CookieKey::random().expect("randomness").make(1_000_000, (peer, b"random"));
        assert!(!key.verify(1_000_000, (peer, b"random"), &forged));
    }
}
