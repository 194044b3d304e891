//! Fields into blocks. What comes twice the same is kept in the table, and is an octet or two from then
//! on; strings are not compressed, since that costs more than their octets do.

use super::statics::name_index;
use super::{ENTRY, TABLE_MAX, put_integer};
use crate::head::Target;
use std::collections::VecDeque;

/// Hashes of fields that came once.
const SEEN: usize = 64;
/// Longer fields are not kept.
const KEPT_MAX: usize = 512;

struct Entry {
    hash: u32,
    name: usize,
    text: Vec<u8>,
}

impl Entry {
    fn size(&self) -> usize {
        self.text.len() + ENTRY
    }

    fn is(&self, hash: u32, name: &[u8], value: &[u8]) -> bool {
        self.hash == hash && self.name == name.len() && self.text.starts_with(name) && self.text[name.len()..] == *value
    }
}

/// See the module.
pub(crate) struct Encoder {
    entries: VecDeque<Entry>,
    size: usize,
    /// What the peer allows, and what it has been told of us.
    max: usize,
    told: usize,
    /// What was put into the table since may not have reached the peer.
    is_torn: bool,
    seen: Option<Box<[u32; SEEN]>>,
    spare: Vec<u8>,
}

impl Encoder {
    pub(crate) const fn new() -> Self {
        Encoder {
            entries: VecDeque::new(),
            size: 0,
            max: TABLE_MAX,
            told: TABLE_MAX,
            is_torn: false,
            seen: None,
            spare: Vec::new(),
        }
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE.
    pub(crate) fn allow(&mut self, max: usize) {
        let max = max.min(TABLE_MAX);
        // A smaller size in between must be told of as well (section 4.2): the table begins anew.
        self.is_torn |= max < self.max;
        self.max = max;
    }

    /// A block was given up that fields have been put into: the next one begins with an empty table.
    pub(crate) const fn give_up(&mut self) {
        self.is_torn = true;
    }

    /// Begins a block.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.is_torn) {
            self.entries.clear();
            self.size = 0;
            put_integer(out, (0x20, 5), 0);
            self.told = 0;
        }
        if self.told != self.max {
            put_integer(out, (0x20, 5), self.max);
            self.told = self.max;
        }
    }

    /// `:status`, of three digits.
    pub(crate) fn status(&mut self, status: u16, out: &mut Vec<u8>) {
        let index = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                let digits = [status / 100 % 10, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
                return self.put(b":status", &digits, 8, out);
            }
        };
        out.push(0x80 | index);
    }

    /// The pseudo-header fields of a request (RFC 9113 section 8.3.1).
    pub(crate) fn target(&mut self, target: &Target<'_>, out: &mut Vec<u8>) {
        match target.method {
            b"GET" => out.push(0x82),
            b"POST" => out.push(0x83),
            method => self.put(b":method", method, 2, out),
        }
        match target.scheme {
            b"http" => out.push(0x86),
            b"https" => out.push(0x87),
            scheme => self.put(b":scheme", scheme, 6, out),
        }
        match target.path {
            b"/" => out.push(0x84),
            path => self.put(b":path", path, 4, out),
        }
        self.put(b":authority", target.authority, 1, out);
        if let Some(protocol) = target.protocol {
            self.put(b":protocol", protocol, 0, out);
        }
    }

    /// A field whose name is in lower case.
    pub(crate) fn field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        self.put(name, value, name_index(name), out);
    }

    fn put(&mut self, name: &[u8], value: &[u8], index: usize, out: &mut Vec<u8>) {
        let how = if is_secret(name) {
            (0x10, 4)
        } else if changes_always(name) || name.len() + value.len() > KEPT_MAX {
            (0x00, 4)
        } else {
            let hash = hash(name, value);
            if let Some(place) = self.entries.iter().position(|entry| entry.is(hash, name, value)) {
                return put_integer(out, (0x80, 7), 62 + place);
            }
            match self.came_before(hash) && self.keep(hash, name, value) {
                true => (0x40, 6),
                false => (0x00, 4),
            }
        };
        put_integer(out, how, index);
        if index == 0 {
            put_integer(out, (0, 7), name.len());
            out.extend_from_slice(name);
        }
        put_integer(out, (0, 7), value.len());
        out.extend_from_slice(value);
    }

    /// Whether a field came a short while ago; it is remembered from now on.
    fn came_before(&mut self, hash: u32) -> bool {
        let seen = self.seen.get_or_insert_with(|| Box::new([0; SEEN]));
        std::mem::replace(&mut seen[hash as usize % SEEN], hash) == hash
    }

    fn keep(&mut self, hash: u32, name: &[u8], value: &[u8]) -> bool {
        let size = name.len() + value.len() + ENTRY;
        if size > self.max {
            return false;
        }
        while self.size + size > self.max {
            let Some(entry) = self.entries.pop_back() else { break };
            self.size -= entry.size();
            self.spare = entry.text;
        }
        let mut text = std::mem::take(&mut self.spare);
        text.clear();
        text.extend_from_slice(name);
        text.extend_from_slice(value);
        self.size += size;
        self.entries.push_front(Entry { hash, name: name.len(), text });
        true
    }
}

