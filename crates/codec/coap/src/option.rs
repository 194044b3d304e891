//! Options: their numbers, what a value may be, and the iterator that undoes the
//! delta coding (RFC 7252 section 3.1).

/// Option numbers by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OptionNumber;

#[allow(missing_docs)] // Named as in the registry.
impl OptionNumber {
    pub const IF_MATCH: u16 = 1;
    pub const URI_HOST: u16 = 3;
    pub const ETAG: u16 = 4;
    pub const IF_NONE_MATCH: u16 = 5;
    pub const OBSERVE: u16 = 6;
    pub const URI_PORT: u16 = 7;
    pub const LOCATION_PATH: u16 = 8;
    pub const OSCORE: u16 = 9;
    pub const URI_PATH: u16 = 11;
    pub const CONTENT_FORMAT: u16 = 12;
    pub const MAX_AGE: u16 = 14;
    pub const URI_QUERY: u16 = 15;
    pub const HOP_LIMIT: u16 = 16;
    pub const ACCEPT: u16 = 17;
    pub const LOCATION_QUERY: u16 = 20;
    pub const BLOCK2: u16 = 23;
    pub const BLOCK1: u16 = 27;
    pub const SIZE2: u16 = 28;
    pub const PROXY_URI: u16 = 35;
    pub const PROXY_SCHEME: u16 = 39;
    pub const SIZE1: u16 = 60;
    pub const ECHO: u16 = 252;
    pub const NO_RESPONSE: u16 = 258;
    pub const REQUEST_TAG: u16 = 292;
    /// `traceparent` (W3C Trace Context) as text; from the range for experiments, elective.
    pub const TRACEPARENT: u16 = 65_000;
}

impl OptionNumber {
    /// Whether its meaning is known here.
    pub const fn is_known(number: u16) -> bool {
        shape(number).is_some()
    }

    /// Whether a proxy that does not know it must not pass it on (RFC 7252 section 5.4.2).
    pub const fn is_unsafe(number: u16) -> bool {
        number & 2 != 0
    }

    /// Whether requests that differ in it only are the same to a cache (RFC 7252 section 5.4.2).
    pub const fn is_no_cache_key(number: u16) -> bool {
        number & 0x1e == 0x1c
    }
}

/// Least and greatest length of a value, and whether the option may stand twice.
/// `None`: not known here.
const fn shape(number: u16) -> Option<(u16, u16, bool)> {
    Some(match number {
        OptionNumber::IF_MATCH => (0, 8, true),
        OptionNumber::URI_HOST => (1, 255, false),
        OptionNumber::ETAG => (1, 8, true),
        OptionNumber::IF_NONE_MATCH => (0, 0, false),
        OptionNumber::OBSERVE => (0, 3, false),
        OptionNumber::URI_PORT => (0, 2, false),
        OptionNumber::LOCATION_PATH | OptionNumber::URI_PATH => (0, 255, true),
        OptionNumber::CONTENT_FORMAT | OptionNumber::ACCEPT => (0, 2, false),
        OptionNumber::MAX_AGE => (0, 4, false),
        OptionNumber::URI_QUERY | OptionNumber::LOCATION_QUERY => (0, 255, true),
        OptionNumber::HOP_LIMIT => (1, 1, false),
        OptionNumber::BLOCK1 | OptionNumber::BLOCK2 => (0, 3, false),
        OptionNumber::SIZE1 | OptionNumber::SIZE2 => (0, 4, false),
        OptionNumber::PROXY_URI => (1, 1_034, false),
        OptionNumber::PROXY_SCHEME => (1, 255, false),
        OptionNumber::ECHO => (1, 40, false),
        OptionNumber::NO_RESPONSE => (0, 1, false),
        OptionNumber::REQUEST_TAG => (0, 8, true),
        OptionNumber::TRACEPARENT => (1, 255, false),
        _ => return None,
    })
}

/// One option, borrowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OptionRef<'a> {
    /// Its number.
    pub number: u16,
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> OptionRef<'a> {
    /// Whether who does not know it must not go on (RFC 7252 section 5.4.1).
    pub const fn is_critical(&self) -> bool {
        self.number & 1 == 1
    }

    /// Whether it is known and its value one that it may have. A segment of dots would
    /// be resolved by whoever reads the path as text (RFC 7252 section 5.10.1).
    pub(crate) fn is_well_formed(&self) -> bool {
        let dots = self.number == OptionNumber::URI_PATH && matches!(self.value, b"." | b"..");
        !dots && shape(self.number).is_some() && self.has_fitting_length()
    }

    /// Whether its value is as long as it may be, as far as that is known.
    pub(crate) fn has_fitting_length(&self) -> bool {
        let fits = |(least, most, _)| (usize::from(least)..=usize::from(most)).contains(&self.value.len());
        shape(self.number).is_none_or(fits)
    }

    /// Whether it may not stand twice.
    pub(crate) fn is_single(&self) -> bool {
        shape(self.number).is_some_and(|(_, _, repeats)| !repeats)
    }

    /// The value as a number of up to four bytes; `None`: longer.
    pub fn uint(&self) -> Option<u32> {
        let fold = |sum: u32, byte: &u8| sum << 8 | u32::from(*byte);
        (self.value.len() <= 4).then(|| self.value.iter().fold(0, fold))
    }

    /// The value as text.
    pub fn text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.value).ok()
    }
}

/// Options in ascending order of their numbers. Ends at the payload marker, at the
/// end, or at the first one that is malformed, which `Message::decode` rules out.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
    number: u16,
}

impl<'a> Options<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Options { rest: bytes, number: 0 }
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next one; `None`: malformed. Takes nothing then.
    fn parse(&mut self) -> Option<OptionRef<'a>> {
        let (first, rest) = self.rest.split_first()?;
        let (delta, rest) = extended(first >> 4, rest)?;
        let (len, rest) = extended(first & 15, rest)?;
        let (value, rest) = rest.split_at_checked(len as usize)?;
        let number = u16::try_from(u32::from(self.number) + delta).ok()?;
        (self.rest, self.number) = (rest, number);
        Some(OptionRef { number, value })
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = OptionRef<'a>;

    fn next(&mut self) -> Option<OptionRef<'a>> {
        if self.rest.first().is_none_or(|byte| *byte == 0xff) { None } else { self.parse() }
    }
}

/// 13: one more byte; 14: two more; 15 is reserved for the payload marker.
fn extended(nibble: u8, rest: &[u8]) -> Option<(u32, &[u8])> {
    match nibble {
        13 => rest.split_first().map(|(byte, rest)| (u32::from(*byte) + 13, rest)),
        14 => rest.split_first_chunk::<2>().map(|(bytes, rest)| (u32::from(u16::from_be_bytes(*bytes)) + 269, rest)),
        15 => None,
        nibble => Some((u32::from(nibble), rest)),
    }
}
