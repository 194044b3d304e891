//! What the features of the data path add to a proxied request: nanoseconds of each, and of all together, as JSON.
//! They run in the order of a request and on the types that a request meets; what stays away are the sockets, and the
//! record in the event ring of the one request in a hundred that is logged. Run by `bench/features.mjs`.

use super::edits::RequestEdits;
use super::view::HttpView;
use crate::metrics::{RouteCounters, UpstreamCounters};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::sync::Arc;
use tidegate_balance::{BalancePlan, EndpointSpec, Endpoints, PickRequest, Picker, Sample};
use tidegate_http::{HEADERS_MAX, Hop, RequestContext, RequestHead, forward_request, parse_request};
use tidegate_message::{Limits, Peer, Protocol};
use tidegate_policy::{Context, Edits, LimitRegistry, Steps, StepsInput, Verdict};
use tidegate_resilience::{Adaptive, Admission, Concurrency, Gate, OutlierDetector, OutlierState, RetryBudget};
use tidegate_route::{Captures, MatchPlan, PathPlan, RouteSpec, RouteTable, canonical_path};

const REQUESTS: u32 = 500_000;

const INPUT: &[u8] =
    b"GET /r37/devices/7/state?full=1 HTTP/1.1\r\nHost: api.example\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\n\
    Accept-Encoding: gzip, br\r\nX-Device: 7\r\n\r\n";

/// What may be switched on, in the order of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Feature {
    /// The path in its one form, and a route among 64.
    Route,
    /// A header in each direction, and a rate limit by the client's address.
    Policies,
    /// Breaker, limit of requests, bulkhead, budget of retries, adaptive limit, outlier detection.
    Resilience,
    /// One of ten endpoints by power of two choices, its begin and end.
    Balance,
    /// `X-Forwarded-*`, request id and `traceparent` in the head that goes on.
    Forwarding,
    /// Answers by code and their times, of the route and of the upstream.
    Metrics,
    /// The line of one request in a hundred.
    Log,
}

use Feature::*;

const ALL: [Feature; 7] = [Route, Policies, Resilience, Balance, Forwarding, Metrics, Log];

/// A worker with its plan, as far as the features need it.
struct Bench {
    table: RouteTable,
    steps: Steps,
    gate: Gate,
    requests: Arc<Concurrency>,
    bulkhead: Arc<Concurrency>,
    budget: RetryBudget,
    adaptive: Adaptive,
    outlier: OutlierDetector,
    endpoints: Endpoints,
    picker: Box<dyn Picker>,
    route: RouteCounters,
    upstream: UpstreamCounters,
    edits: Edits,
    scratch: Vec<u8>,
    out: Vec<u8>,
    line: String,
    until_sample: u32,
    turn: u64,
}

fn plan<P: serde::de::DeserializeOwned>(json: &str) -> P {
    serde_json::from_str(json).expect("a plan")
}

