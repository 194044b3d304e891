//! What `h2` does not tell of an answer's head, or ends the connection for where the stream would do (RFC 9113
//! section 8.1.1): pseudo-header fields in trailers, or those of requests, which it drops; names and values that no
//! field may have. HPACK (RFC 7541) is followed as far as that needs: an entry of the table is known by its size
//! and by what of it matters here.

use super::text::{Literal, Name, Text};
use std::collections::VecDeque;
use std::ops::BitOr;
use tidegate_http2::{integer, put_integer};

/// What a peer's table may hold: SETTINGS_HEADER_TABLE_SIZE as it is by default.
const TABLE_MAX: usize = 4_096;
/// What an entry costs besides its texts (section 4.1).
const ENTRY: usize = 32;
/// Longer strings than heads may be: `h2` ends such a connection.
const STRING_MAX: usize = 1 << 20;
/// What stands in the place of bad octets.
const FILLER: u8 = b'x';
/// A field that makes any head malformed, neither kept nor coded.
const FORBIDDEN: &[u8] = b"\0\x0aconnection\x01x";

/// Lengths of the names of the static table (appendix A), from index 1 on.
const STATIC_NAMES: [u8; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14, 16, 13, 12, 6, 4,
    4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10, 25, 17, 10, 4, 3, 16,
];

/// What is known of a field, or of the fields of a whole head.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Marks(u8);

impl Marks {
    /// A pseudo-header field.
    pub(super) const PSEUDO: Marks = Marks(1);
    /// A status of an interim answer.
    pub(super) const INTERIM: Marks = Marks(2);
    /// A pseudo-header field of requests.
    pub(super) const ASKING: Marks = Marks(4);
    /// A field that breaks a rule by itself.
    pub(super) const BAD: Marks = Marks(8);

    pub(super) const fn has(self, all: Marks) -> bool {
        self.0 & all.0 == all.0
    }

    /// What a field is by its name alone.
    const fn of(name: Name) -> Marks {
        match name {
            Name::Field => Marks(0),
            Name::Status => Marks::PSEUDO,
            Name::Asking => Marks(1 | 4),
            Name::Bad => Marks::BAD,
        }
    }

    fn of_field(name: Name, value: &Text) -> Marks {
        let marks = Marks::of(name);
        if name == Name::Status && value.is_interim() { marks | Marks::INTERIM } else { marks }
    }
}

impl BitOr for Marks {
    type Output = Marks;

    fn bitor(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }
}

/// An entry of the dynamic table.
#[derive(Clone, Copy)]
struct Entry {
    /// Length and kind of its name.
    name: (usize, Name),
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

/// A block that is followed, and the one that goes on in its place where a field of it is bad.
struct Walk<'b> {
    whole: &'b [u8],
    rest: &'b [u8],
    anew: Option<Vec<u8>>,
}

impl Default for HeadWatch {
    fn default() -> Self {
        HeadWatch { entries: VecDeque::new(), size: 0, max: TABLE_MAX, is_lost: false }
    }
}

impl HeadWatch {
    /// Follows a header block: what its fields are, and the block that goes on where one of them is bad. `h2`
    /// knows no way back from that; in its place stands a field of the same size, so that its table stays right.
    pub(super) fn block(&mut self, block: &[u8]) -> (Marks, Option<Vec<u8>>) {
        if self.is_lost {
            return (Marks::default(), None);
        }
        let mut walk = Walk { whole: block, rest: block, anew: None };
        let found = self.follow(&mut walk);
        self.is_lost = found.is_none();
        match found {
            Some(found) => (found, walk.anew),
            None => (Marks::default(), None),
        }
    }

    /// A block was missed: nothing is known any more.
    pub(super) const fn lose(&mut self) {
        self.is_lost = true;
    }

    /// `None`: it breaks a rule.
    fn follow(&mut self, walk: &mut Walk<'_>) -> Option<Marks> {
        let mut found = Marks::default();
        while let Some(&first) = walk.rest.first() {
            let before = walk.rest;
            match first {
                // Section 6.1: an entry.
                0x80.. => {
                    let index = integer(&mut walk.rest, 7)?;
                    found = found | self.entry(index)?.1;
                    walk.goes_on(before);
                }
                // Section 6.3: another size.
                0x20..0x40 => {
                    self.max = integer(&mut walk.rest, 5).filter(|max| *max <= TABLE_MAX)?;
                    self.shrink(0);
                    walk.goes_on(before);
                }
                // Sections 6.2.1 to 6.2.3: a name and a value.
                _ => found = found | self.literal(walk, first)?,
            }
        }
        Some(found)
    }

