//! Appending big-endian fields to an output buffer.

/// Appends two bytes, big-endian.
pub fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends four bytes, big-endian.
pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a field behind a two-byte length. A longer field is cut at 65,535 bytes:
/// callers check what they send, this only keeps the frame well formed.
pub fn put_prefixed(out: &mut Vec<u8>, field: &[u8]) {
    let len = u16::try_from(field.len()).unwrap_or(u16::MAX);
    put_u16(out, len);
    out.extend_from_slice(&field[..usize::from(len)]);
}
