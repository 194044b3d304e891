//! The paths of one host as a trie of segments. A lookup walks down once, so its
//! cost is that of the path's depth, not of the table's size.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::path::{PathPattern, Segment};

/// Children up to this number are compared one by one; more are hashed, with a
/// seed of this process because the path that is looked up is the peer's.
const LINEAR_MAX: usize = 6;

/// Ranks of routes by the path they ask for.
#[derive(Debug, Default)]
pub(crate) struct PathTrie {
    root: Node,
    star: Vec<u32>,
    regexes: Vec<u32>,
    any: Vec<u32>,
}

#[derive(Debug, Default)]
struct Node {
    /// Routes whose path ends here.
    exact: Vec<u32>,
    /// Routes whose prefix ends here.
    prefix: Vec<u32>,
    few: Vec<(Box<[u8]>, Node)>,
    many: HashMap<Box<[u8]>, Node, RandomState>,
    param: Option<Box<Node>>,
}

impl PathTrie {
    /// Adds a route. Ranks must come in ascending order, so that every list is sorted.
    pub(crate) fn insert(&mut self, path: Option<&PathPattern>, rank: u32) {
        match path {
            None => self.any.push(rank),
            Some(PathPattern::Regex { .. }) => self.regexes.push(rank),
            Some(PathPattern::Exact(path)) => match path.strip_prefix(b"/") {
                Some(path) => self.root.descend(path).exact.push(rank),
                None => self.star.push(rank),
            },
            Some(PathPattern::Prefix(path)) if path.is_empty() => self.root.prefix.push(rank),
            Some(PathPattern::Prefix(path)) => self.root.descend(path).prefix.push(rank),
            Some(PathPattern::Template { segments, .. }) => self.root.descend_template(segments).exact.push(rank),
        }
    }

    /// Gives `visit` every list whose path condition holds; for `regexes` the visitor
    /// has to run the expression (`true`).
    pub(crate) fn lookup(&self, path: Option<&[u8]>, visit: &mut impl FnMut(&[u32], bool)) {
        match path {
            Some([b'/', rest @ ..]) => self.root.walk(Some(rest), visit),
            Some(b"*") => visit(&self.star, false),
            _ => {}
        }
        if path.is_some() && !self.regexes.is_empty() {
            visit(&self.regexes, true);
        }
        visit(&self.any, false);
    }
}

impl Node {
    fn descend(&mut self, path: &[u8]) -> &mut Node {
        path.split(|byte| *byte == b'/').fold(self, |node, segment| node.literal_mut(segment))
    }

    fn descend_template(&mut self, segments: &[Segment]) -> &mut Node {
        segments.iter().fold(self, |node, segment| match segment {
            Segment::Literal(literal) => node.literal_mut(literal),
            Segment::Param => node.param.get_or_insert_default(),
        })
    }

    fn literal_mut(&mut self, segment: &[u8]) -> &mut Node {
        if let Some(place) = self.few.iter().position(|(own, _)| **own == *segment) {
            return &mut self.few[place].1;
        }
        if self.many.is_empty() && self.few.len() < LINEAR_MAX {
            let place = self.few.len();
            self.few.push((segment.into(), Node::default()));
            return &mut self.few[place].1;
        }
        self.many.extend(self.few.drain(..));
        self.many.entry(segment.into()).or_default()
    }

    fn literal(&self, segment: &[u8]) -> Option<&Node> {
        if !self.many.is_empty() {
            return self.many.get(segment);
        }
        self.few.iter().find(|(own, _)| **own == *segment).map(|(_, node)| node)
    }

    fn walk(&self, rest: Option<&[u8]>, visit: &mut impl FnMut(&[u32], bool)) {
        if !self.prefix.is_empty() {
            visit(&self.prefix, false);
        }
        let Some(rest) = rest else {
            return visit(&self.exact, false);
        };
        let (segment, next) = match rest.iter().position(|byte| *byte == b'/') {
            Some(end) => (&rest[..end], Some(&rest[end + 1..])),
            None => (rest, None),
        };
        if let Some(child) = self.literal(segment) {
            child.walk(next, visit);
        }
        if let Some(child) = self.param.as_ref().filter(|_| !segment.is_empty()) {
            child.walk(next, visit);
        }
    }
}
