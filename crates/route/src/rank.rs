//! The order of precedence as one static key per route: because every part of it
//! compares without the request, the table sorts once and a lookup compares numbers.

use std::cmp::Reverse;

use crate::condition::Condition;
use crate::host::HostPattern;
use crate::path::{PathPattern, Segment};
use crate::table::topic_filter;

/// Smaller goes first. The order of the fields is the order of precedence.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct RankKey {
    priority: Reverse<i32>,
    topic: Vec<u8>,
    host: (u8, Reverse<usize>),
    path: PathRank,
    method: u8,
    headers: Reverse<usize>,
    query: Reverse<usize>,
    first: usize,
}

/// Exact, template (more literal segments, then literals further left), longest
/// prefix, regular expression, none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct PathRank {
    kind: u8,
    length: Reverse<usize>,
    params: Vec<bool>,
}

impl RankKey {
    pub(crate) fn new(condition: &Condition, priority: i32, first: usize) -> Self {
        RankKey {
            priority: Reverse(priority),
            topic: topic_filter(condition).map(topic_rank).unwrap_or_default(),
            host: host_rank(condition.host.as_ref()),
            path: path_rank(condition.path.as_ref()),
            method: u8::from(condition.rest.methods.is_empty()),
            headers: Reverse(condition.rest.headers.len()),
            query: Reverse(condition.rest.query.len()),
            first,
        }
    }
}

fn topic_rank(filter: &str) -> Vec<u8> {
    let kind = |level| match level {
        "#" => 2,
        "+" => 1,
        _ => 0,
    };
    filter.split('/').map(kind).collect()
}

fn host_rank(host: Option<&HostPattern>) -> (u8, Reverse<usize>) {
    match host {
        Some(HostPattern::Exact(_)) => (0, Reverse(0)),
        Some(HostPattern::Suffix(suffix)) => (1, Reverse(suffix.len())),
        None => (2, Reverse(0)),
    }
}

fn path_rank(path: Option<&PathPattern>) -> PathRank {
    let rank = |kind, length| PathRank { kind, length: Reverse(length), params: Vec::new() };
    match path {
        Some(PathPattern::Exact(_)) => rank(0, 0),
        Some(PathPattern::Template { segments, names }) => PathRank {
            kind: 1,
            length: Reverse(segments.len() - names.len()),
            params: segments.iter().map(|segment| *segment == Segment::Param).collect(),
        },
        Some(PathPattern::Prefix(prefix)) => rank(2, prefix.len()),
        Some(PathPattern::Regex { .. }) => rank(3, 0),
        None => rank(4, 0),
    }
}
