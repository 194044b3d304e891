//! A precomputed cycle: each member stands in it as often as its weight asks for,
//! evenly spread, and a pick is one step. Places are whole and shares are not: a member
//! has its share rounded up, and a place counts only when its member has saved up for it.
//! So shares are exact, however far apart weights are.

use crate::Random;

/// Places per member: more of them cost memory, fewer of them more places that do not count.
const PLACES: usize = 16;
/// Places of a cycle at most, unless there are more members.
const MOST: usize = 1 << 16;

/// Members by their number, in the order of their turns.
#[derive(Debug)]
pub(crate) struct Cycle {
    places: Vec<u32>,
    cursor: usize,
    savings: Vec<Savings>,
}

#[derive(Clone, Copy, Debug)]
struct Savings {
    /// What a place adds: above 0, at most 1.
    rate: f64,
    /// A turn costs 1.
    saved: f64,
}

impl Cycle {
    /// Nobody is there.
    pub(crate) const EMPTY: Cycle = Cycle { places: Vec::new(), cursor: 0, savings: Vec::new() };

    /// Everyone starts at a random point of its first turn, so that workers differ.
    /// Weights are above 0.
    pub(crate) fn rebuild(&mut self, weights: &[f64], random: &mut Random) {
        let total: f64 = weights.iter().sum();
        let size = (weights.len() * PLACES).min(MOST).max(weights.len()) as f64;
        let shares = weights.iter().map(|weight| (weight / total * size).max(f64::MIN_POSITIVE));
        self.savings.clear();
        self.savings.extend(shares.clone().map(|share| Savings { rate: share / share.ceil(), saved: random.unit() }));
        let phases: Vec<f64> = weights.iter().map(|_| random.unit()).collect();
        self.spread(&shares.map(f64::ceil).zip(phases).collect::<Vec<_>>());
        self.cursor = 0;
    }

    /// Sorts the turns of all by their time, counting how many are due at each place.
    fn spread(&mut self, members: &[(f64, f64)]) {
        let len = members.iter().map(|(turns, _)| *turns as usize).sum::<usize>();
        let turns = || {
            members.iter().zip(0..).flat_map(move |((turns, phase), member)| {
                let per_turn = len as f64 / turns;
                (0..*turns as u32).map(move |turn| (((f64::from(turn) + phase) * per_turn) as usize, member))
            })
        };
        let mut before = vec![0_u32; len + 1];
        turns().for_each(|(due, _)| before[(due + 1).min(len)] += 1);
        (1..=len).for_each(|due| before[due] += before[due - 1]);
        self.places.clear();
        self.places.resize(len, 0);
        for (due, member) in turns() {
            let next = &mut before[due.min(len - 1)];
            self.places[*next as usize] = member;
            *next += 1;
        }
    }

    /// Whose turn it is; `None` where nobody is there. `left` says how much of a
    /// member's weight counts at its place, above 0 and at most 1.
    pub(crate) fn turn(&mut self, mut left: impl FnMut(u32) -> f64) -> Option<u32> {
        loop {
            let member = *self.places.get(self.cursor)?;
            self.cursor = if self.cursor + 1 == self.places.len() { 0 } else { self.cursor + 1 };
            let savings = &mut self.savings[member as usize];
            savings.saved += savings.rate * left(member);
            if savings.saved >= 1.0 {
                savings.saved -= 1.0;
                return Some(member);
            }
        }
    }

    /// The next one that may be picked. A scan: for retries, which take nobody's turn.
    pub(crate) fn next_among(&self, may: impl Fn(u32) -> bool) -> Option<u32> {
        let (passed, coming) = self.places.split_at(self.cursor);
        coming.iter().chain(passed).copied().find(|member| may(*member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(weights: &[f64], count: usize) -> Vec<usize> {
        let mut cycle = Cycle::EMPTY;
        cycle.rebuild(weights, &mut Random::new(3));
        let mut turns = vec![0; weights.len()];
        (0..count).for_each(|_| turns[cycle.turn(|_| 1.0).expect("members") as usize] += 1);
        turns
    }

    #[test]
    fn nobody_has_a_turn_where_nobody_is() {
        let mut cycle = Cycle::EMPTY;
        cycle.rebuild(&[], &mut Random::new(3));
        assert_eq!((cycle.turn(|_| 1.0), cycle.next_among(|_| true)), (None, None));
    }

    #[test]
    fn shares_are_exact_where_a_weight_is_far_less_than_a_place() {
        let mut weights = vec![1_000.0; 99];
        weights.push(1.0);
        let turns = turns(&weights, 9_900_100);
        assert!(turns[..99].iter().all(|turns| (99_998..=100_002).contains(turns)), "{turns:?}");
        assert!((98..=102).contains(&turns[99]), "{turns:?}");
    }

    #[test]
    fn equal_weights_make_a_plain_round() {
        assert!(turns(&[7.0; 1_000], 5_000).iter().all(|turns| *turns == 5));
    }

    #[test]
    fn turns_of_a_member_are_evenly_spread() {
        let mut weights = vec![1.0; 100];
        weights[42] = 25.0;
        let mut cycle = Cycle::EMPTY;
        cycle.rebuild(&weights, &mut Random::new(3));
        let order: Vec<u32> = (0..12_400).filter_map(|_| cycle.turn(|_| 1.0)).collect();
        // 25 of 124, in every stretch of them.
        for stretch in order.windows(124) {
            let mine = stretch.iter().filter(|member| **member == 42).count();
            assert!((23..=27).contains(&mine), "{mine}");
        }
    }

    #[test]
    fn less_of_a_weight_is_less_of_the_turns() {
        let mut cycle = Cycle::EMPTY;
        cycle.rebuild(&[1.0; 20], &mut Random::new(3));
        let left = |member| if member == 0 { 0.5 } else { 1.0 };
        let mine = (0..19_500).filter(|_| cycle.turn(left) == Some(0)).count();
        assert!((495..=505).contains(&mine), "{mine}");
    }
}
