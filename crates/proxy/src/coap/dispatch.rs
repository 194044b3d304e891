//! What a request becomes: its route, its policies, its target, or a resource of the
//! gateway. All in one go while the datagram stands in the receive buffer; only what
//! has to wait is copied.

use super::discovery;
use super::inbox::Finished;
use super::server::Server;
use super::streams::protocol_of;
use super::topic::{Place, topic_of};
use super::view::CoapView;
use super::waiting::{Served, Ticket};
use crate::decide::{Asking, Ruling, Sought, seek};
use crate::http::Flag;
use crate::plan::{Canned, Target};
use tidegate_coap::{Code, Message, OptionNumber};
use tidegate_message::{Outcome, Peer, Protocol};
use tidegate_policy::{Context, Edits, Place as TemplatePlace, Template, TemplateInput, Verdict};
use tidegate_route::Captures;

/// How long a peer waits whose policy did not decide, milliseconds.
const UNDECIDED_MS: u64 = 1_000;

/// A request while it is dispatched.
pub(super) struct Call<'c> {
    pub(super) view: CoapView<'c>,
    pub(super) datagram: &'c [u8],
}

impl<'c> Call<'c> {
    pub(super) fn message(&self) -> &Message<'c> {
        &self.view.message
    }

    pub(super) fn body(&self) -> &'c [u8] {
        self.view.body
    }
}

/// Where a request goes on after a decision.
pub(super) struct Resume {
    /// The step behind the script.
    step: usize,
    edits: Edits,
}

/// A request that waits for a decision.
pub(super) struct Parked {
    pub(super) datagram: Vec<u8>,
    /// The body, where it came in blocks.
    pub(super) upload: Option<Vec<u8>>,
    pub(super) resume: Resume,
}

