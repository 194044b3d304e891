//! Decode errors: the broken rule, who broke it, and what becomes of the connection.

use std::fmt;
use tidegate_message::{Blame, Fate};

/// A field ended before its length said so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Truncated;

/// Bytes that a protocol forbids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DecodeError {
    /// The broken rule, named as its specification does: `MQTT-3.1.2-3`, `RFC 9112 section 5.1`.
    pub rule: &'static str,
    /// What was wrong, for the log and for a diagnostic answer.
    pub what: &'static str,
    /// The protocol's own code for it: an HTTP status, an MQTT reason code, a CoAP code.
    pub code: u16,
    /// Answer and go on, answer and close, or ignore.
    pub fate: Fate,
}

impl DecodeError {
    /// An error that is answered with `code`, then the connection closes.
    pub const fn close(code: u16, rule: &'static str, what: &'static str) -> Self {
        DecodeError { rule, what, code, fate: Fate::Close }
    }

    /// An error that is answered with `code`; the connection goes on.
    pub const fn reply(code: u16, rule: &'static str, what: &'static str) -> Self {
        DecodeError { rule, what, code, fate: Fate::Reply }
    }

    /// An error that is passed over in silence, but counted.
    pub const fn ignore(rule: &'static str, what: &'static str) -> Self {
        DecodeError { rule, what, code: 0, fate: Fate::Ignore }
    }

    /// Who broke the rule: what is decoded was always sent by the peer.
    pub const fn blame(&self) -> Blame {
        Blame::Peer
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.what, self.rule)
    }
}

impl std::error::Error for DecodeError {}
