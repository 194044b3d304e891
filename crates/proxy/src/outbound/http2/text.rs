//! Names and values of a field block, octet by octet: which they are, as far as that matters
//! here, and whether RFC 9113 section 8.2.1 and RFC 9110 section 5.5 allow what is in them.

use tidegate_http2::decode_huffman;

/// Octets that are kept: as many as `:authority` has.
const HEAD: usize = 10;

/// Not of a field's name: a token without capitals.
const NO_NAME: u8 = 1;
/// Not of a field's value.
const NO_VALUE: u8 = 2;

/// What each octet is not.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let byte = octet as u8;
        let is_token = byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        let mut class = 0;
        if !is_token || byte.is_ascii_uppercase() {
            class |= NO_NAME;
        }
        if byte.is_ascii_control() && byte != b'\t' {
            class |= NO_VALUE;
        }
        classes[octet] = class;
        octet += 1;
    }
    classes
};

/// What a name says of its field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Name {
    Field,
    Status,
    /// A pseudo-header field of requests.
    Asking,
    /// One that no field may have.
    Bad,
}

/// A string literal as it stands in a block (RFC 7541 section 5.2).
#[derive(Clone, Copy)]
pub(super) struct Literal<'b> {
    pub(super) is_coded: bool,
    pub(super) bytes: &'b [u8],
}

/// What is known of its octets.
#[derive(Clone, Copy, Default)]
pub(super) struct Text {
    pub(super) len: usize,
    head: [u8; HEAD],
    last: u8,
    /// The classes of all.
    classes: u8,
}

impl Text {
    /// `None`: it is not coded as it says.
    pub(super) fn of(literal: Literal<'_>) -> Option<Text> {
        let mut text = Text::default();
        let bytes = literal.bytes;
        if literal.is_coded {
            decode_huffman(bytes, |octet| text.take(octet))?;
            return Some(text);
        }
        // The same at once: most of a head is its values.
        let kept = bytes.len().min(HEAD);
        text.head[..kept].copy_from_slice(&bytes[..kept]);
        (text.len, text.last) = (bytes.len(), bytes.last().copied().unwrap_or_default());
        text.classes = bytes.iter().fold(0, |classes, octet| classes | CLASSES[usize::from(*octet)]);
        Some(text)
    }

    fn take(&mut self, octet: u8) {
        if let Some(place) = self.head.get_mut(self.len) {
            *place = octet;
        }
        self.len += 1;
        self.last = octet;
        self.classes |= CLASSES[usize::from(octet)];
    }

    fn head(&self) -> Option<&[u8]> {
        self.head.get(..self.len)
    }

    const fn has(&self, class: u8) -> bool {
        self.classes & class != 0
    }

    fn is(&self, known: &[u8]) -> bool {
        self.head().is_some_and(|head| head.eq_ignore_ascii_case(known))
    }

    pub(super) fn as_name(&self) -> Name {
        match self.head() {
            Some(b":status") => Name::Status,
            Some(b":method" | b":scheme" | b":authority" | b":path" | b":protocol") => Name::Asking,
            _ if self.len == 0 || self.has(NO_NAME) => Name::Bad,
            _ => Name::Field,
        }
    }

    /// Whether a field of that name may have it.
    pub(super) fn suits(&self, name: Name) -> bool {
        let is_blank = |octet: u8| matches!(octet, b' ' | b'\t');
        match name {
            Name::Bad | Name::Asking => false,
            Name::Field => !self.has(NO_VALUE) && !(self.len > 0 && (is_blank(self.head[0]) || is_blank(self.last))),
            // RFC 9113 section 8.6: nobody switches protocols.
            Name::Status => matches!(self.head(), Some([b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'])) && !self.is(b"101"),
        }
    }

    /// Whether a status is an interim one.
    pub(super) fn is_interim(&self) -> bool {
        self.head[0] == b'1'
    }
}
