//! What `h2` does not tell of a head: whether a `#` stands in its `:path`, since its parser
//! cuts off what follows. HPACK (RFC 7541) is followed as far as that needs: an entry of the
//! table is known by its size and by what of it matters here.

use super::huffman::decode;
use std::collections::VecDeque;

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

/// A name or a value, as far as it matters.
#[derive(Clone, Copy, Default)]
struct Text {
    len: usize,
    has_hash: bool,
    is_path: bool,
}

/// An entry of the dynamic table.
struct Entry {
    name: usize,
    value: usize,
    is_path: bool,
    has_hash: bool,
}

/// One peer's table.
pub(super) struct PathWatch {
    entries: VecDeque<Entry>,
    size: usize,
    max: usize,
    /// A block broke a rule: nothing is known any more, and `h2` ends the connection.
    is_lost: bool,
}

impl PathWatch {
    pub(super) const fn new() -> Self {
        PathWatch { entries: VecDeque::new(), size: 0, max: TABLE_MAX, is_lost: false }
    }

    /// Follows a header block; whether a `#` stands in its path.
    pub(super) fn block(&mut self, block: &[u8]) -> bool {
        if self.is_lost {
            return false;
        }
        let found = self.follow(block);
        self.is_lost = found.is_none();
        found.unwrap_or(false)
    }

    /// `None`: it breaks a rule.
    fn follow(&mut self, mut block: &[u8]) -> Option<bool> {
        let mut found = false;
        while let Some(&first) = block.first() {
            match first {
                // Section 6.1: an entry.
                0x80.. => {
                    let index = integer(&mut block, 7)?;
                    found |= self.entry(index)?.2;
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
                    let (name, is_path) = match index {
                        0 => text(&mut block, true).map(|name| (name.len, name.is_path))?,
                        index => self.entry(index).map(|(name, is_path, _)| (name, is_path))?,
                    };
                    let value = text(&mut block, is_kept || is_path)?;
                    found |= is_path && value.has_hash;
                    if is_kept {
                        self.keep(Entry { name, value: value.len, is_path, has_hash: value.has_hash });
                    }
                }
            }
        }
        Some(found)
    }

    /// Length of a name, whether it is `:path`, and whether that has a `#`.
    fn entry(&self, index: usize) -> Option<(usize, bool, bool)> {
        if let Some(name) = STATIC_NAMES.get(index.checked_sub(1)?) {
            return Some((usize::from(*name), matches!(index, 4 | 5), false));
        }
        let entry = self.entries.get(index - 1 - STATIC_NAMES.len())?;
        Some((entry.name, entry.is_path, entry.is_path && entry.has_hash))
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
    if !is_coded {
        return Some(Text { len, has_hash: memchr::memchr(b'#', bytes).is_some(), is_path: bytes == b":path" });
    }
    let mut found = Text::default();
    let mut head = [0; 6];
    decode(bytes, |octet| {
        if let Some(place) = head.get_mut(found.len) {
            *place = octet;
        }
        found.len += 1;
        found.has_hash |= octet == b'#';
    })?;
    found.is_path = found.len == 5 && head.starts_with(b":path");
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

    #[test]
    fn a_fragment_is_found_in_whatever_form_the_path_comes() {
        let mut watch = PathWatch::new();
        // Section C.4.1 to C.4.3: three requests that build on each other.
        assert!(!watch.block(&hex("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff")));
        assert!(!watch.block(&hex("8286 84be 5886 a8eb 1064 9cbf")));
        assert!(!watch.block(&hex("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf")));
        assert_eq!((watch.entries.len(), watch.size), (3, 164), "as the appendix says");
        assert!(watch.block(&path("/a#b", false)) && !watch.block(&path("/a", true)));
        assert!(watch.block(&path("/a#b", true)));
        assert!(watch.block(&[0xbe]), "by its place in the table");
        assert!(!watch.block(&[0xbf]), "the one before has none");
        // ":path" by name, and a `#` in another field.
        assert!(watch.block(&[&[0x00, 5][..], b":path", &[2], b"/#"].concat()));
        assert!(!watch.block(&[&[0x00, 3][..], b"x-a", &[2], b"a#"].concat()));
        // "/#" in Huffman's code: 011000 111111111010 and padding.
        assert!(watch.block(&[0x04, 0x83, 0b0110_0011, 0b1111_1110, 0b1011_1111]));
    }

    #[test]
    fn a_small_table_forgets_and_broken_blocks_end_it() {
        let mut watch = PathWatch::new();
        // At most 40 octets: one entry of that name.
        watch.block(&[0x3f, 0x09]);
        assert!(watch.block(&path("/a#", true)) && watch.block(&[0xbe]));
        watch.block(&path("/bb", true));
        assert!(!watch.block(&[0xbe]) && watch.entries.len() == 1);
        for broken in [
            &[0x80_u8][..],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x44, 9, b'/'],
            &[0xfe],
            &[0x3f, 0xff, 0xff, 0x7f],
        ] {
            let mut watch = PathWatch::new();
            assert!(!watch.block(broken) && watch.is_lost, "{broken:?}");
        }
    }
}
