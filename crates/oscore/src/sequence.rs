//! Our own sequence numbers: taken from ranges that were reserved where they survive, so
//! that none is used twice whatever becomes of the process (RFC 8613 appendix B.1.1).

use crate::Fingerprint;
use std::ops::Range;

/// Numbers of one reservation.
const RANGE: u64 = 256;
/// What fits a Partial IV.
const NUMBER_MAX: u64 = (1 << 40) - 1;

/// Where reservations survive.
pub trait Ledger: Send + Sync {
    /// Reserves the next `count` numbers of a context; `None`: it cannot be kept.
    fn reserve(&self, context: &Fingerprint, count: u64) -> Option<Range<u64>>;

    /// Whether numbers of a context were ever reserved.
    fn is_known(&self, context: &Fingerprint) -> bool;
}

/// The numbers that one holder of a context may use.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    reserved: Range<u64>,
}

impl Sequence {
    /// Makes sure that a start after this one knows that the context was in use, whether a
    /// number of ours is ever needed or not: what its peer has sent by then is not new. `false`:
    /// it cannot be kept.
    pub(crate) fn begin(&mut self, context: &Fingerprint, ledger: &dyn Ledger) -> bool {
        if self.reserved.end == 0 {
            self.reserved = ledger.reserve(context, RANGE).unwrap_or_default();
        }
        self.reserved.end > 0
    }

    /// The next number. `None`: the ledger does not write, or the context is used up.
    pub(crate) fn next(&mut self, context: &Fingerprint, ledger: &dyn Ledger) -> Option<u64> {
        if self.reserved.is_empty() {
            self.reserved = ledger.reserve(context, RANGE)?;
        }
        self.reserved.next().filter(|number| *number <= NUMBER_MAX)
    }
}
