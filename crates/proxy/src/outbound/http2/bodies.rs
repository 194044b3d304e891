//! Streams whose head came and whose end did not: what comes as a head of them now are trailers (RFC 9113 section 8.1).

use super::sieve::{Frame, RST_STREAM};

/// How many are remembered. Those that we took back are not told of any more: the oldest give way.
const STREAMS_MAX: usize = 1_024;

/// The streams of one peer.
#[derive(Default)]
pub(super) struct Bodies {
    streams: Vec<u32>,
}

impl Bodies {
    pub(super) fn has(&self, stream: u32) -> bool {
        self.streams.contains(&stream)
    }

    /// A frame came that is no head.
    pub(super) fn frame(&mut self, frame: Frame) {
        if frame.kind == RST_STREAM || frame.is_data() && frame.ends_stream() {
            self.forget(frame.stream);
        }
    }

    /// A head came that begins a message; `goes_on`: its own head follows, as behind an interim answer.
    pub(super) fn begin(&mut self, frame: Frame, goes_on: bool) {
        if frame.ends_stream() || goes_on {
            return;
        }
        if self.streams.len() == STREAMS_MAX {
            self.streams.drain(..STREAMS_MAX / 2);
        }
        self.streams.push(frame.stream);
    }

    /// Trailers came.
    pub(super) fn end(&mut self, frame: Frame) {
        if frame.ends_stream() {
            self.forget(frame.stream);
        }
    }

    fn forget(&mut self, stream: u32) {
        self.streams.retain(|known| *known != stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_that_were_taken_back_are_forgotten_in_the_end() {
        let mut bodies = Bodies::default();
        for stream in 0..5_000 {
            bodies.begin(Frame::head_of(stream), false);
            assert!(bodies.streams.len() <= STREAMS_MAX && bodies.has(stream));
        }
    }
}
