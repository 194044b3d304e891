//! From the DTO to what workers look things up in. A broken route or upstream is
//! told as a problem and fails alone.

use super::brokers::Brokers;
use super::canned::Canned;
use super::dto::*;
use super::{TermsError, Trust, Upstream};
use crate::access::{AccessSink, TracingDto};
use crate::auth::Tokens;
use crate::compress::Compression;
use crate::metrics::{CacheCounters, CacheOutcome, PerWorker, PolicyCounters, PolicyOutcome, Registry, RouteCounters};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidegate_cache::CachePolicy;
use tidegate_message::Limits;
use tidegate_policy::{CachePlan, ReplyTemplate, ScriptPlan, StepPlan, Steps, StepsInput};
use tidegate_resilience::Concurrency;
use tidegate_route::{RouteSpec, RouteTable};

/// Something in the plan that does not work; the rest does.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Problem {
    /// Where: `routes.3`, `upstreams.api`.
    pub path: String,
    /// What, and what to do.
    pub message: String,
}

/// The compiled plan.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) version: u64,
    /// Terms of listeners, by name.
    pub(crate) listeners: HashMap<String, Arc<Trust>>,
    pub(crate) routes: Vec<Route>,
    pub(crate) table: RouteTable,
    /// Routes of CONNECTs to brokers of upstreams.
    pub(crate) brokers: Option<Brokers>,
    /// What `/.well-known/core` lists of the routes.
    pub(crate) visible_paths: Box<[Box<str>]>,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) scripts: Vec<Script>,
    pub(crate) handlers: Vec<HandlerDto>,
    /// What is kept of passwords, by user.
    pub(crate) users: HashMap<String, Credentials>,
    /// Users to whom everything is allowed.
    pub(crate) superusers: HashSet<String>,
    /// Tokens as passwords.
    pub(crate) tokens: Option<Tokens>,
    /// A service that knows users.
    pub(crate) auth_service: Option<AuthService>,
    /// A hash that no password has: what an unknown user is compared with.
    pub(crate) no_user: String,
    pub(crate) broker: BrokerDto,
    pub(crate) hooks: crate::hooks::Hooks,
    pub(crate) mqtt: MqttDto,
    pub(crate) coap: CoapDto,
    pub(crate) bounds: Limits,
    pub(crate) limits: LimitsDto,
    pub(crate) log: LogDto,
    pub(crate) access: Option<Arc<AccessSink>>,
    pub(crate) forward: ForwardDto,
    pub(crate) tracing: Option<TracingDto>,
    pub(crate) explain: Vec<String>,
    /// Whether any route keeps answers: else nobody looks what a change makes invalid.
    pub(crate) has_cache: bool,
    /// Counters of what no route of the config serves: topics, 404.
    pub(crate) builtin: PerWorker<RouteCounters>,
    pub(crate) unrouted: PerWorker<RouteCounters>,
}

/// A service that knows users.
#[derive(Debug)]
pub(crate) struct AuthService {
    /// `None`: there is no upstream of that name, and nobody comes in by it.
    pub(crate) upstream: Option<usize>,
    pub(crate) path: String,
    pub(crate) timeout_ms: u64,
    pub(crate) cache_ms: u64,
}

impl Plan {
    pub(crate) fn route(&self, name: &str) -> Option<&Route> {
        self.routes.iter().find(|route| *route.name == *name)
    }

    /// Whether somebody may come in by name and password.
    pub(crate) fn knows_users(&self) -> bool {
        !self.users.is_empty()
            || self.tokens.is_some()
            || self.auth_service.is_some()
            || !self.hooks.authenticate.is_empty()
    }
}

/// What is kept of one user's password.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) hash: Option<String>,
    pub(crate) scram: Option<String>,
}

/// One route.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: Box<str>,
    pub(crate) target: Target,
    pub(crate) steps: Steps,
    /// Ids of the scripts among the steps.
    pub(crate) scripts: Vec<u32>,
    pub(crate) mirror: Option<usize>,
    pub(crate) timeout_ms: u64,
    /// It names TRACE among its methods: without, nobody may ask for it.
    pub(crate) takes_trace: bool,
    pub(crate) problem: Option<Box<str>>,
    pub(crate) counters: PerWorker<RouteCounters>,
    /// Of the steps, in their order; `None` for scripts, which have their own.
    pub(crate) compiled: Box<[Option<PerWorker<PolicyCounters>>]>,
    pub(crate) compress: Option<Compression>,
    pub(crate) cache: Option<RouteCache>,
    /// Requests of it at upstreams; outlives the plan.
    pub(crate) bulkhead: Option<Arc<Concurrency>>,
}

