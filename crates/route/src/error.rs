//! Why a condition cannot be compiled. The route that has it answers with the
//! protocol's 500; all others serve.

use std::fmt;

/// The broken rule, with the value that broke it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RouteError {
    /// Not a protocol's label.
    UnknownProtocol(String),
    /// Empty, or a `*` anywhere but in front.
    InvalidHost(String),
    /// Does not start with `/`, or is deeper than 128 segments.
    InvalidPath(String),
    /// A template with a brace that is not closed, an empty or a repeated name.
    InvalidTemplate(String),
    /// The regular expression does not parse or compiles to more than 1 MiB.
    InvalidRegex(String),
    /// Not a topic filter (MQTT section 4.7).
    InvalidTopicFilter(String),
    /// Neither an address nor a CIDR.
    InvalidSource(String),
}

impl fmt::Display for RouteError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteError::UnknownProtocol(value) => write!(out, "`{value}` is no protocol"),
            RouteError::InvalidHost(value) => write!(out, "`{value}` is no host name; `*` may only stand in front"),
            RouteError::InvalidPath(value) => write!(out, "`{value}` is no path; it must start with `/`"),
            RouteError::InvalidTemplate(value) => write!(out, "`{value}` has a broken or repeated `{{name}}`"),
            RouteError::InvalidRegex(value) => write!(out, "invalid regular expression: {value}"),
            RouteError::InvalidTopicFilter(value) => write!(out, "`{value}` is no topic filter"),
            RouteError::InvalidSource(value) => write!(out, "`{value}` is neither an address nor a CIDR"),
        }
    }
}

impl std::error::Error for RouteError {}
