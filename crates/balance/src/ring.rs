//! A ring of points: each member has many, and a key belongs to the first point at or
//! behind its hash. A member that leaves moves only its own keys.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Points in the order of their hashes.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    points: Vec<(u64, u32)>,
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
    }

    /// The member for the n-th try of a hash; `None` where there are no members.
    pub(crate) fn find(&self, hash: u64, attempt: u32) -> Option<u32> {
        let len = self.points.len();
        let first = self.points.partition_point(|(point, _)| *point < hash);
        (len > 0).then(|| self.points[(first + attempt as usize) % len].1)
    }
}
