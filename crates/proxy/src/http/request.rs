//! One request while it is dispatched: its head and what policies made of it so far.

use super::view::HttpView;
use crate::plan::Route;
use crate::worker::WorkerPlan;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tidegate_http::{BodyReader, Coding, Piece, RequestHead};
use tidegate_policy::{Edits, TemplateInput};
use tidegate_route::Captures;

/// One request while it is dispatched.
pub(crate) struct Request<'r> {
    pub(crate) head: &'r RequestHead<'r, 'r>,
    pub(crate) view: HttpView<'r>,
    pub(crate) plan: &'r Rc<WorkerPlan>,
    pub(crate) started_us: u64,
    pub(crate) keep_alive: bool,
    /// `http` or `https`: how the client came.
    pub(crate) scheme: &'static str,
    /// What stands behind the head.
    pub(crate) behind: &'r [u8],
    /// What the route's policies changed so far.
    pub(crate) edits: RefCell<Edits>,
    /// It waited for another request's answer already.
    pub(crate) has_waited: Cell<bool>,
}

impl Request<'_> {
    pub(super) fn to_head(&self) -> bool {
        self.head.method == "HEAD"
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.started_us / 1_000
    }

    /// The coding that the client likes most of those that the route compresses with.
    pub(super) fn coding(&self, route: &Route) -> Option<Coding> {
        route.compress.as_ref()?.choose(self.head)
    }

    /// What templates are filled in from.
    pub(super) fn template_input<'t>(&'t self, captures: &'t Captures) -> TemplateInput<'t> {
        let HttpView { path, host, head, .. } = &self.view;
        TemplateInput { path, captures, topic: b"", host, query: head.query() }
    }

    /// What policies put on the response, for an answer that comes later.
    pub(super) fn take_response_edits(&self) -> Option<Box<Edits>> {
        let keeps = self.edits.borrow().keeps_response_headers();
        (!keeps).then(|| Box::new(self.edits.take()))
    }

    /// How much of what stands behind the head is its body; `None`: not all of it is there.
    pub(super) fn whole_body(&self) -> Option<usize> {
        let mut reader = BodyReader::new(self.head.body, self.plan.plan.bounds.chunk_extensions);
        let mut used = 0;
        loop {
            match reader.next(&self.behind[used..]).ok()? {
                (Piece::Data(_), count) => used += count,
                (Piece::End(_), count) => return Some(used + count),
                (Piece::NeedMore, _) => return None,
            }
        }
    }
}
