//! `compress`: answers on their way to a client that accepts it, in gzip, brotli or
//! zstd, a buffer at a time. Never undone, and never done twice: what has a coding or
//! asks not to be transformed goes on as it came.

mod encoder;
mod rules;

pub(crate) use encoder::Encoder;
pub(crate) use rules::Compression;
