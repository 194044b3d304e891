//! Topic routes as a trie of levels: all filters that match a topic in one walk.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// Ranks of routes by their topic filter.
#[derive(Debug, Default)]
pub(crate) struct TopicTrie {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    /// Filters that end here.
    here: Vec<u32>,
    /// Filters that end here with `#`: this level and all below.
    below: Vec<u32>,
    literal: HashMap<Box<str>, Node, RandomState>,
    plus: Option<Box<Node>>,
}

impl TopicTrie {
    /// Adds a valid filter.
    pub(crate) fn insert(&mut self, filter: &str, rank: u32) {
        let mut node = &mut self.root;
        for level in filter.split('/') {
            node = match level {
                "#" => return node.below.push(rank),
                "+" => node.plus.get_or_insert_default(),
                level => node.literal.entry(level.into()).or_default(),
            };
        }
        node.here.push(rank);
    }

    /// The ranks of every `#`.
    pub(crate) fn of_all(&self) -> &[u32] {
        &self.root.below
    }

    /// Gives `visit` the ranks of every filter that matches.
    pub(crate) fn lookup(&self, topic: &str, visit: &mut impl FnMut(u32)) {
        if !topic.starts_with('$') {
            return self.root.walk(Some(topic), visit);
        }
        // MQTT-4.7.2-1: a wildcard in front does not match a topic that starts with `$`.
        let (level, rest) = split_level(topic);
        if let Some(child) = self.root.literal.get(level) {
            child.walk(rest, visit);
        }
    }
}

impl Node {
    fn walk(&self, rest: Option<&str>, visit: &mut impl FnMut(u32)) {
        self.below.iter().for_each(|rank| visit(*rank));
        let Some(rest) = rest else {
            return self.here.iter().for_each(|rank| visit(*rank));
        };
        let (level, rest) = split_level(rest);
        if let Some(child) = self.literal.get(level) {
            child.walk(rest, visit);
        }
        if let Some(child) = &self.plus {
            child.walk(rest, visit);
        }
    }
}

fn split_level(topic: &str) -> (&str, Option<&str>) {
    match topic.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (topic, None),
    }
}
