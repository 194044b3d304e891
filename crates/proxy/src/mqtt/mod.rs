//! The driver of MQTT connections, over TCP and over WebSocket.

mod connect;
mod enhanced;
mod packets;
mod serve;

pub(crate) use serve::serve;
