//! The names that a certificate covers (RFC 9525 section 6.3): exact ones, and a
//! wildcard for one whole leftmost label.

/// DNS names in lower case and addresses of a certificate.
#[derive(Debug, Default)]
pub struct Names {
    pub(crate) exact: Vec<Box<str>>,
    /// `a.com` for `*.a.com`.
    pub(crate) wildcards: Vec<Box<str>>,
    pub(crate) addresses: Vec<std::net::IpAddr>,
}

impl Names {
    pub(crate) fn add_dns(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        match name.strip_prefix("*.") {
            Some(parent) => self.wildcards.push(parent.into()),
            None => self.exact.push(name.into()),
        }
    }

    /// Whether a host, in lower case and without port, is covered.
    pub fn cover(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse() {
            return self.addresses.contains(&address);
        }
        self.exact.iter().any(|name| **name == *host)
            || parent(host).is_some_and(|parent| self.wildcards.iter().any(|name| **name == *parent))
    }
}

/// What stands behind the first label.
pub(crate) fn parent(host: &str) -> Option<&str> {
    host.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, parent)| parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label_and_an_address_only_itself() {
        let mut names = Names { addresses: vec!["::1".parse().expect("an address")], ..Names::default() };
        names.add_dns("*.A.com");
        names.add_dns("b.com");
        assert!(names.cover("x.a.com") && names.cover("b.com") && names.cover("[::1]"));
        for other in ["a.com", "x.y.a.com", ".a.com", "x.b.com", "127.0.0.1", ""] {
            assert!(!names.cover(other), "{other}");
        }
    }
}
