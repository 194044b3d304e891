//! Host conditions: a whole name, or `*.` in front of a suffix.

use crate::RouteError;

/// A compiled host condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum HostPattern {
    /// The whole name.
    Exact(Box<[u8]>),
    /// `.a.com`: what stands before it is one or more labels.
    Suffix(Box<[u8]>),
}

impl HostPattern {
    pub(crate) fn compile(host: &str) -> Result<Self, RouteError> {
        let invalid = || RouteError::InvalidHost(host.to_owned());
        let lower = host.to_ascii_lowercase();
        let (name, wildcard) = match lower.strip_prefix('*') {
            Some(suffix) => (suffix.strip_prefix('.').ok_or_else(invalid)?, true),
            None => (lower.as_str(), false),
        };
        if name.is_empty() || name.contains('*') || name.bytes().any(|byte| byte <= b' ' || byte == b'/') {
            return Err(invalid());
        }
        Ok(match wildcard {
            true => HostPattern::Suffix(lower.as_bytes()[1..].into()),
            false => HostPattern::Exact(name.as_bytes().into()),
        })
    }

    pub(crate) fn matches(&self, host: &[u8]) -> bool {
        match self {
            HostPattern::Exact(name) => **name == *host,
            HostPattern::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, host: &str) -> bool {
        HostPattern::compile(pattern).expect("valid").matches(host.as_bytes())
    }

    #[test]
    fn a_wildcard_stands_for_one_or_more_labels_but_never_for_none() {
        assert!(matches("*.a.com", "x.a.com") && matches("*.A.com", "y.x.a.com"));
        assert!(!matches("*.a.com", "a.com") && !matches("*.a.com", ".a.com") && !matches("*.a.com", "xa.com"));
    }

    #[test]
    fn refuses_a_star_that_does_not_stand_alone_in_front() {
        for host in ["", "*", "*a.com", "a.*.com", "*.", "*.*.com", "a b"] {
            assert!(HostPattern::compile(host).is_err(), "{host}");
        }
    }
}
