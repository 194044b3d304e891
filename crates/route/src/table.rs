//! `RouteTable`: host -> path trie for requests, a topic trie for messages. A lookup
//! collects the few lists whose host and path hold and takes the best rank whose
//! other conditions hold too; a mismatch falls through to the next.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use tidegate_message::{FieldId, Protocol, View};

use crate::condition::{Condition, bit};
use crate::host::HostPattern;
use crate::literals::Literals;
use crate::path::{PathPattern, capture_segments, rest_behind};
use crate::path_trie::PathTrie;
use crate::rank::RankKey;
use crate::topic_trie::TopicTrie;
use crate::{Captures, RouteError, RouteSpec};

/// Protocols that carry messages without a host or a path.
const MESSAGE_PROTOCOLS: u16 = bit(Protocol::Mqtt) | bit(Protocol::Internal);

/// The compiled routes of one plan; immutable.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// In order of precedence: a rank is an index here.
    pub(crate) routes: Vec<Compiled>,
    /// By rank, what most lookups need of a route.
    brief: Vec<Brief>,
    /// Index of a route in the plan -> its rank.
    ranks: HashMap<usize, u32, RandomState>,
    exact_hosts: HashMap<Box<[u8]>, PathTrie, RandomState>,
    /// By suffix with its leading dot.
    wildcard_hosts: HashMap<Box<[u8]>, PathTrie, RandomState>,
    any_host: PathTrie,
    literals: Literals,
    topics: TopicTrie,
    has_topics: bool,
}

/// A route with its place in the plan.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) index: usize,
    pub(crate) condition: Condition,
    key: RankKey,
}

/// A route in a few bytes: with many thousands of them, each cache line that a lookup does not
/// touch is a tenth of its time.
#[derive(Clone, Copy, Debug)]
struct Brief {
    index: u32,
    rest: Rest,
    /// Nothing but host and path is asked for.
    is_plain: bool,
}

/// What a path leaves over.
#[derive(Clone, Copy, Debug)]
enum Rest {
    Nothing,
    /// What stands behind a prefix of this length.
    Behind(u32),
    /// Nothing, and these segments of a template are its parameters.
    Parameters(u32),
    /// What the pattern's captures say.
    Captures,
}

impl Brief {
    fn of(route: &Compiled) -> Brief {
        let rest = match &route.condition.path {
            None => Rest::Behind(0),
            Some(PathPattern::Exact(_)) => Rest::Nothing,
            Some(PathPattern::Prefix(own)) => Rest::Behind(own.len() as u32),
            Some(pattern) => pattern.parameters().map_or(Rest::Captures, Rest::Parameters),
        };
        Brief { index: route.index as u32, rest, is_plain: route.condition.rest.is_empty() }
    }
}

