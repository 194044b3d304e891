//! WebSocket frames (RFC 6455) for both ends, without I/O: bytes of a scratch buffer
//! come in and are unmasked in place, messages and control frames go out as slices.
//! No extensions: a reserved bit is an error.
#![forbid(unsafe_code)]

mod border;
mod close;
mod decoder;
mod encode;
mod handshake;
mod header;
mod mask;
mod utf8;

pub use border::Border;
pub use close::{Close, CloseCode};
pub use decoder::{Decoder, Delivery, Event, Role};
pub use encode::{encode_close, encode_close_answer, encode_frame, encode_head, encode_masked_frame};
pub use handshake::{accept_key, is_valid_key};
pub use header::Opcode;
