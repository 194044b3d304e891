//! Why a request goes where it goes: the same parser, the same table, the same view
//! as on the data path, without a connection.

use super::request::Request;
use super::view::HttpView;
use crate::plan::{Plan, Route, Target, Upstream};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use tidegate_balance::{Endpoint, PickRequest};
use tidegate_http::{HEADERS_MAX, parse_request};
use tidegate_message::{FieldId, Peer, Protocol, View};
use tidegate_policy::{Context, Edits, Explained, KeyInput};
use tidegate_resilience::GateState;
use tidegate_route::{Captures, canonical_path};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Query {
    /// The client's address; 127.0.0.1 where it is not said.
    source: Option<std::net::IpAddr>,
    method: Option<String>,
    url: Option<String>,
    headers: Option<std::collections::BTreeMap<String, String>>,
    topic: Option<String>,
    protocol: Option<String>,
}

#[derive(Serialize)]
struct Explanation<'p> {
    route: Option<&'p str>,
    target: serde_json::Value,
    /// The one that would be picked now; strategies in turns or at random may pick another one next.
    endpoint: Option<&'p str>,
    /// What speaks for it, see `BalancePlan::score`.
    score: Option<f64>,
    /// The upstream's endpoints with theirs, the first of them.
    endpoints: Vec<EndpointRow<'p>>,
    candidates: Vec<CandidateRow<'p>>,
    policies: Vec<PolicyRow<'p>>,
}

#[derive(Serialize)]
struct EndpointRow<'p> {
    endpoint: &'p str,
    score: f64,
    active: u32,
}

#[derive(Serialize)]
struct CandidateRow<'p> {
    route: &'p str,
    matched: bool,
    reason: &'static str,
}

#[derive(Serialize)]
struct PolicyRow<'p> {
    name: &'p str,
    verdict: Cow<'static, str>,
}

/// A plan at a moment.
#[derive(Clone, Copy)]
pub(crate) struct Moment<'p> {
    pub(crate) plan: &'p Plan,
    /// The gateway's clock.
    pub(crate) now_us: u64,
}

/// Endpoints that an explanation shows.
const ENDPOINTS: usize = 32;

/// Explains a request (`method`, `url`, `headers`) or a publish (`topic`).
pub(crate) fn explain_request(moment: Moment<'_>, query: &str) -> Result<String, String> {
    let plan = moment.plan;
    let query: Query = serde_json::from_str(query).map_err(|error| error.to_string())?;
    let peer = Peer::new(SocketAddr::from((query.source.unwrap_or(Ipv4Addr::LOCALHOST.into()), 0)));
    let mut captures = Captures::new();
    let wanted = query.protocol.as_deref();
    let protocol = Protocol::ALL.into_iter().find(|protocol| Some(protocol.label()) == wanted);
    if let Some(topic) = &query.topic {
        let view = TopicView { topic, peer: &peer, protocol: protocol.unwrap_or(Protocol::Mqtt) };
        let mut found = Vec::new();
        plan.table.topics(topic, &view, &mut found);
        return answer(moment, &view, found.first().map(|index| (*index, &captures)));
    }
    let url = query.url.as_deref().ok_or("say what to explain: a url or a topic")?;
    let (host, target) = split(url)?;
    let mut head = format!("{} {target} HTTP/1.1\r\nHost: {host}\r\n", query.method.as_deref().unwrap_or("GET"));
    for (name, value) in query.headers.iter().flatten() {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let head = parse_request(head.as_bytes(), &plan.bounds, &mut headers)
        .map_err(|error| error.to_string())?
        .ok_or("the request is not complete")?;
    let path = canonical_path(head.path()).map_err(|error| error.to_string())?;
    let host = head.host().to_ascii_lowercase();
    let view =
        HttpView { head: &head, path: &path, host: &host, peer: &peer, protocol: protocol.unwrap_or(Protocol::Http1) };
    let found = plan.table.find(&view, &mut captures);
    answer(moment, &view, found.map(|index| (index, &captures)))
}

/// Candidates that an answer header names.
const HEADER_CANDIDATES: usize = 8;

/// What asks for the answer header, and its name.
pub(super) const EXPLAIN: &str = "tidegate-explain";

/// Where a request asks for it with a token of the admin API, its answer says why it goes where it goes.
pub(super) fn explain_here(request: &Request<'_>, found: Option<(usize, &Captures)>) {
    let plan = &request.plan.plan;
    if plan.explain.is_empty() {
        return;
    }
    let Some(given) = request.head.header(EXPLAIN) else { return };
    let given = given.strip_prefix(b"Bearer ").unwrap_or(given);
    // Of the hashes the time to compare says nothing about the token.
    let hash: String = Sha256::digest(given).iter().map(|byte| format!("{byte:02x}")).collect();
    if !plan.explain.contains(&hash) {
        return;
    }
    let mut explanation = explanation(Moment { plan, now_us: request.started_us }, &request.view, found);
    explanation.candidates.truncate(HEADER_CANDIDATES);
    explanation.endpoints.truncate(HEADER_CANDIDATES);
    request.edits.borrow_mut().set_response_header(EXPLAIN, &to_header(&explanation));
}

/// JSON in one line of printable ASCII.
fn to_header(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).unwrap_or_default();
    let mut out = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            ' '..='~' => out.push(letter),
            // JSON text holds none of those outside of strings.
            _ => letter.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    out
}