/// What no table of anybody on the way may keep (section 7.1.3).
fn is_secret(name: &[u8]) -> bool {
    matches!(name, b"set-cookie" | b"cookie" | b"authorization" | b"proxy-authorization")
}

/// What an entry would be used for once.
fn changes_always(name: &[u8]) -> bool {
    matches!(
        name,
        b"date"
            | b"content-length"
            | b"etag"
            | b"age"
            | b"content-range"
            | b"last-modified"
            | b"x-request-id"
            | b"traceparent"
    )
}

/// FNV-1a over words of eight octets; never 0. Who makes others collide gains nothing: the texts are compared.
fn hash(name: &[u8], value: &[u8]) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ name.len() as u64;
    let mut mix = |word: u64| hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    for text in [name, value] {
        let (words, rest) = text.as_chunks::<8>();
        words.iter().for_each(|word| mix(u64::from_le_bytes(*word)));
        rest.iter().for_each(|octet| mix(u64::from(*octet)));
    }
    (hash ^ hash >> 32) as u32 | 1
}

#[cfg(test)]
mod tests {
    use super::super::decoder::Decoder;
    use super::super::decoder::tests::read;
    use super::*;

    fn block(encoder: &mut Encoder, status: u16, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        encoder.status(status, &mut out);
        for (name, value) in fields {
            encoder.field(name.as_bytes(), value.as_bytes(), &mut out);
        }
        out
    }

    fn expected(status: &str, fields: &[(&str, &str)]) -> Vec<(String, String)> {
        let all = [&[(":status", status)], fields].concat();
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_comes_again_is_an_octet_from_the_third_time_on() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        let fields = [("server", "tidegate"), ("x-a", "b"), ("date", "today"), ("set-cookie", "a=b")];
        let mut lengths = Vec::new();
        for _ in 0..4 {
            let block = block(&mut encoder, 503, &fields);
            assert_eq!(read(&mut decoder, &block).as_deref(), Some(&expected("503", &fields)[..]));
            lengths.push(block.len());
        }
        assert!(lengths[1] <= lengths[0] && lengths[2] == lengths[3] && lengths[2] + 15 < lengths[0], "{lengths:?}");
    }

    #[test]
    fn both_tables_stay_the_same_whatever_is_sent() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        let mut seed = 7_u32;
        let mut random = |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % below
        };
        for round in 0..20_000 {
            let texts: Vec<(String, String)> = (0..random(8))
                .map(|_| (format!("x-{}", random(40)), "v".repeat(random(300) as usize) + &random(3).to_string()))
                .collect();
            let fields: Vec<(&str, &str)> = texts.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            let block = block(&mut encoder, 200, &fields);
            match random(50) {
                // It never left.
                0 => encoder.give_up(),
                _ => assert_eq!(read(&mut decoder, &block), Some(expected("200", &fields)), "round {round}"),
            }
            if random(100) == 0 {
                encoder.allow(random(6_000) as usize);
            }
            assert!(encoder.size <= encoder.max);
        }
    }
}
