//! `compress`: answers on their way to a client that accepts it, in gzip, brotli or
//! zstd; an upstream's a buffer at a time, the gateway's own whole, files on helper
//! threads. Never undone, and never done twice: what has a coding or asks not to be
//! transformed goes on as it came.

mod encoder;
mod own;
mod rules;

pub(crate) use encoder::Encoder;
pub(crate) use own::{INLINE_BYTES, Packed, VARY, coded_fields};
pub(crate) use rules::Compression;
