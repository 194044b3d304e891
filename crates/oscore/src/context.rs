//! One security context while it is used: where its peer is, what it has seen, and what
//! waits for an answer.

use crate::binding::Bindings;
use crate::recent::Recent;
use crate::sequence::Sequence;
use crate::shared::Owner;
use crate::{Keys, Window};
use std::net::SocketAddr;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) user: Arc<str>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) owner: Owner,
    pub(crate) window: Window,
    pub(crate) sequence: Sequence,
    pub(crate) bindings: Bindings,
    pub(crate) recent: Recent,
    /// Under what its peer is known, and where it is; once it has shown itself.
    pub(crate) peer: Option<Peer>,
    /// The confirmable message that is in flight.
    pub(crate) in_flight: Option<InFlight>,
}

/// A message as it is, and as it was sealed.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) plain: Box<[u8]>,
    pub(crate) sealed: Box<[u8]>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) name: SocketAddr,
    pub(crate) address: SocketAddr,
}
