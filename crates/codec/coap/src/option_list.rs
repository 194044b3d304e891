//! Options to be sent: kept in the order of their numbers, their values in one
//! buffer. Made once, used again for every message.

use smallvec::SmallVec;

use crate::OptionRef;

/// Options by number; those with the same number in the order they were added.
#[derive(Clone, Debug, Default)]
pub struct OptionList {
    entries: SmallVec<[Entry; 12]>,
    bytes: SmallVec<[u8; 96]>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    number: u16,
    start: u32,
    end: u32,
}

impl OptionList {
    /// None yet.
    pub fn new() -> Self {
        OptionList::default()
    }

    /// Forgets all and keeps the memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }

    /// Adds one. A value longer than 65,535 bytes is cut; no option may be that long.
    pub fn push(&mut self, number: u16, value: &[u8]) -> &mut Self {
        let value = &value[..value.len().min(usize::from(u16::MAX))];
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(value);
        let entry = Entry { number, start, end: self.bytes.len() as u32 };
        let place = self.entries.iter().rposition(|own| own.number <= number).map_or(0, |place| place + 1);
        self.entries.insert(place, entry);
        self
    }

    /// Adds a number in as few bytes as it needs.
    pub fn push_uint(&mut self, number: u16, value: u32) -> &mut Self {
        let skip = value.leading_zeros() as usize / 8;
        self.push(number, &value.to_be_bytes()[skip..])
    }

    /// Takes all of that number out; their bytes go with the list.
    pub fn remove(&mut self, number: u16) {
        self.entries.retain(|entry| entry.number != number);
    }

    /// The first value of that number.
    pub fn get(&self, number: u16) -> Option<&[u8]> {
        self.iter().find_map(|(own, value)| (own == number).then_some(value))
    }

    /// The first value of that number, as a number.
    pub fn uint(&self, number: u16) -> Option<u32> {
        OptionRef { number, value: self.get(number)? }.uint()
    }

    /// Whether one of that number is there.
    pub fn contains(&self, number: u16) -> bool {
        self.entries.iter().any(|entry| entry.number == number)
    }

    /// Bytes that they take at most once encoded.
    pub(crate) fn encoded_max(&self) -> usize {
        self.bytes.len() + 5 * self.entries.len()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &[u8])> {
        self.entries.iter().map(|entry| (entry.number, &self.bytes[entry.start as usize..entry.end as usize]))
    }
}
