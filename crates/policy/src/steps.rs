//! The steps of a route, compiled. They run until one answers, limits, or has to ask
//! TypeScript; the driver goes on behind that one once the decision is there.

mod explain;

pub use explain::Explained;

use std::sync::Arc;

use tidegate_cache::CachePolicy;
use tidegate_message::{FieldId, View};
use tidegate_resilience::{RateLimit, RateVerdict, RetryPolicy};

use crate::cors::Cors;
use crate::credentials::{ApiKey, BasicAuth};
use crate::field::{check_header, is_header_name};
use crate::{CompressPlan, Edits, Key, KeyInput, LimitRegistry, Place, PolicyError, StepPlan, Template, TemplateInput};

/// An answer of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// 100 to 599.
    pub status: u16,
    /// Name and value, valid.
    pub headers: Box<[(Box<str>, Box<str>)]>,
    /// Body.
    pub body: Box<[u8]>,
}

/// Deadlines that a route sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeout {
    /// Until the response head, milliseconds.
    pub ms: u64,
    /// The same for each try.
    pub per_try_ms: Option<u64>,
    /// Without progress of the answer's body; 0: as long as it takes.
    pub idle_ms: Option<u64>,
    /// Until the answer's last byte.
    pub total_ms: Option<u64>,
}

/// How far the steps came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict<'a> {
    /// Through: on to the target.
    Continue,
    /// Send this.
    Respond(&'a Answer),
    /// Answer 429 (4.29, 0x97).
    Limited {
        /// For `Retry-After`, at least 1.
        retry_after_ms: u64,
    },
    /// Compare the credentials of the request with these, then go on at `next`.
    Login {
        /// Whose.
        auth: &'a BasicAuth,
        /// Where to go on: an argument of [`Steps::run_from`].
        next: usize,
    },
    /// Answer 400: a captured value cannot stand where a rewrite puts it.
    Unfit,
    /// Ask this script, then go on at `next`.
    Script {
        /// Place in `Plan.scripts`.
        script: u32,
        /// Where to go on: an argument of [`Steps::run_from`].
        next: usize,
    },
}

/// What steps are compiled against.
#[derive(Debug)]
pub struct StepsInput<'a> {
    /// Names that the route's path captures.
    pub captures: &'a [Box<str>],
    /// The rate limits of the process.
    pub limits: &'a mut LimitRegistry,
}

/// What steps read and write while they run.
#[derive(Debug)]
pub struct Context<'a> {
    /// Stable name of the route.
    pub route: &'a str,
    /// The spans that the lookup wrote.
    pub captures: &'a tidegate_route::Captures,
    /// The changes so far.
    pub edits: &'a mut Edits,
    /// Memory for keys.
    pub scratch: &'a mut Vec<u8>,
    /// The gateway's clock, nanoseconds.
    pub now_ns: u64,
    /// Out: the step behind the last one that ran.
    pub ran: usize,
}

/// The compiled steps of one route.
#[derive(Debug, Default)]
pub struct Steps {
    steps: Box<[Step]>,
    retry: Option<Arc<RetryPolicy>>,
    bulkhead: Option<u32>,
    timeout: Option<Timeout>,
    compress: Option<CompressPlan>,
    cache: Option<CachePolicy>,
    body_limit: Option<u64>,
}

type Headers = Box<[(Box<str>, Box<str>)]>;

#[derive(Debug)]
enum Step {
    SetHeader(Headers),
    AddHeader(Headers),
    RemoveHeader(Box<[Box<str>]>),
    SetResponseHeader(Headers),
    AddResponseHeader(Headers),
    RemoveResponseHeader(Box<[Box<str>]>),
    Rewrite(Box<Rewrite>),
    Respond(Box<Answer>),
    RateLimit(Arc<RateLimit>, Key),
    Cors(Box<Cors>),
    ApiKey(Box<ApiKey>),
    BasicAuth(Box<BasicAuth>),
    Script(u32),
}

#[derive(Debug)]
struct Rewrite {
    path: Option<Template>,
    host: Option<Template>,
    topic: Option<Template>,
}

impl Steps {
    /// Compiles the steps of a route.
    ///
    /// # Errors
    /// The first broken rule.
    pub fn compile(plans: &[StepPlan], input: &mut StepsInput<'_>) -> Result<Self, PolicyError> {
        let mut compiled = Steps::default();
        let mut steps = Vec::with_capacity(plans.len());
        for plan in plans {
            match plan {
                // These belong to the route as a whole; the last one counts.
                StepPlan::Retry { retry } => compiled.retry = Some(Arc::new(RetryPolicy::new(retry.clone()))),
                StepPlan::Bulkhead { max } => compiled.bulkhead = Some(*max),
                StepPlan::Timeout { ms, per_try_ms, idle_ms, total_ms } => {
                    let (ms, per_try_ms, idle_ms, total_ms) = (*ms, *per_try_ms, *idle_ms, *total_ms);
                    compiled.timeout = Some(Timeout { ms, per_try_ms, idle_ms, total_ms });
                }
                StepPlan::Compress(plan) => compiled.compress = Some(plan.clone()),
                StepPlan::Cache(policy) => compiled.cache = Some(policy.clone()),
                StepPlan::BodyLimit { bytes } => compiled.body_limit = Some(*bytes),
                plan => steps.push(Step::compile(plan, input)?),
            }
        }
        compiled.steps = steps.into();
        Ok(compiled)
    }

