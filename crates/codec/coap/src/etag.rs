//! Entity tags (RFC 7252 section 5.10.6): four bytes made from a representation, so that
//! every worker, and the gateway after a restart, gives the same one to the same value.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::quality::FixedState;

use crate::{Message, OptionNumber};

/// What a representation is told from others by.
pub type Etag = [u8; 4];

/// Tags of a request that are looked at; further ones are ignored, as elective options may be.
const TAGS_MAX: usize = 4;

/// The tag of a payload of that Content-Format.
pub fn etag(content_format: Option<u16>, payload: &[u8]) -> Etag {
    let mut hasher = FixedState::default().build_hasher();
    content_format.hash(&mut hasher);
    hasher.write(payload);
    let [a, b, c, d, ..] = hasher.finish().to_be_bytes();
    [a, b, c, d]
}

/// Longest tag, bytes (section 5.10.6).
const TAG_MAX: usize = 8;

/// The representations that a peer has already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Etags {
    /// Length and bytes of each; an empty one is none.
    tags: [(u8, [u8; TAG_MAX]); TAGS_MAX],
}

impl Etags {
    pub(crate) fn of(message: &Message<'_>) -> Self {
        let mut own = Etags::default();
        let options = message.options().filter(|option| option.number == OptionNumber::ETAG);
        let tags = options.filter(|option| (1..=TAG_MAX).contains(&option.value.len()));
        for ((len, tag), option) in own.tags.iter_mut().zip(tags) {
            *len = option.value.len() as u8;
            tag[..option.value.len()].copy_from_slice(option.value);
        }
        own
    }

    pub(crate) fn contain(&self, wanted: &[u8]) -> bool {
        self.tags.iter().any(|(len, tag)| *len > 0 && tag[..usize::from(*len)] == *wanted)
    }
}

impl Message<'_> {
    /// Whether If-Match and If-None-Match (RFC 7252 sections 5.10.8.1, 5.10.8.2) allow a
    /// request on a resource whose representation has the tag `current`; `None`: there is
    /// none.
    pub fn holds(&self, current: Option<Etag>) -> bool {
        if self.option(OptionNumber::IF_NONE_MATCH).is_some() && current.is_some() {
            return false;
        }
        let mut wanted = self.options().filter(|option| option.number == OptionNumber::IF_MATCH).peekable();
        let fits = |value: &[u8]| current.is_some_and(|current| value.is_empty() || value == current);
        wanted.peek().is_none() || wanted.any(|option| fits(option.value))
    }

    /// Whether it depends on the state of its resource.
    pub fn is_conditional(&self) -> bool {
        self.option(OptionNumber::IF_MATCH).or(self.option(OptionNumber::IF_NONE_MATCH)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, Head, OptionList, Token, Type, encode};

    fn holds(options: &[(u16, &[u8])], current: Option<Etag>) -> bool {
        let mut list = OptionList::new();
        for (number, value) in options {
            list.push(*number, value);
        }
        let head = Head { kind: Type::Confirmable, code: Code::PUT, message_id: 1, token: Token::default() };
        let mut datagram = Vec::new();
        encode(&mut datagram, &head, [&list, &OptionList::new()], b"x");
        Message::decode(&datagram, 64).expect("valid").holds(current)
    }

    #[test]
    fn a_tag_tells_payload_and_format_apart() {
        assert_eq!(etag(Some(0), b"21.5"), etag(Some(0), b"21.5"));
        assert_ne!(etag(Some(0), b"21.5"), etag(Some(50), b"21.5"));
        assert_ne!(etag(None, b"21.5"), etag(None, b"21.6"));
        assert_ne!(etag(None, b""), etag(Some(0), b""));
    }

    #[test]
    fn conditions_hold_as_the_rfc_says() {
        let (tag, other) = (etag(None, b"a"), etag(None, b"b"));
        let (matches, none) = (OptionNumber::IF_MATCH, OptionNumber::IF_NONE_MATCH);
        assert!(holds(&[], None) && holds(&[], Some(tag)));
        assert!(holds(&[(matches, b"")], Some(tag)) && !holds(&[(matches, b"")], None));
        assert!(holds(&[(matches, &other), (matches, &tag)], Some(tag)));
        assert!(!holds(&[(matches, &other)], Some(tag)) && !holds(&[(matches, &tag)], None));
        assert!(holds(&[(none, b"")], None) && !holds(&[(none, b"")], Some(tag)));
    }
}
