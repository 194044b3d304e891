//! The compressed COSE object in the OSCORE option (RFC 8613 section 6.1), the nonce
//! (section 5.2) and the additional data (section 5.4).

use smallvec::SmallVec;

/// Bytes of a nonce of AES-CCM-16.
pub(crate) const NONCE: usize = 13;
/// Longest Partial IV.
const PIV_MAX: usize = 5;

/// A Partial IV as it came or goes: without leading zeros, but for zero itself.
pub(crate) type Piv = SmallVec<[u8; PIV_MAX]>;

/// What the OSCORE option says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CoseOption<'o> {
    /// Partial IV; empty where there is none.
    pub piv: &'o [u8],
    /// Who sent it.
    pub kid: Option<&'o [u8]>,
    /// Which of its contexts.
    pub kid_context: Option<&'o [u8]>,
}

impl<'o> CoseOption<'o> {
    /// Reads a value. `None`: it breaks a rule of section 6.1.
    pub fn decode(value: &'o [u8]) -> Option<Self> {
        let Some((&flags, mut rest)) = value.split_first() else { return Some(CoseOption::default()) };
        let (has_kid, has_context, len) = (flags & 8 != 0, flags & 16 != 0, usize::from(flags & 7));
        // A value that is all zeros has to be empty, and the upper bits are reserved.
        if flags == 0 || flags & 0xe0 != 0 || len > PIV_MAX {
            return None;
        }
        let (piv, behind) = rest.split_at_checked(len)?;
        rest = behind;
        let mut kid_context = None;
        if has_context {
            let (&len, behind) = rest.split_first()?;
            let (context, behind) = behind.split_at_checked(usize::from(len))?;
            (kid_context, rest) = (Some(context), behind);
        }
        match (has_kid, rest) {
            (true, kid) => Some(CoseOption { piv, kid: Some(kid), kid_context }),
            (false, []) => Some(CoseOption { piv, kid: None, kid_context }),
            (false, _) => None,
        }
    }

    /// The value of a response's option.
    pub(crate) fn encode_response(piv: Option<&[u8]>) -> SmallVec<[u8; 8]> {
        let mut value = SmallVec::new();
        if let Some(piv) = piv {
            value.push(piv.len() as u8);
            value.extend_from_slice(piv);
        }
        value
    }
}

/// A sequence number as a Partial IV.
pub(crate) fn piv_of(number: u64) -> Piv {
    let bytes = number.to_be_bytes();
    let skip = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
    Piv::from_slice(&bytes[skip..])
}

/// A Partial IV as a number.
pub(crate) fn number_of(piv: &[u8]) -> u64 {
    piv.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Section 5.2: the id of who made the Partial IV, and it, over the common IV.
pub(crate) fn nonce(common_iv: &[u8; NONCE], id: &[u8], piv: &[u8]) -> [u8; NONCE] {
    let mut nonce = [0; NONCE];
    nonce[0] = id.len() as u8;
    nonce[NONCE - PIV_MAX - id.len()..NONCE - PIV_MAX].copy_from_slice(id);
    nonce[NONCE - piv.len()..].copy_from_slice(piv);
    nonce.iter_mut().zip(common_iv).for_each(|(byte, iv)| *byte ^= iv);
    nonce
}

/// Section 5.4: `["Encrypt0", h'', external_aad]`, where that is
/// `[1, [algorithm], request_kid, request_piv, h'']`.
pub(crate) fn additional(algorithm: i8, kid: &[u8], piv: &[u8]) -> SmallVec<[u8; 64]> {
    let mut external: SmallVec<[u8; 32]> = SmallVec::new();
    external.extend_from_slice(&[0x85, 0x01, 0x81]);
    put_int(&mut external, algorithm);
    put_bytes(&mut external, kid);
    put_bytes(&mut external, piv);
    put_bytes(&mut external, b"");
    let mut whole: SmallVec<[u8; 64]> = SmallVec::from_slice(b"\x83\x68Encrypt0\x40");
    put_bytes(&mut whole, &external);
    whole
}

/// Section 3.2.1: `[id, id_context, algorithm, type, length]`.
pub(crate) fn info(id: &[u8], (id_context, algorithm): (Option<&[u8]>, i8), kind: &str, len: u8) -> Vec<u8> {
    let mut info: SmallVec<[u8; 32]> = SmallVec::from_slice(&[0x85]);
    put_bytes(&mut info, id);
    match id_context {
        Some(context) => put_bytes(&mut info, context),
        None => info.push(0xf6),
    }
    put_int(&mut info, algorithm);
    info.push(0x60 | kind.len() as u8);
    info.extend_from_slice(kind.as_bytes());
    put_int(&mut info, len as i8);
    info.into_vec()
}

/// A CBOR integer; what stands here is between -24 and 127.
fn put_int<A: smallvec::Array<Item = u8>>(out: &mut SmallVec<A>, value: i8) {
    match value {
        0..=23 => out.push(value as u8),
        24.. => out.extend_from_slice(&[0x18, value as u8]),
        _ => out.push(0x20 | (-1 - value) as u8),
    }
}

/// A CBOR byte string of less than 256 bytes: ids and contexts are no longer.
fn put_bytes<A: smallvec::Array<Item = u8>>(out: &mut SmallVec<A>, bytes: &[u8]) {
    match bytes.len() {
        len @ 0..=23 => out.push(0x40 | len as u8),
        len => out.extend_from_slice(&[0x58, len as u8]),
    }
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn options_are_read_as_section_6_says() {
        let of = |value: &[u8]| CoseOption::decode(value).map(|own| (own.piv.to_vec(), own.kid.map(<[u8]>::to_vec)));
        assert_eq!(of(b""), Some((vec![], None)));
        assert_eq!(of(&[0x09, 0x14]), Some((vec![0x14], Some(vec![]))));
        assert_eq!(of(&[0x09, 0x14, 0x00]), Some((vec![0x14], Some(vec![0]))));
        let with = CoseOption::decode(&[0x19, 0x14, 0x02, 0x37, 0xcb, 0x42]).expect("valid");
        assert_eq!((with.kid_context, with.kid), (Some(&[0x37, 0xcb][..]), Some(&[0x42][..])));
        for bad in [
            &[0x00][..],
            &[0x06, 0, 0, 0, 0, 0, 0],
            &[0x07],
            &[0x21, 0x14],
            &[0x02, 0x14],
            &[0x01, 1, 2],
            &[0x19, 1, 9],
        ] {
            assert_eq!(of(bad), None, "{bad:x?}");
        }
    }

    #[test]
    fn additional_data_is_that_of_appendix_c_4() {
        let aad = additional(10, b"", &[0x14]);
        assert_eq!(&aad[..], b"\x83\x68Encrypt0\x40\x48\x85\x01\x81\x0a\x40\x41\x14\x40");
        let info = info(b"", (None, 10), "Key", 16);
        assert_eq!(info, [0x85, 0x40, 0xf6, 0x0a, 0x63, 0x4b, 0x65, 0x79, 0x10]);
    }

    proptest! {
        #[test]
        fn a_number_survives_as_a_partial_iv(number in 0_u64..1 << 40) {
            let piv = piv_of(number);
            prop_assert!((1..=5).contains(&piv.len()));
            prop_assert_eq!(number_of(&piv), number);
        }

        #[test]
        fn no_value_panics(value in prop::collection::vec(any::<u8>(), 0..24)) {
            CoseOption::decode(&value);
        }
    }
}
