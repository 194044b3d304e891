//! `consistentHash`: the same key goes to the same endpoint, on all workers and all
//! gateways, as long as it can. With bounded load a key moves on where its endpoint
//! has more than its share.

use xxhash_rust::xxh3::xxh3_64;

use crate::maglev::Maglev;
use crate::ring::Ring;
use crate::roster::Roster;
use crate::{EndpointIndex, Endpoints, HashAlgorithm, PickRequest, Picker, Random, Side};

/// Places that a key may move on to before it takes what it finds.
const MAX_MOVES: u32 = 64;

/// Requests that an endpoint has before it can be too busy. With few in flight a share is one or two, and
/// keys would move by chance.
const NEVER_TOO_MANY: f64 = 8.0;

/// Takes endpoints by the hash of `PickRequest::key`; a request without one goes
/// anywhere.
#[derive(Debug)]
pub struct ConsistentHash {
    roster: Roster,
    layout: Layout,
    size: u32,
    bounded_load: Option<f64>,
    total_weight: f64,
    random: Random,
}

#[derive(Debug)]
enum Layout {
    Ring(Ring),
    Maglev(Maglev),
}

impl ConsistentHash {
    /// `size`: default 1,024 points of a ring (the least), 65,537 places of a table.
    /// `bounded_load`: default 1.25, at least 1.
    pub fn new((algorithm, size): (HashAlgorithm, u32), bounded_load: Option<f64>, seed: u64) -> Self {
        let layout = match algorithm {
            HashAlgorithm::Ring => Layout::Ring(Ring::default()),
            HashAlgorithm::Maglev => Layout::Maglev(Maglev::default()),
        };
        let bounded_load = bounded_load.map(|bound| bound.max(1.0));
        ConsistentHash {
            roster: Roster::EMPTY,
            layout,
            size,
            bounded_load,
            total_weight: 0.0,
            random: Random::new(seed),
        }
    }

    fn refresh(&mut self, endpoints: &Endpoints, side: Side) {
        if !self.roster.refresh(endpoints, side) {
            return;
        }
        let named = self.roster.named(endpoints);
        self.total_weight = named.iter().map(|(_, weight)| weight).sum();
        match &mut self.layout {
            Layout::Ring(ring) => {
                let total = endpoints.iter().map(|endpoint| endpoint.weight).sum();
                ring.rebuild((self.size, total), &named);
            }
            Layout::Maglev(table) => table.rebuild(self.size, &named),
        }
    }

    fn find(&self, hash: u64, attempt: u32) -> Option<u32> {
        match &self.layout {
            Layout::Ring(ring) => ring.find(hash, attempt),
            Layout::Maglev(table) => table.find(hash, attempt),
        }
    }

    /// Mirrokni et al. 2016: at most the bound times the mean, rounded up, or [`NEVER_TOO_MANY`]. A
    /// whole number is below what is rounded up if it is below what is not.
    fn has_room(&self, place: u32, endpoints: &Endpoints) -> bool {
        let Some(bound) = self.bounded_load else { return true };
        let member = &self.roster.members[place as usize];
        let share = (f64::from(endpoints.total_active()) + 1.0) * member.weight / self.total_weight;
        let most = NEVER_TOO_MANY.max(bound * share);
        endpoints.get(member.index).is_some_and(|endpoint| f64::from(endpoint.active()) < most)
    }
}

impl Picker for ConsistentHash {
    fn pick(&mut self, request: &PickRequest<'_>, endpoints: &Endpoints) -> Option<EndpointIndex> {
        self.refresh(endpoints, request.side);
        let hash = request.key.map_or_else(|| self.random.next_u64(), xxh3_64);
        let index = |place: u32| self.roster.members[place as usize].index;
        let untried = |place: &u32| !request.tried.contains(index(*place));
        let mut places = (0..MAX_MOVES).map_while(|attempt| self.find(hash, attempt)).filter(untried);
        let first = places.next();
        let roomy = first.filter(|place| self.has_room(*place, endpoints));
        let place = roomy.or_else(|| places.find(|place| self.has_room(*place, endpoints))).or(first);
        match place {
            Some(place) => Some(index(place)),
            // All that was found was tried: whoever is left, or a tried one again.
            None => self.roster.untried_from(0, request).map(index),
        }
    }
}