    fn literal(&mut self, walk: &mut Walk<'_>, first: u8) -> Option<Marks> {
        let before = walk.rest;
        let is_kept = first >= 0x40;
        let index = integer(&mut walk.rest, if is_kept { 6 } else { 4 })?;
        let mut name = match index {
            0 => Text::of(literal(&mut walk.rest)?).map(|name| (name.len, name.as_name()))?,
            index => self.entry(index)?.0,
        };
        let named = walk.rest;
        let value = Text::of(literal(&mut walk.rest)?)?;
        let mut marks = Marks::of_field(name.1, &value);
        if value.suits(name.1) {
            walk.goes_on(before);
        } else {
            marks = marks | Marks::BAD;
            match (name.1, value.len) {
                (Name::Status, 3) => walk.put_value((before, named), b"200"),
                (Name::Bad | Name::Status | Name::Asking, _) => {
                    name.1 = Name::Bad;
                    walk.replace(before, (first, is_kept), (name.0, value.len))?;
                }
                (Name::Field, length) => walk.put_value((before, named), &vec![FILLER; length]),
            }
        }
        if is_kept {
            self.keep(Entry { name, value: value.len, marks });
        }
        Some(marks)
    }

    /// An entry's name, and what it is.
    fn entry(&self, index: usize) -> Option<((usize, Name), Marks)> {
        if let Some(length) = STATIC_NAMES.get(index.checked_sub(1)?) {
            let name = match index {
                1..=7 => Name::Asking,
                8..=14 => Name::Status,
                _ => Name::Field,
            };
            return Some(((usize::from(*length), name), Marks::of(name)));
        }
        let entry = self.entries.get(index - 1 - STATIC_NAMES.len())?;
        Some((entry.name, entry.marks))
    }

    fn keep(&mut self, entry: Entry) {
        let size = entry.name.0 + entry.value + ENTRY;
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
            self.size -= entry.name.0 + entry.value + ENTRY;
        }
    }
}

impl Walk<'_> {
    /// What was read since goes on as it came.
    fn goes_on(&mut self, before: &[u8]) {
        if let Some(anew) = &mut self.anew {
            anew.extend_from_slice(&before[..before.len() - self.rest.len()]);
        }
    }

    /// Another value of the same size goes behind the name that was read since.
    fn put_value(&mut self, (before, named): (&[u8], &[u8]), value: &[u8]) {
        let anew = self.anew.get_or_insert_with(|| self.whole[..self.whole.len() - before.len()].to_vec());
        anew.extend_from_slice(&before[..before.len() - named.len()]);
        put_integer(anew, (0, 7), value.len());
        anew.extend_from_slice(value);
    }

    /// Another field of the same size goes in the place of what was read since. `None`: there is none.
    fn replace(&mut self, before: &[u8], (first, is_kept): (u8, bool), (name, value): (usize, usize)) -> Option<()> {
        let anew = self.anew.get_or_insert_with(|| self.whole[..self.whole.len() - before.len()].to_vec());
        // A name has one octet at least; an entry of the table costs what both have.
        let (name, value) = match (name, value) {
            (0, 0) if is_kept => return None,
            (0, value) => (1, value.saturating_sub(usize::from(is_kept))),
            both => both,
        };
        anew.push(if is_kept { 0x40 } else { first & 0xf0 });
        for length in [name, value] {
            put_integer(anew, (0, 7), length);
            anew.resize(anew.len() + length, FILLER);
        }
        Some(())
    }
}

/// A block that `h2` resets its stream for, and no more.
pub(super) fn forbidden(block: &[u8]) -> Vec<u8> {
    [block, FORBIDDEN].concat()
}

