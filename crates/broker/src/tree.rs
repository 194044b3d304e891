//! The topic tree: filters of local subscribers, of shared subscriptions and of other
//! workers. One hash lookup for each level of a topic, in one table for all levels; nodes that
//! nobody needs go.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;
use std::hash::BuildHasher;
use std::num::NonZeroU32;
use std::ops::Deref;
use tidegate_message::Qos;

/// A local subscription as deliveries need it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// The subscriber's slot.
    pub(crate) slot: u32,
    /// Subscription identifier; 0: none.
    pub(crate) id: u32,
    /// Highest promise.
    pub(crate) qos: Qos,
    /// Not what the subscriber publishes itself.
    pub(crate) no_local: bool,
    /// Keep RETAIN as published.
    pub(crate) retain_as_published: bool,
    /// Its session is kept on disk.
    pub(crate) durable: bool,
}

/// What a filter has locally: anybody, and anybody whose session is kept on disk.
pub(crate) type Presence = (bool, bool);

/// Everybody a topic goes to. Workers are a bit set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Matched {
    /// Most filters have one subscriber, which stands in the node.
    pub(crate) entries: SmallVec<[Entry; 1]>,
    pub(crate) workers: u64,
    /// Of these, those where a session keeps it on disk.
    pub(crate) durable: u64,
    pub(crate) groups: Vec<u32>,
}

impl Matched {
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        (self.workers, self.durable) = (0, 0);
        self.groups.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.workers == 0 && self.groups.is_empty()
    }

    /// Entries for which there is room apart from it.
    pub(crate) fn held(&self) -> usize {
        if self.entries.spilled() { self.entries.capacity() } else { 0 }
    }

    fn presence(&self) -> Presence {
        (!self.entries.is_empty(), self.entries.iter().any(|entry| entry.durable))
    }

    fn add(&mut self, other: &Matched) {
        self.entries.extend_from_slice(&other.entries);
        self.workers |= other.workers;
        self.durable |= other.durable;
        self.groups.extend_from_slice(&other.groups);
    }
}

const ROOT: u32 = 0;

/// Bytes of a name up to which it stands in the node: with them a name is as long as three words.
const SHORT: usize = 22;

/// A level's name. Out of the processor's caches a step to somewhere else is what a look at a node costs.
enum Name {
    Short(u8, [u8; SHORT]),
    Long(Box<str>),
}

impl Default for Name {
    fn default() -> Self {
        Name::Short(0, [0; SHORT])
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        let mut short = [0; SHORT];
        match short.get_mut(..name.len()) {
            Some(place) => {
                place.copy_from_slice(name.as_bytes());
                Name::Short(name.len() as u8, short)
            }
            None => Name::Long(name.into()),
        }
    }
}

impl Deref for Name {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Name::Short(len, bytes) => &bytes[..usize::from(*len)],
            Name::Long(name) => name.as_bytes(),
        }
    }
}

/// A level of filters. A fleet has as many as devices: each byte counts.
#[derive(Default)]
struct Node {
    name: Name,
    parent: u32,
    /// How many nodes are below it by name.
    children: u32,
    plus: Option<NonZeroU32>,
    /// Whose filter ends here.
    here: Matched,
    /// Whose filter ends here with `#`.
    below: Option<Box<Matched>>,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.here.is_empty() && self.below.is_none() && self.plus.is_none() && self.children == 0
    }
}

/// Where a filter ends: the node, and whether by `#`.
#[derive(Clone, Copy)]
struct Place {
    node: u32,
    below: bool,
}

