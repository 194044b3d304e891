//! Where frames end in a stream that is passed on as it is: between two of them whoever
//! passes it on may say something of its own (RFC 6455 section 5.4). Only lengths are
//! read; what breaks the rules is the ends' business.

/// The longest header: two bytes, a length of eight, a mask of four.
const HEAD_MAX: usize = 14;

/// Follows one direction of a connection.
#[derive(Clone, Debug, Default)]
pub struct Border {
    head: [u8; HEAD_MAX],
    /// Bytes of the header that are there.
    have: u8,
    /// Bytes of the payload that are still to come.
    rest: u64,
    closed: bool,
}

impl Border {
    /// Whether a frame ended with the last byte, or nothing came yet.
    pub const fn is_between(&self) -> bool {
        self.have == 0 && self.rest == 0
    }

    /// Whether the sender said Close: nothing may follow it.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Follows all of `bytes`.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.next(bytes)..];
        }
    }

    /// Follows `bytes` to the end of the frame that is under way, or to their end. Returns
    /// how many that were.
    pub fn next(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while self.rest == 0 {
            let Some(byte) = bytes.get(used) else { return used };
            used += 1;
            self.head[usize::from(self.have)] = *byte;
            self.have += 1;
            if usize::from(self.have) == self.head_len() {
                self.closed |= self.head[0] & 0x0f == 8;
                (self.rest, self.have) = (self.payload_len(), 0);
                if self.rest == 0 {
                    return used;
                }
            }
        }
        let more = self.rest.min((bytes.len() - used) as u64);
        self.rest -= more;
        used + more as usize
    }

    fn head_len(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        match self.head[1] & 0x7f {
            126 => 4 + mask,
            127 => 10 + mask,
            _ => 2 + mask,
        }
    }

    fn payload_len(&self) -> u64 {
        let wide = |bytes: &[u8]| bytes.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        match self.head[1] & 0x7f {
            126 => wide(&self.head[2..4]),
            127 => wide(&self.head[2..10]),
            short => u64::from(short),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Opcode, encode_close, encode_frame, encode_masked_frame};

    fn stream() -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            encode_frame(&mut bytes, Opcode::Binary, &vec![0x88; len]);
            ends.push(bytes.len());
            encode_masked_frame(&mut bytes, Opcode::Text, &vec![b'a'; len], [9, 8, 7, 6]);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn every_end_of_a_frame_is_found_however_the_bytes_are_cut() {
        let (bytes, ends) = stream();
        for step in [1, 2, 3, 13, 14, 15, 4_096, bytes.len()] {
            let mut border = Border::default();
            let mut found = Vec::new();
            let mut at = 0;
            for piece in bytes.chunks(step) {
                let mut rest = piece;
                while !rest.is_empty() {
                    let used = border.next(rest);
                    (at, rest) = (at + used, &rest[used..]);
                    if border.is_between() {
                        found.push(at);
                    }
                }
            }
            assert_eq!(found, ends, "{step}");
            assert!(!border.is_closed());
        }
    }

    #[test]
    fn a_close_is_seen_and_a_hostile_length_overflows_nothing() {
        let mut border = Border::default();
        let mut bytes = Vec::new();
        encode_close(&mut bytes, 1000, "bye");
        border.pass(&bytes);
        assert!(border.is_closed() && border.is_between());
        let mut border = Border::default();
        border.pass(&[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]);
        border.pass(&[0; 1_000]);
        assert!(!border.is_between());
    }
}