    /// Whether nothing runs per request.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// When failed tries are made again.
    pub const fn retry(&self) -> Option<&Arc<RetryPolicy>> {
        self.retry.as_ref()
    }

    /// Goes on with what the steps of the plan before had learnt.
    pub fn keep(&mut self, before: &Steps) {
        if let (Some(own), Some(known)) = (self.retry.as_mut().and_then(Arc::get_mut), &before.retry) {
            own.keep(known);
        }
    }

    /// Deadlines other than the route's own.
    pub const fn timeout(&self) -> Option<Timeout> {
        self.timeout
    }

    /// How many requests may be at the upstreams at once.
    pub const fn bulkhead(&self) -> Option<u32> {
        self.bulkhead
    }

    /// Which answers are compressed.
    pub const fn compress(&self) -> Option<&CompressPlan> {
        self.compress.as_ref()
    }

    /// Which answers are kept, and how long.
    pub const fn cache(&self) -> Option<&CachePolicy> {
        self.cache.as_ref()
    }

    /// Longest body of a request, bytes.
    pub const fn body_limit(&self) -> Option<u64> {
        self.body_limit
    }

    /// The names of the steps that run, in their order; none for scripts, which have their own.
    pub fn names(&self) -> impl Iterator<Item = Option<&'static str>> {
        self.steps.iter().map(Step::name)
    }

    /// Runs from the first step.
    pub fn run<V: View>(&self, view: &V, context: &mut Context<'_>) -> Verdict<'_> {
        self.run_from(0, view, context)
    }

    /// Runs from a step on, behind a script.
    pub fn run_from<V: View>(&self, start: usize, view: &V, context: &mut Context<'_>) -> Verdict<'_> {
        self.run_those(|_| true, (start, view), context)
    }

    /// The same for what may never happen: rate limits neither count it nor stand in its way.
    pub fn run_uncounted<V: View>(&self, start: usize, view: &V, context: &mut Context<'_>) -> Verdict<'_> {
        self.run_those(|step| !matches!(step, Step::RateLimit(..)), (start, view), context)
    }

    fn run_those<V: View>(
        &self,
        runs: impl Fn(&Step) -> bool,
        (start, view): (usize, &V),
        context: &mut Context<'_>,
    ) -> Verdict<'_> {
        for (step, next) in self.steps.iter().zip(1..).skip(start).filter(|(step, _)| runs(step)) {
            context.ran = next;
            if let Some(verdict) = step.run(next, view, context) {
                return verdict;
            }
        }
        Verdict::Continue
    }
}

impl Step {
    fn compile(plan: &StepPlan, input: &mut StepsInput<'_>) -> Result<Self, PolicyError> {
        Ok(match plan {
            StepPlan::SetHeader { headers } => Step::SetHeader(checked_headers(headers)?),
            StepPlan::AddHeader { headers } => Step::AddHeader(checked_headers(headers)?),
            StepPlan::AddResponseHeader { headers } => Step::AddResponseHeader(checked_headers(headers)?),
            StepPlan::Cors(plan) => Step::Cors(Box::new(Cors::compile(plan)?)),
            StepPlan::ApiKey(plan) => Step::ApiKey(Box::new(ApiKey::compile(plan)?)),
            StepPlan::BasicAuth(plan) => Step::BasicAuth(Box::new(BasicAuth::compile(plan)?)),
            StepPlan::SetResponseHeader { headers } => Step::SetResponseHeader(checked_headers(headers)?),
            StepPlan::RemoveHeader { names } => Step::RemoveHeader(checked_names(names)?),
            StepPlan::RemoveResponseHeader { names } => Step::RemoveResponseHeader(checked_names(names)?),
            StepPlan::Respond { status, headers, body } => {
                Step::Respond(Box::new(Answer::new(*status, headers, body)?))
            }
            StepPlan::RateLimit(plan) => Step::RateLimit(input.limits.limit(plan), Key::compile(&plan.key)?),
            StepPlan::Script { script } => Step::Script(*script),
            StepPlan::Rewrite { path, host, topic } => {
                let template = |text: &Option<String>, place| {
                    text.as_deref().map(|text| Template::compile(text, input.captures, place)).transpose()
                };
                let (path, host) = (template(path, Place::Path)?, template(host, Place::Host)?);
                Step::Rewrite(Box::new(Rewrite { path, host, topic: template(topic, Place::Topic)? }))
            }
            // Taken out by `Steps::compile`.
            StepPlan::Bulkhead { .. }
            | StepPlan::Retry { .. }
            | StepPlan::Timeout { .. }
            | StepPlan::Compress(_)
            | StepPlan::Cache(_)
            | StepPlan::BodyLimit { .. } => Step::RemoveHeader(Box::default()),
        })
    }

    /// Its name in the configuration.
    const fn name(&self) -> Option<&'static str> {
        Some(match self {
            Step::SetHeader(_) => "setHeader",
            Step::AddHeader(_) => "addHeader",
            Step::RemoveHeader(_) => "removeHeader",
            Step::SetResponseHeader(_) => "setResponseHeader",
            Step::AddResponseHeader(_) => "addResponseHeader",
            Step::RemoveResponseHeader(_) => "removeResponseHeader",
            Step::Rewrite(_) => "rewrite",
            Step::Respond(_) => "respond",
            Step::RateLimit(..) => "rateLimit",
            Step::Cors(_) => "cors",
            Step::ApiKey(_) => "apiKey",
            Step::BasicAuth(_) => "basicAuth",
            Step::Script(_) => return None,
        })
    }

    /// `None`: on to the next.
    fn run<V: View>(&self, next: usize, view: &V, context: &mut Context<'_>) -> Option<Verdict<'_>> {
        let edits = &mut *context.edits;
        match self {
            Step::SetHeader(list) => list.iter().for_each(|(name, value)| edits.set_request_header(name, value)),
            Step::AddHeader(list) => list.iter().for_each(|(name, value)| edits.add_request_header(name, value)),
            Step::AddResponseHeader(list) => {
                list.iter().for_each(|(name, value)| edits.add_response_header(name, value))
            }
            Step::Cors(cors) => return cors.run(view, edits).map(Verdict::Respond),
            Step::ApiKey(keys) => return keys.run(view, edits).map(Verdict::Respond),
            Step::BasicAuth(auth) => return Some(Verdict::Login { auth, next }),
            Step::RemoveHeader(list) => list.iter().for_each(|name| edits.remove_request_header(name)),
            Step::SetResponseHeader(list) => {
                list.iter().for_each(|(name, value)| edits.set_response_header(name, value))
            }
            Step::RemoveResponseHeader(list) => list.iter().for_each(|name| edits.remove_response_header(name)),
            Step::Respond(answer) => return Some(Verdict::Respond(answer)),
            Step::Script(script) => return Some(Verdict::Script { script: *script, next }),
            Step::RateLimit(limit, key) => return check_limit(limit, key, view, context),
            Step::Rewrite(rewrite) => return (!rewrite.run(view, context)).then_some(Verdict::Unfit),
        }
        None
    }
}

impl Rewrite {
    fn run<V: View>(&self, view: &V, context: &mut Context<'_>) -> bool {
        let field = |id| view.field(id).unwrap_or_default();
        let captures = context.captures;
        let input = TemplateInput {
            path: field(FieldId::Path),
            captures,
            topic: field(FieldId::Topic),
            host: field(FieldId::Host),
            query: b"",
        };
        let edits = &mut *context.edits;
        self.path.as_ref().is_none_or(|path| edits.render_path(|out| path.render(&input, out)))
            && self.host.as_ref().is_none_or(|host| edits.render_host(|out| host.render(&input, out)))
            && self.topic.as_ref().is_none_or(|topic| edits.render_topic(|out| topic.render(&input, out)))
    }
}

impl Answer {
    /// An answer with valid headers.
    ///
    /// # Errors
    /// A status outside of 100 to 599, or a broken header.
    pub fn new(status: u16, headers: &[(String, String)], body: &str) -> Result<Self, PolicyError> {
        if !(100..600).contains(&status) {
            return Err(PolicyError::InvalidStatus(status));
        }
        Ok(Answer { status, headers: checked_headers(headers)?, body: body.as_bytes().into() })
    }
}

fn check_limit<V: View>(limit: &RateLimit, key: &Key, view: &V, context: &mut Context<'_>) -> Option<Verdict<'static>> {
    let input = KeyInput { route: context.route, hash_key: context.edits.hash_key() };
    key.write(view, &input, context.scratch);
    match limit.check(context.now_ns, context.scratch) {
        RateVerdict::Pass => None,
        RateVerdict::Limited { retry_after_ms } => Some(Verdict::Limited { retry_after_ms }),
    }
}

fn checked_headers(headers: &[(String, String)]) -> Result<Headers, PolicyError> {
    let checked = |(name, value): &(String, String)| {
        check_header(name, value).map(|()| (name.as_str().into(), value.as_str().into()))
    };
    headers.iter().map(checked).collect()
}

fn checked_names(names: &[String]) -> Result<Box<[Box<str>]>, PolicyError> {
    let checked = |name: &String| {
        let valid = is_header_name(name).then(|| name.as_str().into());
        valid.ok_or_else(|| PolicyError::InvalidHeaderName(name.clone()))
    };
    names.iter().map(checked).collect()
}
