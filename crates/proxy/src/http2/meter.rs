//! Counts frames of clients that cost us work and bring the client nothing, from their headers
//! alone (RFC 9113 section 10.5). `h2` answers these frames before anybody is asked.
//! A client that reads what it is sent opens windows and measures its path by PINGs, so
//! that our own frames earn it some: a download is no flood, however fast.

use super::bodies::Bodies;
use super::hpack::Marks;
use super::sieve::{CONTINUATIONS, DATA, Frame, RST_STREAM, Rules};

/// Bytes of the client's connection preface.
pub(super) const PREFACE: usize = 24;

/// What a client did too much of. The name is the reason in the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flood {
    /// Resets of its own streams (CVE-2023-44487).
    Resets,
    /// PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA.
    Control,
    /// A head in ever more CONTINUATION frames (CVE-2024-27316).
    Continuations,
}

impl Flood {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Flood::Resets => "rapid-reset",
            Flood::Control => "control-flood",
            Flood::Continuations => "continuation-flood",
        }
    }
}

/// How much is too much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed {
    pub(crate) resets_per_second: u32,
    pub(crate) control_per_second: u32,
}

/// Resets before anything was answered.
const FIRST_RESETS: u32 = 50;
/// Control frames that a frame of ours earns, as Envoy allows WINDOW_UPDATEs for each DATA frame.
const EARNED: u32 = 10;
/// Most that is kept of what was earned.
const EARNED_MAX: u32 = 10_000;

/// Flaws that are told of at once; more are a bad joke.
pub(super) const FLAWS_MAX: usize = 1_024;
/// A DATA frame below that is dearer to keep than what it brings; `h2` reckons so.
const SMALL: usize = 256;

/// Follows the frames of one connection.
pub(crate) struct Meter {
    allowed: Allowed,
    second: u64,
    resets: u32,
    control: u32,
    /// Control frames that do not count, for what the client was sent.
    earned: u32,
    first_resets: u32,
    continuations: usize,
    /// Whether any stream has been answered.
    answered: bool,
    /// The last stream that was opened.
    last: u32,
    /// Requests whose end did not come.
    bodies: Bodies,
    /// Small DATA frames, since the last look.
    small: u32,
    /// Streams whose request is answered with 400: a `#` in its path, or a scheme that the gateway does not speak.
    refused: Vec<u32>,
    flood: Option<Flood>,
}

impl Meter {
    pub(crate) const fn new(allowed: Allowed) -> Self {
        Meter {
            allowed,
            second: 0,
            resets: 0,
            control: 0,
            earned: 0,
            first_resets: 0,
            continuations: 0,
            answered: false,
            last: 0,
            bodies: Bodies::new(),
            small: 0,
            refused: Vec::new(),
            flood: None,
        }
    }

    /// Streams that came with what is refused, since the last look.
    pub(super) fn take_refused(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.refused)
    }

    /// DATA frames that are small, since the last look.
    pub(super) const fn take_small(&mut self) -> u32 {
        std::mem::replace(&mut self.small, 0)
    }

    /// What the client did too much of.
    pub(super) const fn flood(&self) -> Option<Flood> {
        self.flood
    }

    /// HEADERS and DATA frames that the client was sent.
    pub(crate) fn sent(&mut self, frames: u32) {
        self.earned = frames.saturating_mul(EARNED).saturating_add(self.earned).min(EARNED_MAX);
    }

    /// Frames come at that time; `answered`: whether any stream has been.
    pub(super) const fn tick(&mut self, now_ms: u64, answered: bool) {
        self.answered = answered;
        if now_ms / 1_000 != self.second {
            (self.second, self.resets, self.control) = (now_ms / 1_000, 0, 0);
        }
    }

    const fn control(&mut self) {
        match self.earned.checked_sub(1) {
            Some(left) => self.earned = left,
            None => self.control += 1,
        }
    }

    fn judge(&self) -> Option<Flood> {
        if self.continuations > CONTINUATIONS {
            return Some(Flood::Continuations);
        }
        if self.resets > self.allowed.resets_per_second || (!self.answered && self.first_resets > FIRST_RESETS) {
            return Some(Flood::Resets);
        }
        (self.control > self.allowed.control_per_second).then_some(Flood::Control)
    }
}

impl Rules for Meter {
    fn frame(&mut self, frame: Frame) -> bool {
        self.continuations = if frame.kind == 0x9 { self.continuations + 1 } else { 0 };
        self.bodies.frame(frame);
        match frame.kind {
            RST_STREAM => {
                self.resets += 1;
                self.first_resets += u32::from(!self.answered);
            }
            0x2 | 0x4 | 0x6 | 0x8 => self.control(),
            DATA if frame.is_empty_data() => self.control(),
            DATA => self.small += u32::from(frame.length < SMALL),
            _ => {}
        }
        self.flood = self.flood.or_else(|| self.judge());
        // `h2` counts empty DATA as long as a connection lives, and ends it at a hundred. On a stream that
        // nobody opened it is an error.
        !(frame.is_empty_data() && frame.stream <= self.last && frame.stream > 0)
    }

