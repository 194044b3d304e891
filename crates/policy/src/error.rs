//! Why a policy cannot be compiled. The route that uses it answers 500.

use std::fmt;

use tidegate_route::RouteError;

/// The broken rule, with the value that broke it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PolicyError {
    /// Not a token (RFC 9110 section 5.6.2).
    InvalidHeaderName(String),
    /// A control character in the value of this header.
    InvalidHeaderValue(String),
    /// A brace that is not closed, or a name that the route does not capture.
    InvalidTemplate(String),
    /// Outside of 100 to 599.
    InvalidStatus(u16),
    /// A key by something unknown, or one that lacks its name.
    InvalidKey(String),
    /// A client's API key is no SHA-256, or its name cannot stand in a header.
    InvalidClient(String),
    /// A field that is unknown, or one that lacks its name.
    InvalidField(String),
    /// The filter of a policy is broken.
    InvalidFilter(RouteError),
}

impl fmt::Display for PolicyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PolicyError::InvalidHeaderName(name) => write!(out, "`{name}` is no header name"),
            PolicyError::InvalidHeaderValue(name) => {
                write!(out, "the value of header `{name}` has a control character")
            }
            PolicyError::InvalidTemplate(text) => write!(out, "`{text}` uses a name that the route does not capture"),
            PolicyError::InvalidStatus(status) => write!(out, "{status} is no status"),
            PolicyError::InvalidKey(by) => write!(out, "`{by}` is no key, or it lacks its name"),
            PolicyError::InvalidClient(name) => write!(out, "the key or the name of client `{name}` cannot be used"),
            PolicyError::InvalidField(field) => write!(out, "`{field}` is no field, or it lacks its name"),
            PolicyError::InvalidFilter(error) => write!(out, "filter: {error}"),
        }
    }
}

impl std::error::Error for PolicyError {}
