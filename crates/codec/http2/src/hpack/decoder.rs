//! Fields out of blocks, with the table of the peer that sends them.

use super::huffman;
use super::statics::STATIC;
use super::{ENTRY, TABLE_MAX, integer};
use std::collections::VecDeque;

/// Who takes fields.
pub(crate) trait TakeField {
    fn take(&mut self, name: &[u8], value: &[u8]);
}

/// One entry: its name, and its value behind that.
struct Entry {
    name: usize,
    text: Vec<u8>,
}

impl Entry {
    fn size(&self) -> usize {
        self.text.len() + ENTRY
    }
}

/// See the module. Whatever the peer does, it holds `TABLE_MAX` at most, as the peer's own table does.
pub(crate) struct Decoder {
    entries: VecDeque<Entry>,
    size: usize,
    max: usize,
    /// Texts of a literal field while it is read.
    name: Vec<u8>,
    value: Vec<u8>,
    /// The text of the last entry that gave way: the next one takes its place.
    spare: Vec<u8>,
}

/// Longest coded string that is worth a look: longer than any head may be.
const STRING_MAX: usize = 1 << 20;

impl Decoder {
    pub(crate) const fn new() -> Self {
        Decoder {
            entries: VecDeque::new(),
            size: 0,
            max: TABLE_MAX,
            name: Vec::new(),
            value: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Reads a block. `None`: it breaks a rule, and the table is not the peer's any more.
    pub(crate) fn decode(&mut self, mut block: &[u8], fields: &mut impl TakeField) -> Option<()> {
        let mut is_first = true;
        while let Some(&first) = block.first() {
            match first {
                // Section 6.1: an entry.
                0x80.. => {
                    let index = integer(&mut block, 7)?;
                    let (name, value) = self.entry(index)?;
                    fields.take(name, value);
                }
                // Section 6.3: another size, at the beginning of a block alone (section 4.2).
                0x20..0x40 => {
                    let max = integer(&mut block, 5).filter(|max| *max <= TABLE_MAX && is_first)?;
                    self.max = max;
                    self.make_room(0);
                    continue;
                }
                // Sections 6.2.1 to 6.2.3: a name and a value.
                _ => self.literal(&mut block, first >= 0x40, fields)?,
            }
            is_first = false;
        }
        Some(())
    }

    fn literal(&mut self, block: &mut &[u8], is_kept: bool, fields: &mut impl TakeField) -> Option<()> {
        let index = integer(block, if is_kept { 6 } else { 4 })?;
        let (mut name, mut value) = (std::mem::take(&mut self.name), std::mem::take(&mut self.value));
        let done = self.texts(block, index, (&mut name, &mut value));
        if done.is_some() {
            fields.take(&name, &value);
            if is_kept {
                self.keep(&name, &value);
            }
        }
        (self.name, self.value) = (name, value);
        done
    }

    fn texts(&self, block: &mut &[u8], index: usize, (name, value): (&mut Vec<u8>, &mut Vec<u8>)) -> Option<()> {
        if index == 0 {
            string(block, name)?;
        } else {
            name.clear();
            name.extend_from_slice(self.entry(index)?.0);
        }
        string(block, value)
    }

    fn entry(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let place = index.checked_sub(1)?;
        if let Some(entry) = STATIC.get(place) {
            return Some(*entry);
        }
        let entry = self.entries.get(place - STATIC.len())?;
        Some(entry.text.split_at(entry.name))
    }

    fn keep(&mut self, name: &[u8], value: &[u8]) {
        let size = name.len() + value.len() + ENTRY;
        self.make_room(size);
        if size > self.max {
            return;
        }
        let mut text = std::mem::take(&mut self.spare);
        text.clear();
        text.extend_from_slice(name);
        text.extend_from_slice(value);
        self.size += size;
        self.entries.push_front(Entry { name: name.len(), text });
    }

    /// Section 4.4.
    fn make_room(&mut self, room: usize) {
        while self.size + room > self.max {
            let Some(entry) = self.entries.pop_back() else { return };
            self.size -= entry.size();
            self.spare = entry.text;
        }
    }

    /// Gives back what is only of use while blocks come.
    pub(crate) fn rest(&mut self) {
        (self.name, self.value, self.spare) = (Vec::new(), Vec::new(), Vec::new());
    }
}

/// A string literal (section 5.2), decoded into `out`.
fn string(block: &mut &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    let is_coded = block.first()? & 0x80 != 0;
    let len = integer(block, 7).filter(|len| *len <= STRING_MAX)?;
    let (bytes, rest) = block.split_at_checked(len)?;
    *block = rest;
    if is_coded {
        // No code is shorter than five bits.
        out.reserve(bytes.len() * 8 / 5);
        return huffman::decode(bytes, |octet| out.push(octet));
    }
    out.extend_from_slice(bytes);
    Some(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[derive(Default, Debug, PartialEq, Eq)]
    pub(in crate::hpack) struct Texts(pub(in crate::hpack) Vec<(String, String)>);

    impl TakeField for Texts {
        fn take(&mut self, name: &[u8], value: &[u8]) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            self.0.push((text(name), text(value)));
        }
    }

    pub(in crate::hpack) fn read(decoder: &mut Decoder, block: &[u8]) -> Option<Vec<(String, String)>> {
        let mut texts = Texts::default();
        decoder.decode(block, &mut texts).map(|()| texts.0)
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
        let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("a byte");
        digits.chunks(2).map(byte).collect()
    }

    fn fields(pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn requests_of_the_appendix_are_read() {
        let first = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
        let second = [&first[..], &[("cache-control", "no-cache")]].concat();
        let third = [
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/index.html"),
            (":authority", "www.example.com"),
            ("custom-key", "custom-value"),
        ];
        // Appendix C.3 without and C.4 with Huffman's code.
        for blocks in [
            [
                "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                "8286 84be 5808 6e6f 2d63 6163 6865",
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
            ],
            [
                "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
                "8286 84be 5886 a8eb 1064 9cbf",
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
            ],
        ] {
            let mut decoder = Decoder::new();
            assert_eq!(read(&mut decoder, &hex(blocks[0])), fields(&first));
            assert_eq!(read(&mut decoder, &hex(blocks[1])), fields(&second));
            assert_eq!(read(&mut decoder, &hex(blocks[2])), fields(&third));
            assert_eq!((decoder.entries.len(), decoder.size), (3, 164), "as the appendix says");
        }
    }

    #[test]
    fn answers_of_the_appendix_are_read_with_a_table_of_256_octets() {
        let mut decoder = Decoder::new();
        decoder.max = 256;
        let first = "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 \
                     2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3";
        let date = "Mon, 21 Oct 2013 20:13:21 GMT";
        let rest = [("cache-control", "private"), ("date", date), ("location", "https://www.example.com")];
        assert_eq!(read(&mut decoder, &hex(first)), fields(&[&[(":status", "302")], &rest[..]].concat()));
        assert_eq!(decoder.size, 222);
        // The status takes the oldest one's place.
        let second = "4883 640e ffc1 c0bf";
        assert_eq!(read(&mut decoder, &hex(second)), fields(&[&[(":status", "307")], &rest[..]].concat()));
        assert_eq!((decoder.entries.len(), decoder.size), (4, 222));
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        let path = |value: &str| [&[0x44, value.len() as u8], value.as_bytes()].concat();
        for broken in [
            &[0x80_u8][..],
            &[0xbe],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x44, 9, b'/'],
            &[0x7e, 0],
            // A table beyond what it may be; another size in the middle of a block.
            &[0x3f, 0xe2, 0x1f],
            &[0x82, 0x20],
            // A string of Huffman's code whose padding is none.
            &[0x44, 0x81, 0x00],
        ] {
            assert_eq!(read(&mut Decoder::new(), broken), None, "{broken:02x?}");
        }
        let mut decoder = Decoder::new();
        // 40 octets: one entry of that name; then none.
        assert!(read(&mut decoder, &[0x3f, 0x09]).is_some());
        assert!(read(&mut decoder, &path("/a")).is_some() && read(&mut decoder, &path("/b")).is_some());
        assert_eq!(read(&mut decoder, &[0xbe]), fields(&[(":path", "/b")]));
        assert_eq!(read(&mut decoder, &[0xbf]), None);
        assert!(read(&mut decoder, &[0x20]).is_some() && read(&mut decoder, &[0xbe]).is_none());
        // An entry that does not fit empties the table, and is none itself.
        let mut decoder = Decoder::new();
        assert!(read(&mut decoder, &path("/a")).is_some());
        let long = [&[0x44, 0x7f, 0x81, 0x1f][..], &[b'/'; 4_096]].concat();
        assert!(read(&mut decoder, &long).is_some() && decoder.entries.is_empty() && decoder.size == 0);
    }
}
