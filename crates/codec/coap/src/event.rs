//! What goes into the message layer and what comes out.

use std::net::SocketAddr;

use crate::{Code, Exchange, Message};

/// Where a datagram comes from.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Milliseconds of the gateway's clock.
    pub now_ms: u64,
    /// Source address.
    pub peer: SocketAddr,
    /// Whether its network is trusted not to forge addresses; loopback always is.
    pub trusted: bool,
}

impl Arrival {
    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted || self.peer.ip().to_canonical().is_loopback()
    }
}

/// What a datagram was.
#[derive(Debug)]
pub enum Event<'a> {
    /// A request to be answered by [`crate::Endpoint::reply`].
    Request(Request<'a>),
    /// Something that is done with.
    Handled(Handled),
    /// The stream is to be closed once what was queued for it is written.
    Closing,
}

/// A request.
#[derive(Debug)]
pub struct Request<'a> {
    /// What `reply` needs.
    pub exchange: Exchange,
    /// The message.
    pub message: Message<'a>,
    /// The joined body of a block-wise upload.
    pub upload: Option<Vec<u8>>,
}

impl Request<'_> {
    /// The body, however it came.
    pub fn body(&self) -> &[u8] {
        self.upload.as_deref().unwrap_or(self.message.payload)
    }
}

/// What needed no driver; the name for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handled {
    /// A message that came already.
    Duplicate,
    /// An empty confirmable message, answered by a Reset (section 4.3); on a stream
    /// Ping, answered by Pong.
    Ping,
    /// Another signal of a stream.
    Signal,
    /// An acknowledgement of ours.
    Acknowledged,
    /// A Reset of ours.
    Rejected,
    /// A block of an upload, answered by 2.31.
    Block,
    /// A request that was refused with this code.
    Refused(Code),
    /// Rejected by a Reset (section 4.2).
    Reset(&'static str),
    /// Passed over in silence (section 4.3).
    Ignored(&'static str),
}
