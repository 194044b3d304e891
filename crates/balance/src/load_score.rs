//! `loadScore`: by the load that endpoints report. The control plane turns reports
//! into health, `(threshold - load) / threshold` and never below 0, so that what is
//! left to do here is to take endpoints by weight times health.

use crate::{EndpointIndex, Endpoints, PickRequest, Picker, Weighted};

/// Takes endpoints by reported load.
#[derive(Debug)]
pub struct LoadScore {
    weighted: Weighted,
}

impl LoadScore {
    /// The seed makes workers differ.
    pub const fn new(seed: u64) -> Self {
        LoadScore { weighted: Weighted::new(0, seed) }
    }
}

impl Picker for LoadScore {
    fn pick(&mut self, request: &PickRequest<'_>, endpoints: &Endpoints) -> Option<EndpointIndex> {
        self.weighted.pick(request, endpoints)
    }
}