/// How a route's answers are kept.
#[derive(Debug)]
pub(crate) struct RouteCache {
    pub(crate) policy: CachePolicy,
    counters: PerWorker<CacheCounters>,
}

impl RouteCache {
    pub(crate) fn count(&self, worker: u16, outcome: CacheOutcome) {
        self.counters[usize::from(worker)].outcomes[outcome as usize].add(1);
    }
}

impl Route {
    /// Counts the steps that ran without leaving Rust.
    pub(crate) fn count_compiled(&self, worker: u16, ran: std::ops::Range<usize>) {
        for counters in self.compiled.get(ran).unwrap_or_default().iter().flatten() {
            counters[usize::from(worker)].count(PolicyOutcome::Compiled);
        }
    }
}

/// Where a route leads.
#[derive(Debug)]
pub(crate) enum Target {
    /// Indexes of upstreams with their cumulative weights; `None`: its share answers 500.
    Upstreams { split: Vec<(Option<usize>, u32)>, stride: u32 },
    /// An answer that is the same every time.
    Respond(Canned),
    /// An answer to fill in.
    Template(Box<ReplyTemplate>),
    /// A topic, with `{topic}` and captures to fill in.
    Topic(Box<str>),
    /// Files below it.
    Directory(Arc<Path>),
    /// An index into `handlers`; `None`: there is no handler of that name.
    Handler(Option<usize>),
}

/// One use of a TypeScript policy.
#[derive(Debug)]
pub(crate) struct Script {
    /// `None`: it does not compile; its fallback answers.
    pub(crate) script: Option<tidegate_policy::Script>,
    pub(crate) cache: Option<CachePlan>,
    pub(crate) refuses: bool,
    pub(crate) counters: PerWorker<PolicyCounters>,
}

