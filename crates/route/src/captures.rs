//! Where a route's captures lie in the path. The caller owns it and uses it again,
//! so that finding a route allocates nothing.

use std::ops::Range;

use smallvec::SmallVec;

/// Spans of the last route that was found, as offsets into the canonical path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Captures {
    pub(crate) spans: SmallVec<[Option<(u32, u32)>; 8]>,
    pub(crate) rest: Option<(u32, u32)>,
}

impl Captures {
    /// Empty.
    pub fn new() -> Self {
        Captures::default()
    }

    /// The span of the route's n-th name, in the order of `RouteTable::capture_names`.
    /// `None` where an optional group of a regular expression took no part.
    pub fn span(&self, index: usize) -> Option<Range<usize>> {
        self.spans.get(index).copied().flatten().map(range)
    }

    /// What `{rest}` stands for: the path behind a prefix without the slash between;
    /// behind the first slash where the route has no path condition. `None` for
    /// routes whose path leaves nothing over.
    pub fn rest(&self) -> Option<Range<usize>> {
        self.rest.map(range)
    }

    /// The bytes of the n-th name in `path`, which must be the path that was looked up.
    pub fn bytes<'a>(&self, index: usize, path: &'a [u8]) -> Option<&'a [u8]> {
        path.get(self.span(index)?)
    }

    pub(crate) fn clear(&mut self) {
        self.spans.clear();
        self.rest = None;
    }
}

fn range((start, end): (u32, u32)) -> Range<usize> {
    start as usize..end as usize
}
