//! Why a request goes where it goes: the same parser, the same table, the same view
//! as on the data path, without a connection.

use super::view::HttpView;
use crate::plan::{Plan, Target};
use serde::{Deserialize, Serialize};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use tidegate_http::{HEADERS_MAX, parse_request};
use tidegate_message::{FieldId, Peer, Protocol, View};
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

fn answer<V: View>(plan: &Plan, view: &V, found: Option<usize>) -> Result<String, String> {
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
    let explanation = Explanation { route: found.map(name), target, endpoint, candidates, policies };
    serde_json::to_string(&explanation).map_err(|error| error.to_string())
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
