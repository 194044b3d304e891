//! Rings that JavaScript made.
#![allow(unsafe_code)]

use napi::bindgen_prelude::{Error, Result, Uint8Array};
use std::fmt::Display;
use tidegate_ring::{LayoutError, SharedMemory};

/// Opens each ring. The arrays must be kept as long as what comes out is used.
pub(crate) fn open_all<T>(
    rings: &[Uint8Array],
    open: fn(SharedMemory) -> std::result::Result<T, LayoutError>,
) -> Result<Vec<T>> {
    rings
        .iter()
        .map(|ring| {
            // SAFETY: the caller keeps the array, and so its SharedArrayBuffer (which cannot be
            // detached), until the workers have let go of the ring.
            let memory = unsafe { SharedMemory::new(ring.as_ptr().cast_mut(), ring.len()) };
            open(memory).map_err(|error| coded("LAYOUT", error))
        })
        .collect()
}

/// An error as `native-errors.ts` expects it: `CODE: text`.
pub(crate) fn coded(code: &str, text: impl Display) -> Error {
    Error::from_reason(format!("{code}: {text}"))
}
