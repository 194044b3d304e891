//! What the gateway tells a worker. Each call is rare, and answered where somebody waits.

use super::ConnectionRow;
use crate::inspect_mqtt::{ApiPublish, ClientRow};
use crate::plan::{ListenerDto, Plan};
use crate::pubsub::Watch;
use crate::recover::Dealt;
use std::sync::Arc;
use tidegate_message::Outcome;
use tidegate_ring::Decisions;
use tokio::sync::oneshot;

/// A listener's socket for one worker.
pub(crate) enum Listening {
    Tcp(std::net::TcpListener),
    Udp(std::net::UdpSocket),
}

/// A message to a worker.
pub(crate) enum Control {
    /// Use this plan from now on; answered when it is in force.
    Apply(Arc<Plan>, oneshot::Sender<()>),
    /// Accept on this socket.
    Listen(Arc<ListenerDto>, Listening),
    /// Accept what already waits, then close the socket; its connections drain.
    Unlisten(String),
    /// Take this over from the data directory.
    Restore(Dealt, oneshot::Sender<std::io::Result<()>>),
    /// All connections.
    Connections(oneshot::Sender<Vec<ConnectionRow>>),
    /// Close one; answers whether it was there.
    Kick { slot: u32, generation: u32, done: oneshot::Sender<bool> },
    /// Stop accepting, say goodbye to everyone over `spread_ms`.
    Drain { spread_ms: u64 },
    /// A policy thread's ring, or that it has left; answered when the old one is let go.
    Policies(Option<Box<Decisions>>, oneshot::Sender<()>),
    /// Sessions, or one client's.
    Clients(Option<String>, oneshot::Sender<Vec<ClientRow>>),
    /// Show these packets from now on.
    Trace(Vec<Watch>, oneshot::Sender<()>),
    /// End a client's session; answers whether it was here.
    KickClient(String, oneshot::Sender<bool>),
    /// Publish for the API.
    Publish(Box<ApiPublish>),
    /// Subscribe for the API.
    Subscribe { id: u32, filter: String, qos: u8, done: oneshot::Sender<Outcome> },
    /// End a subscription of the API.
    Unsubscribe(u32, oneshot::Sender<()>),
    /// How many connections are left.
    Open(oneshot::Sender<usize>),
    /// End now.
    Stop,
}