/// Compiles a plan; `before` hands on what outlives it.
///
/// # Errors
/// A listener's certificates cannot be used: nothing may change then.
pub(crate) fn compile(
    dto: PlanDto,
    before: Option<&Plan>,
    registry: &Registry,
) -> Result<(Plan, Vec<Problem>), TermsError> {
    let mut listeners = HashMap::new();
    for listener in &dto.listeners {
        let known = before.and_then(|plan| plan.listeners.get(&listener.name));
        listeners.insert(listener.name.clone(), Arc::new(Trust::new(listener, known.map(|known| &**known), registry)?));
    }
    let mut limits = registry.limits.lock();
    let mut problems = Vec::new();
    let broker_names: HashSet<String> =
        dto.upstreams.iter().filter(|dto| dto.protocol == "mqtt").map(|dto| dto.name.clone()).collect();
    let upstreams: Vec<Upstream> = dto
        .upstreams
        .into_iter()
        .map(|upstream| {
            let known = before.and_then(|plan| plan.upstreams.iter().find(|known| *known.name == *upstream.name));
            Upstream::compile(upstream, known, registry)
        })
        .collect();
    for upstream in &upstreams {
        if let Some(problem) = &upstream.problem {
            problems.push(Problem { path: format!("upstreams.{}", upstream.name), message: problem.to_string() });
        }
    }
    let names: HashMap<&str, usize> = upstreams.iter().enumerate().map(|(index, up)| (&*up.name, index)).collect();
    let mut specs: Vec<RouteSpec> =
        dto.routes.iter().map(|route| RouteSpec { when: route.when.clone(), priority: route.priority }).collect();
    let brokers = Brokers::compile(&dto.routes, &broker_names, &mut specs);
    let (table, errors) = RouteTable::compile(&specs);
    let mut routes = Vec::with_capacity(dto.routes.len());
    for (index, mut route) in dto.routes.into_iter().enumerate() {
        let steps = std::mem::take(&mut route.steps);
        let mut compiled = compile_route(route, (&names, table.capture_names(index)), (&dto.handlers, registry));
        let mut input = StepsInput { captures: table.capture_names(index), limits: &mut limits };
        compiled.scripts = steps.iter().filter_map(script_of).collect();
        match Steps::compile(&steps, &mut input) {
            Ok(mut steps) => {
                if steps.retry().is_some_and(|retry| retry.hedge().is_some())
                    && let Some(known) = before.and_then(|plan| plan.route(&compiled.name))
                {
                    steps.keep(&known.steps);
                }
                compiled.compiled = steps.names().map(|name| name.map(|name| registry.policy(name))).collect();
                compiled.compress = steps.compress().map(|plan| Compression::compile(plan, registry));
                if let (Some(compression), Target::Respond(canned)) = (&compiled.compress, &mut compiled.target) {
                    canned.compress(compression);
                }
                compiled.cache = steps
                    .cache()
                    .map(|policy| RouteCache { policy: policy.clone(), counters: registry.cache(&compiled.name) });
                compiled.bulkhead = steps.bulkhead().map(|max| bulkhead(&compiled.name, max, before));
                compiled.steps = steps;
            }
            Err(error) => compiled.problem = Some(error.to_string().into()),
        }
        routes.push(compiled);
    }
    for (index, error) in errors {
        routes[index].problem = Some(error.to_string().into());
    }
    for (index, route) in routes.iter().enumerate() {
        if let Some(problem) = &route.problem {
            problems.push(Problem { path: format!("routes.{index}"), message: format!("{}: {problem}", route.name) });
        }
    }
    let tokens = dto.access.jwt.map(|terms| {
        Tokens::compile(terms).unwrap_or_else(|message| {
            problems.push(Problem { path: "auth.jwt".to_owned(), message });
            // Without keys no token is right.
            Tokens::default()
        })
    });
    let auth_service = dto.access.http.map(|service| {
        let upstream = names.get(service.upstream.as_str()).copied();
        if upstream.is_none() {
            let message = format!("there is no upstream {}", service.upstream);
            problems.push(Problem { path: "auth.http.upstream".to_owned(), message });
        }
        AuthService { upstream, path: service.path, timeout_ms: service.timeout_ms, cache_ms: service.cache_s * 1_000 }
    });
    let has_cache = routes.iter().any(|route: &Route| route.cache.is_some());
    let scripts = dto.scripts.into_iter().map(|script| compile_script(script, registry, &mut problems)).collect();
    let plan = Plan {
        version: dto.version,
        listeners,
        bounds: bounds(&dto.limits, &dto.mqtt),
        builtin: registry.route("builtin"),
        unrouted: registry.route("none"),
        routes,
        table,
        brokers,
        visible_paths: crate::coap::visible_paths(&specs),
        upstreams,
        scripts,
        handlers: dto.handlers,
        superusers: dto.access.superusers.into_iter().collect(),
        tokens,
        auth_service,
        no_user: dto.access.users.iter().find_map(|user| user.hash.clone()).unwrap_or_default(),
        users: dto
            .access
            .users
            .into_iter()
            .map(|UserDto { name, hash, scram }| (name, Credentials { hash, scram }))
            .collect(),
        broker: dto.broker,
        hooks: dto.hooks,
        mqtt: dto.mqtt,
        coap: dto.coap,
        limits: dto.limits,
        access: access_log(&dto.log, before, &mut problems),
        log: dto.log,
        forward: dto.forward,
        tracing: dto.tracing,
        explain: dto.explain,
        has_cache,
    };
    Ok((plan, problems))
}

/// The bulkhead of a route: the one before, since its requests are still under way.
fn bulkhead(name: &str, max: u32, before: Option<&Plan>) -> Arc<Concurrency> {
    let known = before.and_then(|plan| plan.route(name)?.bulkhead.clone());
    let bulkhead = known.unwrap_or_else(|| Arc::new(Concurrency::new(max)));
    bulkhead.set_max(max);
    bulkhead
}

/// The access log: the one before, where it is the same.
fn access_log(log: &LogDto, before: Option<&Plan>, problems: &mut Vec<Problem>) -> Option<Arc<AccessSink>> {
    let wanted = log.access.as_ref()?;
    if let Some(known) = before.and_then(|plan| plan.access.as_ref()).filter(|known| known.dto == *wanted) {
        return Some(Arc::clone(known));
    }
    let started = AccessSink::start(wanted);
    if let Err(error) = &started {
        problems.push(Problem { path: "log.access".to_owned(), message: format!("there is no access log: {error}") });
    }
    started.ok()
}

fn script_of(step: &StepPlan) -> Option<u32> {
    if let StepPlan::Script { script } = step { Some(*script) } else { None }
}

