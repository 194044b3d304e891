//! `roundRobin`: in order over the healthy endpoints. Weights are not looked at.

use crate::roster::Roster;
use crate::{EndpointIndex, Endpoints, PickRequest, Picker};

/// Takes the endpoints in turns.
#[derive(Debug)]
pub struct RoundRobin {
    roster: Roster,
    cursor: u32,
}

impl RoundRobin {
    /// Starts at a place that the seed determines, so that workers do not all begin
    /// with the first endpoint.
    pub fn new(seed: u64) -> Self {
        RoundRobin { roster: Roster::EMPTY, cursor: (seed >> 32) as u32 ^ seed as u32 }
    }
}

impl Picker for RoundRobin {
    fn pick(&mut self, request: &PickRequest<'_>, endpoints: &Endpoints) -> Option<EndpointIndex> {
        self.roster.refresh(endpoints, request.side);
        let len = self.roster.len();
        if len == 0 {
            return None;
        }
        self.cursor %= len;
        let place = self.roster.untried_from(self.cursor, request)?;
        self.cursor = place + 1;
        Some(self.roster.members[place as usize].index)
    }
}
