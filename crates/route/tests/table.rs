//! The table as a whole: precedence, fall-through, captures, topics, and equality
//! with a scan over all routes.

use std::collections::HashMap;

use proptest::prelude::*;
use tidegate_message::{FieldId, Peer, Protocol, View};
use tidegate_route::{Captures, Condition, MatchPlan, PathPlan, RouteSpec, RouteTable};

struct Request {
    peer: Peer,
    protocol: Protocol,
    fields: HashMap<String, String>,
}

impl Request {
    fn new(path: &str) -> Self {
        let peer = Peer::new("10.1.2.3:4000".parse().expect("address"));
        Request { peer, protocol: Protocol::Http1, fields: HashMap::new() }.with("path", path).with("method", "GET")
    }

    fn with(mut self, field: &str, value: &str) -> Self {
        self.fields.insert(field.into(), value.into());
        self
    }
}

impl View for Request {
    fn protocol(&self) -> Protocol {
        self.protocol
    }
    fn peer(&self) -> &Peer {
        &self.peer
    }
    fn field(&self, id: FieldId<'_>) -> Option<&[u8]> {
        let key = match id {
            FieldId::Path => "path".to_owned(),
            FieldId::Host => "host".to_owned(),
            FieldId::Method => "method".to_owned(),
            FieldId::ClientId => "clientId".to_owned(),
            FieldId::Topic => "topic".to_owned(),
            FieldId::Header(name) => format!("header:{}", name.to_lowercase()),
            FieldId::Query(name) => format!("query:{name}"),
            _ => return None,
        };
        self.fields.get(&key).map(String::as_bytes)
    }
}

fn table(rules: &str) -> RouteTable {
    let specs: Vec<RouteSpec> = serde_json::from_str(rules).expect("specs");
    let (table, errors) = RouteTable::compile(&specs);
    assert_eq!(errors, []);
    table
}

fn find(table: &RouteTable, request: &Request) -> Option<usize> {
    table.find(request, &mut Captures::new())
}

#[test]
fn an_exact_path_goes_before_a_template_a_prefix_and_an_expression() {
    let table = table(
        r#"[{"when":{"path":{"kind":"regex","value":"/a/.*"}}},
            {"when":{"path":{"kind":"prefix","value":"/a"}}},
            {"when":{"path":{"kind":"template","value":"/a/{id}"}}},
            {"when":{"path":{"kind":"exact","value":"/a/b"}}},
            {"when":{"path":{"kind":"prefix","value":"/a/x/y"}}},
            {"when":{}}]"#,
    );
    for (path, route) in [("/a/b", 3), ("/a/c", 2), ("/a/x/z", 1), ("/a/x/y/z", 4), ("/a", 1), ("/b", 5), ("*", 5)] {
        assert_eq!(find(&table, &Request::new(path)), Some(route), "{path}");
    }
}

#[test]
fn an_exact_host_goes_before_the_longest_wildcard_and_priority_before_all() {
    let table = table(
        r#"[{"when":{"host":"*.a.com"}}, {"when":{"host":"*.b.a.com"}}, {"when":{"host":"x.b.a.com"}},
            {"when":{"path":{"kind":"exact","value":"/"}}},
            {"when":{"path":{"kind":"prefix","value":"/admin"}},"priority":1}]"#,
    );
    for (host, path, route) in [
        ("x.b.a.com", "/", 2),
        ("y.b.a.com", "/", 1),
        ("z.a.com", "/", 0),
        ("a.com", "/", 3),
        ("x.b.a.com", "/admin/", 4),
    ] {
        assert_eq!(find(&table, &Request::new(path).with("host", host)), Some(route), "{host}{path}");
    }
}

#[test]
fn what_asks_for_a_host_elsewhere_finds_routes_that_name_it_and_no_others() {
    let table = table(
        r#"[{"when":{},"priority":9}, {"when":{"path":{"kind":"prefix","value":"/a"}},"priority":9},
            {"when":{"host":"*.a.com"}}, {"when":{"host":"x.a.com","path":{"kind":"exact","value":"/a"}}}]"#,
    );
    let named = |host, path| table.find_named(&Request::new(path).with("host", host), &mut Captures::new());
    assert_eq!(find(&table, &Request::new("/a").with("host", "x.a.com")), Some(1));
    assert_eq!((named("x.a.com", "/a"), named("x.a.com", "/b"), named("y.a.com", "/a")), (Some(3), Some(2), Some(2)));
    assert_eq!((named("a.com", "/a"), table.find_named(&Request::new("/a"), &mut Captures::new())), (None, None));
}

