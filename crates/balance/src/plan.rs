//! `BalancePlan` of the plan, and the one place that turns it into a picker.

use serde::Deserialize;

use crate::{LeastConnections, Picker, RoundRobin, Weighted};

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
}

impl BalancePlan {
    /// A picker for one worker; the seed makes workers differ.
    pub fn picker(&self, seed: u64) -> Box<dyn Picker> {
        match *self {
            BalancePlan::RoundRobin => Box::new(RoundRobin::new(seed)),
            BalancePlan::Weighted { max_fails } => Box::new(Weighted::new(max_fails, seed)),
            BalancePlan::LeastConnections { bias } => Box::new(LeastConnections::new(bias, seed)),
        }
    }
}
