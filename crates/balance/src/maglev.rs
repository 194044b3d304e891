//! Maglev (Eisenbud et al. 2016, section 3.4): a table of places that endpoints fill
//! in turns, each by its own permutation. A lookup is one remainder and one read; a
//! change of the endpoints moves little more than it must.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Weighted table of places.
#[derive(Debug, Default)]
pub(crate) struct Maglev {
    table: Vec<u16>,
}

/// One member's permutation of the places.
struct Permutation {
    next: u64,
    skip: u64,
    /// Turns that it is owed, by weight.
    credit: f64,
    weight: f64,
}

const FREE: u16 = u16::MAX;

impl Maglev {
    /// Fills `size` places, which is rounded up to a prime so that every permutation
    /// reaches all of them. Members are named so that all gateways agree; beyond
    /// 65,534 of them the rest get no place.
    pub(crate) fn rebuild(&mut self, size: u32, members: &[(&str, f64)]) {
        let size = prime_from(u64::from(size.clamp(3, 1 << 22)));
        self.table.clear();
        let members = &members[..members.len().min(usize::from(FREE))];
        let heaviest = members.iter().map(|(_, weight)| *weight).fold(0.0, f64::max);
        if heaviest <= 0.0 {
            return;
        }
        self.table.resize(size as usize, FREE);
        let permutation = |(name, weight): &(&str, f64)| Permutation {
            next: xxh3_64_with_seed(name.as_bytes(), 1) % size,
            skip: xxh3_64_with_seed(name.as_bytes(), 2) % (size - 1) + 1,
            credit: 0.0,
            weight: weight / heaviest,
        };
        self.fill(members.iter().map(permutation).collect());
    }

    fn fill(&mut self, mut permutations: Vec<Permutation>) {
        let mut free = self.table.len();
        while free > 0 {
            for (member, permutation) in (0..FREE).zip(&mut permutations) {
                permutation.credit += permutation.weight;
                if permutation.credit >= 1.0 && free > 0 {
                    permutation.credit -= 1.0;
                    self.take_place(member, permutation);
                    free -= 1;
                }
            }
        }
    }

    fn take_place(&mut self, member: u16, permutation: &mut Permutation) {
        let size = self.table.len() as u64;
        while self.table[permutation.next as usize] != FREE {
            permutation.next = (permutation.next + permutation.skip) % size;
        }
        self.table[permutation.next as usize] = member;
    }

    /// The member for the n-th try of a hash; `None` where there are no members.
    pub(crate) fn find(&self, hash: u64, attempt: u32) -> Option<u32> {
        let size = self.table.len() as u64;
        // An odd step of the hash: later tries of keys that share a place differ.
        let hash = hash.wrapping_add(u64::from(attempt).wrapping_mul(hash.rotate_left(32) | 1));
        (size > 0).then(|| u32::from(self.table[(hash % size) as usize]))
    }
}

fn prime_from(from: u64) -> u64 {
    let is_prime = |number: &u64| {
        (2..).take_while(|factor| factor * factor <= *number).all(|factor| !number.is_multiple_of(factor))
    };
    (from..).find(is_prime).unwrap_or(65_537)
}