    fn head(&mut self, frame: Frame, fields: Marks) -> bool {
        let is_request = frame.stream > self.last;
        self.last = self.last.max(frame.stream);
        let is_malformed = fields.has(Marks::BAD)
            || match is_request {
                // Section 8.3.1: whatever has a scheme has a path.
                true => fields.has(Marks::SCHEME) && !fields.has(Marks::PATH),
                // Section 8.1: trailers have no pseudo-header fields. A head of a stream that is over is an error
                // of another kind, which `h2` knows (section 5.1).
                false => self.bodies.has(frame.stream) && fields.has(Marks::PSEUDO),
            };
        match is_request {
            true => self.bodies.begin(frame, false),
            false => self.bodies.end(frame),
        }
        // What makes us reset a stream costs what a reset of the client's own does.
        self.resets += u32::from(is_malformed);
        if is_request && !is_malformed && (fields.has(Marks::FRAGMENT) || fields.has(Marks::FOREIGN)) {
            self.refused.push(frame.stream);
        }
        self.flood = self.flood.or_else(|| self.judge());
        is_malformed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http2::sieve::{HEADERS, Sieve};
    use tokio::io::ReadBuf;

    const ALLOWED: Allowed = Allowed { resets_per_second: 100, control_per_second: 200 };
    const HEADER: usize = 9;

    /// A sieve behind its preface that has seen a stream, and what goes on of bytes that come in pieces of `step`.
    struct Inlet(Sieve<Meter>);

    impl Inlet {
        fn new() -> Inlet {
            let mut inlet = Inlet(Sieve::new(Meter::new(ALLOWED), 0));
            inlet.0.rules.last = 1;
            inlet
        }

        fn take(&mut self, bytes: &[u8], step: usize) -> Vec<u8> {
            let mut out = Vec::new();
            for piece in bytes.chunks(step) {
                let mut room = vec![0; 4_096];
                let mut read = ReadBuf::new(&mut room);
                read.put_slice(piece);
                self.0.pass(&mut read, 0);
                out.extend_from_slice(read.filled());
                loop {
                    read.clear();
                    if !self.0.give(&mut read) {
                        break;
                    }
                    out.extend_from_slice(read.filled());
                }
            }
            out
        }
    }

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![0, (payload >> 8) as u8, payload as u8, kind, flags, 0, 0, 0, 1];
        frame.resize(HEADER + payload, 0);
        frame
    }

    /// How the meter judges `count` frames, cut in pieces of `step` bytes.
    fn judge(frames: &[u8], count: usize, step: usize, answered: bool) -> Option<Flood> {
        let mut inlet = Inlet::new();
        inlet.0.rules.tick(5, answered);
        inlet.take(&frames.repeat(count), step);
        inlet.0.rules.flood()
    }

    #[test]
    fn floods_are_told_apart_however_the_bytes_are_cut() {
        for step in [1, 7, 4_096] {
            assert_eq!(judge(&frame(3, 0, 4), 50, step, false), None);
            assert_eq!(judge(&frame(3, 0, 4), 51, step, false), Some(Flood::Resets));
            assert_eq!(judge(&frame(3, 0, 4), 100, step, true), None);
            assert_eq!(judge(&frame(3, 0, 4), 101, step, true), Some(Flood::Resets));
            for kind in [2, 4, 6, 8] {
                assert_eq!(judge(&frame(kind, 0, 8), 200, step, true), None, "{kind}");
                assert_eq!(judge(&frame(kind, 0, 8), 201, step, true), Some(Flood::Control), "{kind}");
            }
            assert_eq!(judge(&frame(0, 0, 0), 200, step, true), None);
            assert_eq!(judge(&frame(0, 0, 0), 201, step, true), Some(Flood::Control));
            assert_eq!(judge(&frame(0, 0, 500), 1_000, step, true), None, "data with something in it");
            assert_eq!(judge(&frame(9, 0, 1), 20, step, true), None);
            assert_eq!(judge(&frame(9, 0, 1), 21, step, true), Some(Flood::Continuations));
            let head = |parts: usize| [frame(1, 0, 1), frame(9, 0, 1).repeat(parts)].concat();
            assert_eq!(judge(&head(20), 1, step, true), None);
            assert_eq!(judge(&[head(21), frame(6, 0, 8)].concat(), 1, step, true), Some(Flood::Continuations));
        }
    }

