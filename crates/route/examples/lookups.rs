//! What finding a route costs by the number of routes: nanoseconds, as JSON. Run by `bench/tables.mjs`.
//! Each lookup is of another route, so that the caches see what many clients would do to them.

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};
use tidegate_message::{FieldId, Peer, Protocol, View};
use tidegate_route::{Captures, MatchPlan, PathPlan, RouteSpec, RouteTable};

const LOOKUPS: usize = 1_000_000;

struct Request {
    peer: Peer,
    host: String,
    path: String,
}

impl View for Request {
    fn protocol(&self) -> Protocol {
        Protocol::Http1
    }
    fn peer(&self) -> &Peer {
        &self.peer
    }
    fn field(&self, id: FieldId<'_>) -> Option<&[u8]> {
        match id {
            FieldId::Path => Some(self.path.as_bytes()),
            FieldId::Host => Some(self.host.as_bytes()),
            FieldId::Method => Some(b"GET"),
            _ => None,
        }
    }
}

/// A third each: a host and a prefix, a prefix alone, a template.
fn spec(index: usize) -> RouteSpec {
    let host = (index.is_multiple_of(3)).then(|| format!("h{}.example", index % 1_000));
    let path = match index % 3 {
        2 => PathPlan::Template(format!("/v1/things-{index}/{{id}}/state")),
        _ => PathPlan::Prefix(format!("/v1/service-{index}/api")),
    };
    RouteSpec { when: MatchPlan { host, path: Some(path), ..MatchPlan::default() }, priority: 0 }
}

/// A request of that route, in the memory of the one before: a gateway has just read it.
fn ask(request: &mut Request, index: usize) {
    request.host.clear();
    request.path.clear();
    // To a text there is room for.
    let _ = write!(request.host, "h{}.example", index % 1_000);
    let _ = match index % 3 {
        2 => write!(request.path, "/v1/things-{index}/device-{index}/state"),
        _ => write!(request.path, "/v1/service-{index}/api/users/{index}"),
    };
}

fn cost(routes: usize) -> f64 {
    let specs: Vec<RouteSpec> = (0..routes).map(spec).collect();
    let (table, errors) = RouteTable::compile(&specs);
    assert!(errors.is_empty(), "{errors:?}");
    let mut captures = Captures::new();
    let mut request = Request { peer: Peer::new(([127, 0, 0, 1], 1).into()), host: String::new(), path: String::new() };
    let (mut taken, mut clock) = (Duration::ZERO, Duration::ZERO);
    for turn in 0..LOOKUPS {
        // In no order: a step that has no divisor in common with their number.
        ask(&mut request, (turn * 7_919) % routes);
        let started = Instant::now();
        let found = table.find(black_box(&request), &mut captures);
        taken += started.elapsed();
        assert!(black_box(found).is_some());
        // What looking at the clock costs.
        let started = Instant::now();
        clock += started.elapsed();
    }
    taken.saturating_sub(clock).as_nanos() as f64 / LOOKUPS as f64
}

fn main() {
    let rows: Vec<String> = [1, 256, 10_000, 100_000]
        .into_iter()
        .map(|routes| format!("{{\"routes\":{routes},\"ns\":{:.1}}}", cost(routes)))
        .collect();
    println!("[{}]", rows.join(","));
}
