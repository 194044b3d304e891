//! A session as it is held: ready, with its buffers of several KiB, or frozen, as what
//! its records need and nothing else. Whoever wants it gets it ready.

use std::rc::Rc;

use crate::DtlsError;
use crate::engine::{Context, Session};
use crate::record::CID_LEN;

/// A session and the context that it began with.
pub(crate) struct Held {
    context: Rc<Context>,
    state: State,
}

enum State {
    Live(Session),
    Frozen(Box<[u8]>),
}

impl Held {
    pub(crate) fn open(context: &Rc<Context>, cid: [u8; CID_LEN]) -> Result<Self, DtlsError> {
        Ok(Held { context: Rc::clone(context), state: State::Live(Session::open(context, cid)?) })
    }

    pub(crate) const fn context(&self) -> &Rc<Context> {
        &self.context
    }

    /// The session, ready. `None`: there is no memory for it.
    pub(crate) fn live(&mut self) -> Option<&mut Session> {
        if let State::Frozen(bytes) = &self.state {
            self.state = State::Live(Session::thaw(&self.context, bytes).ok()?);
        }
        match &mut self.state {
            State::Live(session) => Some(session),
            State::Frozen(_) => None,
        }
    }

    /// The session that `frozen` has said before. `None`: it fits this context no more.
    pub(crate) fn thaw(context: &Rc<Context>, frozen: &[u8]) -> Option<Self> {
        // Tried out: what cannot be thawed is to be known now.
        Session::thaw(context, frozen).ok()?;
        Some(Held { context: Rc::clone(context), state: State::Frozen(frozen.into()) })
    }

    /// What it is, frozen. `None`: it cannot be now.
    pub(crate) fn frozen(&mut self) -> Option<&[u8]> {
        self.freeze();
        match &self.state {
            State::Live(_) => None,
            State::Frozen(bytes) => Some(bytes),
        }
    }

    /// Gives its buffers back, where it can be.
    pub(crate) fn freeze(&mut self) {
        if let State::Live(session) = &mut self.state
            && let Some(bytes) = session.freeze()
        {
            self.state = State::Frozen(bytes);
        }
    }

    /// Bytes that it takes while it is frozen.
    #[cfg(all(test, feature = "mbedtls"))]
    pub(crate) fn frozen_bytes(&self) -> Option<usize> {
        match &self.state {
            State::Live(_) => None,
            State::Frozen(bytes) => Some(bytes.len()),
        }
    }
}
