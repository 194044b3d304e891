//! Path conditions on a canonical path, and the captures they yield.

use regex::bytes::Regex;

use crate::text::anchored;
use crate::{Captures, PathPlan, RouteError};

/// Segments of a path condition; bounds the depth of the trie.
const MAX_SEGMENTS: usize = 128;

/// One segment of a template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Segment {
    Literal(Box<[u8]>),
    /// Any one segment that is not empty.
    Param,
}

impl Segment {
    pub(crate) fn literal(&self) -> Option<&[u8]> {
        match self {
            Segment::Literal(text) => Some(text),
            Segment::Param => None,
        }
    }
}

/// A compiled path condition.
#[derive(Clone, Debug)]
pub(crate) enum PathPattern {
    /// With its slash in front, or `*` (RFC 9112 section 3.2.4).
    Exact(Box<[u8]>),
    /// Without slashes at either end; empty: everything.
    Prefix(Box<[u8]>),
    Template {
        segments: Box<[Segment]>,
        names: Box<[Box<str>]>,
    },
    Regex {
        regex: Regex,
        names: Box<[Box<str>]>,
    },
}

impl PathPattern {
    pub(crate) fn compile(plan: &PathPlan) -> Result<Self, RouteError> {
        match plan {
            PathPlan::Exact(path) => {
                let valid = path == "*" || relative(path).is_ok();
                let path = valid.then_some(path.as_bytes()).ok_or_else(|| RouteError::InvalidPath(path.clone()))?;
                Ok(PathPattern::Exact(path.into()))
            }
            PathPlan::Prefix(path) => Ok(PathPattern::Prefix(relative(path)?.trim_end_matches('/').as_bytes().into())),
            PathPlan::Template(path) => compile_template(path),
            PathPlan::Regex(pattern) => {
                let regex = anchored(pattern)?;
                let names = regex.capture_names().flatten().map(Box::from).collect();
                Ok(PathPattern::Regex { regex, names })
            }
        }
    }

    /// Names of the captures, in the order of their spans.
    pub(crate) fn names(&self) -> &[Box<str>] {
        match self {
            PathPattern::Template { names, .. } | PathPattern::Regex { names, .. } => names,
            PathPattern::Exact(_) | PathPattern::Prefix(_) => &[],
        }
    }

    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        match self {
            PathPattern::Exact(own) => **own == *path,
            PathPattern::Prefix(own) => path.strip_prefix(b"/").is_some_and(|path| below(own, path)),
            PathPattern::Template { segments, .. } => {
                path.strip_prefix(b"/").is_some_and(|path| template_matches(segments, path))
            }
            PathPattern::Regex { regex, .. } => regex.is_match(path),
        }
    }

    /// A bit for each segment of a template that is a parameter; `None` where they are too many.
    pub(crate) fn parameters(&self) -> Option<u32> {
        let PathPattern::Template { segments, .. } = self else { return None };
        let bits = segments.iter().enumerate().filter(|(_, segment)| **segment == Segment::Param);
        (segments.len() <= 32).then(|| bits.fold(0, |bits, (index, _)| bits | 1 << index))
    }

    /// Writes the spans of a path that matches.
    pub(crate) fn capture(&self, path: &[u8], captures: &mut Captures) {
        match self {
            PathPattern::Exact(_) => {}
            PathPattern::Prefix(own) => captures.rest = Some(rest_behind(own.len(), path)),
            PathPattern::Template { segments, .. } => {
                capture_segments(segments.iter().map(|segment| *segment == Segment::Param), path, captures);
            }
            PathPattern::Regex { regex, names } if !names.is_empty() => capture_groups(regex, path, captures),
            PathPattern::Regex { .. } => {}
        }
    }
}

/// Offsets of what stands behind a prefix of `len` bytes and the slashes around it.
pub(crate) fn rest_behind(len: usize, path: &[u8]) -> (u32, u32) {
    let start = if len == 0 { 1 } else { len + 2 };
    (start.min(path.len()) as u32, path.len() as u32)
}

