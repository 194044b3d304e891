//! Scratch memory of one worker. Connections own no buffers: whoever reads takes
//! one, uses it within the wake-up and gives it back, so that a handful serve any
//! number of connections.

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
}

/// Free buffers that are kept.
const KEPT: usize = 8;
const KEPT_WRITES: usize = 64;
/// A write buffer that grew beyond this is not kept.
const WRITE_KEPT_BYTES: usize = 16 << 10;

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
