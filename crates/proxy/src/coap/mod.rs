//! CoAP: the driver of one UDP socket of one worker, where datagrams come and go by
//! batches, and the connections over TCP and WebSocket, which share a server. `dispatch`
//! decides what a request becomes. What the message layer is lives in `tidegate-coap`.

mod answer;
mod connection;
mod directory;
mod discovery;
mod dispatch;
mod driver;
mod inbox;
mod kept;
mod keys;
mod ledger;
mod observations;
mod observe;
mod protected;
mod protected_streams;
mod proxied;
mod relay;
mod relays;
mod resource;
mod saved;
mod secure;
mod server;
mod sockets;
mod streams;
mod topic;
mod upstream;
mod view;
mod waiting;

pub(crate) use connection::serve_stream;
pub(crate) use directory::{Registrations, TOPIC as DIRECTORY_TOPIC, changes as directory_changes};
pub(crate) use discovery::visible_paths;
pub(crate) use driver::serve;
pub(crate) use ledger::FileLedger;
pub(crate) use relays::Relays;
pub(crate) use secure::Strays;
pub(crate) use sockets::Sockets;
pub(crate) use view::{format_of, type_of};