impl RouteTable {
    /// Compiles the routes of a plan. A route that breaks a rule is left out and
    /// reported with its index; all others serve.
    pub fn compile(specs: &[RouteSpec]) -> (Self, Vec<(usize, RouteError)>) {
        let mut table = RouteTable::default();
        let mut errors = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            match Condition::compile(&spec.when) {
                Ok(condition) => {
                    let key = RankKey::new(&condition, spec.priority, index);
                    table.routes.push(Compiled { index, condition, key });
                }
                Err(error) => errors.push((index, error)),
            }
        }
        table.routes.sort_by(|one, other| one.key.cmp(&other.key));
        table.brief = table.routes.iter().map(Brief::of).collect();
        table.index();
        (table, errors)
    }

    fn index(&mut self) {
        for (rank, route) in self.routes.iter().enumerate() {
            let condition = &route.condition;
            let rank = rank as u32;
            self.ranks.insert(route.index, rank);
            if let Some(filter) = topic_filter(condition) {
                self.topics.insert(filter, rank);
                self.has_topics = true;
                continue;
            }
            // Any host is 0.
            let next = (self.exact_hosts.len() + self.wildcard_hosts.len()) as u32 + 1;
            let fresh = || PathTrie::of(next);
            let trie = match &condition.host {
                Some(HostPattern::Exact(host)) => self.exact_hosts.entry(host.clone()).or_insert_with(fresh),
                Some(HostPattern::Suffix(suffix)) => self.wildcard_hosts.entry(suffix.clone()).or_insert_with(fresh),
                None => &mut self.any_host,
            };
            trie.insert(&mut self.literals, condition.path.as_ref(), rank);
        }
    }

    /// The index of the one route that serves this request, with the spans of its
    /// captures. Topic routes are not asked: see [`RouteTable::topics`]. Allocates
    /// only where the route is a regular expression with named groups.
    pub fn find<V: View>(&self, view: &V, captures: &mut Captures) -> Option<usize> {
        self.find_best(view, captures, true)
    }

    /// As [`RouteTable::find`], among the routes that name the request's host: what asks for
    /// a host elsewhere is not for those that take any.
    pub fn find_named<V: View>(&self, view: &V, captures: &mut Captures) -> Option<usize> {
        self.find_best(view, captures, false)
    }

    fn find_best<V: View>(&self, view: &V, captures: &mut Captures, any_host: bool) -> Option<usize> {
        captures.clear();
        let path = view.field(FieldId::Path);
        let rank = self.best(view, path, any_host)?;
        let Brief { index, rest, .. } = self.brief[rank];
        match (rest, path) {
            (Rest::Behind(length), Some(path)) => captures.rest = Some(rest_behind(length as usize, path)),
            (Rest::Parameters(bits), Some(path)) => {
                capture_segments((0..32 - bits.leading_zeros()).map(|index| bits >> index & 1 == 1), path, captures);
            }
            (Rest::Captures, Some(path)) => {
                if let Some(pattern) = &self.routes[rank].condition.path {
                    pattern.capture(path, captures);
                }
            }
            _ => {}
        }
        Some(index as usize)
    }

    fn best<V: View>(&self, view: &V, path: Option<&[u8]>, any_host: bool) -> Option<usize> {
        let mut best = self.routes.len();
        let mut visit = |ranks: &[u32], run_path: bool| {
            let better = ranks.iter().map(|rank| *rank as usize).take_while(|rank| *rank < best);
            let found =
                better.into_iter().find(|rank| self.rest_holds(*rank, view, run_path.then_some(path).flatten()));
            best = found.unwrap_or(best);
        };
        if let Some(host) = view.field(FieldId::Host) {
            self.visit_hosts(host, path, &mut visit);
        }
        if any_host {
            self.any_host.lookup(&self.literals, path, &mut visit);
        }
        (best < self.routes.len()).then_some(best)
    }

    fn visit_hosts(&self, host: &[u8], path: Option<&[u8]>, visit: &mut impl FnMut(&[u32], bool)) {
        if let Some(trie) = self.exact_hosts.get(host) {
            trie.lookup(&self.literals, path, visit);
        }
        if self.wildcard_hosts.is_empty() {
            return;
        }
        // At most 127 labels (RFC 1035 section 2.3.4); a longer name is not looked up.
        let dots = host.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'.').take(127);
        for (dot, _) in dots {
            if let Some(trie) = self.wildcard_hosts.get(&host[dot..]) {
                trie.lookup(&self.literals, path, visit);
            }
        }
    }

    fn rest_holds<V: View>(&self, rank: usize, view: &V, path: Option<&[u8]>) -> bool {
        if path.is_none() && self.brief[rank].is_plain {
            return true;
        }
        let condition = &self.routes[rank].condition;
        let path_holds = match (path, &condition.path) {
            (Some(path), Some(pattern)) => pattern.matches(path),
            _ => true,
        };
        path_holds && condition.rest.matches(view)
    }

    /// Appends the indexes of all routes that a publish to `topic` takes: higher
    /// priority first, then the most specific filter. The other conditions are tested
    /// on `view`. A route without a filter takes part when it names only protocols
    /// that publish, or a client id, and nothing of a request.
    pub fn topics<V: View>(&self, topic: &str, view: &V, found: &mut Vec<usize>) {
        let start = found.len();
        self.topics.lookup(topic, &mut |rank| self.take_topic(rank, view, found));
        self.rank(&mut found[start..]);
    }

    /// As [`RouteTable::topics`], for a topic that is not what is asked for: a route without a filter takes
    /// part also where it begins with `$`, which no filter `#` matches.
    pub fn topics_beside<V: View>(&self, topic: &str, view: &V, found: &mut Vec<usize>) {
        let start = found.len();
        self.topics.lookup(topic, &mut |rank| self.take_topic(rank, view, found));
        if topic.starts_with('$') {
            let unfiltered = |rank: &&u32| self.routes[**rank as usize].condition.topic.is_none();
            self.topics.of_all().iter().filter(unfiltered).for_each(|rank| self.take_topic(*rank, view, found));
        }
        self.rank(&mut found[start..]);
    }

    fn take_topic<V: View>(&self, rank: u32, view: &V, found: &mut Vec<usize>) {
        if self.topic_rest_holds(&self.routes[rank as usize].condition, view) {
            found.push(rank as usize);
        }
    }

    /// Ranks in their order, as indexes.
    fn rank(&self, found: &mut [usize]) {
        found.sort_unstable();
        found.iter_mut().for_each(|rank| *rank = self.routes[*rank].index);
    }

    fn topic_rest_holds<V: View>(&self, condition: &Condition, view: &V) -> bool {
        let host = |pattern: &HostPattern| view.field(FieldId::Host).is_some_and(|host| pattern.matches(host));
        let path = |pattern: &PathPattern| view.field(FieldId::Path).is_some_and(|it| pattern.matches(it));
        condition.host.as_ref().is_none_or(host)
            && condition.path.as_ref().is_none_or(path)
            && condition.rest.matches(view)
    }

    /// Names of a route's captures, in the order of [`Captures::span`]; empty for a
    /// route that has none or that did not compile.
    pub fn capture_names(&self, route: usize) -> &[Box<str>] {
        let path = self.ranks.get(&route).and_then(|rank| self.routes[*rank as usize].condition.path.as_ref());
        path.map(|path| path.names()).unwrap_or_default()
    }

    /// Whether any topic route exists: a publish skips the lookup where none does.
    pub const fn has_topics(&self) -> bool {
        self.has_topics
    }
}

/// The filter under which a route takes messages, or `None` for routes of requests.
pub(crate) fn topic_filter(condition: &Condition) -> Option<&str> {
    if let Some(filter) = &condition.topic {
        return Some(filter);
    }
    let rest = &condition.rest;
    let of_request =
        condition.host.is_some() || condition.path.is_some() || !rest.methods.is_empty() || !rest.query.is_empty();
    let publishes = rest.protocols != 0 && rest.protocols & !MESSAGE_PROTOCOLS == 0;
    (!of_request && (publishes || rest.client_id.is_some())).then_some("#")
}
