//! Heads of answers that `h2` lets pass (RFC 9113 section 8.1): with pseudo-header fields that are not an
//! answer's, or with any in trailers.

use super::bodies::Bodies;
use super::hpack::Marks;
use super::sieve::Frame;

/// Follows the answers of one connection.
#[derive(Default)]
pub(super) struct Answers {
    bodies: Bodies,
}

impl Answers {
    /// A frame came; a head is told of when it is whole. `false`: it does not go on.
    pub(super) fn frame(&mut self, frame: Frame) -> bool {
        // `h2` counts empty DATA as long as a connection lives, and ends it at a hundred.
        if frame.is_empty_data() {
            return !self.bodies.has(frame.stream);
        }
        self.bodies.frame(frame);
        true
    }

    /// What the fields of a head are, which came in so many frames. `true`: it is malformed.
    pub(super) fn head(&mut self, frame: Frame, fields: Marks) -> bool {
        if self.bodies.has(frame.stream) {
            self.bodies.end(frame);
            return fields.has(Marks::PSEUDO);
        }
        self.bodies.begin(frame, fields.has(Marks::INTERIM));
        fields.has(Marks::ASKING)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sieve::Sieve;
    use tokio::io::ReadBuf;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream], payload].concat()
    }

    /// Whether a frame goes on as it came.
    fn passes(sieve: &mut Sieve, frame: &[u8]) -> bool {
        let mut room = [0; 256];
        let mut read = ReadBuf::new(&mut room);
        read.put_slice(frame);
        sieve.pass(&mut read, 0) && read.filled() == frame
    }

    #[test]
    fn an_answer_has_a_status_and_trailers_have_none() {
        let mut sieve = Sieve::default();
        let interim = [0x08, 3, b'1', b'0', b'3'];
        // 103, 200, a path; then trailers without and with a status.
        for (block, flags, is_fine) in [
            (&interim[..], 4, true),
            (&[0x88], 4, true),
            (&[0x58, 1, b'a'], 5, true),
            (&[0x88], 4, true),
            (&[0x88], 5, false),
            (&[0x88, 0x84], 5, false),
            (&[0x88], 5, true),
        ] {
            assert_eq!(passes(&mut sieve, &frame(1, flags, 1, block)), is_fine, "{block:?}");
        }
        // The end of a body and a reset are ends, too.
        for end in [frame(0, 1, 3, b"end"), frame(3, 0, 3, &[0; 4])] {
            assert!(passes(&mut sieve, &frame(1, 4, 3, &[0x88])) && passes(&mut sieve, &end));
            assert!(passes(&mut sieve, &frame(1, 5, 3, &[0x88])));
        }
    }

    #[test]
    fn empty_data_of_an_answer_does_not_go_on_and_any_other_does() {
        let mut sieve = Sieve::default();
        assert!(passes(&mut sieve, &frame(0, 0, 1, b"")), "of nothing");
        assert!(passes(&mut sieve, &frame(1, 4, 1, &[0x88])) && !passes(&mut sieve, &frame(0, 0, 1, b"")));
        assert!(passes(&mut sieve, &frame(0, 8, 1, &[0])), "padding counts for the window");
        assert!(passes(&mut sieve, &frame(0, 1, 1, b"")), "the end");
    }
}
