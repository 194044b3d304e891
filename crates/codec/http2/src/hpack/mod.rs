//! Fields as HPACK codes them (RFC 7541).

mod decoder;
mod encoder;
mod huffman;
mod statics;

pub(crate) use decoder::{Decoder, TakeField};
pub(crate) use encoder::Encoder;

/// What a table may hold: SETTINGS_HEADER_TABLE_SIZE as it is by default.
const TABLE_MAX: usize = 4_096;
/// What an entry costs besides its texts (section 4.1).
const ENTRY: usize = 32;

/// An integer of HPACK behind a prefix of so many bits (section 5.1); `None`: it is not whole, or above two million.
fn integer(block: &mut &[u8], prefix: u32) -> Option<usize> {
    let (&first, mut rest) = block.split_first()?;
    let mask = (1_usize << prefix) - 1;
    let mut value = usize::from(first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (&next, behind) = rest.split_first()?;
            rest = behind;
            value += usize::from(next & 0x7f) << shift;
            shift += 7;
            if next & 0x80 == 0 {
                break;
            }
            if shift > 21 {
                return None;
            }
        }
    }
    *block = rest;
    Some(value)
}

/// Appends an integer of HPACK behind a prefix of so many bits, whose other bits are `first`.
fn put_integer(out: &mut Vec<u8>, (first, prefix): (u8, u32), value: usize) {
    let mask = (1_usize << prefix) - 1;
    let Some(mut rest) = value.checked_sub(mask) else { return out.push(first | value as u8) };
    out.push(first | mask as u8);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_those_of_the_appendix_and_come_back() {
        // RFC 7541 appendix C.1.
        for (prefix, value, coded) in [(5, 10, &[10_u8][..]), (5, 1337, &[31, 154, 10]), (8, 42, &[42])] {
            let mut out = Vec::new();
            put_integer(&mut out, (0, prefix), value);
            assert_eq!(out, coded);
        }
        for prefix in 1..=8 {
            for value in (0..70_000).step_by(13).chain([0, 1, 126, 127, 128, 254, 255, 256, 2_000_000]) {
                let mut out = Vec::new();
                put_integer(&mut out, (0, prefix), value);
                let mut rest = &out[..];
                assert_eq!(integer(&mut rest, prefix), Some(value));
                assert!(rest.is_empty());
            }
        }
        for bad in [&[][..], &[0xff], &[0xff, 0x80], &[0xff, 0xff, 0xff, 0xff, 0xff, 0x01]] {
            assert_eq!(integer(&mut &bad[..], 7), None, "{bad:?}");
        }
    }
}
