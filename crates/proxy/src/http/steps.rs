//! The policies of a route: compiled steps in one go, and those that have to ask.

use super::answers::{answered, failed};
use super::dispatch::{Next, Resume};
use super::explain::explain_here;
use super::failure::Flag;
use super::hops;
use super::login::{Awaited, Looked, look};
use super::request::Request;
use super::target::to_target;
use crate::client::Client;
use crate::decide::{Ruling, Sought, seek};
use std::io::Write;
use std::rc::Rc;
use tidegate_policy::{Context, Verdict};
use tidegate_route::Captures;

/// A route was found: its policies, then its target.
pub(super) fn routed(
    client: &Client,
    request: &Request<'_>,
    (index, captures, resume): (usize, &Captures, Option<Box<Resume>>),
) -> (Next, usize) {
    let plan = &request.plan.plan;
    let route = &plan.routes[index];
    if route.problem.is_some() {
        return failed(client, request, (index, Flag::Broken, 0));
    }
    if request.head.method == "TRACE" && !route.takes_trace {
        return hops::no_trace(client, request, index);
    }
    let mut step = 0;
    match resume {
        None => {
            if !route.steps.is_empty() {
                request.edits.replace(client.worker.take_edits());
            }
            explain_here(request, Some((index, captures)));
        }
        Some(resume) => {
            let Resume { edits, step: next, ruling, .. } = *resume;
            request.edits.replace(edits);
            step = next;
            request.has_waited.set(step == AFTER_STEPS);
            if let Some(refusal) = rule(client, request, (index, &ruling)) {
                return refusal;
            }
        }
    }
    let result = loop {
        match run_steps(client, request, (index, captures, step)) {
            Verdict::Continue => break to_target(client, request, (index, captures)),
            Verdict::Respond(answer) => {
                let mut fields = Vec::new();
                for (name, value) in &answer.headers {
                    let _ = write!(fields, "{name}: {value}\r\n");
                }
                break answered(client, request, (index, answer.status, &fields, &answer.body));
            }
            Verdict::Limited { retry_after_ms } => {
                break failed(client, request, (index, Flag::RateLimited, retry_after_ms));
            }
            Verdict::Unfit => break failed(client, request, (index, Flag::Unfit, 0)),
            Verdict::Login { auth, next } => {
                step = next;
                match look(client, request, auth) {
                    Looked::Ruled(ruling) => {
                        if let Some(refusal) = rule(client, request, (index, &ruling)) {
                            break refusal;
                        }
                    }
                    Looked::Awaited(login) => return wait_for(request, (Awaited::Login(login), step)),
                }
            }
            Verdict::Script { script, next } => {
                let sought = {
                    let edits = request.edits.borrow();
                    seek(&client.worker, request.plan, (script as usize, &request.view, &route.name, &edits))
                };
                step = next;
                match sought {
                    Sought::Skipped => {}
                    Sought::Ruled(ruling) => {
                        if let Some(refusal) = rule(client, request, (index, &ruling)) {
                            break refusal;
                        }
                    }
                    Sought::Asking(asking) => return wait_for(request, (Awaited::Script(asking), step)),
                }
            }
        }
    };
    if !route.steps.is_empty() {
        client.worker.give_edits(request.edits.take());
    }
    result
}

/// Where a request goes on whose policies have all run.
pub(super) const AFTER_STEPS: usize = usize::MAX;

/// The request waits for a ruling and goes on at `step`.
pub(super) fn wait_for(request: &Request<'_>, (awaited, step): (Awaited, usize)) -> (Next, usize) {
    let (plan, started_us, edits) = (Rc::clone(request.plan), request.started_us, request.edits.take());
    let resume = Box::new(Resume { plan, started_us, step, edits, ruling: Ruling::Continue });
    (Next::Ask(Box::new((awaited, resume))), 0)
}

/// Runs the route's steps from one on, until one has the last word or has to ask.
fn run_steps<'p>(
    client: &Client,
    request: &'p Request<'_>,
    (index, captures, step): (usize, &Captures, usize),
) -> Verdict<'p> {
    let route = &request.plan.plan.routes[index];
    if route.steps.is_empty() {
        return Verdict::Continue;
    }
    let mut scratch = client.worker.buffers.take_write();
    let mut context = Context {
        route: &route.name,
        captures,
        edits: &mut request.edits.borrow_mut(),
        scratch: &mut scratch,
        now_ns: request.started_us * 1_000,
        ran: step,
    };
    let verdict = route.steps.run_from(step, &request.view, &mut context);
    route.count_compiled(client.worker.id, step..context.ran);
    client.worker.buffers.give_write(scratch);
    verdict
}

/// Carries a decision out. `Some`: it refuses the request.
fn rule(client: &Client, request: &Request<'_>, (index, ruling): (usize, &Ruling)) -> Option<(Next, usize)> {
    match ruling {
        Ruling::Continue => None,
        Ruling::Refuse => Some(failed(client, request, (index, Flag::NoDecision, 1_000))),
        Ruling::Known(header, user) => {
            if let Some(header) = header {
                request.edits.borrow_mut().set_request_header(header, user);
            }
            None
        }
        Ruling::Stranger(realm) => {
            let fields = format!("www-authenticate: Basic realm=\"{realm}\", charset=\"UTF-8\"\r\n");
            let text = b"401 Unauthorized: say who you are: user and password\n";
            Some(answered(client, request, (index, 401, fields.as_bytes(), text)))
        }
        Ruling::Decided(decision) => match &decision.reject {
            Some((status, body)) => Some(answered(client, request, (index, *status, b"", body.as_bytes()))),
            None => {
                decision.apply(&mut request.edits.borrow_mut());
                None
            }
        },
    }
}
