//! CoAP over UDP: the driver of one socket of one worker. Datagrams come in by
//! batches, `dispatch` decides what a request becomes, answers and notifications go
//! out by one batch per wake-up. What the message layer is lives in `tidegate-coap`.

mod answer;
mod discovery;
mod dispatch;
mod driver;
mod inbox;
mod kept;
mod observations;
mod observe;
mod resource;
mod server;
mod sockets;
mod topic;
mod upstream;
mod view;
mod waiting;

pub(crate) use discovery::visible_paths;
pub(crate) use driver::serve;
pub(crate) use sockets::Sockets;
