//! What a pick among 1,000 and 10,000 endpoints costs, by strategy: nanoseconds, as JSON. Run by `bench/tables.mjs`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use tidegate_balance::{BalancePlan, EndpointSpec, Endpoints, PickRequest, Sample};

const COUNTS: [u16; 2] = [1_000, 10_000];
const PICKS: u32 = 1_000_000;

const STRATEGIES: [(&str, &str); 10] = [
    ("roundRobin", r#"{"strategy":"roundRobin"}"#),
    ("weighted", r#"{"strategy":"weighted","maxFails":3}"#),
    ("leastConnections, P2C", r#"{"strategy":"leastConnections","bias":1.0}"#),
    ("leastConnections, weights", r#"{"strategy":"leastConnections","bias":1.0}"#),
    ("peakEwma", r#"{"strategy":"peakEwma","decayMs":10000,"seedMs":30}"#),
    ("ipHash", r#"{"strategy":"ipHash","prefixV4":32,"prefixV6":64}"#),
    (
        "consistentHash, ring",
        r#"{"strategy":"consistentHash","key":{"by":"path","name":null},"algorithm":"ring","size":1024,"boundedLoad":null}"#,
    ),
    (
        "consistentHash, ring, bounded",
        r#"{"strategy":"consistentHash","key":{"by":"path","name":null},"algorithm":"ring","size":1024,"boundedLoad":1.25}"#,
    ),
    (
        "consistentHash, maglev",
        r#"{"strategy":"consistentHash","key":{"by":"path","name":null},"algorithm":"maglev","size":65537,"boundedLoad":null}"#,
    ),
    ("loadScore", r#"{"strategy":"loadScore","threshold":0.7}"#),
];

/// All weigh the same but where a strategy is for weights.
fn endpoints(name: &str, count: u16) -> Endpoints {
    let is_weighted = name.contains("weight");
    let spec = |index: u16| EndpointSpec {
        id: format!("e{index}").into(),
        address: ([10, 0, (index >> 8) as u8, index as u8], 80).into(),
        weight: if is_weighted { u32::from(index % 10) + 1 } else { 1 },
        health: 1.0,
        draining: false,
        near: true,
        state: Arc::default(),
    };
    Endpoints::new((0..count).map(spec).collect(), 50)
}

/// What is measured of a request.
#[derive(Clone, Copy)]
enum Part {
    /// The pick alone, while 64 requests are under way.
    Pick,
    /// Its begin, its answer and its end 64 picks later, too.
    Whole,
}

fn cost((name, plan): (&str, &str), count: u16, part: Part) -> f64 {
    let plan: BalancePlan = serde_json::from_str(plan).expect("a plan");
    let (endpoints, mut picker) = (endpoints(name, count), plan.picker(1));
    let mut in_flight = Vec::from_iter((0..64).map(|index| endpoints.begin(index * 15)));
    let mut pick = |turn: u32| {
        let key = turn.to_be_bytes();
        let source = std::net::Ipv4Addr::from(turn.wrapping_mul(2_654_435_761)).into();
        let request = PickRequest { key: Some(&key), source: Some(source), ..PickRequest::default() };
        let endpoint = black_box(picker.pick(black_box(&request), &endpoints).expect("all are healthy"));
        if matches!(part, Part::Whole) {
            in_flight[turn as usize % 64] = endpoints.begin(endpoint);
            picker.on_response(&Sample { endpoint, now_ms: u64::from(turn / 1_000), latency_ms: 5.0 }, &endpoints);
        }
    };
    (0..PICKS / 10).for_each(&mut pick);
    let started = Instant::now();
    (0..PICKS).for_each(pick);
    started.elapsed().as_nanos() as f64 / f64::from(PICKS)
}

fn main() {
    let mut rows = Vec::new();
    for (of, part) in [("pick", Part::Pick), ("with begin, answer and end", Part::Whole)] {
        for count in COUNTS {
            rows.extend(STRATEGIES.map(|strategy| {
                let (name, ns) = (strategy.0, cost(strategy, count, part));
                format!("{{\"of\":\"{of}\",\"endpoints\":{count},\"strategy\":\"{name}\",\"ns\":{ns:.1}}}")
            }));
        }
    }
    println!("[{}]", rows.join(","));
}
