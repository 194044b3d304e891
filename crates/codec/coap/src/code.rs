//! Message codes (RFC 7252 section 12.1), and what they are called elsewhere.

use std::fmt;

use tidegate_message::Outcome;

/// A class of 0 to 7 and a detail of 0 to 31: `4.04`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u8);

#[allow(missing_docs)] // Named as in the registry.
impl Code {
    pub const EMPTY: Code = Code::new(0, 0);
    pub const GET: Code = Code::new(0, 1);
    pub const POST: Code = Code::new(0, 2);
    pub const PUT: Code = Code::new(0, 3);
    pub const DELETE: Code = Code::new(0, 4);
    pub const FETCH: Code = Code::new(0, 5);
    pub const PATCH: Code = Code::new(0, 6);
    pub const IPATCH: Code = Code::new(0, 7);
    pub const CREATED: Code = Code::new(2, 1);
    pub const DELETED: Code = Code::new(2, 2);
    pub const VALID: Code = Code::new(2, 3);
    pub const CHANGED: Code = Code::new(2, 4);
    pub const CONTENT: Code = Code::new(2, 5);
    pub const CONTINUE: Code = Code::new(2, 31);
    pub const BAD_REQUEST: Code = Code::new(4, 0);
    pub const UNAUTHORIZED: Code = Code::new(4, 1);
    pub const BAD_OPTION: Code = Code::new(4, 2);
    pub const FORBIDDEN: Code = Code::new(4, 3);
    pub const NOT_FOUND: Code = Code::new(4, 4);
    pub const METHOD_NOT_ALLOWED: Code = Code::new(4, 5);
    pub const NOT_ACCEPTABLE: Code = Code::new(4, 6);
    pub const REQUEST_ENTITY_INCOMPLETE: Code = Code::new(4, 8);
    pub const CONFLICT: Code = Code::new(4, 9);
    pub const PRECONDITION_FAILED: Code = Code::new(4, 12);
    pub const REQUEST_ENTITY_TOO_LARGE: Code = Code::new(4, 13);
    pub const UNSUPPORTED_CONTENT_FORMAT: Code = Code::new(4, 15);
    pub const UNPROCESSABLE_ENTITY: Code = Code::new(4, 22);
    pub const TOO_MANY_REQUESTS: Code = Code::new(4, 29);
    pub const INTERNAL_SERVER_ERROR: Code = Code::new(5, 0);
    pub const NOT_IMPLEMENTED: Code = Code::new(5, 1);
    pub const BAD_GATEWAY: Code = Code::new(5, 2);
    pub const SERVICE_UNAVAILABLE: Code = Code::new(5, 3);
    pub const GATEWAY_TIMEOUT: Code = Code::new(5, 4);
    pub const PROXYING_NOT_SUPPORTED: Code = Code::new(5, 5);
    pub const CSM: Code = Code::new(7, 1);
    pub const PING: Code = Code::new(7, 2);
    pub const PONG: Code = Code::new(7, 3);
    pub const RELEASE: Code = Code::new(7, 4);
    pub const ABORT: Code = Code::new(7, 5);
    pub const HOP_LIMIT_REACHED: Code = Code::new(5, 8);
}

impl Code {
    /// `class.detail`; bits above 3 and 5 are cut off.
    pub const fn new(class: u8, detail: u8) -> Self {
        Code((class & 7) << 5 | detail & 31)
    }

    /// 0: request, 2: success, 4: client error, 5: server error, 7: signal.
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// What stands behind the dot.
    pub const fn detail(self) -> u8 {
        self.0 & 31
    }

    /// Whether it asks for something, known or not.
    pub const fn is_request(self) -> bool {
        self.class() == 0 && self.detail() != 0
    }

    /// Whether it answers.
    pub const fn is_response(self) -> bool {
        matches!(self.class(), 2 | 4 | 5)
    }

