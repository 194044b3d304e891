//! CoAP (RFC 7252) without I/O: the message codec, and the server's side of the
//! message layer with de-duplication, retransmission, Observe (RFC 7641) and
//! block-wise transfer (RFC 7959). Datagrams and `now` come in; requests for the
//! driver and datagrams to send go out.
#![forbid(unsafe_code)]

mod block;
mod code;
mod content_format;
mod encode;
mod link_format;
mod message;
mod option;
mod option_list;
mod path;
mod token;

pub use block::Block;
pub use code::Code;
pub use content_format::{content_format, media_type};
pub use encode::{Extra, Head, encode, encode_empty};
pub use link_format::LinkFormat;
pub use message::{Malformed, Message, Type};
pub use option::{OptionNumber, OptionRef, Options};
pub use option_list::OptionList;
pub use token::Token;
