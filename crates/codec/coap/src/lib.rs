//! CoAP (RFC 7252) without I/O: the message codec, and the server's side of the
//! message layer with de-duplication, retransmission, Observe (RFC 7641) and
//! block-wise transfer (RFC 7959), over datagrams and streams (RFC 8323). Messages and
//! `now` come in; requests for the driver and messages to send go out.
#![forbid(unsafe_code)]

mod answers;
mod asleep;
mod block;
mod code;
mod config;
mod content_format;
mod dedup;
mod destination;
mod echo;
mod encode;
mod endpoint;
mod etag;
mod event;
mod exchange;
mod frame;
mod link_format;
mod message;
mod message_ids;
mod notify;
mod observers;
mod observing;
mod option;
mod option_list;
mod outbox;
mod path;
mod peers;
mod reply;
mod request;
mod requester;
mod stream;
mod token;
mod transfer;
mod uploads;
mod waiting;

pub use block::Block;
pub use code::Code;
pub use config::EndpointConfig;
pub use content_format::{content_format, media_type};
pub use destination::{Destination, NoDestination};
pub use encode::{Head, encode, encode_empty};
pub use endpoint::Endpoint;
pub use etag::{Etag, etag};
pub use event::{Arrival, Event, Handled, Request};
pub use exchange::{Exchange, Observe};
pub use frame::{Transport, encode_frame, frame_len};
pub use link_format::LinkFormat;
pub use message::{Malformed, Message, Type};
pub use notify::{Notification, Notified};
pub use observers::{Gone, GoneReason, ObserverId};
pub use option::{OptionNumber, OptionRef, Options};
pub use option_list::OptionList;
pub use outbox::Outbox;
pub use reply::Reply;
pub use requester::{Requester, RequesterConfig};
pub use stream::STREAM_MESSAGE_MAX;
pub use token::Token;
pub use transfer::{Answer, Failure};
pub use waiting::Sleep;
