//! The route cache: for a topic that was seen lately, everybody it goes to, access
//! rules included. Fixed in size, overwritten in place, so that it allocates nothing in
//! the long run; a generation number makes every change of the tree forget it at once.

use crate::tree::Matched;
use foldhash::fast::RandomState;
use std::hash::BuildHasher;

/// Topics remembered per worker.
const TOPICS: usize = 1_024;
/// Subscribers remembered over all topics (12 bytes each); more, and all are forgotten.
const ENTRIES: usize = 1 << 20;

#[derive(Default)]
pub(crate) struct Route {
    topic: String,
    generation: u64,
    pub(crate) matched: Matched,
}

/// Topic to route.
pub(crate) struct Routes {
    routes: Vec<Route>,
    hasher: RandomState,
    entries: usize,
}

impl Routes {
    pub(crate) fn new() -> Self {
        let mut routes = Vec::new();
        routes.resize_with(TOPICS, Route::default);
        Routes { routes, hasher: RandomState::default(), entries: 0 }
    }

    /// The route of `topic`, as known or as `fill` finds it.
    pub(crate) fn find(&mut self, topic: &str, generation: u64, fill: impl FnOnce(&mut Matched)) -> &Matched {
        let slot = (self.hasher.hash_one(topic) as usize) % TOPICS;
        if self.routes[slot].generation != generation || self.routes[slot].topic != topic {
            self.make_room(slot);
            let route = &mut self.routes[slot];
            route.matched.clear();
            fill(&mut route.matched);
            route.topic.clear();
            route.topic.push_str(topic);
            route.generation = generation;
            self.entries += route.matched.held();
        }
        &self.routes[slot].matched
    }

    fn make_room(&mut self, slot: usize) {
        self.entries = self.entries.saturating_sub(self.routes[slot].matched.held());
        if self.entries > ENTRIES {
            self.routes.fill_with(Route::default);
            self.entries = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Entry;
    use tidegate_message::Qos;

    #[test]
    fn a_million_topics_take_no_more_room_than_a_thousand() {
        let mut routes = Routes::new();
        for index in 0..1_000_000 {
            let (qos, no_local, retain_as_published, durable) = (Qos::AtMostOnce, false, false, false);
            let entry = Entry { slot: index, id: 0, qos, no_local, retain_as_published, durable };
            routes.find(&format!("site/{index}/temp"), 1, |matched| matched.entries.resize(3, entry));
        }
        assert_eq!(routes.routes.len(), TOPICS);
        let held: usize = routes.routes.iter().map(|route| route.matched.held()).sum();
        assert!(held == routes.entries && held <= TOPICS * 4, "{held} entries are held");
    }

    #[test]
    fn a_route_is_asked_for_once_until_the_generation_changes() {
        let mut routes = Routes::new();
        let mut asked = 0;
        for generation in [1, 1, 1, 2, 2] {
            routes.find("a/b", generation, |matched| {
                asked += 1;
                matched.workers = 1;
            });
        }
        assert_eq!(asked, 2);
    }
}
