//! What all codecs share: bounds-checked reading and writing, the error that
//! says who broke which rule, and the traits that the drivers drive.
#![forbid(unsafe_code)]

mod codec;
mod error;
mod reader;
mod writer;

pub use codec::Codec;
pub use error::{DecodeError, Truncated};
pub use reader::Reader;
pub use writer::{put_prefixed, put_u16, put_u32};
