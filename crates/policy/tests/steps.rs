//! Steps as a route runs them: in order, up to an answer, a limit or a script.

use std::collections::HashMap;

use tidegate_message::{FieldId, Peer, Protocol, View};
use tidegate_policy::{
    Context, Edits, Key, KeyInput, KeyPlan, LimitRegistry, Script, StepPlan, Steps, StepsInput, Timeout, Verdict,
};
use tidegate_route::Captures;

struct Request {
    peer: Peer,
    headers: HashMap<&'static str, &'static str>,
}

impl Request {
    fn new() -> Self {
        let mut peer = Peer::new("10.1.2.3:4000".parse().expect("address"));
        peer.known_mut().user = Some("ann".into());
        Request { peer, headers: HashMap::from([("x-tenant", "blue")]) }
    }
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
            FieldId::Path => Some(b"/api/x"),
            FieldId::Method => Some(b"GET"),
            FieldId::Header(name) => self.headers.get(name).map(|value| value.as_bytes()),
            _ => None,
        }
    }
}

fn steps(json: &str, limits: &mut LimitRegistry) -> Steps {
    let plans: Vec<StepPlan> = serde_json::from_str(json).expect("plan");
    Steps::compile(&plans, &mut StepsInput { captures: &[], limits }).expect("valid steps")
}

fn run<'a>(steps: &'a Steps, start: usize, edits: &mut Edits, now_ns: u64) -> Verdict<'a> {
    let captures = Captures::new();
    let mut scratch = Vec::new();
    let mut context = Context { route: "r", captures: &captures, edits, scratch: &mut scratch, now_ns, ran: 0 };
    steps.run_from(start, &Request::new(), &mut context)
}

#[test]
fn steps_run_in_order_and_go_on_behind_a_script() {
    let steps = steps(
        r#"[{"kind":"setHeader","headers":[["x-a","1"]]}, {"kind":"script","script":4},
            {"kind":"removeHeader","names":["x-a"]}, {"kind":"timeout","ms":500,"perTryMs":null},
            {"kind":"respond","status":200,"headers":[["content-type","text/plain"]],"body":"pong"}]"#,
        &mut LimitRegistry::new(),
    );
    let mut edits = Edits::new();
    assert_eq!(run(&steps, 0, &mut edits, 0), Verdict::Script { script: 4, next: 2 });
    assert_eq!(edits.request_headers().count(), 1);
    let last = run(&steps, 2, &mut edits, 0);
    assert!(matches!(last, Verdict::Respond(answer) if answer.status == 200 && *answer.body == *b"pong"));
    assert_eq!(edits.request_headers().count(), 0);
    assert_eq!(steps.timeout(), Some(Timeout { ms: 500, per_try_ms: None, idle_ms: None, total_ms: None }));
}

#[test]
fn a_rate_limit_outlives_the_plan_under_its_name() {
    let plan = r#"[{"kind":"rateLimit","name":"a","perSecond":10,"burst":1,"key":{"by":"clientIp","name":null},"maxKeys":100}]"#;
    let mut limits = LimitRegistry::new();
    let mut edits = Edits::new();
    let first = steps(plan, &mut limits);
    assert_eq!(run(&first, 0, &mut edits, 1_000_000_000), Verdict::Continue);
    let second = steps(plan, &mut limits);
    assert_eq!(run(&second, 0, &mut edits, 1_000_000_000), Verdict::Limited { retry_after_ms: 100 });
    let wider = steps(&plan.replace("\"burst\":1", "\"burst\":5"), &mut limits);
    assert_eq!(run(&wider, 0, &mut edits, 1_000_000_000), Verdict::Continue);
    drop((first, second, wider));
    limits.sweep();
    let fresh = steps(plan, &mut limits);
    assert_eq!(run(&fresh, 0, &mut edits, 1_000_000_000), Verdict::Continue);
}

#[test]
fn broken_steps_are_refused() {
    for json in [
        r#"[{"kind":"setHeader","headers":[["x a","1"]]}]"#,
        r#"[{"kind":"setHeader","headers":[["x-a","1\r\n"]]}]"#,
        r#"[{"kind":"removeResponseHeader","names":[""]}]"#,
        r#"[{"kind":"respond","status":1000,"headers":[],"body":""}]"#,
        r#"[{"kind":"rewrite","path":"/{nobody}","host":null,"topic":null}]"#,
        r#"[{"kind":"rateLimit","name":"a","perSecond":1,"burst":1,"key":{"by":"header","name":null},"maxKeys":1}]"#,
        r#"[{"kind":"rateLimit","name":"a","perSecond":1,"burst":1,"key":{"by":"mood","name":null},"maxKeys":1}]"#,
    ] {
        let plans: Vec<StepPlan> = serde_json::from_str(json).expect("plan");
        let mut limits = LimitRegistry::new();
        assert!(Steps::compile(&plans, &mut StepsInput { captures: &[], limits: &mut limits }).is_err(), "{json}");
    }
}

#[test]
fn keys_are_the_bytes_they_name() {
    let input = KeyInput { route: "r1", hash_key: None };
    for (by, name, key) in [
        ("header", Some("x-tenant"), Some(&b"blue"[..])),
        ("user", None, Some(b"ann")),
        ("route", None, Some(b"r1")),
        ("clientIp", None, Some(b"\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01\x02\x03")),
        ("hashKey", None, None),
        ("clientId", None, None),
    ] {
        let plan = KeyPlan { by: by.into(), name: name.map(str::to_owned), also: Vec::new() };
        let mut out = b"old".to_vec();
        let present = Key::compile(&plan).expect("valid").write(&Request::new(), &input, &mut out);
        assert_eq!((present, &out[..]), (key.is_some(), key.unwrap_or_default()), "{by}");
    }
}

#[test]
fn a_script_copies_only_the_fields_that_it_reads() {
    let plan = serde_json::from_str(
        r#"{"id":3,"policy":"p","filter":{"protocols":[],"host":null,"path":{"kind":"prefix","value":"/api"},
            "methods":[],"headers":[],"query":[],"topic":null,"clientId":null,"source":[],"sni":null},
            "cache":{"by":{"by":"header","name":"x-tenant"},"ttlMs":5000,"maxEntries":10},
            "reads":[{"field":"method","name":null},{"field":"header","name":"x-none"},{"field":"source","name":null}],
            "deadlineMs":5,"fallback":"reject"}"#,
    )
    .expect("plan");
    let script = Script::compile(&plan).expect("valid");
    let mut out = Vec::new();
    assert!(script.applies(&Request::new()) && script.write_record(&Request::new(), &mut out, 992));
    assert_eq!(out, b"\x03\0GET\xff\xff\x08\x0010.1.2.3");
    assert!(!script.write_record(&Request::new(), &mut out, 8), "a record that does not fit is not cut");
}