/// Filters to subscribers.
pub(crate) struct Tree {
    nodes: Slab<Node>,
    /// Nodes by parent and name, which stand in the node.
    names: HashTable<u32>,
    seed: RandomState,
    /// Goes up with each change: what was matched before is out of date.
    pub(crate) generation: u64,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let mut nodes = Slab::new();
        nodes.insert(Node::default());
        Tree { nodes, names: HashTable::new(), seed: RandomState::default(), generation: 1 }
    }

    /// Adds or replaces the subscription of `entry.slot`: what the filter has now, if
    /// that is something else than before.
    pub(crate) fn insert(&mut self, filter: &str, entry: Entry) -> Option<Presence> {
        let leaf = self.leaf(filter);
        let before = leaf.presence();
        match leaf.entries.iter_mut().find(|old| old.slot == entry.slot) {
            Some(old) => *old = entry,
            None => leaf.entries.push(entry),
        }
        Some(leaf.presence()).filter(|after| *after != before)
    }

    /// Removes the subscription of `slot`: as `insert`.
    pub(crate) fn remove(&mut self, filter: &str, slot: u32) -> Option<Presence> {
        let mut changed = None;
        self.shrink(filter, |matched| {
            let before = matched.presence();
            matched.entries.retain(|entry| entry.slot != slot);
            changed = Some(matched.presence()).filter(|after| *after != before);
        });
        changed
    }

    /// What the filter has locally.
    pub(crate) fn presence(&self, filter: &str) -> Presence {
        let Some(Place { node, below }) = self.place(filter) else { return (false, false) };
        let node = self.node(node);
        if below { node.below.as_ref().map_or((false, false), |below| below.presence()) } else { node.here.presence() }
    }

    /// Notes whether `worker` has subscribers of the filter.
    pub(crate) fn set_worker(&mut self, filter: &str, worker: u16, (interested, durable): Presence) {
        let bit = 1_u64.checked_shl(worker.into()).unwrap_or(0);
        if interested {
            let leaf = self.leaf(filter);
            leaf.workers |= bit;
            leaf.durable = if durable { leaf.durable | bit } else { leaf.durable & !bit };
        } else {
            self.shrink(filter, |matched| {
                matched.workers &= !bit;
                matched.durable &= !bit;
            });
        }
    }

    pub(crate) fn add_group(&mut self, filter: &str, group: u32) {
        self.leaf(filter).groups.push(group);
    }

    pub(crate) fn remove_group(&mut self, filter: &str, group: u32) {
        self.shrink(filter, |matched| matched.groups.retain(|&other| other != group));
    }

    /// Appends everybody whose filter matches `topic`; how many nodes were looked at, which is what it costs.
    pub(crate) fn collect(&self, topic: &str, into: &mut Matched) -> usize {
        // MQTT-4.7.2-1: a leading wildcard does not match `$` topics.
        if topic.starts_with('$') {
            let (level, rest) = split(topic);
            self.named(ROOT, level).map_or(0, |child| self.walk(child, rest, into))
        } else {
            self.walk(ROOT, Some(topic), into)
        }
    }

    /// Depth is bounded by the levels of a topic, which are bounded where it came in.
    fn walk(&self, at: u32, rest: Option<&str>, into: &mut Matched) -> usize {
        let node = self.node(at);
        if let Some(below) = &node.below {
            into.add(below);
        }
        let Some(rest) = rest else {
            into.add(&node.here);
            return 1;
        };
        let (level, rest) = split(rest);
        let child = if node.children == 0 { None } else { self.named(at, level) };
        let child = child.map_or(0, |child| self.walk(child, rest, into));
        1 + child + node.plus.map_or(0, |plus| self.walk(plus.get(), rest, into))
    }

    fn leaf(&mut self, filter: &str) -> &mut Matched {
        self.generation += 1;
        let mut place = Place { node: ROOT, below: false };
        for level in filter.split('/') {
            match level {
                "#" => place.below = true,
                "+" => place.node = self.plus(place.node),
                name => place.node = self.child(place.node, name),
            }
        }
        let node = self.node_mut(place.node);
        if place.below { node.below.get_or_insert_default() } else { &mut node.here }
    }

    fn node(&self, at: u32) -> &Node {
        &self.nodes[at as usize]
    }

    fn node_mut(&mut self, at: u32) -> &mut Node {
        &mut self.nodes[at as usize]
    }

    /// The node below `parent` of that name.
    fn named(&self, parent: u32, name: &str) -> Option<u32> {
        let is_it = |&at: &u32| {
            let node = self.node(at);
            node.parent == parent && *node.name == *name.as_bytes()
        };
        self.names.find(self.seed.hash_one((parent, name.as_bytes())), is_it).copied()
    }

    fn plus(&mut self, parent: u32) -> u32 {
        if let Some(plus) = self.node(parent).plus {
            return plus.get();
        }
        let plus = self.nodes.insert(Node { parent, name: "+".into(), ..Node::default() }) as u32;
        // The root is nobody's child.
        self.node_mut(parent).plus = NonZeroU32::new(plus);
        plus
    }

    fn child(&mut self, parent: u32, name: &str) -> u32 {
        if let Some(child) = self.named(parent, name) {
            return child;
        }
        let child = self.nodes.insert(Node { parent, name: name.into(), ..Node::default() }) as u32;
        let Tree { nodes, names, seed, .. } = self;
        let hash = |&at: &u32| {
            let node = &nodes[at as usize];
            seed.hash_one((node.parent, &*node.name))
        };
        names.insert_unique(hash(&child), child, hash);
        self.node_mut(parent).children += 1;
        child
    }

    fn place(&self, filter: &str) -> Option<Place> {
        let mut place = Place { node: ROOT, below: false };
        for level in filter.split('/') {
            match level {
                "#" => place.below = true,
                "+" => place.node = self.node(place.node).plus?.get(),
                name => place.node = self.named(place.node, name)?,
            }
        }
        Some(place)
    }

    /// Lets `change` take something out of the filter's set, then drops what is empty.
    fn shrink(&mut self, filter: &str, change: impl FnOnce(&mut Matched)) {
        let Some(place) = self.place(filter) else { return };
        self.generation += 1;
        let node = self.node_mut(place.node);
        if !place.below {
            change(&mut node.here);
        } else if let Some(below) = &mut node.below {
            change(below);
            if below.is_empty() {
                node.below = None;
            }
        }
        self.prune(place.node);
    }

    fn prune(&mut self, mut at: u32) {
        while at != ROOT && self.node(at).is_empty() {
            let parent = self.node(at).parent;
            if self.node(parent).plus.is_some_and(|plus| plus.get() == at) {
                self.node_mut(parent).plus = None;
            } else {
                let hash = self.seed.hash_one((parent, &*self.node(at).name));
                if let Ok(named) = self.names.find_entry(hash, |&other| other == at) {
                    named.remove();
                }
                self.node_mut(parent).children -= 1;
            }
            self.nodes.remove(at as usize);
            at = parent;
        }
    }

    #[cfg(test)]
    fn size(&self) -> usize {
        self.nodes.len()
    }
}

