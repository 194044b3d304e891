//! `leastConnections`: with equal weights the less busy of two random endpoints;
//! else by `weight / (active + 1)^bias`, taken anew at each turn.

use crate::edf::Schedule;
use crate::roster::{Member, Roster};
use crate::{EndpointIndex, Endpoints, PickRequest, Picker, Random, Side};

/// Prefers endpoints with few requests in flight.
#[derive(Debug)]
pub struct LeastConnections {
    roster: Roster,
    even: bool,
    schedule: Schedule,
    bias: f64,
    random: Random,
}

impl LeastConnections {
    /// `bias` says how strongly load counts where weights differ; 1.0 is the usual,
    /// 0.0 looks at weights alone.
    pub fn new(bias: f64, seed: u64) -> Self {
        let bias = if bias.is_finite() { bias.max(0.0) } else { 1.0 };
        LeastConnections {
            roster: Roster::EMPTY,
            even: true,
            schedule: Schedule::EMPTY,
            bias,
            random: Random::new(seed),
        }
    }

    fn refresh(&mut self, endpoints: &Endpoints, side: Side) {
        if !self.roster.refresh(endpoints, side) {
            return;
        }
        self.even = self.roster.is_even();
        let members = if self.even { &[] } else { &self.roster.members[..] };
        self.schedule.rebuild(members.iter().map(|member| member.weight), &mut self.random);
    }

    /// Two random members that were not tried; the one with fewer in flight.
    fn of_two(&mut self, request: &PickRequest<'_>, endpoints: &Endpoints) -> Option<EndpointIndex> {
        let len = self.roster.len();
        if len == 0 {
            return None;
        }
        let first = self.random.below(len);
        let second = (first + 1 + self.random.below(len - 1)) % len;
        let first = self.untried(first, request)?;
        let second = self.untried(second, request)?;
        let active = |index| endpoints.get(index).map_or(u32::MAX, |endpoint| endpoint.active());
        Some(if active(second) < active(first) { second } else { first })
    }

    fn untried(&self, place: u32, request: &PickRequest<'_>) -> Option<EndpointIndex> {
        let place = self.roster.untried_from(place, request)?;
        Some(self.roster.members[place as usize].index)
    }

    fn by_weight(&mut self, request: &PickRequest<'_>, endpoints: &Endpoints) -> Option<EndpointIndex> {
        let index = |place: u32| self.roster.members[place as usize].index;
        if !request.tried.is_empty()
            && let Some(place) = self.schedule.due_among(|place| !request.tried.contains(index(place)))
        {
            return Some(index(place));
        }
        let member = self.roster.members[self.schedule.due()? as usize];
        self.schedule.advance(self.weight(&member, endpoints));
        Some(member.index)
    }

    fn weight(&self, member: &Member, endpoints: &Endpoints) -> f64 {
        let active = endpoints.get(member.index).map_or(0, |endpoint| endpoint.active());
        let load = f64::from(active) + 1.0;
        member.weight / if self.bias == 1.0 { load } else { load.powf(self.bias) }
    }
}

impl Picker for LeastConnections {
    fn pick(&mut self, request: &PickRequest<'_>, endpoints: &Endpoints) -> Option<EndpointIndex> {
        self.refresh(endpoints, request.side);
        match self.even {
            true => self.of_two(request, endpoints),
            false => self.by_weight(request, endpoints),
        }
    }
}
