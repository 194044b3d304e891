//! The keys of a security context (RFC 8613 section 3.2), derived from its master secret,
//! and the authenticated encryption with them.

use crate::cose::{NONCE, info};
use aes::Aes128;
use ccm::aead::AeadInPlace;
use ccm::aead::generic_array::GenericArray;
use ccm::consts::{U8, U13};
use ccm::{Ccm, KeyInit};
use hkdf::Hkdf;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fmt;

/// AES-CCM-16-64-128, which everybody has to know (section 3.2).
pub(crate) const ALGORITHM: i8 = 10;
/// Bytes of its tag.
const TAG: usize = 8;
/// Longest id: what is left of the nonce (section 3.3).
const ID_MAX: usize = NONCE - 6;

type Cipher = Ccm<Aes128, U8, U13>;

/// A security context as the configuration says it; bytes as hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContextPlan {
    /// Whom it makes a peer known as.
    pub name: String,
    /// What the keys are derived from.
    pub master_secret_hex: String,
    /// Salt; may be empty.
    pub master_salt_hex: String,
    /// Our id.
    pub sender_id_hex: String,
    /// The peer's, by which its messages are told.
    pub recipient_id_hex: String,
    /// Which of several contexts of the same ids.
    pub id_context_hex: Option<String>,
    /// Numbers behind the greatest that may still come.
    pub replay_window: u8,
}

impl fmt::Debug for ContextPlan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ContextPlan").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a context seals and opens with.
pub struct Keys {
    pub(crate) sender_id: Box<[u8]>,
    pub(crate) recipient_id: Box<[u8]>,
    pub(crate) id_context: Option<Box<[u8]>>,
    pub(crate) common_iv: [u8; NONCE],
    sender: Cipher,
    recipient: Cipher,
    fingerprint: [u8; 16],
    identity: [u8; 16],
}

impl fmt::Debug for Keys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Keys").field("recipient_id", &self.recipient_id).finish_non_exhaustive()
    }
}

impl Keys {
    /// Derives them. `None`: what is said is no hexadecimal digits, or an id too long.
    pub fn derive(plan: &ContextPlan) -> Option<Keys> {
        let secret = unhex(&plan.master_secret_hex)?;
        let salt = unhex(&plan.master_salt_hex)?;
        let (sender_id, recipient_id) = (unhex(&plan.sender_id_hex)?, unhex(&plan.recipient_id_hex)?);
        let id_context = plan.id_context_hex.as_deref().map(unhex);
        let id_context = match id_context {
            Some(context) => Some(context.filter(|context| context.len() < 256)?),
            None => None,
        };
        if sender_id.len() > ID_MAX || recipient_id.len() > ID_MAX || secret.is_empty() {
            return None;
        }
        let kdf = Hkdf::<Sha256>::new(Some(&salt), &secret);
        let derive = |id: &[u8], kind: &str, out: &mut [u8]| {
            let info = info(id, (id_context.as_deref(), ALGORITHM), kind, out.len() as u8);
            kdf.expand(&info, out).ok()
        };
        let (mut sender, mut recipient, mut common_iv) = ([0; 16], [0; 16], [0; NONCE]);
        derive(&sender_id, "Key", &mut sender)?;
        derive(&recipient_id, "Key", &mut recipient)?;
        derive(b"", "IV", &mut common_iv)?;
        let digest = |of: &[&[u8]]| {
            let whole = of.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize();
            std::array::from_fn(|index| whole[index])
        };
        let fingerprint = digest(&[b"sequence", &sender, &common_iv]);
        let identity = digest(&[b"context", &sender, &recipient, &common_iv]);
        Some(Keys {
            sender_id: sender_id.into(),
            recipient_id: recipient_id.into(),
            id_context: id_context.map(Vec::into_boxed_slice),
            common_iv,
            sender: Cipher::new(&sender.into()),
            recipient: Cipher::new(&recipient.into()),
            fingerprint,
            identity,
        })
    }

    /// What tells the context from others without telling its keys.
    pub(crate) const fn identity(&self) -> [u8; 16] {
        self.identity
    }

    /// What tells the key that we seal with from others. Contexts with several peers have the same
    /// one where their secret and our id are the same, and must not use a number twice.
    pub(crate) const fn fingerprint(&self) -> [u8; 16] {
        self.fingerprint
    }

    /// Encrypts what stands in `text` from `start` on.
    pub(crate) fn seal(&self, (nonce, additional): (&[u8; NONCE], &[u8]), text: &mut Vec<u8>, start: usize) -> bool {
        let nonce = GenericArray::from_slice(nonce);
        let Ok(tag) = self.sender.encrypt_in_place_detached(nonce, additional, &mut text[start..]) else {
            return false;
        };
        text.extend_from_slice(&tag);
        true
    }

    /// Decrypts into `text`. `false`: it is not authentic.
    pub(crate) fn open(&self, (nonce, additional): (&[u8; NONCE], &[u8]), sealed: &[u8], text: &mut Vec<u8>) -> bool {
        let Some(len) = sealed.len().checked_sub(TAG).filter(|len| *len > 0) else { return false };
        let start = text.len();
        text.extend_from_slice(&sealed[..len]);
        let (nonce, tag) = (GenericArray::from_slice(nonce), GenericArray::from_slice(&sealed[len..]));
        self.recipient.decrypt_in_place_detached(nonce, additional, &mut text[start..], tag).is_ok()
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cose::nonce;
    use crate::tests::plan;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Appendix C.1 to C.3: the common IV, and the nonces of the first numbers, which the
    /// keys of the same derivation go with; the keys themselves are proven by the messages.
    #[test]
    fn common_iv_and_nonces_are_those_of_appendix_c_1_to_3() {
        let salt = "9e7ca92223786340";
        for (plan, iv, sender, recipient) in [
            (
                plan((salt, "", "01"), None),
                "4622d4dd6d944168eefb54987c",
                "4622d4dd6d944168eefb54987c",
                "4722d4dd6d944169eefb54987c",
            ),
            (
                plan(("", "00", "01"), None),
                "be35ae297d2dace910c52e99f9",
                "bf35ae297d2dace910c52e99f9",
                "bf35ae297d2dace810c52e99f9",
            ),
            (
                plan((salt, "", "01"), Some("37cbf3210017a2d3")),
                "2ca58fb85ff1b81c0b7181b85e",
                "2ca58fb85ff1b81c0b7181b85e",
                "2da58fb85ff1b81d0b7181b85e",
            ),
        ] {
            let keys = Keys::derive(&plan).expect("derived");
            assert_eq!(hex(&keys.common_iv), iv);
            assert_eq!(hex(&nonce(&keys.common_iv, &keys.sender_id, &[0])), sender);
            assert_eq!(hex(&nonce(&keys.common_iv, &keys.recipient_id, &[0])), recipient);
        }
    }

    #[test]
    fn what_cannot_be_derived_from_is_none() {
        for plan in
            [plan(("9e7", "", "01"), None), plan(("", "0102030405060708", ""), None), plan(("", "zz", ""), None)]
        {
            assert!(Keys::derive(&plan).is_none(), "{plan:?}");
        }
    }
}