/// What came of a request that an answer explains: where it went in the end.
#[derive(Serialize)]
struct Outcome<'o> {
    upstream: &'o str,
    endpoint: &'o str,
    retries: u32,
    micros: u64,
}

/// Adds where the request went to an answer that explains.
pub(super) fn explain_outcome(edits: &mut Edits, (upstream, endpoint): (&str, &str), (retries, micros): (u32, u64)) {
    edits.add_response_header(EXPLAIN, &to_header(&Outcome { upstream, endpoint, retries, micros }));
}

fn answer<V: View>(moment: Moment<'_>, view: &V, found: Option<(usize, &Captures)>) -> Result<String, String> {
    let mut explanation = explanation(moment, view, found);
    let picked = found.and_then(|(index, _)| {
        let route = &moment.plan.routes[index];
        let upstream = first_upstream(moment.plan, &route.target)?;
        Some((upstream, pick(moment, view, (upstream, &route.name))?))
    });
    if let Some((upstream, endpoint)) = picked {
        explanation.endpoint = Some(&endpoint.id);
        explanation.score = Some(upstream.balance.score(endpoint, moment.now_us / 1_000));
    }
    serde_json::to_string(&explanation).map_err(|error| error.to_string())
}

/// All but the endpoint: on the data path the outcome says which one it was.
fn explanation<'p, V: View>(moment: Moment<'p>, view: &V, found: Option<(usize, &Captures)>) -> Explanation<'p> {
    let plan = moment.plan;
    let name = |index: usize| &*plan.routes[index].name;
    let candidates = plan.table.explain(view);
    let candidates = candidates
        .into_iter()
        .map(|candidate| CandidateRow {
            route: name(candidate.route),
            matched: candidate.matched,
            reason: candidate.reason,
        })
        .collect();
    let route = found.map(|(index, _)| &plan.routes[index]);
    let policies = found.map(|(index, captures)| explain_policies(moment, view, (&plan.routes[index], captures)));
    let upstream = route.and_then(|route| first_upstream(plan, &route.target));
    let row = |endpoint: &'p Endpoint| EndpointRow {
        endpoint: &endpoint.id,
        score: upstream.map_or(0.0, |upstream| upstream.balance.score(endpoint, moment.now_us / 1_000)),
        active: endpoint.active(),
    };
    Explanation {
        route: found.map(|(index, _)| name(index)),
        target: route.map_or(serde_json::Value::Null, |route| target(plan, &route.target)),
        endpoint: None,
        score: None,
        endpoints: upstream
            .into_iter()
            .flat_map(|upstream| upstream.endpoints.iter())
            .take(ENDPOINTS)
            .map(row)
            .collect(),
        candidates,
        policies: policies.unwrap_or_default(),
    }
}

