//! Close frames and their codes (RFC 6455 section 7.4).

use tidegate_kit::DecodeError;

/// Codes that the gateway sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum CloseCode {
    /// Done.
    Normal = 1000,
    /// The endpoint goes away.
    GoingAway = 1001,
    /// The peer broke a rule.
    ProtocolError = 1002,
    /// A kind of data that is not taken here.
    Unsupported = 1003,
    /// Text that is not UTF-8.
    InvalidData = 1007,
    /// Against a policy: not authenticated, not allowed.
    PolicyViolation = 1008,
    /// Larger than the limit.
    TooBig = 1009,
    /// Our fault.
    InternalError = 1011,
    /// The gateway restarts: come back.
    ServiceRestart = 1012,
    /// Overloaded: come back later.
    TryAgainLater = 1013,
    /// The service behind us failed.
    BadGateway = 1014,
}

/// What a close frame says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Close<'a> {
    /// The code; `None`: the frame had none, which is not to be answered with one.
    pub code: Option<u16>,
    /// In words.
    pub reason: &'a str,
}

impl<'a> Close<'a> {
    pub(crate) fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let (code, reason) = match payload {
            [] => return Ok(Close { code: None, reason: "" }),
            [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
            [_] => return Err(DecodeError::close(1002, "RFC 6455 section 5.5.1", "half a close code")),
        };
        if !is_sendable(code) {
            return Err(DecodeError::close(1002, "RFC 6455 section 7.4.1", "close code that must not be sent"));
        }
        let bad_text = DecodeError::close(1007, "RFC 6455 section 5.5.1", "close reason is not UTF-8");
        let reason = std::str::from_utf8(reason).map_err(|_| bad_text)?;
        Ok(Close { code: Some(code), reason })
    }
}

const fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