#[test]
fn a_mismatch_of_method_header_or_query_falls_through_to_the_next() {
    let table = table(
        r#"[{"when":{"path":{"kind":"prefix","value":"/"}}},
            {"when":{"path":{"kind":"exact","value":"/a"},"methods":["POST"]}},
            {"when":{"path":{"kind":"exact","value":"/a"},"headers":[{"name":"X-V","kind":"exact","value":"2"}]}},
            {"when":{"path":{"kind":"exact","value":"/a"},"query":[{"name":"q","kind":"regex","value":"[0-9]+"}]}},
            {"when":{"path":{"kind":"exact","value":"/a"},"query":[{"name":"q","kind":"present","value":""}],
                     "headers":[{"name":"x-v","kind":"present","value":""}]}}]"#,
    );
    let request = || Request::new("/a");
    assert_eq!(find(&table, &request()), Some(0));
    assert_eq!(find(&table, &request().with("method", "POST")), Some(1));
    assert_eq!(find(&table, &request().with("header:x-v", "2")), Some(2));
    assert_eq!(find(&table, &request().with("query:q", "77")), Some(3));
    assert_eq!(find(&table, &request().with("query:q", "%377")), Some(3));
    assert_eq!(find(&table, &request().with("query:q", "7x")), Some(0));
    assert_eq!(find(&table, &request().with("header:x-v", "2").with("query:q", "1")), Some(4));
}

#[test]
fn the_source_address_and_the_protocol_are_conditions() {
    let table = table(
        r#"[{"when":{"source":["10.0.0.0/8"],"protocols":["coap"]}}, {"when":{"source":["10.1.2.3"]}},
            {"when":{"sni":"*.a.com"}}]"#,
    );
    let mut request = Request::new("/");
    assert_eq!(find(&table, &request), Some(1));
    request.peer = Peer::new("[::ffff:10.9.9.9]:1".parse().expect("address"));
    request.protocol = Protocol::Coap;
    assert_eq!(find(&table, &request), Some(0));
    request.protocol = Protocol::Http1;
    assert_eq!(find(&table, &request), None);
    request.peer.known_mut().sni = Some("x.a.com".into());
    assert_eq!(find(&table, &request), Some(2));
}

#[test]
fn captures_name_segments_groups_and_the_rest_of_a_prefix() {
    let table = table(
        r#"[{"when":{"path":{"kind":"template","value":"/u/{user}/p/{post}"}}},
            {"when":{"path":{"kind":"prefix","value":"/api"}}},
            {"when":{"path":{"kind":"regex","value":"/r/(?P<year>[0-9]{4})(?P<tail>x)?"}}}]"#,
    );
    let mut captures = Captures::new();
    let path = "/u/ann/p/17";
    assert_eq!(table.find(&Request::new(path), &mut captures), Some(0));
    assert_eq!(table.capture_names(0), &["user".into(), "post".into()] as &[Box<str>]);
    assert_eq!(captures.bytes(0, path.as_bytes()), Some(&b"ann"[..]));
    assert_eq!(captures.bytes(1, path.as_bytes()), Some(&b"17"[..]));

    for (path, rest) in [("/api/x/y", "x/y"), ("/api/", ""), ("/api", "")] {
        assert_eq!(table.find(&Request::new(path), &mut captures), Some(1));
        assert_eq!(&path[captures.rest().expect("a prefix leaves a rest")], rest);
    }
    assert_eq!(table.find(&Request::new("/r/2026"), &mut captures), Some(2));
    assert_eq!((captures.span(0), captures.span(1), captures.rest()), (Some(3..7), None, None));
}

#[test]
fn all_matching_topic_routes_apply_most_specific_first() {
    let table = table(
        r##"[{"when":{"topic":"#"}}, {"when":{"topic":"plant/+/temp"}}, {"when":{"topic":"plant/1/temp"}},
            {"when":{"topic":"plant/#"}}, {"when":{"topic":"plant/1/#"}},
            {"when":{"topic":"#"},"priority":5}, {"when":{"protocols":["mqtt"]}},
            {"when":{"topic":"plant/+/temp","clientId":{"kind":"exact","value":"c7"}}},
            {"when":{"path":{"kind":"prefix","value":"/"}}}]"##,
    );
    let mut request = Request::new("/t").with("clientId", "c8");
    request.protocol = Protocol::Mqtt;
    let mut found = vec![99];
    table.topics("plant/1/temp", &request, &mut found);
    assert_eq!(found, [99, 5, 2, 4, 1, 3, 0, 6]);
    found.clear();
    table.topics("$SYS/x", &request, &mut found);
    assert!(found.is_empty());
    table.topics_beside("$SYS/x", &request, &mut found);
    assert_eq!(found, [6], "a filter does not match, none does");
    found.clear();
    table.topics_beside("plant/1/temp", &request, &mut found);
    assert_eq!(found, [5, 2, 4, 1, 3, 0, 6]);
    assert!(table.has_topics());
    assert_eq!(find(&table, &request), Some(8), "a topic route serves no request");
}

