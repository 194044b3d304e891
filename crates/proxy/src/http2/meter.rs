//! Counts frames that cost us work and bring the client nothing, from their headers
//! alone (RFC 9113 section 10.5). `h2` answers these frames before anybody is asked.
//! A client that reads what it is sent opens windows and measures its path by PINGs, so
//! that our own frames earn it some: a download is no flood, however fast.

use super::hpack::{HeadWatch, Marks};

/// Bytes of the client's connection preface.
const PREFACE: usize = 24;
const HEADER: usize = 9;

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
/// CONTINUATION frames of one head.
const CONTINUATIONS: u32 = 20;
/// Control frames that a frame of ours earns, as Envoy allows WINDOW_UPDATEs for each DATA frame.
const EARNED: u32 = 10;
/// Most that is kept of what was earned.
const EARNED_MAX: u32 = 10_000;

const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// Flaws that are told of at once; more are a bad joke.
pub(super) const FLAWS_MAX: usize = 1_024;
/// A DATA frame below that is dearer to keep than what it brings; `h2` reckons so.
const SMALL: usize = 256;

/// What is wrong with a head that `h2` lets pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flaw {
    /// A request that is answered with 400: a `#` in its path, or a scheme that the gateway does not speak.
    Refused,
    /// A request without `:path` (RFC 9113 section 8.3.1).
    Malformed,
    /// Trailers with a pseudo-header field (section 8.1).
    Trailers,
}

impl Flaw {
    fn of_request(marks: Marks) -> Option<Flaw> {
        if marks.has(Marks::SCHEME) && !marks.has(Marks::PATH) {
            return Some(Flaw::Malformed);
        }
        (marks.has(Marks::FRAGMENT) || marks.has(Marks::FOREIGN)).then_some(Flaw::Refused)
    }
}

/// The field block in the payload of a HEADERS frame (RFC 9113 section 6.2); what is broken is `h2`'s to refuse.
fn fragment_of(payload: &[u8], flags: u8) -> &[u8] {
    let (padding, rest) = match payload.split_first() {
        Some((length, rest)) if flags & PADDED != 0 => (usize::from(*length), rest),
        _ => (0, payload),
    };
    let rest = if flags & PRIORITY != 0 { rest.get(5..).unwrap_or_default() } else { rest };
    &rest[..rest.len().saturating_sub(padding)]
}

/// Follows the frames of one connection.
pub(crate) struct Meter {
    allowed: Allowed,
    /// Bytes to pass over: the preface, then payloads.
    skip: usize,
    header: [u8; HEADER],
    have: usize,
    second: u64,
    resets: u32,
    control: u32,
    /// Control frames that do not count, for what the client was sent.
    earned: u32,
    first_resets: u32,
    continuations: u32,
    watch: HeadWatch,
    /// The last stream that was opened: heads of it and of those before are trailers.
    last: u32,
    /// Small DATA frames, since the last look.
    small: u32,
    /// The payload that is passed over belongs to a head, and is kept in `block`.
    is_head: bool,
    block: Vec<u8>,
    /// Streams with a flaw in a head.
    flaws: Vec<(u32, Flaw)>,
}

impl Meter {
    pub(crate) const fn new(allowed: Allowed) -> Self {
        Meter {
            allowed,
            skip: PREFACE,
            header: [0; HEADER],
            have: 0,
            second: 0,
            resets: 0,
            control: 0,
            earned: 0,
            first_resets: 0,
            continuations: 0,
            watch: HeadWatch::new(),
            last: 0,
            small: 0,
            is_head: false,
            block: Vec::new(),
            flaws: Vec::new(),
        }
    }

    /// Streams with a flaw in a head, since the last look.
    pub(super) fn take_flaws(&mut self) -> Vec<(u32, Flaw)> {
        std::mem::take(&mut self.flaws)
    }

    /// DATA frames that are small, since the last look.
    pub(super) const fn take_small(&mut self) -> u32 {
        std::mem::replace(&mut self.small, 0)
    }

    /// HEADERS and DATA frames that the client was sent.
    pub(crate) fn sent(&mut self, frames: u32) {
        self.earned = frames.saturating_mul(EARNED).saturating_add(self.earned).min(EARNED_MAX);
    }

