//! The one message model: what every codec produces and everything behind the
//! codecs consumes. Plain data and borrowed views; no I/O, no protocol rules.
#![forbid(unsafe_code)]

mod limits;
mod message;
mod outcome;
mod peer;
mod protocol;
mod view;

pub use limits::Limits;
pub use message::{Message, MessageBuilder, Properties, Qos, TOPIC_MAX};
pub use outcome::{Blame, Fate, Outcome};
pub use peer::{AlternativeName, ClientCertificate, Known, NameKind, Peer};
pub use protocol::{Kind, Protocol};
pub use view::{FieldId, View};