    /// The method as HTTP calls it; `None`: not a method we know.
    pub const fn method(self) -> Option<&'static str> {
        Some(match self {
            Code::GET => "GET",
            Code::POST => "POST",
            Code::PUT => "PUT",
            Code::DELETE => "DELETE",
            Code::FETCH => "FETCH",
            Code::PATCH => "PATCH",
            Code::IPATCH => "IPATCH",
            _ => return None,
        })
    }

    /// The HTTP status of the same meaning (RFC 8075 table 2); of a code that nobody has registered
    /// that of its class (RFC 7252 section 5.9).
    pub const fn status(self) -> u16 {
        match self {
            Code::CREATED => 201,
            Code::DELETED | Code::CHANGED => 204,
            Code::VALID => 304,
            Code::BAD_OPTION => 400,
            Code::METHOD_NOT_ALLOWED => 405,
            Code::REQUEST_ENTITY_INCOMPLETE => 408,
            Code::PROXYING_NOT_SUPPORTED => 502,
            _ => match (self.class(), self.detail()) {
                (2, _) => 200,
                (class @ 4, detail @ (0..=6 | 9 | 12 | 13 | 15 | 22 | 29)) | (class @ 5, detail @ (0..=4 | 8)) => {
                    class as u16 * 100 + detail as u16
                }
                (class, _) => class as u16 * 100,
            },
        }
    }

    /// The code for an HTTP status, as the answer to `method`.
    pub const fn from_status(status: u16, method: Code) -> Code {
        match (status, method) {
            (201, _) => Code::CREATED,
            (204, Code::DELETE) => Code::DELETED,
            (200..=299, Code::GET | Code::FETCH) => Code::CONTENT,
            (200..=299, _) => Code::CHANGED,
            (304, _) => Code::VALID,
            (401, _) => Code::UNAUTHORIZED,
            (403, _) => Code::FORBIDDEN,
            (404 | 410, _) => Code::NOT_FOUND,
            (405, _) => Code::METHOD_NOT_ALLOWED,
            (406, _) => Code::NOT_ACCEPTABLE,
            (409, _) => Code::CONFLICT,
            (412, _) => Code::PRECONDITION_FAILED,
            (413, _) => Code::REQUEST_ENTITY_TOO_LARGE,
            (415, _) => Code::UNSUPPORTED_CONTENT_FORMAT,
            (422, _) => Code::UNPROCESSABLE_ENTITY,
            (429, _) => Code::TOO_MANY_REQUESTS,
            (400..=499, _) => Code::BAD_REQUEST,
            (501, _) => Code::NOT_IMPLEMENTED,
            (503, _) => Code::SERVICE_UNAVAILABLE,
            (504, _) => Code::GATEWAY_TIMEOUT,
            (500, _) => Code::INTERNAL_SERVER_ERROR,
            _ => Code::BAD_GATEWAY,
        }
    }
}

impl From<Outcome> for Code {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success | Outcome::NoSubscribers => Code::CHANGED,
            Outcome::Malformed | Outcome::InvalidTopic => Code::BAD_REQUEST,
            Outcome::Unauthenticated => Code::UNAUTHORIZED,
            Outcome::Forbidden => Code::FORBIDDEN,
            Outcome::NotFound => Code::NOT_FOUND,
            Outcome::TooLarge => Code::REQUEST_ENTITY_TOO_LARGE,
            Outcome::QuotaExceeded => Code::TOO_MANY_REQUESTS,
            Outcome::Busy => Code::SERVICE_UNAVAILABLE,
            Outcome::BadUpstream => Code::BAD_GATEWAY,
            Outcome::UpstreamTimeout => Code::GATEWAY_TIMEOUT,
            Outcome::Internal => Code::INTERNAL_SERVER_ERROR,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{:02}", self.class(), self.detail())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_as_in_the_registry_and_map_to_http_and_back() {
        assert_eq!((Code::NOT_FOUND.to_string(), Code::NOT_FOUND.0), ("4.04".into(), 0x84));
        for status in [200, 201, 401, 403, 404, 405, 406, 409, 412, 413, 415, 422, 429, 500, 501, 502, 503, 504] {
            assert_eq!(Code::from_status(status, Code::GET).status(), status);
        }
        assert_eq!(Code::from_status(204, Code::DELETE), Code::DELETED);
        for (code, status) in
            [((4, 30), 400), ((4, 7), 400), ((5, 31), 500), ((5, 6), 500), ((2, 30), 200), ((5, 8), 508)]
        {
            assert_eq!(Code::new(code.0, code.1).status(), status);
        }
    }
}