impl Bench {
    fn new() -> Self {
        let prefix = |index| PathPlan::Prefix(format!("/r{index}"));
        let specs = Vec::from_iter((0..64).map(|index| RouteSpec {
            when: MatchPlan { path: Some(prefix(index)), ..MatchPlan::default() },
            priority: 0,
        }));
        let (table, errors) = RouteTable::compile(&specs);
        assert!(errors.is_empty(), "{errors:?}");
        let steps: Vec<_> = plan(
            r#"[{"kind":"setHeader","headers":[["x-region","north"]]},
                {"kind":"setResponseHeader","headers":[["x-served-by","tidegate"]]},
                {"kind":"rateLimit","name":"each","perSecond":1e9,"burst":1000000000,"key":{"by":"clientIp","name":null},"maxKeys":1000}]"#,
        );
        let mut limits = LimitRegistry::new();
        let steps = Steps::compile(&steps, &mut StepsInput { captures: &[], limits: &mut limits }).expect("steps");
        let endpoint = |index: u8| EndpointSpec {
            id: format!("e{index}").into(),
            address: ([10, 0, 0, index], 80).into(),
            weight: 1,
            health: 1.0,
            draining: false,
            near: true,
            state: Arc::default(),
        };
        let balance: BalancePlan = plan(r#"{"strategy":"leastConnections","bias":1.0}"#);
        Bench {
            table,
            steps,
            gate: Gate::new(plan(
                r#"{"failures":5,"ratePercent":50,"windowMs":10000,"minRequests":20,"openMs":1000,"maxOpenMs":30000}"#,
            )),
            requests: Arc::new(Concurrency::new(1_024)),
            bulkhead: Arc::new(Concurrency::new(1_024)),
            budget: RetryBudget::new(3),
            adaptive: Adaptive::new(plan(r#"{"initial":20,"min":20,"max":200,"tolerance":1.5,"smoothing":0.2}"#)),
            outlier: OutlierDetector::new(
                plan(
                    r#"{"consecutive5xx":5,"intervalMs":10000,"baseEjectionMs":30000,"maxEjectionMs":300000,"maxEjectedPercent":10,
                        "successRateMinHosts":5,"successRateMinRequests":100,"successRateStdevFactor":1900}"#,
                ),
                (0..10).map(|_| Arc::new(OutlierState::default())).collect(),
            ),
            endpoints: Endpoints::new((0..10).map(endpoint).collect(), 50),
            picker: balance.picker(1),
            route: RouteCounters::default(),
            upstream: UpstreamCounters::default(),
            edits: Edits::default(),
            scratch: Vec::new(),
            out: Vec::with_capacity(4_096),
            line: String::new(),
            until_sample: 0,
            turn: 0,
        }
    }

    /// One request: its head is parsed and written for the upstream in any case.
    fn request(&mut self, peer: &Peer, on: &dyn Fn(Feature) -> bool) {
        let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let parsed = parse_request(black_box(INPUT), &Limits::default(), &mut fields);
        let head = parsed.ok().flatten().expect("a head");
        self.turn += 1;
        let now_ms = self.turn / 50;
        let mut captures = Captures::new();
        let mut path = std::borrow::Cow::Borrowed(head.path());
        if on(Route) {
            path = canonical_path(head.path()).expect("a path");
        }
        let view = HttpView { head: &head, path: &path, host: head.host(), peer, protocol: Protocol::Http1 };
        if on(Route) {
            assert_eq!(black_box(self.table.find(&view, &mut captures)), Some(37));
        }
        self.edits.clear();
        if on(Policies) {
            let mut context = Context {
                route: "r37",
                captures: &captures,
                edits: &mut self.edits,
                scratch: &mut self.scratch,
                now_ns: now_ms * 1_000_000,
                ran: 0,
            };
            assert!(matches!(self.steps.run(&view, &mut context), Verdict::Continue));
        }
        let permits = on(Resilience).then(|| {
            assert!(matches!(self.gate.admit(now_ms), Admission::Admit));
            self.budget.record_request(now_ms);
            (self.bulkhead.take().expect("room"), self.requests.take().expect("room"))
        });
        let in_flight = on(Balance).then(|| {
            let wanted = PickRequest { source: Some(peer.address.ip()), now_ms, ..PickRequest::default() };
            let endpoint = self.picker.pick(&wanted, &self.endpoints).expect("all are healthy");
            (endpoint, self.endpoints.begin(endpoint))
        });
        self.write(&head, (peer, on(Forwarding)));
        if on(Metrics) {
            let counters = self.route.of(Protocol::Http1);
            counters.codes.add(black_box(200));
            counters.duration.observe(black_box(700));
            self.upstream.codes.add(black_box(200));
            self.upstream.duration.observe(black_box(600));
            self.upstream.reused.add(1);
        }
        if let Some((endpoint, _)) = &in_flight {
            self.picker.on_response(&Sample { endpoint: *endpoint, now_ms, latency_ms: 0.6 }, &self.endpoints);
        }
        if permits.is_some() {
            self.gate.report(now_ms, true);
            self.outlier.report(now_ms, in_flight.as_ref().map_or(0, |(endpoint, _)| *endpoint), true);
            black_box(self.adaptive.sample(600, self.requests.active()));
        }
        if on(Log) {
            if self.until_sample == 0 {
                self.line = format!("{} {}", head.method, String::from_utf8_lossy(head.target));
                self.until_sample = 100;
            }
            self.until_sample -= 1;
        }
        black_box(&self.out);
    }

    fn write(&mut self, head: &RequestHead<'_, '_>, (peer, is_full): (&Peer, bool)) {
        self.out.clear();
        if !is_full && self.edits.keeps_request_headers() {
            // What passing the head on costs at least.
            self.out.extend_from_slice(black_box(&INPUT[..head.len]));
            return;
        }
        let id = [b'7'; 32];
        let trace = *b"00-00000000000000000000000000000007-0000000000000007-00";
        let context = RequestContext {
            target: head.target,
            host: head.authority,
            client: peer.address.ip(),
            scheme: "http",
            trusted: false,
            upgrade: false,
            hop: Hop {
                request_id: is_full.then_some(&id[..]),
                traceparent: is_full.then_some(&trace[..]),
                ..Hop::default()
            },
            edits: &RequestEdits(&self.edits),
        };
        forward_request(&mut self.out, head, &context);
    }

    /// Nanoseconds of a request with the features that `on` names.
    fn cost(&mut self, on: &dyn Fn(Feature) -> bool) -> f64 {
        let peer = Peer::new(([192, 0, 2, 7], 50_000).into());
        (0..REQUESTS / 10).for_each(|_| self.request(&peer, on));
        let started = cpu_ns();
        (0..REQUESTS).for_each(|_| self.request(&peer, on));
        (cpu_ns() - started) / f64::from(REQUESTS)
    }
}

/// CPU time of this thread.
fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

#[test]
#[ignore = "a measurement; bench/features.mjs runs it"]
fn features() {
    let mut bench = Bench::new();
    let bare = bench.cost(&|_| false);
    let mut rows = vec![("a head parsed and passed on".to_owned(), bare)];
    rows.extend(ALL.map(|one| (format!("{one:?}"), bench.cost(&|feature| feature == one) - bare)));
    rows.push(("all but policies".to_owned(), bench.cost(&|feature| feature != Policies) - bare));
    rows.push(("all together".to_owned(), bench.cost(&|_| true) - bare));
    let rows = rows.iter().map(|(of, ns)| format!("{{\"of\":\"{of}\",\"ns\":{ns:.1}}}"));
    println!("[{}]", rows.collect::<Vec<_>>().join(","));
}
