//! `BalancePlan` of the plan, and the one place that turns it into a picker.

use serde::Deserialize;

use crate::{
    Chosen, ConsistentHash, IpHash, LeastConnections, LoadScore, PeakEwma, Picker, RoundRobin, Weighted, Zoned,
};

/// A strategy with its options, as TypeScript writes it.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(tag = "strategy", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum BalancePlan {
    /// In turns.
    RoundRobin,
    /// In turns by weight.
    Weighted {
        /// Failures that take an endpoint's whole weight; 0: none do.
        max_fails: u32,
    },
    /// By requests in flight.
    LeastConnections {
        /// How strongly load counts where weights differ.
        bias: f64,
    },
    /// By latency and requests in flight.
    PeakEwma {
        /// How fast a peak is forgotten, milliseconds.
        decay_ms: u64,
        /// What an endpoint without a sample counts as, milliseconds.
        seed_ms: u64,
    },
    /// By a hash of the peer's address.
    IpHash {
        /// Bits of an IPv4 address that count.
        prefix_v4: u8,
        /// Bits of an IPv6 address that count.
        prefix_v6: u8,
    },
    /// By a hash of a key.
    ConsistentHash {
        /// What the key is taken from; whoever picks computes it.
        key: HashKeyPlan,
        /// How keys are laid out.
        algorithm: HashAlgorithm,
        /// Points of the ring, or places of the Maglev table.
        size: u32,
        /// Load over the mean from which the next endpoint is taken; `None`: never.
        bounded_load: Option<f64>,
        /// The cookie of its key is given to who has none.
        #[serde(default)]
        set: Option<CookiePlan>,
    },
    /// As a balancer in TypeScript has picked.
    Chosen {
        /// Where its pick stands: a policy's hash key.
        key: HashKeyPlan,
    },
    /// By the load that endpoints report.
    LoadScore {
        /// Load under which health is 1; used where loads are turned into health.
        threshold: f64,
    },
}

/// A cookie that the gateway sets (RFC 6265).
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CookiePlan {
    /// Its name.
    pub name: String,
    /// What follows its value: `; Path=/; HttpOnly`.
    pub attributes: String,
    /// Whether it is for TLS only; `None`: where it came by TLS.
    pub secure: Option<bool>,
}

/// What the key of a consistent hash is taken from.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct HashKeyPlan {
    /// `clientIp clientId user topic path host route header query cookie hashKey`.
    pub by: String,
    /// For header, query and cookie.
    pub name: Option<String>,
}

/// How a consistent hash lays out its keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HashAlgorithm {
    /// Points on a ring: an endpoint that leaves moves only its own keys.
    Ring,
    /// A table: the most even, a change moves a few keys more.
    Maglev,
}

impl BalancePlan {
    /// A picker for one worker; the seed makes workers differ. With `zoned` the preferred zone is asked first.
    pub fn picker_of(&self, seed: u64, zoned: bool) -> Box<dyn Picker> {
        match zoned {
            true => Box::new(Zoned::new(self.picker(seed), self.picker(seed.rotate_left(32)))),
            false => self.picker(seed),
        }
    }

    /// A picker of all zones alike.
    pub fn picker(&self, seed: u64) -> Box<dyn Picker> {
        match self.clone() {
            BalancePlan::RoundRobin => Box::new(RoundRobin::new(seed)),
            BalancePlan::Weighted { max_fails } => Box::new(Weighted::new(max_fails, seed)),
            BalancePlan::LeastConnections { bias } => Box::new(LeastConnections::new(bias, seed)),
            BalancePlan::PeakEwma { decay_ms, seed_ms } => Box::new(PeakEwma::new(decay_ms, seed_ms, seed)),
            BalancePlan::IpHash { prefix_v4, prefix_v6 } => Box::new(IpHash::new(prefix_v4, prefix_v6, seed)),
            BalancePlan::ConsistentHash { algorithm, size, bounded_load, .. } => {
                Box::new(ConsistentHash::new((algorithm, size), bounded_load, seed))
            }
            BalancePlan::Chosen { .. } => Box::new(Chosen::new(seed)),
            BalancePlan::LoadScore { .. } => Box::new(LoadScore::new(seed)),
        }
    }
}
