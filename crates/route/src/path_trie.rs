//! The paths of one host. What of a path is without parameters stands in the table of all hosts,
//! what follows the first parameter in a trie of segments. A lookup's cost is that of the path's
//! depth, not of the table's size.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use crate::literals::{Kind, Literals};
use crate::path::{PathPattern, Segment};

/// Children up to this number are compared one by one; more are hashed, with a
/// seed of this process because the path that is looked up is the peer's.
const LINEAR_MAX: usize = 6;

/// A segment, in place where it is as short as most are.
type Key = SmallVec<[u8; 24]>;

/// Ranks of the routes at one place: mostly one.
type Ranks = SmallVec<[u32; 4]>;

/// Ranks of routes by the path they ask for.
#[derive(Debug, Default)]
pub(crate) struct PathTrie {
    /// The host's number among the literals.
    host: u32,
    /// Segments of the longest literal; 0: there is none.
    deepest: u16,
    /// Templates that begin with a parameter.
    root: Segments,
    /// Routes whose prefix is everything.
    whole: Ranks,
    star: Vec<u32>,
    regexes: Vec<u32>,
    any: Vec<u32>,
}

/// Segments of templates, from some place on.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    /// Routes whose template ends here.
    ends: Ranks,
    few: Vec<(Key, Segments)>,
    #[expect(clippy::box_collection, reason = "most nodes have none, and a lookup reads nodes")]
    many: Option<Box<HashMap<Key, Segments, RandomState>>>,
    param: Option<Box<Segments>>,
}

impl PathTrie {
    /// The trie of a host, by a number of its own.
    pub(crate) fn of(host: u32) -> Self {
        PathTrie { host, ..PathTrie::default() }
    }

    /// Adds a route. Ranks must come in ascending order, so that every list is sorted.
    pub(crate) fn insert(&mut self, literals: &mut Literals, path: Option<&PathPattern>, rank: u32) {
        match path {
            None => self.any.push(rank),
            Some(PathPattern::Regex { .. }) => self.regexes.push(rank),
            Some(PathPattern::Exact(path)) => match path.strip_prefix(b"/") {
                Some(path) => self.literal(literals, (Kind::Exact, path), rank),
                None => self.star.push(rank),
            },
            Some(PathPattern::Prefix(path)) if path.is_empty() => self.whole.push(rank),
            Some(PathPattern::Prefix(path)) => self.literal(literals, (Kind::Prefix, path), rank),
            Some(PathPattern::Template { segments, .. }) => self.template(literals, segments).push(rank),
        }
    }

    fn template<'t>(&'t mut self, literals: &'t mut Literals, segments: &[Segment]) -> &'t mut Ranks {
        let lead: Vec<&[u8]> = segments.iter().map_while(Segment::literal).collect();
        let rest = &segments[lead.len()..];
        if lead.is_empty() {
            return &mut self.root.descend(rest).ends;
        }
        self.deepest = self.deepest.max(lead.len() as u16);
        &mut literals.templates(self.host, &lead.join(&b'/')).descend(rest).ends
    }

    fn literal(&mut self, literals: &mut Literals, (kind, path): (Kind, &[u8]), rank: u32) {
        let depth = path.iter().filter(|byte| **byte == b'/').count() + 1;
        self.deepest = self.deepest.max(u16::try_from(depth).unwrap_or(u16::MAX));
        literals.insert((self.host, kind), path, rank);
    }

    /// Gives `visit` every list whose path condition holds; for `regexes` the visitor
    /// has to run the expression (`true`).
    pub(crate) fn lookup(&self, literals: &Literals, path: Option<&[u8]>, visit: &mut impl FnMut(&[u32], bool)) {
        match path {
            Some([b'/', rest @ ..]) => {
                visit(&self.whole, false);
                literals.lookup((self.host, self.deepest), rest, visit);
                self.root.walk(Some(rest), visit);
            }
            Some(b"*") => visit(&self.star, false),
            _ => {}
        }
        if path.is_some() && !self.regexes.is_empty() {
            visit(&self.regexes, true);
        }
        visit(&self.any, false);
    }
}

impl Segments {
    fn descend(&mut self, segments: &[Segment]) -> &mut Segments {
        segments.iter().fold(self, |node, segment| match segment {
            Segment::Literal(literal) => node.literal_mut(literal),
            Segment::Param => node.param.get_or_insert_default(),
        })
    }

    fn literal_mut(&mut self, segment: &[u8]) -> &mut Segments {
        if let Some(place) = self.few.iter().position(|(own, _)| **own == *segment) {
            return &mut self.few[place].1;
        }
        if self.many.is_none() && self.few.len() < LINEAR_MAX {
            let place = self.few.len();
            self.few.push((segment.into(), Segments::default()));
            return &mut self.few[place].1;
        }
        let many = self.many.get_or_insert_default();
        many.extend(std::mem::take(&mut self.few));
        many.entry(segment.into()).or_default()
    }

    fn literal(&self, segment: &[u8]) -> Option<&Segments> {
        if let Some(many) = &self.many {
            return many.get(segment);
        }
        self.few.iter().find(|(own, _)| **own == *segment).map(|(_, node)| node)
    }

    pub(crate) fn walk(&self, rest: Option<&[u8]>, visit: &mut impl FnMut(&[u32], bool)) {
        let Some(rest) = rest else {
            return visit(&self.ends, false);
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