fn split(topic: &str) -> (&str, Option<&str>) {
    match topic.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (topic, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::matches;
    use proptest::prelude::*;

    fn entry(slot: u32) -> Entry {
        Entry { slot, id: 0, qos: Qos::AtMostOnce, no_local: false, retain_as_published: false, durable: false }
    }

    proptest! {
        #[test]
        fn finds_exactly_the_filters_that_match_by_definition_and_forgets_the_rest(
            filters in proptest::collection::vec("(\\$S|a|b|\\+|)(/(a|b|\\+|)){0,3}(/#)?", 1..20),
            topics in proptest::collection::vec("(\\$S|a|b|)(/(a|b|)){0,4}", 1..20),
        ) {
            let mut tree = Tree::new();
            for (slot, filter) in filters.iter().enumerate() {
                tree.insert(filter, entry(slot as u32));
            }
            for topic in &topics {
                let mut found = Matched::default();
                tree.collect(topic, &mut found);
                let mut slots: Vec<u32> = found.entries.iter().map(|entry| entry.slot).collect();
                slots.sort_unstable();
                let expected: Vec<u32> = (0..filters.len() as u32).filter(|&slot| matches(&filters[slot as usize], topic)).collect();
                prop_assert_eq!(slots, expected, "{}", topic);
            }
            for (slot, filter) in filters.iter().enumerate() {
                tree.remove(filter, slot as u32);
            }
            prop_assert_eq!(tree.size(), 1);
        }
    }

    /// Filters of a fleet: a gateway's own, a kind of value of all, one device's of all sites.
    fn fleet_filter(index: usize) -> String {
        match index % 4 {
            0 => format!("site/{}/+/temp", index / 4),
            1 => format!("site/+/device-{}/#", index / 4),
            2 => format!("+/{}/device-{}/+", index % 7, index / 4),
            _ => format!("site/{}/#", index / 4),
        }
    }

    #[test]
    fn a_topic_costs_as_many_nodes_with_100_000_wildcard_filters_as_with_a_hundred() {
        let most = |filters: usize, topics: usize| {
            let mut tree = Tree::new();
            for index in 0..filters {
                tree.insert(&fleet_filter(index), entry(index as u32));
            }
            let mut found = Matched::default();
            let visits = (0..topics).map(|index| {
                found.clear();
                let topic = format!("site/{}/device-{}/temp", index % 1_000, index / 40);
                tree.collect(&topic, &mut found)
            });
            visits.max().unwrap_or_default()
        };
        // Four levels with a literal and a plus at each of the first three: the tree's own shape bounds it.
        let few = most(100, 10_000);
        let many = most(100_000, 1_000_000);
        assert!(few <= many && many <= 12, "{few} nodes with 100 filters, {many} with 100,000");
    }

    #[test]
    fn what_each_filter_of_a_fleet_has_does_not_grow_unnoticed() {
        assert!(size_of::<Name>() <= 24, "{}", size_of::<Name>());
        assert!(size_of::<Node>() <= 120, "{}", size_of::<Node>());
    }

    #[test]
    fn names_of_any_length_are_told_apart() {
        let mut tree = Tree::new();
        let names: Vec<String> = (0..60).map(|len| "x".repeat(len)).collect();
        for (slot, name) in names.iter().enumerate() {
            tree.insert(&format!("{name}/{name}"), entry(slot as u32));
        }
        for (slot, name) in names.iter().enumerate() {
            let mut found = Matched::default();
            tree.collect(&format!("{name}/{name}"), &mut found);
            assert_eq!(found.entries[..], [entry(slot as u32)]);
            tree.remove(&format!("{name}/{name}"), slot as u32);
        }
        assert_eq!(tree.size(), 1);
    }

    #[test]
    fn tells_the_first_and_the_last_local_subscriber_of_a_filter_and_of_those_that_are_kept() {
        let mut tree = Tree::new();
        let kept = |slot| Entry { durable: true, ..entry(slot) };
        let changes = [tree.insert("a/#", entry(1)), tree.insert("a/#", entry(2)), tree.insert("a/#", kept(1))];
        assert_eq!(changes, [Some((true, false)), None, Some((true, true))]);
        let changes = [tree.remove("a/#", 1), tree.remove("a/#", 2), tree.remove("a/#", 2)];
        assert_eq!(changes, [Some((true, false)), Some((false, false)), None]);
    }
}
