//! `/.well-known/core` (RFC 6690): links to what the gateway serves.

/// A document that grows link by link, as `application/link-format`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LinkFormat {
    text: String,
    max: usize,
}

impl LinkFormat {
    /// An empty one of at most `max` bytes.
    pub const fn new(max: usize) -> Self {
        LinkFormat { text: String::new(), max }
    }

    /// Adds a link to an escaped path with attributes: `rt="temp"`; one without a value
    /// is a flag: `obs`. `false`: there is no more room, and nothing was added.
    pub fn link(&mut self, path: &str, attributes: &[(&str, &str)]) -> bool {
        let start = self.text.len();
        self.text.push_str(if start == 0 { "<" } else { ",<" });
        self.text.extend(path.chars().filter(|letter| !matches!(letter, '<' | '>') && !letter.is_control()));
        self.text.push('>');
        for (name, value) in attributes {
            self.text.push(';');
            self.text.push_str(name);
            if !value.is_empty() {
                self.quoted(value);
            }
        }
        let fits = self.text.len() <= self.max;
        if !fits {
            self.text.truncate(start);
        }
        fits
    }

    /// The document.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn quoted(&mut self, value: &str) {
        self.text.push_str("=\"");
        self.text.extend(value.chars().filter(|letter| !matches!(letter, '"' | '\\') && !letter.is_control()));
        self.text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stand_behind_each_other_and_keep_to_the_bound() {
        let mut links = LinkFormat::new(48);
        assert!(links.link("/t/a", &[("obs", ""), ("rt", "te\"mp"), ("ct", "0")]));
        assert!(links.link("/t/b", &[]));
        assert!(!links.link("/t/a-path-too-long-for-it", &[]));
        assert_eq!(links.as_str(), "</t/a>;obs;rt=\"temp\";ct=\"0\",</t/b>");
    }
}
