//! Why a request goes where it goes: the same parser, the same table, the same view
//! as on the data path, without a connection.

use super::request::Request;
use super::view::HttpView;
use crate::plan::{Plan, Target};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use tidegate_http::{HEADERS_MAX, parse_request};
use tidegate_message::{FieldId, Peer, Protocol, View};
use tidegate_policy::Edits;
use tidegate_route::{Captures, canonical_path};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Query {
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
    endpoint: Option<String>,
    candidates: Vec<CandidateRow<'p>>,
    policies: Vec<PolicyRow<'p>>,
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
    verdict: &'static str,
}

/// Explains a request (`method`, `url`, `headers`) or a publish (`topic`).
pub(crate) fn explain_request(plan: &Plan, query: &str) -> Result<String, String> {
    let query: Query = serde_json::from_str(query).map_err(|error| error.to_string())?;
    let peer = Peer::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    let wanted = query.protocol.as_deref();
    let protocol = Protocol::ALL.into_iter().find(|protocol| Some(protocol.label()) == wanted);
    if let Some(topic) = &query.topic {
        let view = TopicView { topic, peer: &peer, protocol: protocol.unwrap_or(Protocol::Mqtt) };
        let mut found = Vec::new();
        plan.table.topics(topic, &view, &mut found);
        return answer(plan, &view, found.first().copied());
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
    let found = plan.table.find(&view, &mut Captures::new());
    answer(plan, &view, found)
}

/// Candidates that an answer header names.
const HEADER_CANDIDATES: usize = 8;

/// What asks for the answer header, and its name.
pub(super) const EXPLAIN: &str = "tidegate-explain";

/// Where a request asks for it with a token of the admin API, its answer says why it goes where it goes.
pub(super) fn explain_here(request: &Request<'_>, found: Option<usize>) {
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
    let mut explanation = explanation(plan, &request.view, found);
    explanation.candidates.truncate(HEADER_CANDIDATES);
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

fn answer<V: View>(plan: &Plan, view: &V, found: Option<usize>) -> Result<String, String> {
    serde_json::to_string(&explanation(plan, view, found)).map_err(|error| error.to_string())
}

fn explanation<'p, V: View>(plan: &'p Plan, view: &V, found: Option<usize>) -> Explanation<'p> {
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
    let route = found.map(|index| &plan.routes[index]);
    let policies = plan
        .scripts
        .iter()
        .filter_map(|entry| entry.script.as_ref())
        .filter(|script| route.is_some_and(|route| route.scripts.contains(&script.id)))
        .map(|script| PolicyRow {
            name: &script.policy,
            verdict: if script.applies(view) { "would be asked" } else { "filtered" },
        })
        .collect();
    let endpoint = route.and_then(|route| endpoint(plan, &route.target));
    let target = route.map_or(serde_json::Value::Null, |route| target(plan, &route.target));
    Explanation { route: found.map(name), target, endpoint, candidates, policies }
}

/// An endpoint that could take it now; which one does is the balancer's turn.
fn endpoint(plan: &Plan, target: &Target) -> Option<String> {
    let Target::Upstreams { split, .. } = target else { return None };
    let upstream = plan.upstreams.get(split.first()?.0?)?;
    upstream.endpoints.iter().find(|endpoint| endpoint.is_available()).map(|endpoint| endpoint.id.to_string())
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