impl Server {
    pub(super) fn dispatch(
        &mut self,
        mut ticket: Ticket,
        (message, body, datagram): (&Message<'_>, &[u8], &[u8]),
        resumed: Option<(Resume, Ruling)>,
    ) {
        let mut path = self.worker.buffers.take_write();
        message.write_path(&mut path);
        let view = CoapView::new(
            *message,
            (protocol_of(ticket.exchange.transport), Peer::new(ticket.exchange.peer)),
            (&path, body),
        );
        let call = Call { view, datagram };
        let mut captures = Captures::new();
        let table = &ticket.plan.plan.table;
        let found = match call.view.is_proxied() {
            true => table.find_named(&call.view, &mut captures),
            false => table.find(&call.view, &mut captures),
        };
        match found {
            Some(index) => {
                ticket.served = Served::Route(index);
                self.routed(ticket, &call, (index, &captures, resumed));
            }
            None if call.view.is_proxied() => self.refuse_proxied(&ticket),
            None => self.builtin(ticket, &call),
        }
        drop(call);
        self.worker.buffers.give_write(path);
    }

    /// A route was found: its policies, then its target.
    fn routed(
        &mut self,
        ticket: Ticket,
        call: &Call<'_>,
        (index, captures, resumed): (usize, &Captures, Option<(Resume, Ruling)>),
    ) {
        let plan = std::rc::Rc::clone(&ticket.plan);
        let route = &plan.plan.routes[index];
        if route.problem.is_some() {
            return self.fail(&ticket, (Flag::Broken, 0));
        }
        let (Resume { mut step, mut edits }, mut ruling) = match resumed {
            Some(resumed) => resumed,
            None => (Resume { step: 0, edits: self.worker.take_edits() }, Ruling::Continue),
        };
        loop {
            if self.is_refused(&ticket, &ruling, &mut edits) {
                return;
            }
            let mut scratch = self.worker.buffers.take_write();
            let mut context = Context {
                route: &route.name,
                captures,
                edits: &mut edits,
                scratch: &mut scratch,
                now_ns: ticket.started_us * 1_000,
                ran: step,
            };
            let verdict = match route.steps.is_empty() {
                true => Verdict::Continue,
                false => route.steps.run_from(step, &call.view, &mut context),
            };
            self.worker.buffers.give_write(scratch);
            let Verdict::Script { script, next } = verdict else {
                return self.conclude((ticket, call), verdict, (index, captures, edits));
            };
            step = next;
            ruling = match seek(&self.worker, &plan, (script as usize, &call.view, &route.name, &edits)) {
                Sought::Skipped => Ruling::Continue,
                Sought::Ruled(ruling) => ruling,
                Sought::Asking(asking) => return self.ask((ticket, call), asking, Resume { step, edits }),
            };
        }
    }

    /// What the steps have come to.
    fn conclude(
        &mut self,
        (ticket, call): (Ticket, &Call<'_>),
        verdict: Verdict<'_>,
        (index, captures, edits): (usize, &Captures, Edits),
    ) {
        match verdict {
            Verdict::Respond(answer) => {
                let typed = answer.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
                let content_type = typed.map(|(_, value)| value.as_bytes());
                self.answer_status(&ticket, (answer.status, content_type), &answer.body);
            }
            // A login is HTTP's; over other protocols nobody can have passed it.
            Verdict::Login { .. } => {
                self.answer_status(&ticket, (401, None), b"this resource needs a login over HTTP\n")
            }
            Verdict::Limited { retry_after_ms } => self.fail(&ticket, (Flag::RateLimited, retry_after_ms)),
            Verdict::Unfit => self.fail(&ticket, (Flag::Unfit, 0)),
            Verdict::Continue | Verdict::Script { .. } => {
                self.serve_target((ticket, call), (index, captures, &edits));
                self.worker.give_edits(edits);
            }
        }
    }

    /// Carries a decision out. `true`: it refuses the request, which has been answered.
    fn is_refused(&mut self, ticket: &Ticket, ruling: &Ruling, edits: &mut Edits) -> bool {
        let decision = match ruling {
            Ruling::Continue | Ruling::Known(..) => return false,
            Ruling::Refuse | Ruling::Stranger(_) => {
                self.fail(ticket, (Flag::NoDecision, UNDECIDED_MS));
                return true;
            }
            Ruling::Decided(decision) => decision,
        };
        match &decision.reject {
            Some((status, body)) => self.answer_status(ticket, (*status, None), body.as_bytes()),
            None => decision.apply(edits),
        }
        decision.reject.is_some()
    }

    fn ask(&mut self, (ticket, call): (Ticket, &Call<'_>), asking: Asking, resume: Resume) {
        let is_whole = std::ptr::eq(call.body(), call.message().payload);
        let parked = Box::new(Parked {
            datagram: call.datagram.to_vec(),
            upload: (!is_whole).then(|| call.body().to_vec()),
            resume,
        });
        self.wait(ticket, async move { Finished::Ruled(parked, asking.ruling().await) });
    }

    fn serve_target(
        &mut self,
        (ticket, call): (Ticket, &Call<'_>),
        (index, captures, edits): (usize, &Captures, &Edits),
    ) {
        let plan = std::rc::Rc::clone(&ticket.plan);
        let target = &plan.plan.routes[index].target;
        if !matches!(target, Target::Upstreams { .. }) && self.is_strange(&ticket, call) {
            return;
        }
        match target {
            Target::Respond(canned) => {
                self.answer_status(&ticket, (canned.status, content_type(canned)), &canned.body);
            }
            Target::Template(reply) => {
                let (path, host) = (call.view.path, call.view.host().unwrap_or_default());
                let input = TemplateInput { path, captures, topic: b"", host, query: b"" };
                match reply.render(&input) {
                    Some((_, body)) => self.answer_status(&ticket, (reply.status, None), &body),
                    None => self.fail(&ticket, (Flag::Unfit, 0)),
                }
            }
            // Files are served to HTTP alone.
            Target::Directory(_) => self.answer_status(&ticket, (501, None), b"files are served over HTTP\n"),
            Target::Topic(template) => {
                let names = plan.plan.table.capture_names(index);
                let path = call.view.path;
                let input = TemplateInput { path, captures, topic: b"", host: b"", query: b"" };
                match render(template, names, &input) {
                    Some(topic) => self.publish_body(ticket, call, &topic),
                    None => self.fail(&ticket, (Flag::Unfit, 0)),
                }
            }
            Target::Handler(Some(handler)) => self.call_handler(ticket, call, *handler),
            Target::Handler(None) => self.fail(&ticket, (Flag::Broken, 0)),
            Target::Upstreams { .. } => self.forward(ticket, call, (index, edits)),
        }
    }

    /// Whether a request that is not passed on has a critical option that is not known (RFC 7252
    /// section 5.4.1); it has been rejected then.
    pub(super) fn is_strange(&mut self, ticket: &Ticket, call: &Call<'_>) -> bool {
        let bad = call.message().bad_option();
        if let Some(number) = bad {
            self.reject_option(ticket, &format!("option {number}"));
        }
        bad.is_some()
    }

    /// Whether a request is for a later block of an answer that has none: it has been rejected
    /// then, as doing once more what it names would not give it (RFC 7959 section 2.9.2).
    pub(super) fn wants_rest(&mut self, ticket: &Ticket, call: &Call<'_>) -> bool {
        let is_later = call.message().block(OptionNumber::BLOCK2).flatten().is_some_and(|block| block.num > 0);
        if is_later {
            self.answer(ticket, Code::REQUEST_ENTITY_INCOMPLETE, b"there is no answer of several blocks");
        }
        is_later
    }

    /// 4.02, or silence to a request that is not confirmable.
    pub(super) fn reject_option(&mut self, ticket: &Ticket, what: &str) {
        match ticket.exchange.confirmable {
            true => self.answer(ticket, Code::BAD_OPTION, what.as_bytes()),
            false => self.worker.dropped(Protocol::Coap, "coap-ignored"),
        }
    }

    /// A request that no route of the config claims.
    fn builtin(&mut self, mut ticket: Ticket, call: &Call<'_>) {
        if self.is_strange(&ticket, call) {
            return;
        }
        let plan = std::rc::Rc::clone(&ticket.plan);
        let base = &*plan.plan.broker.http_path;
        let mut topic = std::mem::take(&mut self.topic);
        let place = topic_of(base, call.message().path_segments(), &mut topic);
        if place != Place::Elsewhere {
            ticket.served = Served::Builtin;
        }
        match place {
            Place::Topic => self.topic(ticket, call, &topic),
            Place::Invalid => self.refuse(&ticket, Outcome::InvalidTopic),
            Place::Elsewhere if call.message().path_segments().eq(discovery::PATH) => self.discover(ticket, call),
            Place::Elsewhere => match self.in_directory(&plan.plan, call) {
                Some(resource) => {
                    ticket.served = Served::Builtin;
                    self.directory(ticket, call, resource);
                }
                None => self.fail(&ticket, (Flag::NoRoute, 0)),
            },
        }
        self.topic = topic;
    }

    fn discover(&mut self, mut ticket: Ticket, call: &Call<'_>) {
        ticket.served = Served::Builtin;
        if ticket.exchange.method != Code::GET {
            return self.answer(&ticket, Code::METHOD_NOT_ALLOWED, b"");
        }
        let plan = &ticket.plan.plan;
        let paths = (&*plan.broker.http_path, plan.coap.max_registrations > 0, &*plan.visible_paths);
        let document = discovery::document(paths, call.message());
        self.answer_status(&ticket, (200, Some(b"application/link-format")), document.as_str().as_bytes());
    }
}

fn render(template: &str, names: &[Box<str>], input: &TemplateInput<'_>) -> Option<String> {
    let mut topic = Vec::new();
    let template = Template::compile(template, names, TemplatePlace::Topic).ok()?;
    template.render(input, &mut topic).then(|| String::from_utf8(topic).ok()).flatten()
}

/// The content type among the fields of an answer that was made for HTTP.
fn content_type(canned: &Canned) -> Option<&[u8]> {
    let lines = canned.head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let value = |line: &[u8]| -> Option<usize> {
        let (name, _) = line.split_at_checked(13)?;
        name.eq_ignore_ascii_case(b"content-type:").then_some(13)
    };
    lines.into_iter().find_map(|line| value(line).map(|at| line[at..].trim_ascii()))
}
