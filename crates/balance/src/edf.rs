//! Earliest deadline first: whoever is due next is picked and becomes due again one
//! turn later, where a turn is the inverse of its weight. Exact weights at a cost
//! that grows with the logarithm of the members.

use crate::Random;

#[derive(Clone, Copy, Debug)]
struct Entry {
    due: f64,
    place: u32,
}

impl Entry {
    /// Ties go by place, so that equal weights make a plain round.
    fn before(&self, other: &Entry) -> bool {
        self.due < other.due || self.due == other.due && self.place < other.place
    }
}

/// A binary heap by due time; only its root is ever replaced.
#[derive(Debug)]
pub(crate) struct Schedule {
    heap: Vec<Entry>,
}

impl Schedule {
    /// Nobody is there.
    pub(crate) const EMPTY: Schedule = Schedule { heap: Vec::new() };

    /// Everyone starts at a random point of the first turn, so that workers differ.
    pub(crate) fn rebuild(&mut self, weights: impl Iterator<Item = f64>, random: &mut Random) {
        self.heap.clear();
        self.heap.extend(weights.zip(0..).map(|(weight, place)| Entry { due: random.unit() / weight, place }));
        self.heap.sort_unstable_by(|one, other| one.due.total_cmp(&other.due).then(one.place.cmp(&other.place)));
    }

    /// Who is due, or `None` where nobody is there.
    pub(crate) fn due(&self) -> Option<u32> {
        self.heap.first().map(|entry| entry.place)
    }

    /// Who is due first among those that may be picked. A scan: for retries, which
    /// take nobody's turn.
    pub(crate) fn due_among(&self, may: impl Fn(u32) -> bool) -> Option<u32> {
        let allowed = self.heap.iter().filter(|entry| may(entry.place));
        allowed.min_by(|one, other| one.due.total_cmp(&other.due)).map(|entry| entry.place)
    }

    /// Puts who is due at the place of its next turn.
    pub(crate) fn advance(&mut self, weight: f64) {
        let Some(root) = self.heap.first_mut() else { return };
        root.due += 1.0 / weight.max(1e-9);
        // Due times grow for ever; before they lose their fraction all are moved down.
        let late = root.due > 1e9;
        self.sift_down();
        if late {
            let base = self.heap[0].due;
            self.heap.iter_mut().for_each(|entry| entry.due -= base);
        }
    }

    fn sift_down(&mut self) {
        let moved = self.heap[0];
        let mut hole = 0;
        loop {
            let left = 2 * hole + 1;
            let Some(child) = self.heap.get(left) else { break };
            let right = self.heap.get(left + 1).filter(|right| right.before(child));
            let (place, next) = right.map_or((left, *child), |right| (left + 1, *right));
            if !next.before(&moved) {
                break;
            }
            self.heap[hole] = next;
            hole = place;
        }
        self.heap[hole] = moved;
    }
}
