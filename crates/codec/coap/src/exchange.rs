//! A request that waits for its response. The driver keeps it, so that slow requests
//! cost the endpoint nothing.

use std::net::SocketAddr;

use crate::dedup::DedupRef;
use crate::etag::Etags;
use crate::{Block, Code, Token, Transport};

/// What an address that is not proven gets in any case, and of one message however often it is sent (RFC 9175 section 2.4).
pub(crate) const UNPROVEN_BYTES: usize = 256;

/// What a request says about observing (RFC 7641).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Observe {
    /// Nothing, or no longer: an observation of the same peer and token has been ended.
    No,
    /// It wants to be notified of changes.
    Register,
}

/// What is needed to answer.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// Who asks.
    pub peer: SocketAddr,
    /// Its token.
    pub token: Token,
    /// What it asks for.
    pub method: Code,
    /// Whether it wants to observe.
    pub observe: Observe,
    /// How it came.
    pub transport: Transport,
    /// Whether its message was confirmable: at least once.
    pub confirmable: bool,
    /// Whether its address is proven or trusted.
    pub proven: bool,
    /// The Content-Format that it accepts.
    pub accept: Option<u16>,
    /// Whether it is to be done only where there is nothing yet; of a body in blocks its first
    /// one says so (RFC 7959 section 2.10).
    pub if_none_match: bool,
    pub(crate) message_id: u16,
    pub(crate) accepted: bool,
    pub(crate) request_len: u32,
    pub(crate) block1: Option<Block>,
    pub(crate) block2: Option<Block>,
    /// Classes of responses that it does not want, as in No-Response (RFC 7967).
    pub(crate) unwanted: u8,
    /// What the peer has already.
    pub(crate) etags: Etags,
    pub(crate) place: DedupRef,
}

impl Exchange {
    /// Bytes that an answer may have (RFC 9175 section 2.4): at most three times the
    /// request, but 256 in any case, until the address is proven.
    pub(crate) fn answer_max(&self) -> usize {
        if self.proven { usize::MAX } else { (self.request_len as usize * 3).max(UNPROVEN_BYTES) }
    }

    pub(crate) const fn is_unwanted(&self, code: Code) -> bool {
        let class = code.class();
        class > 0 && self.unwanted & 1 << (class - 1) != 0
    }
}
