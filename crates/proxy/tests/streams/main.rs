//! Streams of one HTTP/2 connection beside each other: the thread that policies and handlers run on is woken once for
//! all of them. A panic within one: that stream ends, the others of its connection and everybody else go on, and it is
//! counted. Waking who reads events is the caller's own code within a worker, so a caller that panics there makes one:
//! the only event that is asked for here tells that a breaker has opened.
#![allow(unsafe_code, clippy::unwrap_used, clippy::panic, missing_docs)]

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{Request, StatusCode};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use tidegate_proxy::{Gateway, Options};
use tidegate_ring::layout::{
    CAPACITY_AT, DECISION_VERSION, EVENT_BYTES, EVENT_VERSION, HEAD_AT, SIZE_AT, SLOT_BYTES, TAIL_AT, VERSION_AT,
    WANTED_AT, decision_ring_bytes, event_ring_bytes,
};
use tidegate_ring::{Decisions, EventKind, EventRing, SharedMemory};

#[path = "../coap/gateway.rs"]
#[allow(dead_code, unreachable_pub)]
mod gateway;

/// Slots of each ring.
const CAPACITY: usize = 8;

#[test]
fn a_panic_ends_its_stream_and_nothing_else() {
    let (gateway, address, panics) = start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = connect(address).await;
        let mut other = connect(address).await;
        // Half a request is on its way, and so is one to the handler, before the panic.
        let (under_way, mut body) = client.send_request(post("/api/slow"), false).unwrap();
        let (asked, _) = client.send_request(get("/handler"), true).unwrap();
        answered(client.send_request(get("/api/x"), true).unwrap().0.await.unwrap()).await;

        panics.store(true, SeqCst);
        let (broken, _) = client.send_request(get("/refused"), true).unwrap();
        assert_eq!(broken.await.unwrap_err().reason(), Some(Reason::INTERNAL_ERROR));
        panics.store(false, SeqCst);

        body.send_data(Bytes::from_static(b"rest"), true).unwrap();
        answered(under_way.await.unwrap()).await;
        answered(client.send_request(get("/api/x"), true).unwrap().0.await.unwrap()).await;
        answered(other.send_request(get("/api/x"), true).unwrap().0.await.unwrap()).await;
        // The one that was asked before waits for its handler's deadline, as if nothing had been.
        assert_eq!(asked.await.unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
    });
    assert_eq!(counted(&gateway, "tidegate_panics_total"), 1.0);
    assert_eq!(counted(&gateway, "tidegate_connections"), 2.0);
}

#[test]
fn streams_beyond_one_turn_are_answered_too() {
    let (_gateway, address, _) = start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = connect(address).await;
        // More than one turn looks at, within what a connection may have open.
        let asked: Vec<_> = (0..100).map(|_| client.send_request(get("/answer"), true).unwrap().0).collect();
        for answer in asked {
            answered(answer.await.unwrap()).await;
        }
    });
}

#[test]
fn the_questions_of_one_turn_wake_their_thread_once() {
    let policy = json!({ "kind": "respond", "status": 200, "headers": [], "body": "ok" });
    let handler = json!({ "kind": "handler", "name": "none" });
    // Nobody answers: a policy lets pass what it says nothing of, a handler has to.
    for (target, steps, status) in [
        (policy, json!([{ "kind": "script", "script": 0 }]), StatusCode::OK),
        (handler, json!([]), StatusCode::GATEWAY_TIMEOUT),
    ] {
        assert_eq!(asked_in_one_turn(&target, steps, status), (CAPACITY as u32 - 1, 1));
    }
}

/// Questions on the ring, and how often their thread was woken, when all streams of a connection come at once.
fn asked_in_one_turn(target: &serde_json::Value, steps: serde_json::Value, status: StatusCode) -> (u32, usize) {
    let mut route = gateway::route("/", target);
    route["steps"] = steps;
    let mut plan = gateway::plan(json!([route]), json!([]));
    plan["listeners"][0] = listener(&plan["listeners"][0]);
    plan["scripts"] = json!([{
        "id": 0, "policy": "asked", "filter": null, "cache": null, "reads": [], "deadlineMs": 100, "fallback": "continue",
    }]);
    plan["handlers"] = json!([{ "name": "none", "deadlineMs": 100, "maxBodyBytes": 1_024 }]);
    let gateway = Gateway::start(Options { workers: 1, events: Vec::new(), data_dir: None }).unwrap();
    let address = gateway::apply(&gateway, &plan);
    let (decisions, words) = questions();
    let wakes = Arc::new(AtomicUsize::new(0));
    let woken = Arc::clone(&wakes);
    // A reader as quick as one can be: what stands on the ring is read when it is woken.
    let wake = move || {
        words[TAIL_AT / 4].store(words[HEAD_AT / 4].load(SeqCst), SeqCst);
        woken.fetch_add(1, SeqCst);
    };
    gateway.attach_policies(vec![(0, decisions)], Arc::new(wake)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = connect(address).await;
        // They leave in one write, when this task waits for the first time.
        let asked: Vec<_> = (1..CAPACITY).map(|_| client.send_request(get("/"), true).unwrap().0).collect();
        for answer in asked {
            assert_eq!(answer.await.unwrap().status(), status);
        }
    });
    (words[HEAD_AT / 4].load(SeqCst), wakes.load(SeqCst))
}

