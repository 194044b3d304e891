//! `ipHash`: the peer's address, or the network it is in, decides. A Maglev table
//! rather than a score per endpoint: the same promise at a cost that does not grow.

use std::net::IpAddr;

use xxhash_rust::xxh3::xxh3_64;

use crate::maglev::Maglev;
use crate::roster::Roster;
use crate::{EndpointIndex, Endpoints, PickRequest, Picker, Random};

/// Sizes of the table: about a hundred places per endpoint keep shares within one
/// percent.
const SIZES: [u32; 3] = [1_031, 8_209, 65_537];

/// Takes endpoints by the peer's address; a request without one goes anywhere.
#[derive(Debug)]
pub struct IpHash {
    roster: Roster,
    table: Maglev,
    prefix_v4: u8,
    prefix_v6: u8,
    random: Random,
}

impl IpHash {
    /// Bits that count: 0 to 32 and 0 to 128; more are all of them.
    pub fn new(prefix_v4: u8, prefix_v6: u8, seed: u64) -> Self {
        let (prefix_v4, prefix_v6) = (prefix_v4.min(32), prefix_v6.min(128));
        IpHash { roster: Roster::EMPTY, table: Maglev::default(), prefix_v4, prefix_v6, random: Random::new(seed) }
    }

    fn hash(&self, source: IpAddr) -> u64 {
        let bits = match source.to_canonical() {
            IpAddr::V4(v4) => u128::from(v4.to_bits()) & high_bits(self.prefix_v4) >> 96,
            IpAddr::V6(v6) => v6.to_bits() & high_bits(self.prefix_v6),
        };
        xxh3_64(&bits.to_be_bytes())
    }
}

/// The first `count` of 128 bits.
fn high_bits(count: u8) -> u128 {
    if count == 0 { 0 } else { u128::MAX << (128 - u32::from(count)) }
}

impl Picker for IpHash {
    fn pick(&mut self, request: &PickRequest<'_>, endpoints: &Endpoints) -> Option<EndpointIndex> {
        if self.roster.refresh(endpoints, request.side) {
            let enough = |size: &u32| *size / 100 >= self.roster.len();
            let size = SIZES.into_iter().find(enough).unwrap_or(SIZES[2]);
            self.table.rebuild(size, &self.roster.named(endpoints));
        }
        let random = self.random.next_u64();
        let hash = request.source.map_or(random, |source| self.hash(source));
        let index = |place: u32| self.roster.members[place as usize].index;
        let places = (0..64).map_while(|attempt| self.table.find(hash, attempt));
        let untried = places.map(index).find(|index| !request.tried.contains(*index));
        untried.or_else(|| self.roster.untried_from(0, request).map(index))
    }
}
