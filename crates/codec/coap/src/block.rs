//! The value of Block1 and Block2 (RFC 7959 section 2.2).

/// Which part of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// Number of the block, below 2^20.
    pub num: u32,
    /// Whether more follow.
    pub more: bool,
    /// Size as an exponent: `2^(szx + 4)` bytes, 0 to 6; 7: [`Block::BERT`].
    pub szx: u8,
}

impl Block {
    /// Several blocks of 1,024 bytes in one message, over streams (RFC 8323 section 6).
    /// Reserved in datagrams.
    pub const BERT: u8 = 7;

    /// `None`: longer than three bytes.
    pub fn decode(value: &[u8]) -> Option<Self> {
        let fold = |sum: u32, byte: &u8| sum << 8 | u32::from(*byte);
        let bits = (value.len() <= 3).then(|| value.iter().fold(0, fold))?;
        Some(Block { num: bits >> 4, more: bits & 8 != 0, szx: (bits & 7) as u8 })
    }

    /// The value as a number.
    pub const fn to_uint(self) -> u32 {
        self.num << 4 | (self.more as u32) << 3 | self.szx as u32
    }

    /// Bytes of a whole block: 16 to 1,024.
    pub const fn size(self) -> usize {
        16 << if self.szx == Block::BERT { 6 } else { self.szx }
    }

    /// Whether a block before the last may have that many bytes.
    pub const fn fits(self, len: usize) -> bool {
        match self.szx {
            Block::BERT => len > 0 && len.is_multiple_of(self.size()),
            _ => len == self.size(),
        }
    }

    /// Where in the body it starts.
    pub const fn offset(self) -> usize {
        self.num as usize * self.size()
    }

    /// The greatest exponent whose blocks are no longer than `bytes`; 0 for less than 16.
    pub const fn szx_for(bytes: usize) -> u8 {
        let mut szx = 6;
        while szx > 0 && 16 << szx > bytes {
            szx -= 1;
        }
        szx
    }
}
