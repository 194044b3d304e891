//! What `h2` does not tell of a head: whether a `#` stands in its `:path`, since its parser
//! cuts off what follows; whether there is a `:path` at all; a `:scheme` that is not of HTTP;
//! pseudo-header fields in trailers, which it drops. HPACK (RFC 7541) is followed as far as that
//! needs: an entry of the table is known by its size and by what of it matters here.

use super::huffman::decode;
use std::collections::VecDeque;
use std::ops::BitOr;

/// What a peer's table may hold: SETTINGS_HEADER_TABLE_SIZE as it is by default.
const TABLE_MAX: usize = 4_096;
/// What an entry costs besides its texts (section 4.1).
const ENTRY: usize = 32;
/// Longer strings than heads may be: `h2` ends such a connection.
const STRING_MAX: usize = 1 << 20;

/// Lengths of the names of the static table (appendix A), from index 1 on.
const STATIC_NAMES: [u8; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14, 16, 13, 12, 6, 4,
    4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10, 25, 17, 10, 4, 3, 16,
];

/// What is known of a field, or of the fields of a whole head.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Marks(u8);

impl Marks {
    /// A name that begins with a colon.
    pub(super) const PSEUDO: Marks = Marks(1);
    pub(super) const PATH: Marks = Marks(1 | 2);
    pub(super) const SCHEME: Marks = Marks(1 | 4);
    /// A `#` in a path.
    pub(super) const FRAGMENT: Marks = Marks(8);
    /// A scheme that is neither `http` nor `https`.
    pub(super) const FOREIGN: Marks = Marks(16);

    pub(super) const fn has(self, all: Marks) -> bool {
        self.0 & all.0 == all.0
    }

    /// What a field is by its name alone.
    const fn of_name(self) -> Marks {
        Marks(self.0 & (Marks::PATH.0 | Marks::SCHEME.0))
    }

    fn with_value(self, value: &Text) -> Marks {
        match self {
            Marks::PATH if value.has_hash => self | Marks::FRAGMENT,
            Marks::SCHEME if !value.is(b"http") && !value.is(b"https") => self | Marks::FOREIGN,
            name => name,
        }
    }
}

impl BitOr for Marks {
    type Output = Marks;

    fn bitor(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }
}

/// Octets of a text that are kept: as many as `:scheme` has.
const TEXT_HEAD: usize = 7;

/// A name or a value, as far as it matters.
#[derive(Clone, Copy, Default)]
struct Text {
    len: usize,
    has_hash: bool,
    head: [u8; TEXT_HEAD],
}

impl Text {
    fn take(&mut self, octet: u8) {
        if let Some(place) = self.head.get_mut(self.len) {
            *place = octet;
        }
        self.len += 1;
        self.has_hash |= octet == b'#';
    }

    fn is(&self, known: &[u8]) -> bool {
        self.head.get(..self.len).is_some_and(|head| head.eq_ignore_ascii_case(known))
    }

    fn as_name(&self) -> Marks {
        match self.head {
            _ if self.is(b":path") => Marks::PATH,
            _ if self.is(b":scheme") => Marks::SCHEME,
            [b':', ..] => Marks::PSEUDO,
            _ => Marks::default(),
        }
    }
}

/// An entry of the dynamic table.
struct Entry {
    name: usize,
    value: usize,
    marks: Marks,
}

/// One peer's table.
pub(super) struct HeadWatch {
    entries: VecDeque<Entry>,
    size: usize,
    max: usize,
    /// A block broke a rule: nothing is known any more, and `h2` ends the connection.
    is_lost: bool,
}

impl HeadWatch {
    pub(super) const fn new() -> Self {
        HeadWatch { entries: VecDeque::new(), size: 0, max: TABLE_MAX, is_lost: false }
    }

    /// Follows a header block; what its fields are.
    pub(super) fn block(&mut self, block: &[u8]) -> Marks {
        if self.is_lost {
            return Marks::default();
        }
        let found = self.follow(block);
        self.is_lost = found.is_none();
        found.unwrap_or_default()
    }

