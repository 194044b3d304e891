//! Bytes that only whoever has the same secrets reads: AES-256 in CCM under a key made of
//! them and of a salt that was never used before, so that a place in the file is nonce enough.

use aes::Aes256;
use ccm::aead::{AeadInPlace, KeyInit};
use ccm::consts::{U13, U16};
use hkdf::Hkdf;
use sha2::Sha256;

/// Bytes of a salt.
pub(crate) const SALT: usize = 32;
const NONCE: usize = 13;

/// Seals and opens what belongs together.
pub(crate) struct Sealer(ccm::Ccm<Aes256, U16, U13>);

impl Sealer {
    pub(crate) fn new(secret: &[u8], salt: &[u8; SALT]) -> Self {
        let mut key = [0; 32];
        // RFC 5869 allows 255 times the hash; this is one.
        let _ = Hkdf::<Sha256>::new(Some(salt), secret).expand(b"tidegate dtls sessions", &mut key);
        Sealer(ccm::Ccm::new(&key.into()))
    }

    /// `None`: longer than 64 KiB. A number is good for once.
    pub(crate) fn seal(&self, number: u64, plain: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = plain.to_vec();
        self.0.encrypt_in_place(&nonce(number).into(), b"", &mut bytes).ok()?;
        Some(bytes)
    }

    pub(crate) fn open(&self, number: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = sealed.to_vec();
        self.0.decrypt_in_place(&nonce(number).into(), b"", &mut bytes).ok()?;
        Some(bytes)
    }
}

fn nonce(number: u64) -> [u8; NONCE] {
    let mut nonce = [0; NONCE];
    nonce[NONCE - 8..].copy_from_slice(&number.to_be_bytes());
    nonce
}
