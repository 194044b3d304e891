//! Scratch memory of one worker. Connections own no buffers: whoever reads takes
//! one, uses it within the wake-up and gives it back, so that a handful serve any
//! number of connections.

use bytes::{Bytes, BytesMut};
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Bytes of one read.
pub(crate) const READ_BYTES: usize = 64 << 10;
/// Room in front of what was read: a head that grows is written there, so that head
/// and body leave in one write without moving the body.
pub(crate) const HEADROOM: usize = 2 << 10;

/// Scratch buffers that nobody holds.
#[derive(Default)]
pub(crate) struct Buffers {
    reads: RefCell<Vec<Box<[u8]>>>,
    writes: RefCell<Vec<Vec<u8>>>,
    /// What [`Buffers::small`] cuts from.
    block: RefCell<BytesMut>,
}

/// Free buffers that are kept.
const KEPT: usize = 8;
const KEPT_WRITES: usize = 64;
/// A write buffer that grew beyond this is not kept.
const WRITE_KEPT_BYTES: usize = 16 << 10;

/// Small pieces share a block of so many bytes, which lives as long as the longest of them.
const BLOCK_BYTES: usize = 4 << 10;
const SMALL_BYTES: usize = 256;

/// A read buffer while it is used.
pub(crate) struct ReadBuffer {
    bytes: Box<[u8]>,
}

impl Deref for ReadBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for ReadBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Buffers {
    /// A read buffer of [`HEADROOM`] and [`READ_BYTES`]; its content is old.
    pub(crate) fn take(&self) -> ReadBuffer {
        let bytes = self.reads.borrow_mut().pop();
        ReadBuffer { bytes: bytes.unwrap_or_else(|| vec![0; HEADROOM + READ_BYTES].into_boxed_slice()) }
    }

    /// Gives a read buffer back.
    pub(crate) fn give(&self, buffer: ReadBuffer) {
        let mut reads = self.reads.borrow_mut();
        if reads.len() < KEPT {
            reads.push(buffer.bytes);
        }
    }

    /// A copy that is shared and counted. Small ones, of which an answer of HTTP/2 has several, cost no allocation each.
    pub(crate) fn small(&self, bytes: &[u8]) -> Bytes {
        if bytes.len() > SMALL_BYTES {
            return Bytes::copy_from_slice(bytes);
        }
        let mut block = self.block.borrow_mut();
        if block.capacity() < bytes.len() {
            *block = BytesMut::with_capacity(BLOCK_BYTES);
        }
        block.extend_from_slice(bytes);
        block.split().freeze()
    }

    /// An empty write buffer.
    pub(crate) fn take_write(&self) -> Vec<u8> {
        self.writes.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives a write buffer back.
    pub(crate) fn give_write(&self, mut buffer: Vec<u8>) {
        let mut writes = self.writes.borrow_mut();
        if writes.len() < KEPT_WRITES && buffer.capacity() > 0 && buffer.capacity() <= WRITE_KEPT_BYTES {
            buffer.clear();
            writes.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_copies_share_blocks_and_keep_what_they_are() {
        let buffers = Buffers::default();
        let texts: Vec<String> = (0..3_000).map(|number| format!("value {number}")).collect();
        let copies: Vec<Bytes> = texts.iter().map(|text| buffers.small(text.as_bytes())).collect();
        let adjoining = copies.windows(2).filter(|pair| pair[0].as_ptr_range().end == pair[1].as_ptr()).count();
        assert!(adjoining > 2_900, "{adjoining} of 3000 stand behind the one before");
        assert!(copies.iter().zip(&texts).all(|(copy, text)| copy == text.as_bytes()));
        let long = vec![7; SMALL_BYTES + 1];
        assert_eq!(buffers.small(&long), long);
        assert_eq!(buffers.small(b""), "");
    }
}