/// One worker, `/handler` to a handler, `/api` to an upstream and `/refused` to one that is not there, whose breaker
/// opens at once; the switch makes the worker panic where it tells of that.
fn start() -> (Gateway, SocketAddr, Arc<AtomicBool>) {
    let (mut routes, mut upstreams) = gateway::api(upstream());
    let mut refused = upstreams[0].clone();
    refused["name"] = json!("refused");
    refused["endpoints"][0]["address"] = json!("127.0.0.1:1");
    refused["breaker"] = json!({
        "failures": 1, "ratePercent": 0, "windowMs": 1_000, "minRequests": 1, "openMs": 60_000, "maxOpenMs": 60_000,
    });
    upstreams.as_array_mut().unwrap().push(refused);
    let handler = json!({ "kind": "handler", "name": "none" });
    let answer = json!({ "kind": "respond", "status": 200, "headers": [], "body": "ok" });
    let nowhere = json!({ "kind": "upstreams", "split": [{ "upstream": "refused", "weight": 1 }] });
    for (path, target) in [("/handler", handler), ("/answer", answer), ("/refused", nowhere)] {
        routes.as_array_mut().unwrap().push(gateway::route(path, &target));
    }
    let mut plan = gateway::plan(routes, upstreams);
    plan["listeners"][0] = listener(&plan["listeners"][0]);
    plan["handlers"] = json!([{ "name": "none", "deadlineMs": 1_500, "maxBodyBytes": 1_024 }]);
    let started = Gateway::start(Options { workers: 1, events: vec![events()], data_dir: None }).unwrap();
    let address = gateway::apply(&started, &plan);
    let panics = Arc::new(AtomicBool::new(false));
    let wakes = Arc::clone(&panics);
    started.on_wake(Some(Arc::new(move || assert!(!wakes.load(SeqCst), "the panic that this test is about"))));
    started.attach_policies(vec![(0, questions().0)], Arc::new(|| {})).unwrap();
    (started, address, panics)
}

/// A ring of questions that nobody answers, and its words.
fn questions() -> (Decisions, &'static [AtomicU32]) {
    let (memory, words) = ring(DECISION_VERSION, SLOT_BYTES, decision_ring_bytes(CAPACITY));
    (Decisions::open(memory).unwrap(), words)
}

/// A ring of events whose reader wants the log, and reads nothing.
fn events() -> EventRing {
    let (memory, words) = ring(EVENT_VERSION, EVENT_BYTES, event_ring_bytes(CAPACITY));
    words[WANTED_AT / 4].store(1 << EventKind::Log as u16, SeqCst);
    EventRing::open(memory).unwrap()
}

/// An empty ring as JavaScript prepares it; it lives as long as the process.
fn ring(version: u32, size: usize, bytes: usize) -> (SharedMemory, &'static [AtomicU32]) {
    let mut words: Vec<u64> = vec![0; bytes.div_ceil(8)];
    for (at, word) in [(VERSION_AT, version), (CAPACITY_AT, CAPACITY as u32), (SIZE_AT, size as u32)] {
        words[at / 8] |= u64::from(word) << (at % 8 * 8);
    }
    let (base, len) = (words.as_mut_ptr(), words.len() * 8);
    std::mem::forget(words);
    // SAFETY: aligned as `u64` is, in bounds, never freed, and only looked at as atomic words from now on.
    unsafe { (SharedMemory::new(base.cast(), len), std::slice::from_raw_parts(base.cast(), len / 4)) }
}

/// The plan's listener, for HTTP over TCP.
fn listener(given: &serde_json::Value) -> serde_json::Value {
    let mut listener = given.clone();
    listener["name"] = json!("tcp://test");
    listener["transport"] = json!("tcp");
    listener["protocols"] = json!(["http1", "http2"]);
    listener
}

/// Answers each connection's first request when all of its body is there, then closes.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let (mut seen, mut buffer) = (Vec::new(), [0; 4_096]);
                while !(seen.starts_with(b"GET") && seen.ends_with(b"\r\n\r\n") || seen.ends_with(b"0\r\n\r\n")) {
                    match stream.read(&mut buffer) {
                        Ok(len @ 1..) => seen.extend_from_slice(&buffer[..len]),
                        _ => return,
                    }
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
            });
        }
    });
    address
}

async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client.ready().await.unwrap()
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://test{path}")).body(()).unwrap()
}

fn post(path: &str) -> Request<()> {
    Request::post(format!("http://test{path}")).body(()).unwrap()
}

async fn answered(response: http::Response<RecvStream>) {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.into_body().data().await.unwrap().unwrap(), "ok");
}

/// The sum of a metric's series.
fn counted(gateway: &Gateway, metric: &str) -> f64 {
    let scraped = gateway.scrape(0);
    let len = u32::from_le_bytes(scraped[..4].try_into().unwrap()) as usize;
    let series: Vec<serde_json::Value> = serde_json::from_slice(&scraped[4..4 + len]).unwrap();
    let mut values = scraped[(4 + len).next_multiple_of(8)..].chunks_exact(8);
    let mut sum = 0.0;
    for one in series {
        // Buckets, the one behind the last bound, sum and count.
        let width = one["buckets"].as_array().map_or(1, |bounds| bounds.len() + 3);
        let first = values.by_ref().take(width).next().unwrap();
        if one["metric"] == metric {
            sum += f64::from_le_bytes(first.try_into().unwrap());
        }
    }
    sum
}
