//! Paths up to their first parameter, of all hosts, in one flat table: the hash of a host and of a
//! path's first segments to the routes that end there, and the templates that go on. A lookup looks once for each segment and touches
//! hardly any memory but that of the route it finds, however many there are.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use foldhash::fast::RandomState;

use crate::path_trie::Segments;

/// Ranks in a few bytes: none, one, or the place of a longer list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct List(u32);

impl List {
    const NONE: List = List(u32::MAX);
    /// Set: the other bits are an index into `lists`.
    const MANY: u32 = 1 << 31;
}

/// Routes whose path begins with, or is, a text.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Where the text stands in `texts`.
    start: u32,
    length: u32,
    host: u32,
    exact: List,
    prefix: List,
    /// Index of the templates that begin so; `NOTHING`: none does.
    below: u32,
}

impl Place {
    const fn text(&self) -> std::ops::Range<usize> {
        self.start as usize..(self.start + self.length) as usize
    }
}

const NOTHING: u32 = u32::MAX;

/// The table. Ranks must come in ascending order, so that every list is sorted.
#[derive(Debug, Default)]
pub(crate) struct Literals {
    places: HashMap<u64, Place, BuildHasherDefault<Hashed>>,
    texts: Vec<u8>,
    lists: Vec<Vec<u32>>,
    templates: Vec<Segments>,
    /// Seeded, because the path that is looked up is the peer's.
    seed: RandomState,
    /// Places whose hash another one has: practically none, yet they must not be lost.
    unlucky: Vec<Place>,
}

/// Which of a place's lists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Exact,
    Prefix,
}

impl Literals {
    /// Adds a route of a host; `path` is without the slash in front.
    pub(crate) fn insert(&mut self, (host, kind): (u32, Kind), path: &[u8], rank: u32) {
        let (place, lists) = self.place(host, path);
        let list = if kind == Kind::Exact { &mut place.exact } else { &mut place.prefix };
        match *list {
            List::NONE => *list = List(rank),
            List(one) if one & List::MANY == 0 => {
                *list = List(lists.len() as u32 | List::MANY);
                lists.push(vec![one, rank]);
            }
            List(many) => lists[(many & !List::MANY) as usize].push(rank),
        }
    }

    /// What follows a text in the templates of a host that begin with it.
    pub(crate) fn templates(&mut self, host: u32, lead: &[u8]) -> &mut Segments {
        let next = self.templates.len() as u32;
        let (place, _) = self.place(host, lead);
        if place.below == NOTHING {
            place.below = next;
            self.templates.push(Segments::default());
            return &mut self.templates[next as usize];
        }
        let below = place.below as usize;
        &mut self.templates[below]
    }

    /// The place of a text, made where there is none, and the longer lists.
    fn place(&mut self, host: u32, path: &[u8]) -> (&mut Place, &mut Vec<Vec<u32>>) {
        let hash = path.split(|byte| *byte == b'/').fold(begin(host), |hash, segment| self.step(hash, segment));
        let (start, length) = (self.texts.len() as u32, path.len() as u32);
        let fresh = Place { start, length, host, exact: List::NONE, prefix: List::NONE, below: NOTHING };
        let is_same = |place: &Place| place.host == host && self.texts[place.text()] == *path;
        let taken = self.places.get(&hash).map(is_same);
        let known = self.unlucky.iter().position(is_same);
        if taken.is_none() || (taken == Some(false) && known.is_none()) {
            self.texts.extend_from_slice(path);
        }
        let place = match (taken, known) {
            (Some(false), known) => {
                let index = known.unwrap_or(self.unlucky.len());
                if known.is_none() {
                    self.unlucky.push(fresh);
                }
                &mut self.unlucky[index]
            }
            _ => self.places.entry(hash).or_insert(fresh),
        };
        (place, &mut self.lists)
    }

    /// Gives `visit` the ranks of every prefix of `path` that ends with a segment, those of the path
    /// itself, and those of the templates it fits; no more than `deepest` segments are looked at.
    pub(crate) fn lookup(&self, (host, deepest): (u32, u16), path: &[u8], visit: &mut impl FnMut(&[u32], bool)) {
        let mut hash = begin(host);
        let mut start = 0;
        for _ in 0..deepest {
            let end = path[start..].iter().position(|byte| *byte == b'/').map_or(path.len(), |at| start + at);
            hash = self.step(hash, &path[start..end]);
            if let Some(place) = self.find(hash, host, &path[..end]) {
                self.tell(place.prefix, visit);
                if end == path.len() {
                    self.tell(place.exact, visit);
                }
                if let Some(templates) = self.templates.get(place.below as usize) {
                    templates.walk(path.get(end + 1..), visit);
                }
            }
            if end == path.len() {
                return;
            }
            start = end + 1;
        }
    }

    fn find(&self, hash: u64, host: u32, text: &[u8]) -> Option<&Place> {
        let place = self.places.get(&hash)?;
        let is_it = |place: &Place| place.host == host && self.texts[place.text()] == *text;
        if is_it(place) { Some(place) } else { self.unlucky.iter().find(|place| is_it(place)) }
    }

    fn tell(&self, list: List, visit: &mut impl FnMut(&[u32], bool)) {
        match list {
            List::NONE => {}
            List(one) if one & List::MANY == 0 => visit(&[one], false),
            List(many) => visit(&self.lists[(many & !List::MANY) as usize], false),
        }
    }

    fn step(&self, hash: u64, segment: &[u8]) -> u64 {
        (hash.rotate_left(23) ^ self.seed.hash_one(segment)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

const fn begin(host: u32) -> u64 {
    (host as u64 + 1).wrapping_mul(0xff51_afd7_ed55_8ccd)
}

/// The keys are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only `write_u64` is called for keys of this type.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(literals: &Literals, host: u32, path: &str) -> Vec<u32> {
        let mut found = Vec::new();
        literals.lookup((host, 128), path.as_bytes(), &mut |ranks, _| found.extend_from_slice(ranks));
        found
    }

    #[test]
    fn prefixes_end_with_a_segment_and_hosts_are_apart() {
        let mut literals = Literals::default();
        literals.insert((0, Kind::Prefix), b"a/b", 0);
        literals.insert((0, Kind::Exact), b"a/b", 1);
        literals.insert((0, Kind::Prefix), b"a/b", 2);
        literals.insert((0, Kind::Prefix), b"a/b", 3);
        literals.insert((1, Kind::Exact), b"a/b/", 4);
        assert_eq!(found(&literals, 0, "a/b"), [0, 2, 3, 1]);
        assert_eq!(found(&literals, 0, "a/b/"), [0, 2, 3]);
        assert_eq!(found(&literals, 0, "a/bc"), []);
        assert_eq!(found(&literals, 1, "a/b/"), [4]);
        assert_eq!(found(&literals, 1, "a/b"), []);
    }

    #[test]
    fn places_with_one_hash_are_both_found() {
        let mut literals = Literals::default();
        literals.insert((0, Kind::Exact), b"one", 0);
        let place = *literals.places.values().next().expect("it is there");
        // What `two` would hash to is taken by another text.
        let hash = literals.step(begin(0), b"two");
        literals.places.insert(hash, place);
        literals.insert((0, Kind::Exact), b"two", 1);
        literals.insert((0, Kind::Prefix), b"two", 2);
        assert_eq!(literals.unlucky.len(), 1);
        assert_eq!(found(&literals, 0, "two"), [2, 1]);
        assert_eq!(found(&literals, 0, "one"), [0]);
        assert_eq!(found(&literals, 0, "three"), []);
    }
}