fn explain_policies<'p, V: View>(
    Moment { plan, now_us }: Moment<'p>,
    view: &V,
    (route, captures): (&'p Route, &Captures),
) -> Vec<PolicyRow<'p>> {
    let (mut edits, mut scratch, now_ns) = (Edits::new(), Vec::new(), now_us * 1_000);
    let (edits, scratch) = (&mut edits, &mut scratch);
    let mut context = Context { route: &route.name, captures, edits, scratch, now_ns, ran: 0 };
    let explained = route.steps.explain(view, &mut context).into_iter();
    let mut rows = Vec::from_iter(explained.filter_map(|policy| match policy {
        Explained::Compiled(name, verdict) => Some(PolicyRow { name, verdict: verdict.into() }),
        Explained::Script(index, is_reached) => {
            let script = plan.scripts.get(index as usize)?.script.as_ref()?;
            let verdict = match (is_reached, script.applies(view)) {
                (false, _) => "not reached",
                (true, true) => "would be asked",
                (true, false) => "filtered",
            };
            Some(PolicyRow { name: &script.policy, verdict: verdict.into() })
        }
    }));
    if let Some(gate) = first_upstream(plan, &route.target).and_then(|upstream| upstream.gate.as_ref()) {
        let verdict = match gate.state(now_us / 1_000) {
            GateState::Closed => "closed",
            GateState::HalfOpen => "half-open",
            GateState::Open => "open: refuses",
        };
        rows.push(PolicyRow { name: "breaker", verdict: verdict.into() });
    }
    rows
}

/// The upstream that has the first share.
fn first_upstream<'p>(plan: &'p Plan, target: &Target) -> Option<&'p Upstream> {
    let Target::Upstreams { split, .. } = target else { return None };
    plan.upstreams.get(split.first()?.0?)
}

/// The endpoint that a fresh cursor would pick: by a hash it is the one that every worker picks.
fn pick<'p, V: View>(
    Moment { now_us, .. }: Moment<'_>,
    view: &V,
    (upstream, route): (&'p Upstream, &str),
) -> Option<&'p Endpoint> {
    let mut bytes = Vec::new();
    // Only a policy in TypeScript sets a key of its own, and none is asked.
    let input = KeyInput { route, hash_key: None };
    let key = upstream.key.as_ref().is_some_and(|key| key.write(view, &input, &mut bytes)).then_some(&bytes[..]);
    let zoned = upstream.endpoints.iter().any(|endpoint| !endpoint.near);
    let wanted =
        PickRequest { key, source: Some(view.peer().address.ip()), now_ms: now_us / 1_000, ..PickRequest::default() };
    upstream.endpoints.get(upstream.balance.picker_of(0, zoned).pick(&wanted, &upstream.endpoints)?)
}

fn target(plan: &Plan, target: &Target) -> serde_json::Value {
    match target {
        Target::Upstreams { split, .. } => {
            let mut before = 0;
            let parts = split.iter().map(|(upstream, until)| {
                let weight = until - std::mem::replace(&mut before, *until);
                let name = upstream.map(|index| &*plan.upstreams[index].name);
                serde_json::json!({ "upstream": name, "weight": weight })
            });
            serde_json::json!({ "upstreams": parts.collect::<Vec<_>>() })
        }
        Target::Respond(canned) => serde_json::json!({ "respond": { "status": canned.status } }),
        Target::Template(reply) => serde_json::json!({ "respond": { "status": reply.status } }),
        Target::Directory(path) => serde_json::json!({ "directory": path }),
        Target::Topic(topic) => serde_json::json!({ "topic": topic }),
        Target::Handler(index) => {
            serde_json::json!({ "handler": index.and_then(|index| plan.handlers.get(index)).map(|handler| &handler.name) })
        }
    }
}

fn split(url: &str) -> Result<(&str, &str), String> {
    if url.starts_with('/') {
        return Ok(("localhost", url));
    }
    let rest = url.split_once("://").ok_or_else(|| format!("{url} is no URL: write /path or http://host/path"))?.1;
    let at = rest.find('/').unwrap_or(rest.len());
    Ok((&rest[..at], if at == rest.len() { "/" } else { &rest[at..] }))
}

/// A publish as routes see it, with nothing but its topic.
struct TopicView<'t> {
    topic: &'t str,
    peer: &'t Peer,
    protocol: Protocol,
}

impl View for TopicView<'_> {
    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn peer(&self) -> &Peer {
        self.peer
    }

    fn field(&self, id: FieldId<'_>) -> Option<&[u8]> {
        matches!(id, FieldId::Topic).then_some(self.topic.as_bytes())
    }
}
