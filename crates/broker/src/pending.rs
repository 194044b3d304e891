//! Taking a session over from another worker: the claim that waits for it, and what
//! crosses between the workers.

use crate::connect::ConnectRequest;
use crate::directory::Home;
use crate::session::Backlog;
use crate::subscribers::Options;
use std::sync::Arc;

/// A CONNECT whose session is elsewhere.
pub(crate) struct Pending {
    pub(crate) request: ConnectRequest,
    /// A later claim, which gets the session right after.
    pub(crate) waiter: Option<Waiter>,
    /// The connection went away meanwhile.
    pub(crate) abandoned: bool,
}

/// Who wants a session that is itself on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Waiter {
    pub(crate) worker: u16,
    pub(crate) claim: u64,
}

/// To the worker that holds a session: give it up. Its `give_up` takes this.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GiveUp {
    /// Whose session.
    pub client_id: Arc<str>,
    /// Where it is, and its epoch there.
    pub home: Home,
    /// Who asks.
    pub to: u16,
    /// The asker's claim, which comes back in the `HandOver`.
    pub claim: u64,
    /// Whether the session ends here, because the client wants a clean start.
    pub clean_start: bool,
}

/// A session between two workers, or the news that there is none. The claiming
/// worker's `adopt` takes this.
#[derive(Debug)]
pub struct HandOver {
    /// The worker that gets it.
    pub to: u16,
    /// Its claim.
    pub claim: u64,
    /// The session.
    pub state: Option<SessionState>,
}

/// All of a session that its client can notice.
#[derive(Debug)]
pub struct SessionState {
    pub(crate) filters: Vec<(Arc<str>, Options)>,
    pub(crate) backlog: Backlog,
}