fn relative(path: &str) -> Result<&str, RouteError> {
    let relative = path.strip_prefix('/').filter(|rest| rest.split('/').count() <= MAX_SEGMENTS);
    relative.ok_or_else(|| RouteError::InvalidPath(path.to_owned()))
}

fn compile_template(path: &str) -> Result<PathPattern, RouteError> {
    let mut names: Vec<Box<str>> = Vec::new();
    let mut segments = Vec::new();
    for segment in relative(path)?.split('/') {
        let invalid = || RouteError::InvalidTemplate(path.to_owned());
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match name {
            Some(name) => {
                let fresh = !name.is_empty() && !name.contains(['{', '}']) && !names.iter().any(|old| **old == *name);
                names.push(fresh.then(|| name.into()).ok_or_else(invalid)?);
                segments.push(Segment::Param);
            }
            None if segment.contains(['{', '}']) => return Err(invalid()),
            None => segments.push(Segment::Literal(segment.as_bytes().into())),
        }
    }
    Ok(PathPattern::Template { segments: segments.into(), names: names.into() })
}

fn below(prefix: &[u8], path: &[u8]) -> bool {
    prefix.is_empty() || path.strip_prefix(prefix).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
}

fn template_matches(segments: &[Segment], path: &[u8]) -> bool {
    let mut parts = path.split(|byte| *byte == b'/');
    let each = segments.iter().all(|segment| match (segment, parts.next()) {
        (Segment::Literal(own), Some(part)) => **own == *part,
        (Segment::Param, Some(part)) => !part.is_empty(),
        (_, None) => false,
    });
    each && parts.next().is_none()
}

/// Spans of a template's parameters.
pub(crate) fn capture_segments(are_parameters: impl Iterator<Item = bool>, path: &[u8], captures: &mut Captures) {
    let mut start = 1;
    for (is_parameter, part) in are_parameters.zip(path[1..].split(|byte| *byte == b'/')) {
        let end = start + part.len();
        if is_parameter {
            captures.spans.push(Some((start as u32, end as u32)));
        }
        start = end + 1;
    }
}

/// The only lookup that allocates: expressions with named groups.
fn capture_groups(regex: &Regex, path: &[u8], captures: &mut Captures) {
    let Some(groups) = regex.captures(path) else { return };
    let named = regex.capture_names().flatten();
    let spans = named.map(|name| groups.name(name).map(|group| (group.start() as u32, group.end() as u32)));
    captures.spans.extend(spans);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(plan: PathPlan, path: &str) -> bool {
        PathPattern::compile(&plan).expect("valid").matches(path.as_bytes())
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        let prefix = || PathPlan::Prefix("/api".into());
        assert!(["/api", "/api/", "/api/x/y"].iter().all(|path| matches(prefix(), path)));
        assert!(["/", "/apix", "/ap", "api", "*"].iter().all(|path| !matches(prefix(), path)));
        assert!(matches(PathPlan::Prefix("/".into()), "/") && matches(PathPlan::Prefix("/".into()), "/x"));
    }

    #[test]
    fn a_template_name_stands_for_one_segment_that_is_not_empty() {
        let template = || PathPlan::Template("/a/{id}/b".into());
        assert!(matches(template(), "/a/7/b"));
        assert!(["/a//b", "/a/7", "/a/7/b/", "/a/7/8/b"].iter().all(|path| !matches(template(), path)));
    }

    #[test]
    fn refuses_broken_templates_and_paths_without_a_slash() {
        for path in ["/{", "/{}", "/x{id}", "/{a}/{a}", "/{{a}}", "a/{b}"] {
            assert!(PathPattern::compile(&PathPlan::Template(path.into())).is_err(), "{path}");
        }
        assert!(PathPattern::compile(&PathPlan::Exact("a".into())).is_err());
        assert!(PathPattern::compile(&PathPlan::Exact("/a".repeat(129))).is_err());
    }
}
