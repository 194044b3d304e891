//! Frame headers (RFC 6455 section 5.2).

use tidegate_kit::{DecodeError, Reader, Truncated};

use crate::Role;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation = 0,
    /// UTF-8 text.
    Text = 1,
    /// Bytes.
    Binary = 2,
    /// The connection ends.
    Close = 8,
    /// To be answered by a pong with the same payload.
    Ping = 9,
    /// The answer to a ping.
    Pong = 10,
}

impl Opcode {
    const fn from_bits(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    /// Close, ping, pong.
    pub const fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// A header that keeps all rules that need nothing but itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) fin: bool,
    pub(crate) opcode: Opcode,
    pub(crate) mask: [u8; 4],
    pub(crate) len: u64,
}

const RULE: &str = "RFC 6455 section 5.2";

impl Header {
    /// The header and its length, or `None` where bytes are missing. Errors show as
    /// soon as the byte that makes them is there.
    pub(crate) fn decode(input: &[u8], role: Role) -> Result<Option<(Header, usize)>, DecodeError> {
        let [first, second, rest @ ..] = input else { return Ok(None) };
        let opcode = check_first(*first)?;
        let short = second & 0x7f;
        let header = Header { fin: first & 0x80 != 0, opcode, mask: [0; 4], len: u64::from(short) };
        header.check_second(second & 0x80 != 0, role)?;
        let mut reader = Reader::new(rest);
        let Ok(len) = extended_len(&mut reader, short) else { return Ok(None) };
        check_len(len, short)?;
        let mask = if role == Role::Server { reader.take(4) } else { Ok(&[0; 4][..]) };
        // `take` gave four bytes or nothing.
        let Some(mask) = mask.ok().and_then(|mask| mask.first_chunk::<4>()) else { return Ok(None) };
        Ok(Some((Header { mask: *mask, len, ..header }, input.len() - reader.remaining())))
    }

    fn check_second(&self, masked: bool, role: Role) -> Result<(), DecodeError> {
        // RFC 6455 section 5.1: clients mask, servers do not.
        if masked != (role == Role::Server) {
            return Err(DecodeError::close(1002, "RFC 6455 section 5.1", "wrong masking"));
        }
        if self.opcode.is_control() && (!self.fin || self.len > 125) {
            return Err(DecodeError::close(1002, "RFC 6455 section 5.5", "split or long control frame"));
        }
        Ok(())
    }
}

fn check_first(first: u8) -> Result<Opcode, DecodeError> {
    if first & 0x70 != 0 {
        return Err(DecodeError::close(1002, RULE, "reserved bit without an extension"));
    }
    Opcode::from_bits(first & 0x0f).ok_or(DecodeError::close(1002, RULE, "reserved opcode"))
}

fn extended_len(reader: &mut Reader<'_>, short: u8) -> Result<u64, Truncated> {
    match short {
        126 => reader.u16().map(u64::from),
        127 => Ok(u64::from(reader.u32()?) << 32 | u64::from(reader.u32()?)),
        short => Ok(u64::from(short)),
    }
}

fn check_len(len: u64, short: u8) -> Result<(), DecodeError> {
    let least = [0, 126, 65_536][usize::from(short.saturating_sub(125))];
    if len < least || len >> 63 != 0 {
        return Err(DecodeError::close(1002, RULE, "length in a longer form than it needs, or above 2^63"));
    }
    Ok(())
}
