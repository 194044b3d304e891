//! Frames: what one call of the broker changed, whole or not at all.
//! ```text
//! | length u32 | crc32 u32 | number u64 | payload, padded to 8 bytes |   little endian
//! ```
//! The checksum covers number and payload; numbers go up by one through all segments of
//! a log. A length of 0 is where nothing was written yet.

const HEADER: usize = 16;
const ALIGN: usize = 8;
/// How far the number of a frame found behind a broken one may be ahead.
const GAP_MAX: u64 = 1 << 20;

/// Bytes that a payload takes as a frame.
pub(crate) const fn framed_len(payload: usize) -> usize {
    (HEADER + payload).div_ceil(ALIGN) * ALIGN
}

/// Appends a frame.
pub(crate) fn put_frame(out: &mut Vec<u8>, number: u64, payload: &[u8]) {
    let end = out.len() + framed_len(payload.len());
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&checksum(number, payload).to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(payload);
    out.resize(end, 0);
}

fn checksum(number: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// What a segment holds next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    Frame(&'a [u8]),
    /// Bytes from this offset on are no frame, but a later one is: what stood there is lost.
    Corrupt(usize),
    /// Bytes from this offset on are no frame, and nothing follows.
    Torn(usize),
}

/// The frames of one segment.
pub(crate) struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The number of the frame before; 0: any may come.
    pub(crate) number: u64,
}

impl<'a> Frames<'a> {
    pub(crate) const fn new(bytes: &'a [u8], number: u64) -> Self {
        Frames { bytes, at: 0, number }
    }

    fn word(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes.get(at..at + 4)?.try_into().ok()?))
    }

    /// The frame at an offset, if it is whole: its number and payload.
    fn frame(&self, at: usize) -> Option<(u64, &'a [u8])> {
        let length = self.word(at).filter(|length| *length > 0)? as usize;
        let number = u64::from_le_bytes(self.bytes.get(at + 8..at + HEADER)?.try_into().ok()?);
        let follows = self.number == 0 || (number > self.number && number - self.number <= GAP_MAX);
        let payload = self.bytes.get(at + HEADER..(at + HEADER).checked_add(length)?).filter(|_| follows)?;
        (self.word(at + 4)? == checksum(number, payload)).then_some((number, payload))
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let start = self.at;
        if let Some((number, payload)) = self.frame(start) {
            // A frame that is left out is as lost as one that is broken.
            if self.number != 0 && number != self.number + 1 {
                self.number = number - 1;
                return Some(Found::Corrupt(start));
            }
            self.number = number;
            self.at += framed_len(payload.len());
            return Some(Found::Frame(payload));
        }
        if self.bytes[start.min(self.bytes.len())..].iter().all(|byte| *byte == 0) {
            return None;
        }
        let behind = (start + ALIGN..self.bytes.len()).step_by(ALIGN).find(|&at| self.frame(at).is_some());
        match behind {
            Some(at) => {
                self.number = self.frame(at).map_or(self.number, |(number, _)| number - 1);
                self.at = at;
                Some(Found::Corrupt(start))
            }
            None => {
                self.at = self.bytes.len();
                Some(Found::Torn(start))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, payload) in [(1, "one"), (2, "two and more"), (3, "three")] {
            put_frame(&mut bytes, number, payload.as_bytes());
        }
        bytes.resize(256, 0);
        bytes
    }

    #[test]
    fn frames_come_back_and_zeros_are_the_end() {
        let bytes = three();
        let found: Vec<_> = Frames::new(&bytes, 0).collect();
        assert_eq!(found, [Found::Frame(b"one"), Found::Frame(b"two and more"), Found::Frame(b"three")]);
    }

    #[test]
    fn a_torn_tail_is_told_at_every_length_and_loses_nothing_before() {
        let whole = three();
        let last = framed_len(3) + framed_len(12);
        for cut in last + 1..last + HEADER + 5 {
            let mut bytes = whole.clone();
            bytes[cut..].fill(0);
            let found: Vec<_> = Frames::new(&bytes, 0).collect();
            assert_eq!(found[..2], [Found::Frame(b"one"), Found::Frame(b"two and more")]);
            assert_eq!(found[2..], [Found::Torn(last)], "cut at {cut}");
        }
    }

    #[test]
    fn a_broken_frame_is_told_and_those_behind_it_are_read() {
        for broken in framed_len(3)..framed_len(3) + HEADER + 12 {
            let mut bytes = three();
            bytes[broken] ^= 0x55;
            let found: Vec<_> = Frames::new(&bytes, 0).collect();
            assert_eq!(
                found,
                [Found::Frame(b"one"), Found::Corrupt(framed_len(3)), Found::Frame(b"three")],
                "{broken}"
            );
        }
    }
}
