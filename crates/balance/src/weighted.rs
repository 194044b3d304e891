//! `weighted`: nginx's smooth weighted round robin, with weights that sink when an
//! endpoint fails and rise again with each round. It looks at every member, so
//! beyond a few of them a precomputed cycle takes its place, with the same shares.

use crate::cycle::Cycle;
use crate::roster::Roster;
use crate::{EndpointIndex, Endpoints, PickRequest, Picker, Random, Side};

/// Members up to which the smooth round is used: more would cost over 50 ns.
const SMOOTH_MAX: usize = 16;

/// Takes endpoints by weight times health.
#[derive(Debug)]
pub struct Weighted {
    roster: Roster,
    turns: Vec<Turn>,
    cycle: Cycle,
    max_fails: f64,
    random: Random,
}

/// A member's place in the smooth round, with nginx's names.
#[derive(Clone, Copy, Debug)]
struct Turn {
    weight: f64,
    effective: f64,
    current: f64,
}

impl Weighted {
    /// A failure takes `weight / max_fails` of an endpoint's weight; 0: nothing.
    pub const fn new(max_fails: u32, seed: u64) -> Self {
        Weighted {
            roster: Roster::EMPTY,
            turns: Vec::new(),
            cycle: Cycle::EMPTY,
            max_fails: max_fails as f64,
            random: Random::new(seed),
        }
    }

    fn refresh(&mut self, endpoints: &Endpoints, side: Side) {
        if !self.roster.refresh(endpoints, side) {
            return;
        }
        let turn = |weight| Turn { weight, effective: weight, current: 0.0 };
        self.turns.clear();
        self.turns.extend(self.roster.members.iter().map(|member| turn(member.weight)));
        let cycled = if self.turns.len() > SMOOTH_MAX { &self.turns[..] } else { &[] };
        let weights: Vec<f64> = cycled.iter().map(|turn| turn.weight).collect();
        self.cycle.rebuild(&weights, &mut self.random);
    }

    /// `cw += ew; total += ew; if ew < w: ew++`; the greatest `cw` is picked and pays
    /// the total. Tried members sit the round out.
    fn smooth(&mut self, request: &PickRequest<'_>) -> Option<usize> {
        let mut total = 0.0;
        let mut best: Option<(usize, f64)> = None;
        for (place, turn) in self.turns.iter_mut().enumerate() {
            if request.tried.contains(self.roster.members[place].index) {
                continue;
            }
            turn.current += turn.effective;
            total += turn.effective;
            turn.recover();
            if best.is_none_or(|(_, most)| turn.current > most) {
                best = Some((place, turn.current));
            }
        }
        let (place, _) = best?;
        self.turns[place].current -= total;
        Some(place)
    }

    fn cycled(&mut self, request: &PickRequest<'_>) -> Option<usize> {
        let (members, turns) = (&self.roster.members, &mut self.turns);
        let untried = |place| !request.tried.contains(members[place as usize].index);
        let place = match request.tried.is_empty() {
            true => self.cycle.turn(|place| turns[place as usize].take()),
            // More members than a request remembers: one is untried.
            false => self.cycle.next_among(untried),
        };
        place.map(|place| place as usize)
    }
}

impl Turn {
    /// What is left of its weight, 1 is all of it, at a place in the cycle. Never less
    /// than a fraction: who has no turn for long could not recover either.
    fn take(&mut self) -> f64 {
        if self.effective >= self.weight {
            return 1.0;
        }
        let left = (self.effective / self.weight).max(1.0 / 16.0);
        self.recover();
        left
    }

    fn recover(&mut self) {
        if self.effective < self.weight {
            self.effective = (self.effective + 1.0).min(self.weight);
        }
    }
}

impl Picker for Weighted {
    fn pick(&mut self, request: &PickRequest<'_>, endpoints: &Endpoints) -> Option<EndpointIndex> {
        self.refresh(endpoints, request.side);
        let place = match self.turns.len() {
            0..=SMOOTH_MAX => self.smooth(request).or_else(|| self.smooth(&PickRequest::default())),
            _ => self.cycled(request),
        };
        place.map(|place| self.roster.members[place].index)
    }

    fn on_failure(&mut self, endpoint: EndpointIndex) {
        // Members are in the order of their indexes.
        let place = self.roster.members.binary_search_by_key(&endpoint, |member| member.index);
        let turn = place.ok().and_then(|place| self.turns.get_mut(place));
        if let Some(turn) = turn.filter(|_| self.max_fails > 0.0) {
            turn.effective = (turn.effective - turn.weight / self.max_fails).max(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EndpointSpec;

    fn endpoints(weights: &[u32]) -> Endpoints {
        let spec = |weight: &u32| EndpointSpec {
            id: "e".into(),
            address: ([127, 0, 0, 1], 1).into(),
            weight: *weight,
            health: 1.0,
            draining: false,
            near: true,
            state: Default::default(),
        };
        Endpoints::new(weights.iter().map(spec).collect(), 50)
    }

    fn picks(picker: &mut Weighted, endpoints: &Endpoints, count: usize) -> Vec<u32> {
        (0..count).filter_map(|_| picker.pick(&PickRequest::default(), endpoints)).collect()
    }

    #[test]
    fn goes_in_the_order_of_nginx() {
        let mut picker = Weighted::new(1, 7);
        assert_eq!(picks(&mut picker, &endpoints(&[5, 1, 1]), 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn among_many_a_failure_costs_weight_too_and_it_comes_back() {
        let endpoints = endpoints(&[100; 40]);
        let mut picker = Weighted::new(1, 7);
        let share = |picks: Vec<u32>| picks.iter().filter(|pick| **pick == 0).count();
        picks(&mut picker, &endpoints, 400);
        picker.on_failure(0);
        let after = share(picks(&mut picker, &endpoints, 400));
        assert!((0..=2).contains(&after), "{after}");
        picks(&mut picker, &endpoints, 4_000);
        let later = share(picks(&mut picker, &endpoints, 400));
        assert!((9..=11).contains(&later), "{later}");
    }

    #[test]
    fn a_failure_costs_weight_that_comes_back_round_by_round() {
        let endpoints = endpoints(&[4, 4]);
        let mut picker = Weighted::new(1, 7);
        picks(&mut picker, &endpoints, 2);
        picker.on_failure(0);
        let after = picks(&mut picker, &endpoints, 8);
        assert!(after.iter().filter(|pick| **pick == 0).count() < 4, "{after:?}");
        let later = picks(&mut picker, &endpoints, 100);
        assert_eq!(later.iter().filter(|pick| **pick == 0).count(), 50);
    }
}