fn compile_route(
    route: RouteDto,
    (names, captures): (&HashMap<&str, usize>, &[Box<str>]),
    (handlers, registry): (&[HandlerDto], &Registry),
) -> Route {
    let mut problem: Option<Box<str>> = route.problem.map(Box::from);
    let target = match route.target {
        TargetDto::Upstreams { split } => {
            let mut total = 0;
            let split: Vec<(Option<usize>, u32)> = split
                .into_iter()
                .map(|part| {
                    total += part.weight;
                    (names.get(part.upstream.as_str()).copied(), total)
                })
                .collect();
            if total == 0 && problem.is_none() {
                problem = Some("the weights of its upstreams add up to 0".into());
            }
            Target::Upstreams { split, stride: stride(total) }
        }
        TargetDto::Respond { status, headers, body } => answer((status, &headers, &body), captures, &mut problem),
        TargetDto::Redirect { location, status } => {
            answer((status, &[("location".to_owned(), location)], ""), captures, &mut problem)
        }
        TargetDto::Topic { topic } => Target::Topic(topic.into()),
        TargetDto::Handler { name } => {
            let index = handlers.iter().position(|handler| handler.name == name);
            if index.is_none() && problem.is_none() {
                problem = Some(format!("there is no handler named {name}").into());
            }
            Target::Handler(index)
        }
        TargetDto::Directory { path } => Target::Directory(PathBuf::from(path).into()),
    };
    Route {
        counters: registry.route(&route.name),
        mirror: route.mirror.as_deref().and_then(|name| names.get(name).copied()),
        name: route.name.into(),
        steps: Steps::default(),
        scripts: Vec::new(),
        target,
        timeout_ms: route.timeout_ms,
        takes_trace: route.when.methods.iter().any(|method| method.eq_ignore_ascii_case("TRACE")),
        problem,
        compiled: Box::default(),
        compress: None,
        cache: None,
        bulkhead: None,
    }
}

/// An answer of ours: made once, or filled in for each request.
fn answer(
    (status, headers, body): (u16, &[(String, String)], &str),
    captures: &[Box<str>],
    problem: &mut Option<Box<str>>,
) -> Target {
    match ReplyTemplate::compile((status, headers, body), captures) {
        Ok(Some(template)) => Target::Template(Box::new(template)),
        Ok(None) => Target::Respond(Canned::new(status, headers, body)),
        Err(error) => {
            *problem = Some(error.to_string().into());
            Target::Respond(Canned::new(500, &[], ""))
        }
    }
}

/// A step through a split's weights that visits all of them evenly: near the golden
/// section, and without a common divisor.
fn stride(total: u32) -> u32 {
    let gcd = |mut a: u32, mut b: u32| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let golden = (f64::from(total) * 0.618) as u32;
    (golden.max(1)..).find(|step| total == 0 || gcd(*step, total) == 1).unwrap_or(1)
}

fn compile_script(plan: ScriptPlan, registry: &Registry, problems: &mut Vec<Problem>) -> Script {
    let script = tidegate_policy::Script::compile(&plan);
    if let Err(error) = &script {
        problems.push(Problem { path: format!("policies.{}", plan.policy), message: error.to_string() });
    }
    Script {
        script: script.ok(),
        counters: registry.policy(&plan.policy),
        cache: plan.cache,
        refuses: plan.fallback == tidegate_policy::FallbackPlan::Reject,
    }
}

fn bounds(limits: &LimitsDto, mqtt: &MqttDto) -> Limits {
    Limits {
        header_line: limits.header_line_bytes,
        header_total: limits.header_total_bytes.min(crate::worker::READ_BYTES / 2),
        header_count: limits.header_count.min(tidegate_http::HEADERS_MAX),
        topic_levels: limits.topic_levels,
        websocket_message: limits.websocket_message_bytes,
        body_collected: limits.body_collected_bytes,
        mqtt_packet: mqtt.max_packet_bytes,
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stride_visits_every_weight_once_per_round() {
        for total in [1u32, 2, 10, 100, 97, 1_000] {
            let step = stride(total);
            let mut seen = vec![false; total as usize];
            for turn in 0..total {
                seen[(u64::from(turn) * u64::from(step) % u64::from(total)) as usize] = true;
            }
            assert!(seen.iter().all(|seen| *seen), "{total}");
        }
    }
}
