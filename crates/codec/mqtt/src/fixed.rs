//! The fixed header: type, flags and remaining length, and the variable byte
//! integer that properties use too.

use crate::rules::{ensure, malformed, short};
use tidegate_kit::{DecodeError, Reader};

/// Largest variable byte integer.
pub const VARINT_MAX: u32 = 268_435_455;

/// Appends a variable byte integer. Callers keep within [`VARINT_MAX`]; more is cut
/// to it, so that the frame stays well formed.
pub fn put_varint(out: &mut Vec<u8>, value: u32) {
    let mut rest = value.min(VARINT_MAX);
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Bytes that [`put_varint`] takes for `value`.
pub(crate) const fn varint_len(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

/// A length as a variable byte integer, cut at its maximum.
pub(crate) fn put_len(out: &mut Vec<u8>, len: usize) {
    put_varint(out, u32::try_from(len).unwrap_or(VARINT_MAX));
}

/// The remaining length behind the first byte: value and how many bytes it took.
pub(crate) fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    // MQTT-1.5.5-1
    ensure(bytes.len() < 4, malformed("MQTT-1.5.5-1", "the remaining length takes more than four bytes"))?;
    Ok(None)
}

/// A variable byte integer inside a packet.
pub(crate) fn varint(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    let mut value = 0;
    for index in 0..4 {
        let byte = reader.u8().map_err(short)?;
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            // MQTT-1.5.5-1: the minimum number of bytes.
            ensure(byte != 0 || index == 0, malformed("MQTT-1.5.5-1", "an integer is padded"))?;
            return Ok(value);
        }
    }
    Err(malformed("MQTT-1.5.5-1", "an integer takes more than four bytes"))
}

/// Appends a packet whose body `write` appends; its length is filled in afterwards,
/// in place for the short packets that these are.
pub(crate) fn framed(out: &mut Vec<u8>, first: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&[first, 0]);
    let start = out.len();
    write(out);
    let len = out.len() - start;
    let mut prefix = Vec::new();
    if let Ok(short @ 0..=0x7f) = u8::try_from(len) {
        out[start - 1] = short;
    } else {
        put_len(&mut prefix, len);
        out.splice(start - 1..start, prefix);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_takes_one_to_four_bytes_and_comes_back() {
        for value in [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, VARINT_MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value as usize));
            assert_eq!(varint(&mut Reader::new(&out)), Ok(value));
            assert_eq!(remaining_length(&out), Ok(Some((value as usize, out.len()))));
        }
    }

    #[test]
    fn a_fifth_length_byte_and_padding_are_malformed() {
        assert!(remaining_length(&[0xff, 0xff, 0xff, 0xff]).is_err());
        assert_eq!(remaining_length(&[0xff, 0xff, 0xff]), Ok(None));
        assert!(varint(&mut Reader::new(&[0x80, 0x00])).is_err());
    }

    #[test]
    fn a_long_body_moves_behind_its_longer_length() {
        let mut out = Vec::new();
        framed(&mut out, 0x90, |out| out.extend_from_slice(&[7; 200]));
        assert_eq!((&out[..4], out.len()), (&[0x90, 0xc8, 0x01, 7][..], 203));
    }
}
