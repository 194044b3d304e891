//! Answers of the gateway itself, whole in hand.

use super::rules::{DIGESTS, forbids_change};
use super::{Compression, Encoder};
use tidegate_http::Coding;

/// Longer ones are compressed on a helper thread, or not at all where nobody can wait: a
/// worker is held up for about 100 us.
pub(crate) const INLINE_BYTES: usize = 64 << 10;

/// What caches are told of an answer that has several forms.
pub(crate) const VARY: &[u8] = b"vary: accept-encoding\r\n";

/// A compressed answer: its field lines and its body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    pub(crate) fields: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Compression {
    /// Whether an answer of ours is one that is compressed.
    pub(crate) fn fits(&self, status: u16, fields: &[u8], length: u64) -> bool {
        let is_fixed = || {
            fields
                .split_inclusive(|byte| *byte == b'\n')
                .any(|line| named(line, "cache-control").is_some_and(|value| forbids_change(b"cache-control", value)))
        };
        length >= self.min_bytes() && self.suits(status, |name| field(fields, name)) && !is_fixed()
    }

    /// Compresses it. `None`: there is no memory for it.
    pub(crate) fn pack(&self, coding: Coding, fields: &[u8], body: &[u8]) -> Option<Packed> {
        let mut encoder = Encoder::new(coding)?;
        encoder.write(body);
        Some(Packed { fields: coded_fields(coding, fields), body: encoder.finish() })
    }
}

/// The field lines of an answer that is compressed now. A strong entity tag becomes weak:
/// the bytes are others.
pub(crate) fn coded_fields(coding: Coding, fields: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(fields.len() + 64);
    for line in fields.split_inclusive(|byte| *byte == b'\n') {
        match named(line, "etag") {
            Some(tag) if tag.starts_with(b"\"") => {
                packed.extend_from_slice(b"etag: W/");
                packed.extend_from_slice(tag);
                packed.extend_from_slice(b"\r\n");
            }
            _ if DIGESTS.iter().any(|digest| named(line, digest).is_some()) => {}
            _ => packed.extend_from_slice(line),
        }
    }
    for part in [b"content-encoding: ", coding.name().as_bytes(), b"\r\n", VARY] {
        packed.extend_from_slice(part);
    }
    packed
}

fn field<'f>(fields: &'f [u8], name: &str) -> Option<&'f [u8]> {
    fields.split_inclusive(|byte| *byte == b'\n').find_map(|line| named(line, name))
}

/// The value of a line, if it has that name.
fn named<'l>(line: &'l [u8], name: &str) -> Option<&'l [u8]> {
    let (own, value) = line.split_at_checked(name.len())?;
    let value = value.strip_prefix(b":")?;
    own.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Registry;
    use tidegate_policy::CompressPlan;

    #[test]
    fn what_is_compressed_says_so_and_its_tag_is_weak() {
        let plan = CompressPlan { codings: vec!["gzip".into()], min_bytes: 10, types: vec!["text/*".into()] };
        let rules = Compression::compile(&plan, &Registry::new(1));
        let fields = b"Content-Type: text/plain\r\nContent-Digest: sha-256=:x:\r\nETag: \"1\"\r\n";
        assert!(rules.fits(200, fields, 10) && !rules.fits(200, fields, 9) && !rules.fits(204, fields, 10));
        assert!(!rules.fits(200, b"content-type: text/plain\r\ncontent-encoding: br\r\n", 10));
        assert!(!rules.fits(200, b"content-type: text/plain\r\ncache-control: no-transform\r\n", 10));
        let two = b"content-type: text/plain\r\ncache-control: public\r\nCache-Control: No-Transform\r\n";
        assert!(!rules.fits(200, two, 10));
        let packed = rules.pack(Coding::Gzip, fields, b"aaaaaaaaaa").expect("memory");
        let expected =
            "Content-Type: text/plain\r\netag: W/\"1\"\r\ncontent-encoding: gzip\r\nvary: accept-encoding\r\n";
        assert_eq!(String::from_utf8(packed.fields).expect("text"), expected);
        assert_eq!(packed.body[..2], [0x1f, 0x8b]);
    }
}
