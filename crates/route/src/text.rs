//! Text conditions and the one way regular expressions are built here: anchored,
//! a linear engine, with a cap on the compiled size.

use regex::bytes::{Regex, RegexBuilder};

use crate::{RouteError, TextKind};

/// Compiled size of one expression, and of its lazy automaton, in bytes.
const REGEX_SIZE: usize = 1 << 20;

/// Builds an expression that must match the whole text.
pub(crate) fn anchored(pattern: &str) -> Result<Regex, RouteError> {
    // Parsed by itself first: `a)|(b` would otherwise leave the group around it.
    let build = |text: &str| {
        RegexBuilder::new(text)
            .size_limit(REGEX_SIZE)
            .dfa_size_limit(REGEX_SIZE)
            .build()
            .map_err(|error| RouteError::InvalidRegex(error.to_string()))
    };
    build(pattern)?;
    build(&format!(r"\A(?:{pattern})\z"))
}

/// A compiled text condition.
#[derive(Clone, Debug)]
pub(crate) enum TextPattern {
    Exact(Box<[u8]>),
    Regex(Regex),
    Present,
}

impl TextPattern {
    pub(crate) fn compile(kind: TextKind, value: &str) -> Result<Self, RouteError> {
        Ok(match kind {
            TextKind::Exact => TextPattern::Exact(value.as_bytes().into()),
            TextKind::Regex => TextPattern::Regex(anchored(value)?),
            TextKind::Present => TextPattern::Present,
        })
    }

    /// Whether a field's value satisfies it; a field that is not there never does.
    pub(crate) fn matches(&self, value: Option<&[u8]>) -> bool {
        let Some(value) = value else { return false };
        match self {
            TextPattern::Exact(text) => **text == *value,
            TextPattern::Regex(regex) => regex.is_match(value),
            TextPattern::Present => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_must_match_the_whole_text() {
        let regex = anchored("a|b+").expect("valid");
        assert!(regex.is_match(b"bb") && !regex.is_match(b"ab") && !regex.is_match(b"a\n"));
    }

    #[test]
    fn refuses_an_expression_that_leaves_its_anchors_or_its_size() {
        assert!(anchored("a)|(?:b").is_err());
        assert!(anchored(r"(\w{1000}){100}").is_err());
    }
}
