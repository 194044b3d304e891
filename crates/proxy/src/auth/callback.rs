//! A service that knows the users: one POST with a deadline for a CONNECT that neither
//! token nor user decided, its answer remembered for a while.

use super::{Claimed, Credentials};
use crate::http::{Fetch, fetch};
use crate::plan::AuthService;
use crate::worker::Worker;
use serde_json::{Value, json};
use std::rc::Rc;
use tidegate_broker::Access;

/// Asks. 2xx lets in, with `{ "user", "superuser", "acl" }` where the service wants more
/// than the name that was given; `{ "result": "deny" }` and every other status do not.
/// A service that does not answer in time lets nobody in.
pub(crate) async fn ask(worker: &Rc<Worker>, service: &AuthService, credentials: Credentials<'_>) -> Option<Access> {
    let plan = worker.plan();
    let count = |outcome| worker.counters.auth(credentials.protocol, outcome);
    let now = worker.clock.millis();
    // No hash begins with a NUL.
    let by = format!("\0{}", credentials.client_id);
    let digest = worker.verified.digest((credentials.user, &by), credentials.password);
    if let Some(claimed) = worker.verified.remembered(digest, now) {
        count("service-cached");
        return Some(claimed.access(&plan.plan));
    }
    let question = json!({
        "protocol": credentials.protocol.label(),
        "clientId": credentials.client_id,
        "username": credentials.user,
        "password": String::from_utf8_lossy(credentials.password),
        "peer": credentials.peer.ip().to_string(),
    });
    let request = Fetch {
        method: "POST",
        target: service.path.clone().into_bytes(),
        host: Vec::new(),
        fields: b"Content-Type: application/json\r\nAccept: application/json\r\n".to_vec(),
        body: question.to_string().into_bytes(),
        source: Some(credentials.peer.ip()),
        key: Some(credentials.user.as_bytes().into()),
        timeout_ms: service.timeout_ms,
        discards: false,
        raw: Vec::new(),
    };
    let Some(upstream) = service.upstream else {
        count("service-failed");
        return None;
    };
    let Ok(answer) = fetch(worker, &plan, upstream, &request).await else {
        count("service-failed");
        return None;
    };
    let body = serde_json::from_slice::<Value>(&answer.body).unwrap_or(Value::Null);
    let denied = !(200..300).contains(&answer.status) || body.get("result").is_some_and(|result| result != "allow");
    let rules = match body.get("acl") {
        None | Some(Value::Null) => Some(None),
        Some(list) => Claimed::rules(list).map(Some),
    };
    let Some(rules) = rules.filter(|_| !denied) else {
        count(if answer.status >= 500 { "service-failed" } else { "service-denied" });
        return None;
    };
    let user = body.get("user").and_then(Value::as_str).unwrap_or(credentials.user).into();
    let claimed = Claimed { user, is_superuser: body.get("superuser") == Some(&Value::Bool(true)), rules, until: None };
    worker.verified.remember(digest, claimed.clone(), now + service.cache_ms);
    count("service");
    Some(claimed.access(&plan.plan))
}
