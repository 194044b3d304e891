//! Admission: how many connections there may be, in total and per source. Asked
//! right after `accept`, before a byte is read; shared by all workers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Why a connection was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// `limits.maxConnections` is reached.
    Total,
    /// `limits.maxConnectionsPerSource` is reached for this address.
    Source,
    /// `limits.maxConnectsPerSourcePerS` is reached for this address.
    Pace,
}

impl Refusal {
    /// The `outcome` label of the metric.
    pub const fn label(self) -> &'static str {
        match self {
            Refusal::Total => "refused-total",
            Refusal::Source => "refused-source",
            Refusal::Pace => "refused-pace",
        }
    }
}

/// Counts connections. A lock is taken per connection, never per message, and only
/// while a per-source limit is set.
#[derive(Debug, Default)]
pub struct Admission {
    open: AtomicUsize,
    max_open: AtomicUsize,
    max_per_source: AtomicUsize,
    max_per_second: AtomicUsize,
    sources: Mutex<Sources>,
}

/// What is known of a source; an IPv6 one is its network of 64 bits.
#[derive(Debug, Default)]
struct Source {
    open: usize,
    /// When its tokens are all there again, microseconds (GCRA).
    full_at: u64,
}

#[derive(Debug, Default)]
struct Sources {
    known: HashMap<Origin, Source>,
    /// No source without a connection and with all its tokens is to be found before.
    sweep_at: u64,
}

/// Limits of one source; 0: none.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    open: usize,
    per_second: usize,
}

const SECOND: u64 = 1_000_000;

/// Where somebody comes from, in eight bytes, of which there are as many as connections. Whoever has one address of
/// IPv6 has a network of them, by 64 bits; an address of IPv4 stands where no network is from which anybody connects.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Origin(u64);

impl Origin {
    /// Of who is not counted.
    const NONE: Origin = Origin(u64::MAX);
    /// The beginning of multicast addresses.
    const V4: u64 = 0xffff_ffff << 32;

    fn of(address: IpAddr) -> Origin {
        Origin(match address.to_canonical() {
            IpAddr::V6(v6) => (u128::from(v6) >> 64) as u64,
            IpAddr::V4(v4) => Origin::V4 | u64::from(u32::from(v4)),
        })
    }
}

impl Admission {
    /// Sets the limits: open ones in total and per source, new ones of a source in a
    /// second; 0 means none. Open connections stay.
    pub fn limit(&self, max_open: usize, (max_per_source, max_per_second): (usize, usize)) {
        self.max_open.store(max_open, Ordering::Relaxed);
        self.max_per_source.store(max_per_source, Ordering::Relaxed);
        self.max_per_second.store(max_per_second, Ordering::Relaxed);
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Admits one connection for as long as the permit lives; `now` in microseconds.
    ///
    /// # Errors
    /// Which limit is reached.
    pub fn admit(self: &Arc<Self>, source: IpAddr, now: u64) -> Result<Permit, Refusal> {
        let max_open = self.max_open.load(Ordering::Relaxed);
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        if max_open > 0 && open >= max_open {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::Total);
        }
        let (open, per_second) =
            (self.max_per_source.load(Ordering::Relaxed), self.max_per_second.load(Ordering::Relaxed));
        if open == 0 && per_second == 0 {
            return Ok(Permit { admission: Arc::clone(self), source: Origin::NONE });
        }
        let source = Origin::of(source);
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(refusal) = sources.count(source, Bounds { open, per_second }, now) {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(refusal);
        }
        Ok(Permit { admission: Arc::clone(self), source })
    }

    fn forget(&self, source: Origin) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = sources.known.get_mut(&source) {
            known.open -= 1;
            // One that owes tokens is forgotten when it has them again.
            if known.open == 0 && known.full_at == 0 {
                sources.known.remove(&source);
            }
        }
    }
}

impl Sources {
    fn count(&mut self, source: Origin, bounds: Bounds, now: u64) -> Result<(), Refusal> {
        if now >= self.sweep_at {
            self.sweep_at = now + SECOND;
            self.known.retain(|_, source| source.open > 0 || source.full_at > now);
        }
        let known = self.known.entry(source).or_default();
        if bounds.open > 0 && known.open >= bounds.open {
            return Err(Refusal::Source);
        }
        if bounds.per_second > 0 {
            let full_at = known.full_at.max(now) + SECOND / bounds.per_second as u64;
            if full_at > now + SECOND {
                return Err(Refusal::Pace);
            }
            known.full_at = full_at;
        }
        known.open += 1;
        Ok(())
    }
}

/// One admitted connection; dropping it gives its place back.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    source: Origin,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Ordering::Relaxed);
        if self.source != Origin::NONE {
            self.admission.forget(self.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_total_and_per_source_and_gives_places_back() {
        let admission = Arc::new(Admission::default());
        admission.limit(3, (2, 0));
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = admission.admit(a, 0).expect("room");
        let _second = admission.admit(a, 0).expect("room");
        assert_eq!(admission.admit(a, 0).map(|_| ()), Err(Refusal::Source));
        let _third = admission.admit(b, 0).expect("room");
        assert_eq!(admission.admit(b, 0).map(|_| ()), Err(Refusal::Total));
        drop(first);
        assert_eq!(admission.open(), 2);
        assert!(admission.admit(a, 0).is_ok());
    }

    #[test]
    fn a_source_has_its_tokens_again_after_a_second_and_others_are_not_concerned() {
        let admission = Arc::new(Admission::default());
        admission.limit(0, (0, 4));
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let at = |source, now: u64| admission.admit(source, now).map(drop).err();
        for _ in 0..4 {
            assert_eq!(at(a, 1_000), None);
        }
        assert_eq!((at(a, 1_000), at(b, 1_000)), (Some(Refusal::Pace), None));
        assert_eq!((at(a, 251_000), at(a, 251_000)), (None, Some(Refusal::Pace)), "one token came back");
        assert_eq!(at(b, 10 * SECOND), None);
        assert_eq!(admission.sources.lock().expect("not poisoned").known.len(), 1, "what owes nothing is forgotten");
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let admission = Arc::new(Admission::default());
        admission.limit(0, (1, 0));
        let one = admission.admit("2001:db8::1".parse().expect("an address"), 0);
        let other = admission.admit("2001:db8::ffff:2".parse().expect("an address"), 0);
        assert!(one.is_ok() && other.is_err());
        assert!(admission.admit("2001:db8:0:1::1".parse().expect("an address"), 0).is_ok());
    }
}
