//! Pre-shared keys by identity: exact ones first, then patterns, the longest first.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::PskPlan;

/// Bytes of an identity that are looked at; RFC 4279 section 5.3 wants 128 at least.
pub(crate) const IDENTITY_MAX: usize = 256;

/// A key, or what it is made of.
#[derive(Clone)]
enum Key {
    Plain(Box<[u8]>),
    Master(Box<[u8]>),
}

/// All keys of a listener.
#[derive(Clone, Default)]
pub(crate) struct PskTable {
    exact: HashMap<Box<[u8]>, Key, RandomState>,
    patterns: Vec<(Box<[u8]>, Key)>,
}

impl PskTable {
    /// Keys that are no hexadecimal digits are left out: the control plane made them.
    pub(crate) fn new(plans: &[PskPlan]) -> Self {
        let mut table = PskTable::default();
        for plan in plans {
            let Some(bytes) = from_hex(&plan.key_hex) else { continue };
            let key = if plan.derived { Key::Master(bytes) } else { Key::Plain(bytes) };
            let identity: Box<[u8]> = plan.identity.as_bytes().into();
            if identity.contains(&b'*') {
                table.patterns.push((identity, key));
            } else {
                table.exact.insert(identity, key);
            }
        }
        // The most specific pattern is the one that says most.
        table.patterns.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.len()));
        table
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.patterns.is_empty()
    }

    /// The key of an identity.
    pub(crate) fn find(&self, identity: &[u8]) -> Option<Box<[u8]>> {
        if identity.len() > IDENTITY_MAX {
            return None;
        }
        let pattern = || self.patterns.iter().find(|(pattern, _)| matches(pattern, identity)).map(|(_, key)| key);
        match self.exact.get(identity).or_else(pattern)? {
            Key::Plain(key) => Some(key.clone()),
            Key::Master(master) => {
                let mut mac = Hmac::<Sha256>::new_from_slice(master).ok()?;
                mac.update(identity);
                Some(mac.finalize().into_bytes().as_slice().into())
            }
        }
    }
}

/// Linear in pattern and text for one star, and never worse than their product.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(byte) if *byte == text[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                (at, from) = (star_at + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

fn from_hex(text: &str) -> Option<Box<[u8]>> {
    let digits = text.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|value| value as u8);
    digits.len().is_multiple_of(2).then_some(())?;
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(identity: &str, key_hex: &str, derived: bool) -> PskPlan {
        PskPlan { identity: identity.into(), key_hex: key_hex.into(), derived }
    }

    #[test]
    fn an_exact_identity_wins_over_patterns_and_the_longest_pattern_over_shorter_ones() {
        let table = PskTable::new(&[
            plan("*", "00", false),
            plan("plant-*", "01", false),
            plan("plant-*-pump", "02", false),
            plan("plant-7", "03", false),
        ]);
        let key = |identity: &str| table.find(identity.as_bytes()).map(|key| key[0]);
        assert_eq!(key("plant-7"), Some(3));
        assert_eq!(key("plant-8"), Some(1));
        assert_eq!(key("plant-8-pump"), Some(2));
        assert_eq!(key("other"), Some(0));
    }

    #[test]
    fn an_identity_that_nobody_has_finds_no_key() {
        let table = PskTable::new(&[plan("a*c", "01", false), plan("broken", "0g", false), plan("odd", "012", false)]);
        for identity in ["", "a", "abd", "xabc", "broken", "odd"] {
            assert!(table.find(identity.as_bytes()).is_none(), "{identity}");
        }
        assert!(table.find(b"abc").is_some() && table.find(b"ac").is_some());
        let long = [b"a".as_slice(), &[b'b'; IDENTITY_MAX], b"c"].concat();
        assert!(table.find(&long).is_none());
    }

    #[test]
    fn a_derived_key_differs_by_identity_and_is_hmac_sha_256() {
        // RFC 4231 section 4.3: key "Jefe", data "what do ya want for nothing?".
        let table = PskTable::new(&[plan("*", "4a656665", true)]);
        let key = table.find(b"what do ya want for nothing?").expect("derived");
        assert_eq!(key[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert_ne!(table.find(b"one"), table.find(b"two"));
    }
}
