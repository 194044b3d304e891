//! Short ways to say which rule was broken; the reason code is the first argument
//! of every error of this crate.

use crate::reason;
use tidegate_kit::{DecodeError, Truncated};

pub(crate) const fn malformed(rule: &'static str, what: &'static str) -> DecodeError {
    DecodeError::close(reason::MALFORMED_PACKET as u16, rule, what)
}

pub(crate) const fn protocol(rule: &'static str, what: &'static str) -> DecodeError {
    DecodeError::close(reason::PROTOCOL_ERROR as u16, rule, what)
}

pub(crate) const fn coded(code: u8, rule: &'static str, what: &'static str) -> DecodeError {
    DecodeError::close(code as u16, rule, what)
}

/// A field that ends before its length says so.
pub(crate) const fn short(_: Truncated) -> DecodeError {
    malformed("MQTT5 section 4.13", "a field reaches past its packet")
}

pub(crate) fn ensure(holds: bool, otherwise: DecodeError) -> Result<(), DecodeError> {
    if holds { Ok(()) } else { Err(otherwise) }
}
