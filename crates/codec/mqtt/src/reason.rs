//! Reason codes of MQTT 5 (section 2.4), what they become in a 3.1.1 CONNACK, and
//! which packet may carry which of them.

use tidegate_message::Outcome;

/// Success, normal disconnection, granted QoS 0.
pub const SUCCESS: u8 = 0x00;
/// DISCONNECT that asks for the will.
pub const DISCONNECT_WITH_WILL: u8 = 0x04;
/// The publish was taken, nobody subscribes.
pub const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
/// There was no such subscription.
pub const NO_SUBSCRIPTION_EXISTED: u8 = 0x11;
/// AUTH: go on.
pub const CONTINUE_AUTHENTICATION: u8 = 0x18;
/// AUTH: the client starts again.
pub const REAUTHENTICATE: u8 = 0x19;
/// Refused without a reason.
pub const UNSPECIFIED: u8 = 0x80;
/// Bytes that are no packet.
pub const MALFORMED_PACKET: u8 = 0x81;
/// A packet that must not be there.
pub const PROTOCOL_ERROR: u8 = 0x82;
/// Valid, but not for this server.
pub const IMPLEMENTATION_SPECIFIC: u8 = 0x83;
/// Unknown protocol version.
pub const UNSUPPORTED_VERSION: u8 = 0x84;
/// A client identifier that is not allowed.
pub const CLIENT_ID_NOT_VALID: u8 = 0x85;
/// Wrong user name or password.
pub const BAD_CREDENTIALS: u8 = 0x86;
/// The access rules forbid it.
pub const NOT_AUTHORIZED: u8 = 0x87;
/// Not available for now.
pub const SERVER_UNAVAILABLE: u8 = 0x88;
/// Too much to do; try later.
pub const SERVER_BUSY: u8 = 0x89;
/// The gateway drains.
pub const SERVER_SHUTTING_DOWN: u8 = 0x8b;
/// An authentication method that is not supported.
pub const BAD_AUTHENTICATION_METHOD: u8 = 0x8c;
/// Nothing came for one and a half keep-alives.
pub const KEEP_ALIVE_TIMEOUT: u8 = 0x8d;
/// Another connection uses the client identifier.
pub const SESSION_TAKEN_OVER: u8 = 0x8e;
/// A topic filter that is not accepted.
pub const TOPIC_FILTER_INVALID: u8 = 0x8f;
/// A topic name that is not accepted.
pub const TOPIC_NAME_INVALID: u8 = 0x90;
/// The packet identifier is not known.
pub const PACKET_ID_NOT_FOUND: u8 = 0x92;
/// More unacknowledged publishes than announced.
pub const RECEIVE_MAXIMUM_EXCEEDED: u8 = 0x93;
/// An alias of zero, above the maximum or without a topic.
pub const TOPIC_ALIAS_INVALID: u8 = 0x94;
/// Larger than the maximum packet size.
pub const PACKET_TOO_LARGE: u8 = 0x95;
/// A quota is used up.
pub const QUOTA_EXCEEDED: u8 = 0x97;
/// Somebody with a right to it ended the connection.
pub const ADMINISTRATIVE_ACTION: u8 = 0x98;
/// The payload is not what its format says.
pub const PAYLOAD_FORMAT_INVALID: u8 = 0x99;
/// Retained messages are not supported here.
pub const RETAIN_NOT_SUPPORTED: u8 = 0x9a;
/// That QoS is not supported here.
pub const QOS_NOT_SUPPORTED: u8 = 0x9b;

/// The code that a PUBACK or PUBREC gives for what became of a publish.
pub const fn of_outcome(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Success => SUCCESS,
        Outcome::NoSubscribers => NO_MATCHING_SUBSCRIBERS,
        Outcome::Malformed => PAYLOAD_FORMAT_INVALID,
        Outcome::InvalidTopic | Outcome::NotFound => TOPIC_NAME_INVALID,
        Outcome::Unauthenticated | Outcome::Forbidden => NOT_AUTHORIZED,
        Outcome::QuotaExceeded | Outcome::Busy => QUOTA_EXCEEDED,
        Outcome::TooLarge | Outcome::BadUpstream | Outcome::UpstreamTimeout => IMPLEMENTATION_SPECIFIC,
        Outcome::Internal => UNSPECIFIED,
    }
}

/// The return code of a 3.1 or 3.1.1 CONNACK (MQTT 3.1.1 table 3.1).
pub const fn to_return_code(reason: u8) -> u8 {
    match reason {
        SUCCESS => 0,
        UNSUPPORTED_VERSION => 1,
        CLIENT_ID_NOT_VALID => 2,
        BAD_CREDENTIALS | BAD_AUTHENTICATION_METHOD => 4,
        NOT_AUTHORIZED | 0x8a => 5,
        _ => 3,
    }
}

/// Use another server, for now.
pub const USE_ANOTHER_SERVER: u8 = 0x9c;
/// Use another server, from now on.
pub const SERVER_MOVED: u8 = 0x9d;
/// Connections come too fast.
pub const CONNECTION_RATE_EXCEEDED: u8 = 0x9f;

pub(crate) const fn in_connack(code: u8) -> bool {
    matches!(code, 0 | 0x80..=0x8a | 0x8c | 0x90 | 0x95 | 0x97 | 0x99..=0x9d | 0x9f)
}

pub(crate) const fn in_puback(code: u8) -> bool {
    matches!(code, 0 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
}

pub(crate) const fn in_pubrel(code: u8) -> bool {
    matches!(code, 0 | 0x92)
}

pub(crate) const fn in_suback(code: u8) -> bool {
    matches!(code, 0..=2 | 0x80 | 0x83 | 0x87 | 0x8f | 0x91 | 0x97 | 0x9e | 0xa1 | 0xa2)
}

/// A code that refuses a subscription: `code`, or where SUBACK does not know it, 0x87.
pub const fn for_suback(code: u8) -> u8 {
    if code >= 0x80 && in_suback(code) { code } else { NOT_AUTHORIZED }
}

pub(crate) const fn in_unsuback(code: u8) -> bool {
    matches!(code, 0 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8f | 0x91)
}

pub(crate) const fn in_disconnect(code: u8) -> bool {
    matches!(code, 0 | 4 | 0x80..=0x83 | 0x87 | 0x89 | 0x8b | 0x8d..=0x90 | 0x93..=0xa2)
}

/// Those of table 3-10 that a client sends, too.
pub(crate) const fn in_clients_disconnect(code: u8) -> bool {
    matches!(code, 0 | 4 | 0x80..=0x83 | 0x90 | 0x93..=0x99)
}

pub(crate) const fn in_auth(code: u8) -> bool {
    matches!(code, SUCCESS | CONTINUE_AUTHENTICATION | REAUTHENTICATE)
}
/// The time that the connection was granted is over.
pub const MAXIMUM_CONNECT_TIME: u8 = 0xa0;
