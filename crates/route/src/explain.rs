//! Why a request takes the route it takes: every candidate with its reason. Slow on
//! purpose, it walks the whole table; the data path never calls it.

use tidegate_message::View;

use crate::{Captures, RouteTable, table::topic_filter};

/// One route as `tidegate explain` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Index in the plan.
    pub route: usize,
    /// Whether its conditions hold; for a request only the first that matches serves.
    pub matched: bool,
    /// In words.
    pub reason: &'static str,
}

impl RouteTable {
    /// All routes in order of precedence, with the reason why each serves or not.
    pub fn explain<V: View>(&self, view: &V) -> Vec<Candidate> {
        let chosen = self.find(view, &mut Captures::new());
        let candidate = |route: &crate::table::Compiled| {
            let mismatch = route.condition.mismatch(view);
            let reason = match mismatch {
                Some(reason) => reason,
                None if chosen == Some(route.index) => "first that matches",
                None if topic_filter(&route.condition).is_some() => "matches the topic",
                None => "matches, but another goes first",
            };
            Candidate { route: route.index, matched: mismatch.is_none(), reason }
        };
        self.routes.iter().map(candidate).collect()
    }
}