    /// `None`: it breaks a rule.
    fn follow(&mut self, mut block: &[u8]) -> Option<Marks> {
        let mut found = Marks::default();
        while let Some(&first) = block.first() {
            match first {
                // Section 6.1: an entry.
                0x80.. => {
                    let index = integer(&mut block, 7)?;
                    found = found | self.entry(index)?.1;
                }
                // Section 6.3: another size.
                0x20..0x40 => {
                    self.max = integer(&mut block, 5).filter(|max| *max <= TABLE_MAX)?;
                    self.shrink(0);
                }
                // Sections 6.2.1 to 6.2.3: a name and a value.
                _ => {
                    let is_kept = first >= 0x40;
                    let index = integer(&mut block, if is_kept { 6 } else { 4 })?;
                    let (name, marks) = match index {
                        0 => text(&mut block, true).map(|name| (name.len, name.as_name()))?,
                        index => self.entry(index).map(|(name, marks)| (name, marks.of_name()))?,
                    };
                    let value = text(&mut block, is_kept || marks.has(Marks::PSEUDO))?;
                    let marks = marks.with_value(&value);
                    found = found | marks;
                    if is_kept {
                        self.keep(Entry { name, value: value.len, marks });
                    }
                }
            }
        }
        Some(found)
    }

    /// Length of an entry's name, and what it is.
    fn entry(&self, index: usize) -> Option<(usize, Marks)> {
        if let Some(name) = STATIC_NAMES.get(index.checked_sub(1)?) {
            let marks = match index {
                4 | 5 => Marks::PATH,
                6 | 7 => Marks::SCHEME,
                1..=14 => Marks::PSEUDO,
                _ => Marks::default(),
            };
            return Some((usize::from(*name), marks));
        }
        let entry = self.entries.get(index - 1 - STATIC_NAMES.len())?;
        Some((entry.name, entry.marks))
    }

    fn keep(&mut self, entry: Entry) {
        let size = entry.name + entry.value + ENTRY;
        self.shrink(size);
        if size <= self.max {
            self.size += size;
            self.entries.push_front(entry);
        }
    }

    /// Makes room (section 4.4).
    fn shrink(&mut self, room: usize) {
        while self.size + room > self.max {
            let Some(entry) = self.entries.pop_back() else { return };
            self.size -= entry.name + entry.value + ENTRY;
        }
    }
}

/// An integer behind a prefix of so many bits (section 5.1).
fn integer(block: &mut &[u8], prefix: u32) -> Option<usize> {
    let (&first, mut rest) = block.split_first()?;
    let mask = (1_usize << prefix) - 1;
    let mut value = usize::from(first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (&next, behind) = rest.split_first()?;
            rest = behind;
            value += usize::from(next & 0x7f) << shift;
            shift += 7;
            if next & 0x80 == 0 {
                break;
            }
            if shift > 21 {
                return None;
            }
        }
    }
    *block = rest;
    Some(value)
}

