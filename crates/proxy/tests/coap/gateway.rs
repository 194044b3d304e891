//! A gateway of two workers with one CoAP listener, and an HTTP upstream for it.

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use tidegate_proxy::{Gateway, Options};

const WORKERS: usize = 2;

/// A gateway and where it listens.
pub(crate) struct Running {
    pub(crate) gateway: Gateway,
    pub(crate) address: SocketAddr,
}

impl Running {
    /// With these routes and upstreams; `anonymous`: nobody has to log in.
    pub(crate) fn start((routes, upstreams): (Value, Value), anonymous: bool) -> Running {
        let mut plan = plan(routes, upstreams);
        plan["listeners"][0]["anonymous"] = json!(anonymous);
        Running::with(&plan)
    }

    /// With this plan.
    pub(crate) fn with(plan: &Value) -> Running {
        let gateway =
            Gateway::start(Options { workers: WORKERS, events: Vec::new(), data_dir: None }).expect("threads");
        let address = apply(&gateway, plan);
        Running { gateway, address }
    }

    /// Without routes.
    pub(crate) fn plain() -> Running {
        Running::start((json!([]), json!([])), true)
    }
}

/// Applies a plan; the address of its first listener.
pub(crate) fn apply(gateway: &Gateway, plan: &Value) -> SocketAddr {
    let applied = gateway.apply(plan.to_string().as_bytes()).expect("a plan");
    let applied = serde_json::to_value(applied).expect("rows");
    applied["listeners"][0]["address"].as_str().expect("bound").parse().expect("an address")
}

/// A whole plan with the defaults of the control plane, but for small bounds of CoAP.
pub(crate) fn plan(routes: Value, upstreams: Value) -> Value {
    json!({
        "version": 1,
        "listeners": [{
            "name": "udp://test", "transport": "udp", "address": "127.0.0.1:0", "protocols": ["coap"],
            "proxyProtocolFrom": [], "trustedProxies": [], "anonymous": true, "unknownTo": null,
        }],
        "upstreams": upstreams,
        "routes": routes,
        "scripts": [],
        "handlers": [],
        "broker": {
            "httpPath": "/t", "maxQueued": 1000, "maxQueuedBytes": 1 << 20, "maxWaitingBytes": 1 << 20, "maxQueuedTotalBytes": 1 << 28,
            "maxRetained": 1000, "maxSubscriptionsPerClient": 100, "maxBetweenWorkers": 4096,
            "maxQueuedAgeS": 0, "maxStoredBytes": 1_000_000, "durability": "process", "maxDelayed": 1000, "maxPendingWills": 1000, "maxPendingDeliveries": 1024, "sysIntervalS": 0, "sharedSubscriptions": "fair",
        },
        "mqtt": {
            "maxSessions": 1000, "maxPacketBytes": 1 << 20, "receiveMaximum": 100, "topicAliasMaximum": 16,
            "maxInflight": 100, "serverKeepAliveS": 0, "maxSessionExpiryS": 60, "redirect": null, "maxConnectsPerS": 0, "connectTimeoutMs": 5000,
        },
        "coap": {
            "maxBlockBytes": 1 << 16, "maxObservers": 100, "maxObserversPerClient": 3, "maxUpstreamObservations": 10, "maxAsleepS": 60, "maxAsleepMessages": 10, "maxAsleepBytes": 4096, "maxAsleepTotalBytes": 65536, "dedupEntries": 1024, "datagramsPerCall": 64, "nstart": 1, "cacheEntries": 16,
            "maxSessions": 100, "maxHandshakes": 10, "maxHandshakesPerS": 100, "sessionIdleMs": 60_000,
            "ackTimeoutMs": 2000, "maxRetransmit": 4, "maxRegistrations": 10, "maxRegistrationBytes": 4096, "hopLimit": 16, "forwardProxy": false, "ownHosts": [],
        },
        "access": { "users": [], "superusers": [], "jwt": null, "http": null, "acl": [] },
        "limits": {
            "maxConnections": 0, "maxConnectionsPerSource": 0, "halfOpenMs": 5000, "headerTimeoutMs": 10_000,
            "idleTimeoutMs": 75_000, "stallTimeoutMs": 10_000, "headerLineBytes": 8192, "headerTotalBytes": 32_768,
            "headerCount": 100, "bodyCollectedBytes": 1 << 20, "websocketMessageBytes": 1 << 20,
            "topicLevels": 128, "maxDecisions": 1024,
            "mirrorCopies": 256, "mirrorCopyBytes": 1 << 20, "mirrorTotalBytes": 16 << 20, "mirrorTimeoutMs": 15_000,
            "http2Streams": 128, "http2ResetsPerSecond": 100, "http2ControlPerSecond": 1000,
        },
        "log": { "sampleEvery": 0 },
    })
}

/// A route for a path and all below.
pub(crate) fn route(path: &str, target: &Value) -> Value {
    json!({
        "name": path, "priority": 0, "when": { "path": { "kind": "prefix", "value": path } }, "target": target,
        "mirror": null, "steps": [], "timeoutMs": 5000, "problem": null,
    })
}

/// `/api` to an HTTP server at `address`.
pub(crate) fn api(address: SocketAddr) -> (Value, Value) {
    let target = json!({ "kind": "upstreams", "split": [{ "upstream": "api", "weight": 1 }] });
    let upstreams = json!([{
        "name": "api", "protocol": "http1", "balance": { "strategy": "roundRobin" },
        "endpoints": [{ "id": "one", "address": address.to_string(), "host": "127.0.0.1", "weight": 1, "health": 1.0, "draining": false }],
        "panicPercent": 50, "connectTimeoutMs": 1000, "idleTimeoutMs": 60_000, "maxConnections": 16, "maxStreams": 100,
        "maxPending": 16, "maxRequests": 16, "maxRetries": 3, "breaker": null, "outlier": null, "problem": null,
    }]);
    (json!([route("/api", &target)]), upstreams)
}

/// An HTTP server that answers each request by `answer`, one connection after the other.
pub(crate) fn serve_http(answer: impl Fn(&str) -> String + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut buffer = [0; 8192];
            while let Ok(len @ 1..) = stream.read(&mut buffer) {
                let answer = answer(&String::from_utf8_lossy(&buffer[..len]));
                if stream.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    address
}

/// An answer with a JSON body.
pub(crate) fn ok(body: &str) -> String {
    let fields = "Content-Type: application/json\r\nCache-Control: max-age=7";
    format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