/// A string literal (section 5.2).
fn literal<'b>(block: &mut &'b [u8]) -> Option<Literal<'b>> {
    let is_coded = block.first()? & 0x80 != 0;
    let len = integer(block, 7).filter(|len| *len <= STRING_MAX)?;
    let (bytes, rest) = block.split_at_checked(len)?;
    *block = rest;
    Some(Literal { is_coded, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(prefix: &[u8], value: &str) -> Vec<u8> {
        [prefix, &[value.len() as u8], value.as_bytes()].concat()
    }

    #[test]
    fn pseudo_header_fields_are_known_in_whatever_form_they_come() {
        let mut watch = HeadWatch::default();
        let mut marks = |block: &[u8]| watch.block(block).0;
        assert_eq!(marks(&[0x82, 0x86, 0x84]), Marks::PSEUDO | Marks::ASKING);
        assert_eq!(marks(&literal(&[0x58], "a")), Marks::default(), "cache-control");
        assert_eq!(marks(&[0x88]), Marks::PSEUDO, ":status");
        // Kept, then by its place; by its place with another value; by its whole name; in Huffman's code.
        assert_eq!(marks(&literal(&[0x48], "103")), Marks::PSEUDO | Marks::INTERIM);
        assert_eq!(marks(&[0xbe]), Marks::PSEUDO | Marks::INTERIM);
        assert_eq!(marks(&literal(b"\0\x07:status", "200")), Marks::PSEUDO);
        assert_eq!(marks(&[0x08, 0x82, 0x10, 0x01]), Marks::PSEUDO, "200");
        assert!(marks(&literal(&[0x01], "a.example")).has(Marks::PSEUDO | Marks::ASKING | Marks::BAD));
    }

    #[test]
    fn a_small_table_forgets_and_broken_blocks_end_it() {
        let mut watch = HeadWatch::default();
        let is_interim = |watch: &mut HeadWatch, block: &[u8]| watch.block(block).0.has(Marks::INTERIM);
        // 42 octets at most: one entry of that name.
        watch.block(&[0x3f, 0x0b]);
        assert!(is_interim(&mut watch, &literal(&[0x48], "103")) && is_interim(&mut watch, &[0xbe]));
        watch.block(&literal(&[0x48], "200"));
        assert!(!is_interim(&mut watch, &[0xbe]) && watch.entries.len() == 1);
        for broken in [
            &[0x80_u8][..],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x48, 9, b'2'],
            &[0xfe],
            &[0x3f, 0xff, 0xff, 0x7f],
        ] {
            let mut watch = HeadWatch::default();
            assert!(watch.block(broken).0 == Marks::default() && watch.is_lost, "{broken:?}");
        }
    }

    #[test]
    fn what_no_field_may_have_is_replaced_by_what_takes_as_much_room() {
        let field = |name: &str, value: &str, first: u8| {
            [&[first, name.len() as u8][..], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
        };
        for (name, value) in [
            ("X-Up", "a"),
            ("x y", "a"),
            ("x:y", "a"),
            ("x", "a\rb"),
            ("x", "a\nb"),
            ("x", "a\0"),
            ("x", " a"),
            ("x", "a\t"),
            (":what", "a"),
            (":status", "20"),
            (":status", "abc"),
            (":status", "101"),
            (":status", "099"),
            (":method", "GET"),
            (":path", "/"),
            ("", "abc"),
        ] {
            for first in [0x00, 0x10, 0x40] {
                let mut watch = HeadWatch::default();
                // A field before and behind it, and one that is kept.
                let (before, behind) = (field("a", "1", 0x40), [field("b", "2", 0x00), vec![0xbe]].concat());
                let block = [&before[..], &field(name, value, first), &behind].concat();
                let (marks, anew) = watch.block(&block);
                let anew = anew.expect("replaced");
                assert!(marks.has(Marks::BAD) && anew.starts_with(&before) && anew.ends_with(&behind), "{name:?}");
                let mut again = HeadWatch::default();
                let (marks, same) = again.block(&anew);
                assert!(!marks.has(Marks::BAD) && same.is_none(), "{name:?}: {value:?}");
                assert_eq!((again.size, again.entries.len()), (watch.size, watch.entries.len()), "{name:?}");
                // By its place it is as bad.
                let by_place = watch.block(&[0xbe]);
                assert_eq!((by_place.0.has(Marks::BAD), by_place.1), (first == 0x40, None));
            }
        }
        for fine in [("x", "\u{e4} b"), ("x-_.~!#$%&'*+^`|", ""), (":status", "599")] {
            assert_eq!(HeadWatch::default().block(&field(fine.0, fine.1, 0)).1, None, "{fine:?}");
        }
        let long = [&[0x00, 1][..], b"X", &[0x7f, 0x80, 0x01], &[b'v'; 255]].concat();
        assert_eq!(HeadWatch::default().block(&long).1.map(|anew| anew.len()), Some(long.len()));
    }
}
