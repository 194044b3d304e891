//! MQTT 3.1, 3.1.1 and 5: bytes in, borrowed packets out, and back again; plus the
//! server's side of one connection. No sockets, no clock, no topics tree: what
//! outlives a connection is the broker's.
#![forbid(unsafe_code)]

mod ack;
mod aliases;
mod answers;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod fanout;
mod filters;
mod fixed;
mod goodbye;
mod packet;
mod properties;
mod publish;
pub mod reason;
mod rules;
mod session;
mod settings;
mod suback;
mod subscribe;
mod text;
mod unsubscribe;

pub use ack::{Ack, AckKind, put_ack};
pub use aliases::{Topic, TopicAlias};
pub use auth::Auth;
pub use connack::Connack;
pub use connect::{Connect, Version, Will};
pub use disconnect::Disconnect;
pub use fanout::{DeliveryHead, Encoded, append_patched, encode_publish, encoded_len, prepare};
pub use filters::{FilterList, Filters, Options, RetainHandling, Subscription};
pub use fixed::{VARINT_MAX, put_varint};
pub use packet::{MqttCodec, Packet};
pub use properties::{Context, Properties, PropertiesBuf, Property};
pub use publish::Publish;
pub use session::{Event, Incoming, Session};
pub use settings::{Accepted, Settings};
pub use suback::{Suback, Unsuback};
pub use subscribe::Subscribe;
pub use text::{check_filter, check_topic, split_share};
pub use unsubscribe::Unsubscribe;
