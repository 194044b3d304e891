//! Routes that lead to brokers of upstreams: asked once for each CONNECT, and no request
//! or publish ever takes one.

use super::dto::{RouteDto, TargetDto};
use std::collections::HashSet;
use tidegate_message::{FieldId, Protocol, View};
use tidegate_route::{Captures, MatchPlan, RouteSpec, RouteTable};

/// Their own table, and which route of the plan each is.
#[derive(Debug)]
pub(crate) struct Brokers {
    table: RouteTable,
    routes: Vec<usize>,
}

/// Whether a route leads to brokers only.
fn leads_to_broker(route: &RouteDto, brokers: &HashSet<String>) -> bool {
    match &route.target {
        TargetDto::Upstreams { split } => {
            !split.is_empty() && split.iter().all(|part| brokers.contains(&part.upstream))
        }
        _ => false,
    }
}

impl Brokers {
    /// Takes those routes out of `specs`, where nothing finds them any more; `None`: there are none.
    pub(crate) fn compile(routes: &[RouteDto], brokers: &HashSet<String>, specs: &mut [RouteSpec]) -> Option<Brokers> {
        let indexes: Vec<usize> =
            routes.iter().enumerate().filter(|(_, route)| leads_to_broker(route, brokers)).map(|(at, _)| at).collect();
        let own: Vec<RouteSpec> = indexes
            .iter()
            .map(|&at| {
                let mut when = specs[at].when.clone();
                when.protocols = vec![Protocol::Mqtt.label().to_owned()];
                // No request comes by the protocol that is only a wrapping.
                let nowhere = MatchPlan { protocols: vec![Protocol::Tls.label().to_owned()], ..when.clone() };
                specs[at].when = MatchPlan { topic: None, ..nowhere };
                RouteSpec { when, priority: specs[at].priority }
            })
            .collect();
        (!own.is_empty()).then(|| Brokers { table: RouteTable::compile(&own).0, routes: indexes })
    }

    /// The route of a CONNECT. Its topic is that of its will, the only one it names; a bridge's begins with `$SYS`.
    pub(crate) fn find<V: View>(&self, view: &V) -> Option<usize> {
        let mut found = Vec::new();
        let topic = view.field(FieldId::Topic).and_then(|topic| std::str::from_utf8(topic).ok());
        self.table.topics_beside(topic.unwrap_or_default(), view, &mut found);
        let first = found.first().copied().or_else(|| self.table.find(view, &mut Captures::new()));
        first.map(|at| self.routes[at])
    }
}
