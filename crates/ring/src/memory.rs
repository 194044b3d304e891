//! Memory that JavaScript shares with a worker. Words are atomics; bytes are copied
//! in and out while a state word says whose they are.
#![allow(unsafe_code)]

use crate::layout::{CAPACITY_AT, SIZE_AT, VERSION_AT};
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A stretch of a `SharedArrayBuffer`. It must stay alive as long as this does:
/// whoever makes one holds a reference to the buffer until the workers have ended.
#[derive(Clone, Copy, Debug)]
pub struct SharedMemory {
    base: *mut u8,
    len: usize,
}

// SAFETY: the memory is shared by design; every word is read and written as an atomic,
// and bytes are only touched by the side that a state word names.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

/// A ring that is not what this side expects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LayoutError(pub String);

impl fmt::Display for LayoutError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ring layout: {}", self.0)
    }
}

impl std::error::Error for LayoutError {}

impl SharedMemory {
    /// Takes `len` bytes at `base`.
    ///
    /// # Safety
    /// The memory must be valid for reads and writes, 8-byte aligned, and outlive every
    /// copy of the value.
    pub unsafe fn new(base: *mut u8, len: usize) -> Self {
        SharedMemory { base, len }
    }

    /// Checks version word, size and bounds; the capacity.
    pub(crate) fn open(&self, version: u32, size: usize, bytes: fn(usize) -> usize) -> Result<usize, LayoutError> {
        if !(self.base as usize).is_multiple_of(8) || self.len < 64 {
            return Err(LayoutError(format!("{} bytes, or not aligned to 8", self.len)));
        }
        let found = self.load(VERSION_AT);
        if found != version {
            return Err(LayoutError(format!(
                "version {found:#x}, expected {version:#x}: the addon and the package do not belong together; install both anew"
            )));
        }
        let capacity = self.load(CAPACITY_AT) as usize;
        if !capacity.is_power_of_two() || self.load(SIZE_AT) as usize != size || bytes(capacity) > self.len {
            return Err(LayoutError(format!("capacity {capacity} does not fit {} bytes", self.len)));
        }
        Ok(capacity)
    }

    fn word(&self, at: usize) -> &AtomicU32 {
        assert!(at.is_multiple_of(4) && at + 4 <= self.len);
        // SAFETY: in bounds and aligned by the check above; the memory outlives `self`.
        unsafe { &*self.base.add(at).cast::<AtomicU32>() }
    }

    pub(crate) fn load(&self, at: usize) -> u32 {
        self.word(at).load(Ordering::Acquire)
    }

    pub(crate) fn store(&self, at: usize, value: u32) {
        self.word(at).store(value, Ordering::Release);
    }

    /// Publishes a new head; says whether the reader had read everything before it. The
    /// fence stands between the two so that one of both sides sees the other's store:
    /// the reader looks at the head again after it has stored its tail.
    pub(crate) fn publish(&self, (head_at, head): (usize, u32), (tail_at, before): (usize, u32)) -> bool {
        self.word(head_at).store(head, Ordering::Release);
        std::sync::atomic::fence(Ordering::SeqCst);
        self.word(tail_at).load(Ordering::Relaxed) == before
    }

    pub(crate) fn store_f64(&self, at: usize, value: f64) {
        assert!(at.is_multiple_of(8) && at + 8 <= self.len);
        // SAFETY: in bounds and aligned by the check above.
        unsafe { &*self.base.add(at).cast::<AtomicU64>() }.store(value.to_bits(), Ordering::Relaxed);
    }

    pub(crate) fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.len);
        // SAFETY: in bounds; the source is ours, so they do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.add(at), bytes.len()) };
    }

    pub(crate) fn read(&self, at: usize, len: usize, out: &mut Vec<u8>) {
        assert!(at + len <= self.len);
        out.reserve(len);
        // SAFETY: in bounds, `len` bytes were reserved, and every byte is initialised by the copy.
        unsafe {
            std::ptr::copy_nonoverlapping(self.base.add(at), out.as_mut_ptr().add(out.len()), len);
            out.set_len(out.len() + len);
        }
    }
}