    #[test]
    fn what_a_client_is_sent_earns_it_control_frames() {
        let mut inlet = Inlet::new();
        inlet.0.rules.tick(5, true);
        for _ in 0..5_000 {
            inlet.0.rules.sent(1);
            inlet.take(&frame(8, 0, 4).repeat(10), 4_096);
        }
        assert_eq!(inlet.0.rules.flood(), None);
        inlet.0.rules.sent(u32::MAX);
        let flood = (0..20_000).position(|_| {
            inlet.take(&frame(6, 0, 8), 4_096);
            inlet.0.rules.flood().is_some()
        });
        assert_eq!(flood, Some((EARNED_MAX + ALLOWED.control_per_second) as usize), "earned without end");
    }

    #[test]
    fn a_new_second_begins_at_nothing() {
        let mut inlet = Inlet::new();
        for second in 0..10 {
            inlet.0.rules.tick(second * 1_000, true);
            inlet.take(&frame(6, 0, 8).repeat(200), 4_096);
            assert_eq!(inlet.0.rules.flood(), None);
        }
    }

    #[test]
    fn what_is_refused_is_told_with_its_stream_however_the_head_is_cut() {
        // GET, http, a literal path: "/#".
        let head = [0x82, 0x86, 0x04, 2, b'/', b'#'];
        let frame = |kind: u8, flags: u8, payload: &[u8]| {
            let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 7];
            frame.extend_from_slice(payload);
            frame
        };
        let padded = [&[2, 0, 0, 0, 0, 9][..], &head, &[0, 0]].concat();
        let whole = frame(1, 0x5, &head);
        let forms = [
            (whole.clone(), whole.clone()),
            (frame(1, 0x2d, &padded), frame(1, 0x2d, &padded)),
            ([frame(1, 0x1, &head[..3]), frame(9, 0, b""), frame(9, 0x4, &head[3..])].concat(), whole.clone()),
            ([frame(1, 0x1, b""), frame(9, 0x4, &head)].concat(), whole),
        ];
        for (form, goes_on) in forms {
            for step in [1, 4, 4_096] {
                let data = frame(0, 1, b"a#b");
                let mut inlet = Inlet::new();
                assert_eq!(inlet.take(&[&form[..], &data].concat(), step), [goes_on.clone(), data].concat());
                assert_eq!(inlet.0.rules.take_refused(), [7], "{form:?} by {step}");
            }
        }
    }

    #[test]
    fn what_a_request_may_be_trailers_may_not() {
        let head = |stream: u8, block: &[u8]| {
            let mut frame = vec![0, 0, block.len() as u8, HEADERS, 4, 0, 0, 0, stream];
            frame.extend_from_slice(block);
            frame
        };
        let forbidden = b"\0\x0aconnection\x01x";
        // GET, http, "/", then trailers: an ordinary field, a path, a status.
        let frames: [(u8, &[u8], bool); 8] = [
            (3, &[0x82, 0x86, 0x84], true),
            (3, &[0x58, 1, b'a'], true),
            (3, &[0x84], false),
            (5, &[0x82, 0x86], false),
            (7, &[0x82, 0x06, 3, b'f', b't', b'p', 0x84], true),
            (9, &[0x82, 0x86, 0x84], true),
            (7, &[0x88], false),
            (11, &[0x82, 0x86, 0x84, 0, 1, b'X', 1, b'x'], false),
        ];
        for step in [1, 5, 4_096] {
            let mut inlet = Inlet::new();
            for (stream, block, goes_on) in frames {
                let out = inlet.take(&head(stream, block), step);
                let expected = match goes_on {
                    true => head(stream, block),
                    false => head(stream, &[block, forbidden].concat().to_ascii_lowercase()),
                };
                let lower = |bytes: Vec<u8>| bytes.to_ascii_lowercase();
                assert_eq!(lower(out), lower(expected), "{stream} by {step}");
            }
            assert_eq!(inlet.0.rules.take_refused(), [7]);
            assert_eq!(inlet.0.rules.resets, 4, "they count as resets");
        }
    }

    #[test]
    fn empty_data_does_not_go_on_but_where_it_is_an_error() {
        for step in [1, 3, 4_096] {
            let mut inlet = Inlet::new();
            let (empty, last, data) = (frame(0, 0, 0), frame(0, 1, 0), frame(0, 0, 3));
            let bytes = [&empty[..], &data, &empty, &empty, &data, &last].concat();
            assert_eq!(inlet.take(&bytes, step), [&data[..], &data, &last].concat());
            let idle = [0, 0, 0, 0, 0, 0, 0, 0, 9];
            assert_eq!(inlet.take(&idle, step), idle);
        }
    }
}