    /// Takes bytes as they came; `answered`: whether any stream has been.
    pub(crate) fn take(&mut self, mut bytes: &[u8], (now_ms, answered): (u64, bool)) -> Option<Flood> {
        if now_ms / 1_000 != self.second {
            (self.second, self.resets, self.control) = (now_ms / 1_000, 0, 0);
        }
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            if self.is_head {
                self.block.extend_from_slice(&bytes[..skipped]);
                self.head_ends();
            }
            bytes = &bytes[skipped..];
            let taken = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEADER {
                self.have = 0;
                if let Some(flood) = self.frame(answered) {
                    return Some(flood);
                }
                self.look_at_head(bytes);
            }
        }
        None
    }

    /// A frame's header was read: a head that is here whole is followed where it stands.
    fn look_at_head(&mut self, bytes: &[u8]) {
        let [.., kind, flags, _, _, _, _] = self.header;
        self.is_head = matches!(kind, HEADERS | CONTINUATION);
        if kind == HEADERS {
            self.block.clear();
        }
        if kind == HEADERS && flags & END_HEADERS != 0 && bytes.len() >= self.skip {
            self.is_head = false;
            self.follow(fragment_of(&bytes[..self.skip], flags));
        } else if self.is_head {
            self.head_ends();
        }
    }

    /// More of a head was kept; its end is followed.
    fn head_ends(&mut self) {
        if self.skip > 0 {
            return;
        }
        self.is_head = false;
        let [.., kind, flags, _, _, _, _] = self.header;
        if kind == HEADERS {
            self.block = fragment_of(&self.block, flags).to_vec();
        }
        if flags & END_HEADERS != 0 {
            let block = std::mem::take(&mut self.block);
            self.follow(&block);
        }
    }

    fn follow(&mut self, block: &[u8]) {
        let [.., a, b, c, d] = self.header;
        let stream = u32::from_be_bytes([a & 0x7f, b, c, d]);
        let marks = self.watch.block(block);
        let flaw = match stream > self.last {
            true => Flaw::of_request(marks),
            false => marks.has(Marks::PSEUDO).then_some(Flaw::Trailers),
        };
        self.last = self.last.max(stream);
        if let Some(flaw) = flaw.filter(|_| self.flaws.len() < FLAWS_MAX) {
            // What makes us reset a stream costs what a reset of the client's own does.
            self.resets += u32::from(flaw != Flaw::Refused);
            self.flaws.push((stream, flaw));
        }
    }

    fn frame(&mut self, answered: bool) -> Option<Flood> {
        let [high, middle, low, kind, flags, ..] = self.header;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.skip = length;
        self.continuations = if kind == 0x9 { self.continuations + 1 } else { 0 };
        let ends_stream = flags & 0x1 != 0;
        match kind {
            0x3 => {
                self.resets += 1;
                self.first_resets += u32::from(!answered);
            }
            0x2 | 0x4 | 0x6 | 0x8 => self.control(),
            0x0 if length == 0 && !ends_stream => self.control(),
            0x0 => self.small += u32::from(length < SMALL),
            _ => {}
        }
        if self.continuations > CONTINUATIONS {
            return Some(Flood::Continuations);
        }
        if self.resets > self.allowed.resets_per_second || (!answered && self.first_resets > FIRST_RESETS) {
            return Some(Flood::Resets);
        }
        (self.control > self.allowed.control_per_second).then_some(Flood::Control)
    }

    fn control(&mut self) {
        match self.earned.checked_sub(1) {
            Some(left) => self.earned = left,
            None => self.control += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: Allowed = Allowed { resets_per_second: 100, control_per_second: 200 };

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![0, (payload >> 8) as u8, payload as u8, kind, flags, 0, 0, 0, 1];
        frame.resize(HEADER + payload, 0);
        frame
    }

    /// How the meter judges `count` frames behind the preface, cut in pieces of `step` bytes.
    fn judge(frames: &[u8], count: usize, step: usize, answered: bool) -> Option<Flood> {
        let mut bytes = vec![b'P'; PREFACE];
        (0..count).for_each(|_| bytes.extend_from_slice(frames));
        let mut meter = Meter::new(ALLOWED);
        bytes.chunks(step).find_map(|piece| meter.take(piece, (5, answered)))
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
            assert_eq!(judge(&frame(0, 0, 0), 201, step, true), Some(Flood::Control));
            assert_eq!(judge(&frame(0, 0, 500), 1_000, step, true), None, "data with something in it");
            assert_eq!(judge(&frame(9, 0, 1), 20, step, true), None);
            assert_eq!(judge(&frame(9, 0, 1), 21, step, true), Some(Flood::Continuations));
        }
    }

    #[test]
    fn what_a_client_is_sent_earns_it_control_frames() {
        let mut meter = Meter::new(ALLOWED);
        meter.take(&[b'P'; PREFACE], (0, true));
        for _ in 0..5_000 {
            meter.sent(1);
            (0..10).for_each(|_| assert_eq!(meter.take(&frame(8, 0, 4), (5, true)), None));
        }
        meter.sent(u32::MAX);
        let flood = (0..20_000).position(|_| meter.take(&frame(6, 0, 8), (5, true)).is_some());
        assert_eq!(flood, Some((EARNED_MAX + ALLOWED.control_per_second) as usize), "earned without end");
    }

    #[test]
    fn a_new_second_begins_at_nothing() {
        let mut meter = Meter::new(ALLOWED);
        meter.take(&[b'P'; PREFACE], (0, true));
        for second in 0..10 {
            for _ in 0..200 {
                assert_eq!(meter.take(&frame(6, 0, 8), (second * 1_000, true)), None);
            }
        }
    }

    #[test]
    fn a_flaw_is_told_with_its_stream_however_the_head_is_cut() {
        // GET, http, a literal path: "/#".
        let head = [0x82, 0x86, 0x04, 2, b'/', b'#'];
        let frame = |kind: u8, flags: u8, payload: &[u8]| {
            let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 7];
            frame.extend_from_slice(payload);
            frame
        };
        let padded = [&[2, 0, 0, 0, 0, 9][..], &head, &[0, 0]].concat();
        let forms = [
            frame(1, 0x5, &head),
            frame(1, 0x2d, &padded),
            [frame(1, 0x1, &head[..3]), frame(9, 0, b""), frame(9, 0x4, &head[3..])].concat(),
            [frame(1, 0x1, b""), frame(9, 0x4, &head)].concat(),
        ];
        for form in forms {
            for step in [1, 4, 4_096] {
                let bytes = [&[b'P'; PREFACE][..], &form, &frame(0, 1, b"a#b")].concat();
                let mut meter = Meter::new(ALLOWED);
                bytes.chunks(step).for_each(|piece| assert_eq!(meter.take(piece, (5, true)), None));
                assert_eq!(meter.take_flaws(), [(7, Flaw::Refused)], "{form:?} by {step}");
            }
        }
    }

    #[test]
    fn what_a_request_may_be_trailers_may_not() {
        let head = |stream: u8, block: &[u8]| {
            let mut frame = vec![0, 0, block.len() as u8, HEADERS, END_HEADERS, 0, 0, 0, stream];
            frame.extend_from_slice(block);
            frame
        };
        let mut meter = Meter::new(ALLOWED);
        meter.take(&[b'P'; PREFACE], (0, true));
        // GET, http, "/", then trailers: an ordinary field, a path, a status.
        let frames = [
            head(1, &[0x82, 0x86, 0x84]),
            head(1, &[0x58, 1, b'a']),
            head(1, &[0x84]),
            head(3, &[0x82, 0x86]),
            head(5, &[0x82, 0x06, 3, b'f', b't', b'p', 0x84]),
            head(7, &[0x82, 0x86, 0x84]),
            head(5, &[0x88]),
        ];
        frames.iter().for_each(|frame| assert_eq!(meter.take(frame, (0, true)), None));
        let flaws = [(1, Flaw::Trailers), (3, Flaw::Malformed), (5, Flaw::Refused), (5, Flaw::Trailers)];
        assert_eq!(meter.take_flaws(), flaws);
        assert_eq!(meter.resets, 3, "they count as resets");
    }
}
