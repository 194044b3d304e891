//! How an attempt to do something with a message ended, in words that every
//! codec can map to its own codes, and what to do with the connection.

/// The result of a message, before a codec gives it its protocol's code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// Accepted; somebody was there to take it.
    Success,
    /// Accepted, nobody subscribes. MQTT 0x10, HTTP 202, CoAP 2.04.
    NoSubscribers,
    /// Malformed or invalid for its protocol. 400, 4.00, 0x81/0x82.
    Malformed,
    /// A topic or topic filter that the rules forbid. 400, 4.00, 0x90/0x8F.
    InvalidTopic,
    /// The peer is not who it must be. 401, 4.01, 0x86.
    Unauthenticated,
    /// The peer may not do this. 403, 4.03, 0x87.
    Forbidden,
    /// No such route or resource. 404, 4.04, 0x90.
    NotFound,
    /// Larger than a limit. 413, 4.13, 0x95.
    TooLarge,
    /// A quota or rate is used up; try later. 429, 4.29, 0x97.
    QuotaExceeded,
    /// The gateway or the upstream cannot take more now. 503, 5.03, 0x89.
    Busy,
    /// The upstream could not be reached or broke its protocol. 502, 5.02, 0x83.
    BadUpstream,
    /// The upstream did not answer in time. 504, 5.04, 0x83.
    UpstreamTimeout,
    /// Our fault. 500, 5.00, 0x80.
    Internal,
}

impl Outcome {
    /// The name used in JSON frames, metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::NoSubscribers => "no-subscribers",
            Outcome::Malformed => "malformed",
            Outcome::InvalidTopic => "invalid-topic",
            Outcome::Unauthenticated => "unauthenticated",
            Outcome::Forbidden => "forbidden",
            Outcome::NotFound => "not-found",
            Outcome::TooLarge => "too-large",
            Outcome::QuotaExceeded => "quota-exceeded",
            Outcome::Busy => "busy",
            Outcome::BadUpstream => "bad-upstream",
            Outcome::UpstreamTimeout => "upstream-timeout",
            Outcome::Internal => "internal",
        }
    }

    /// Whether the message was taken.
    pub const fn is_accepted(self) -> bool {
        matches!(self, Outcome::Success | Outcome::NoSubscribers)
    }
}

/// Who broke the rule that an error names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Blame {
    /// The other end of the connection.
    Peer,
    /// The program that called us.
    Caller,
    /// The service behind us.
    Upstream,
    /// The gateway.
    Us,
}

/// What becomes of the connection after an error.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fate {
    /// Answer with the protocol's code and go on.
    Reply,
    /// Answer where the protocol can, then close.
    Close,
    /// Say nothing, go on.
    Ignore,
}