/// A string literal (section 5.2); one that does not matter is passed over.
fn text(block: &mut &[u8], matters: bool) -> Option<Text> {
    let is_coded = block.first()? & 0x80 != 0;
    let len = integer(block, 7).filter(|len| *len <= STRING_MAX)?;
    let (bytes, rest) = block.split_at_checked(len)?;
    *block = rest;
    if !matters {
        return Some(Text::default());
    }
    let mut found = Text::default();
    if is_coded {
        decode(bytes, |octet| found.take(octet))?;
    } else {
        bytes.iter().take(TEXT_HEAD).for_each(|octet| found.take(*octet));
        (found.len, found.has_hash) = (len, memchr::memchr(b'#', bytes).is_some());
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("a byte"))
            .collect()
    }

    /// A literal `:path`, kept or not, in plain octets.
    fn path(value: &str, kept: bool) -> Vec<u8> {
        [&[if kept { 0x44 } else { 0x04 }, value.len() as u8], value.as_bytes()].concat()
    }

    impl HeadWatch {
        fn finds_fragment(&mut self, block: &[u8]) -> bool {
            self.block(block).has(Marks::FRAGMENT)
        }
    }

    #[test]
    fn a_fragment_is_found_in_whatever_form_the_path_comes() {
        let mut watch = HeadWatch::new();
        // Section C.4.1 to C.4.3: three requests that build on each other.
        assert!(!watch.finds_fragment(&hex("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff")));
        assert!(!watch.finds_fragment(&hex("8286 84be 5886 a8eb 1064 9cbf")));
        assert!(!watch.finds_fragment(&hex("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf")));
        assert_eq!((watch.entries.len(), watch.size), (3, 164), "as the appendix says");
        assert!(watch.finds_fragment(&path("/a#b", false)) && !watch.finds_fragment(&path("/a", true)));
        assert!(watch.finds_fragment(&path("/a#b", true)));
        assert!(watch.finds_fragment(&[0xbe]), "by its place in the table");
        assert!(!watch.finds_fragment(&[0xbf]), "the one before has none");
        // ":path" by name, and a `#` in another field.
        assert!(watch.finds_fragment(&[&[0x00, 5][..], b":path", &[2], b"/#"].concat()));
        assert!(!watch.finds_fragment(&[&[0x00, 3][..], b"x-a", &[2], b"a#"].concat()));
        // "/#" in Huffman's code: 011000 111111111010 and padding.
        assert!(watch.finds_fragment(&[0x04, 0x83, 0b0110_0011, 0b1111_1110, 0b1011_1111]));
    }

    #[test]
    fn a_small_table_forgets_and_broken_blocks_end_it() {
        let mut watch = HeadWatch::new();
        // At most 40 octets: one entry of that name.
        watch.block(&[0x3f, 0x09]);
        assert!(watch.finds_fragment(&path("/a#", true)) && watch.finds_fragment(&[0xbe]));
        watch.block(&path("/bb", true));
        assert!(!watch.finds_fragment(&[0xbe]) && watch.entries.len() == 1);
        for broken in [
            &[0x80_u8][..],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x44, 9, b'/'],
            &[0xfe],
            &[0x3f, 0xff, 0xff, 0x7f],
        ] {
            let mut watch = HeadWatch::new();
            assert!(!watch.finds_fragment(broken) && watch.is_lost, "{broken:?}");
        }
    }

    #[test]
    fn schemes_and_pseudo_header_fields_are_known_in_whatever_form_they_come() {
        let literal = |prefix: &[u8], value: &str| [prefix, &[value.len() as u8], value.as_bytes()].concat();
        let mut watch = HeadWatch::new();
        // GET, http, "/"; GET, https, no path.
        assert_eq!(watch.block(&[0x82, 0x86, 0x84]), Marks::PATH | Marks::SCHEME);
        assert_eq!(watch.block(&[0x82, 0x87]), Marks::SCHEME);
        assert_eq!(watch.block(&[0x58, 1, b'a']), Marks::default(), "cache-control");
        for known in ["http", "https", "HTTP"] {
            assert_eq!(watch.block(&literal(&[0x06], known)), Marks::SCHEME, "{known}");
        }
        for foreign in ["ftp", "httpx", "httpss", "http+unix", ""] {
            assert!(watch.block(&literal(&[0x06], foreign)).has(Marks::FOREIGN), "{foreign}");
        }
        // Kept, then by its place; by its place with another value; by its whole name.
        assert!(watch.block(&literal(&[0x46], "ftp")).has(Marks::FOREIGN) && watch.block(&[0xbe]).has(Marks::FOREIGN));
        assert_eq!(watch.block(&literal(&[0x0f, 0x2f], "http")), Marks::SCHEME);
        assert!(watch.block(&literal(b"\0\x07:scheme", "ftp")).has(Marks::FOREIGN));
        // "ftp" in Huffman's code: 100101 01001 101011, padding.
        assert!(watch.block(&[0x06, 0x83, 0b1001_0101, 0b0011_0101, 0b1111_1111]).has(Marks::FOREIGN));
        assert_eq!(watch.block(&literal(b"\0\x05:what", "x")), Marks::PSEUDO);
        assert_eq!(watch.block(&[0x88]), Marks::PSEUDO, ":status");
    }
}
