//! Counts what costs us work and brings the client nothing (RFC 9113 section 10.5). A client that
//! reads what it is sent opens windows and measures its path by PINGs, so that our own frames
//! earn it some: a download is no flood, however fast.

/// What a client did too much of. The name is the reason in the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flood {
    /// Resets of its own streams (CVE-2023-44487), and such as we were made to send.
    Resets,
    /// PING, SETTINGS, PRIORITY, WINDOW_UPDATE, unknown frames, DATA that brings nothing.
    Control,
    /// A head in ever more CONTINUATION frames (CVE-2024-27316).
    Continuations,
}

impl Flood {
    /// As metrics name it.
    pub const fn label(self) -> &'static str {
        match self {
            Flood::Resets => "rapid-reset",
            Flood::Control => "control-flood",
            Flood::Continuations => "continuation-flood",
        }
    }
}

/// How much is too much.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// Streams that the client takes back, or makes us reset.
    pub resets_per_second: u32,
    /// See [`Flood::Control`].
    pub control_per_second: u32,
}

/// Resets before anything was answered.
const FIRST_RESETS: u32 = 50;
/// Control frames that a frame of ours earns, as Envoy allows WINDOW_UPDATEs for each DATA frame.
const EARNED: u32 = 10;
/// Most that is kept of what was earned.
const EARNED_MAX: u32 = 10_000;

/// See the module.
pub(crate) struct Meter {
    allowed: Allowed,
    second: u64,
    resets: u32,
    control: u32,
    /// Control frames that do not count, for what the client was sent.
    earned: u32,
    first_resets: u32,
    /// Whether any stream has been answered.
    is_answered: bool,
}

impl Meter {
    pub(crate) const fn new(allowed: Allowed) -> Self {
        Meter { allowed, second: 0, resets: 0, control: 0, earned: 0, first_resets: 0, is_answered: false }
    }

    /// Frames come at that time.
    pub(crate) const fn tick(&mut self, now_ms: u64) {
        if now_ms / 1_000 != self.second {
            (self.second, self.resets, self.control) = (now_ms / 1_000, 0, 0);
        }
    }

    /// The client was sent so many HEADERS and DATA frames.
    pub(crate) fn sent(&mut self, frames: u32) {
        self.is_answered = true;
        self.earned = frames.saturating_mul(EARNED).saturating_add(self.earned).min(EARNED_MAX);
    }

    /// A stream was taken back.
    pub(crate) const fn reset(&mut self) -> Option<Flood> {
        self.first_resets += !self.is_answered as u32;
        if !self.is_answered && self.first_resets > FIRST_RESETS {
            return Some(Flood::Resets);
        }
        self.forced_reset()
    }

    /// We had to reset a stream.
    pub(crate) const fn forced_reset(&mut self) -> Option<Flood> {
        self.resets += 1;
        if self.resets > self.allowed.resets_per_second { Some(Flood::Resets) } else { None }
    }

    /// A frame came that brings nothing.
    pub(crate) const fn control(&mut self) -> Option<Flood> {
        match self.earned.checked_sub(1) {
            Some(left) => self.earned = left,
            None => self.control += 1,
        }
        if self.control > self.allowed.control_per_second { Some(Flood::Control) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: Allowed = Allowed { resets_per_second: 100, control_per_second: 200 };

    #[test]
    fn resets_are_bounded_by_the_second_and_before_any_answer() {
        let mut meter = Meter::new(ALLOWED);
        for second in 0..5 {
            meter.tick(second * 1_000);
            assert!((0..10).all(|_| meter.reset().is_none()));
        }
        meter.tick(9_000);
        assert_eq!(meter.reset(), Some(Flood::Resets), "the 51st, and nothing was answered");
        meter.sent(1);
        assert!((1..100).all(|_| meter.reset().is_none()) && meter.forced_reset().is_none());
        assert_eq!(meter.forced_reset(), Some(Flood::Resets));
        meter.tick(10_000);
        assert_eq!(meter.reset(), None);
    }

    #[test]
    fn what_a_client_was_sent_earns_it_control_frames() {
        let mut meter = Meter::new(ALLOWED);
        assert!((0..200).all(|_| meter.control().is_none()));
        assert_eq!(meter.control(), Some(Flood::Control));
        let mut meter = Meter::new(ALLOWED);
        meter.sent(5);
        assert!((0..250).all(|_| meter.control().is_none()));
        assert_eq!(meter.control(), Some(Flood::Control));
        let mut meter = Meter::new(ALLOWED);
        meter.sent(u32::MAX);
        assert!((0..EARNED_MAX + 200).all(|_| meter.control().is_none()));
        assert_eq!(meter.control(), Some(Flood::Control), "not without end");
    }
}
