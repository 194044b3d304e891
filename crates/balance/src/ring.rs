//! A ring of points: each member has many, and a key belongs to the first point at or
//! behind its hash. A member that leaves moves only its own keys.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Points in the order of their hashes.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    points: Vec<(u64, u32)>,
    /// How many points are before each equal part of the circle. Hashes are even, so
    /// a part holds one or none, and none of them is searched for.
    before: Vec<u32>,
    /// Of a hash, to the number of its part.
    shift: u32,
}

/// Points of a ring, at least and at most.
const POINTS: std::ops::RangeInclusive<u32> = 1_024..=1 << 20;

impl Ring {
    /// Spreads `size` to twice as many points by weight; every member gets one at
    /// least. `total`: the weight of all endpoints, healthy or not. Points per weight
    /// change only when it passes a power of two, so that who comes or goes moves no
    /// points of the others.
    pub(crate) fn rebuild(&mut self, (size, total): (u32, u32), members: &[(&str, f64)]) {
        let size = f64::from(size.clamp(*POINTS.start(), *POINTS.end()));
        let per_weight = 2.0 * size / f64::from(total.max(1).next_power_of_two());
        self.points.clear();
        for ((name, weight), place) in members.iter().zip(0..) {
            let points = ((per_weight * weight).round() as u64).max(1);
            let point = |point| (xxh3_64_with_seed(name.as_bytes(), point), place);
            self.points.extend((0..points).map(point));
        }
        self.points.sort_unstable();
        let bits = self.points.len().next_power_of_two().ilog2() + 1;
        self.shift = u64::BITS - bits;
        self.before.clear();
        let mut passed = 0;
        for part in 0..1_u64 << bits {
            let is_before = |point: &&(u64, u32)| point.0 < part << self.shift;
            passed += self.points[passed..].iter().take_while(is_before).count();
            self.before.push(passed as u32);
        }
        self.before.push(self.points.len() as u32);
    }

    /// The member for the n-th try of a hash; `None` where there are no members.
    pub(crate) fn find(&self, hash: u64, attempt: u32) -> Option<u32> {
        let len = self.points.len();
        let part = (hash >> self.shift) as usize;
        let (begin, end) = (*self.before.get(part)? as usize, *self.before.get(part + 1)? as usize);
        let first = begin + self.points.get(begin..end)?.partition_point(|(point, _)| *point < hash);
        (len > 0).then(|| self.points[(first + attempt as usize) % len].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    #[test]
    fn every_hash_finds_the_first_point_at_or_behind_it() {
        let names: Vec<String> = (0..100).map(|number| format!("e{number}")).collect();
        for count in [1, 2, 3, 100] {
            let members: Vec<(&str, f64)> = names[..count].iter().map(|name| (name.as_str(), 1.0)).collect();
            let mut ring = Ring::default();
            ring.rebuild((1_024, count as u32), &members);
            let mut random = Random::new(count as u64);
            let anywhere = (0..20_000).map(|_| random.next_u64());
            let at_points = ring.points.iter().flat_map(|(point, _)| [point.wrapping_sub(1), *point, point + 1]);
            for hash in anywhere.chain(at_points).chain([0, u64::MAX]) {
                let first = ring.points.iter().find(|(point, _)| *point >= hash).unwrap_or(&ring.points[0]);
                assert_eq!(ring.find(hash, 0), Some(first.1), "{hash:x} of {count}");
            }
        }
    }

    #[test]
    fn a_ring_of_nobody_finds_nobody() {
        let mut ring = Ring::default();
        assert_eq!(ring.find(7, 0), None);
        ring.rebuild((1_024, 0), &[]);
        assert_eq!((ring.find(0, 0), ring.find(u64::MAX, 1)), (None, None));
    }
}
