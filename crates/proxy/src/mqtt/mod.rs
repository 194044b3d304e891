//! The driver of MQTT connections, over TCP and over WebSocket.

mod connect;
mod ending;
mod enhanced;
mod filters;
mod pace;
mod packets;
mod pings;
mod relay;
mod seat;
mod serve;
mod taking;

pub(crate) use pace::Pace;
pub(crate) use relay::Holders;
pub(crate) use serve::Serving;