#[test]
fn a_broken_route_fails_alone() {
    let specs: Vec<RouteSpec> = serde_json::from_str(
        r#"[{"when":{"path":{"kind":"regex","value":"("}}}, {"when":{"topic":"a#"}}, {"when":{"protocols":["smtp"]}},
            {"when":{"source":["10.0.0.0/99"]}}, {"when":{"host":"a*"}}, {"when":{"path":{"kind":"exact","value":"/"}}}]"#,
    )
    .expect("specs");
    let (table, errors) = RouteTable::compile(&specs);
    assert_eq!(errors.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(find(&table, &Request::new("/")), Some(5));
}

#[test]
fn explain_names_the_reason_of_every_route() {
    let table = table(
        r#"[{"when":{"path":{"kind":"prefix","value":"/"}}}, {"when":{"path":{"kind":"exact","value":"/a"}}},
            {"when":{"path":{"kind":"exact","value":"/a"},"methods":["PUT"]}}]"#,
    );
    let reasons: Vec<_> =
        table.explain(&Request::new("/a")).into_iter().map(|it| (it.route, it.matched, it.reason)).collect();
    let expected =
        [(2, false, "method differs"), (1, true, "first that matches"), (0, true, "matches, but another goes first")];
    assert_eq!(reasons, expected);
}

fn path_plan() -> impl Strategy<Value = Option<PathPlan>> {
    let literal = prop::collection::vec(prop::sample::select(vec!["a", "b", ""]), 0..4);
    let template = prop::collection::vec(prop::sample::select(vec!["a", "b", "{x}"]), 1..4);
    prop_oneof![
        Just(None),
        literal.clone().prop_map(|parts| Some(PathPlan::Exact(format!("/{}", parts.join("/"))))),
        literal.prop_map(|parts| Some(PathPlan::Prefix(format!("/{}", parts.join("/"))))),
        template
            .prop_filter("one name once", |parts| parts.iter().filter(|part| part.starts_with('{')).count() < 2)
            .prop_map(|parts| Some(PathPlan::Template(format!("/{}", parts.join("/"))))),
        Just(Some(PathPlan::Regex("/a.*".into()))),
    ]
}

fn spec() -> impl Strategy<Value = RouteSpec> {
    let host = prop::option::of(prop::sample::select(vec!["h.a", "*.a", "*.h.a", "g.h.a"]));
    let methods = prop::sample::select(vec![vec![], vec!["GET".to_owned()], vec!["PUT".to_owned()]]);
    (path_plan(), host, methods, 0..2).prop_map(|(path, host, methods, priority)| {
        let when = MatchPlan { path, host: host.map(str::to_owned), methods, ..MatchPlan::default() };
        RouteSpec { when, priority }
    })
}

/// Precedence as the documentation states it, written down a second time.
fn naive_key(spec: &RouteSpec, index: usize) -> impl Ord {
    let host = spec.when.host.as_deref().map_or((2, 0), |host| match host.strip_prefix('*') {
        Some(suffix) => (1, usize::MAX - suffix.len()),
        None => (0, 0),
    });
    let path = match &spec.when.path {
        Some(PathPlan::Exact(_)) => (0, 0, vec![]),
        Some(PathPlan::Template(path)) => {
            let params: Vec<bool> = path[1..].split('/').map(|part| part.starts_with('{')).collect();
            let literals = params.iter().filter(|param| !**param).count();
            (1, usize::MAX - literals, params)
        }
        Some(PathPlan::Prefix(path)) => (2, usize::MAX - path.trim_end_matches('/').len(), vec![]),
        Some(PathPlan::Regex(_)) => (3, 0, vec![]),
        None => (4, 0, vec![]),
    };
    (-spec.priority, host, path, spec.when.methods.is_empty(), index)
}

proptest! {
    #[test]
    fn finds_what_a_scan_over_all_routes_finds(
        specs in prop::collection::vec(spec(), 0..24),
        parts in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", ""]), 0..5),
        host in prop::option::of(prop::sample::select(vec!["h.a", "g.h.a", "x.g.h.a", "a"])),
    ) {
        let mut request = Request::new(&format!("/{}", parts.join("/")));
        if let Some(host) = host {
            request = request.with("host", host);
        }
        let (table, errors) = RouteTable::compile(&specs);
        prop_assert!(errors.is_empty());
        let holds = |spec: &RouteSpec| Condition::compile(&spec.when).expect("valid").matches(&request);
        let scan = specs.iter().enumerate().filter(|(_, spec)| holds(spec)).min_by_key(|(index, spec)| naive_key(spec, *index));
        prop_assert_eq!(find(&table, &request), scan.map(|(index, _)| index));
    }
}
