//! The endpoints that a pick may choose, made again only when the table's
//! generation changes, so that a pick never scans the table.

use crate::{EndpointIndex, Endpoints, PickRequest, Side};

/// One endpoint that may be chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) index: EndpointIndex,
    /// Configured weight times health; above 0.
    pub(crate) weight: f64,
}

/// The compact list of a picker.
#[derive(Debug)]
pub(crate) struct Roster {
    generation: u64,
    pub(crate) members: Vec<Member>,
}

impl Roster {
    /// Nobody is in it; generations start at 1, so the first look fills it.
    pub(crate) const EMPTY: Roster = Roster { generation: 0, members: Vec::new() };

    /// Looks at the table again where it changed, and says whether it did.
    pub(crate) fn refresh(&mut self, endpoints: &Endpoints, side: Side) -> bool {
        let generation = endpoints.generation();
        if self.generation == generation {
            return false;
        }
        self.generation = generation;
        self.rebuild(endpoints, side);
        true
    }

    /// Panic: where too few are available, health is probably wrong, and sending all
    /// traffic to the few left would take them down too. Draining still counts.
    fn rebuild(&mut self, endpoints: &Endpoints, side: Side) {
        let panic = endpoints.is_panicking();
        let meant = endpoints.iter().zip(0..).filter(|(endpoint, _)| side.holds(endpoint.near));
        let chosen = meant.filter_map(|(endpoint, index)| {
            let usable = if panic { !endpoint.is_draining() } else { endpoint.is_available() };
            let health = if panic { 1.0 } else { f64::from(endpoint.health()) };
            usable.then_some(Member { index, weight: f64::from(endpoint.weight) * health })
        });
        self.members.clear();
        self.members.extend(chosen);
    }

    pub(crate) fn len(&self) -> u32 {
        self.members.len() as u32
    }

    /// The member at `start` or the first behind it that was not tried; at `start`
    /// where all were. Looks at no more places than there were tries.
    pub(crate) fn untried_from(&self, start: u32, request: &PickRequest<'_>) -> Option<u32> {
        let len = self.len();
        let places = (0..len.min(request.tried.len() as u32 + 1)).map(|step| (start + step) % len);
        let mut untried = places.filter(|place| !request.tried.contains(self.members[*place as usize].index));
        untried.next().or((len > 0).then(|| start % len))
    }

    /// The members' stable names and weights, in order: what hashes are laid out by.
    pub(crate) fn named<'a>(&self, endpoints: &'a Endpoints) -> Vec<(&'a str, f64)> {
        let name = |member: &Member| endpoints.get(member.index).map_or("", |endpoint| &endpoint.id);
        self.members.iter().map(|member| (name(member), member.weight)).collect()
    }

    /// Whether all members weigh the same.
    pub(crate) fn is_even(&self) -> bool {
        self.members.windows(2).all(|pair| pair[0].weight == pair[1].weight)
    }
}
