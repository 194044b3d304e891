//! Writing frames: always whole messages, never fragments.

use crate::{Close, Opcode, mask};

/// Appends the header of an unmasked frame; the payload follows.
pub fn encode_head(out: &mut Vec<u8>, opcode: Opcode, len: usize) {
    put_head(out, opcode, len, 0);
}

/// Appends a frame as servers send it. A control frame's payload is cut at 125 bytes.
pub fn encode_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let payload = bounded(opcode, payload);
    encode_head(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a frame as clients send it. The mask must be fresh and unpredictable
/// (RFC 6455 section 10.3).
pub fn encode_masked_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
    let payload = bounded(opcode, payload);
    put_head(out, opcode, payload.len(), 0x80);
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask::apply(key, 0, &mut out[start..]);
}

/// Appends a close frame as servers send it. The reason is cut at 123 bytes, at the
/// border of a character.
pub fn encode_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let end = (0..=reason.len().min(123)).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
    let reason = &reason[..end];
    encode_head(out, Opcode::Close, 2 + reason.len());
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// Appends the answer to a close frame of a client: its code comes back, and no code where it gave none
/// (RFC 6455 section 5.5.1).
pub fn encode_close_answer(out: &mut Vec<u8>, close: Close<'_>) {
    match close.code {
        Some(code) => encode_close(out, code, ""),
        None => encode_frame(out, Opcode::Close, b""),
    }
}

fn put_head(out: &mut Vec<u8>, opcode: Opcode, len: usize, masked: u8) {
    out.push(0x80 | opcode as u8);
    match len {
        0..=125 => out.push(masked | len as u8),
        126..=0xffff => {
            out.push(masked | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(masked | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

fn bounded(opcode: Opcode, payload: &[u8]) -> &[u8] {
    if opcode.is_control() { &payload[..payload.len().min(125)] } else { payload }
}
