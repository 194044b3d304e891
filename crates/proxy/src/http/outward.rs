//! Messages on their way to a service: a routed topic is `POST <httpPath>/<topic>`,
//! accepted with 2xx.

use super::failure::Flag;
use super::fetch::{Fetch, fetch};
use super::forward::choose;
use crate::access::Parent;
use crate::worker::{Worker, WorkerPlan};
use std::rc::Rc;
use tidegate_message::{Message, Outcome};

/// Sends a published message to the upstream of a route.
pub(crate) async fn publish_to_upstream(
    worker: &Rc<Worker>,
    plan: &Rc<WorkerPlan>,
    (index, message): (usize, &Message),
) -> Outcome {
    let route = &plan.plan.routes[index];
    let Some(upstream) = choose(plan, &route.target) else { return Outcome::Internal };
    let mut target = plan.plan.broker.http_path.clone().into_bytes();
    target.push(b'/');
    put_topic(&mut target, message.topic_bytes());
    let mut fields = Vec::new();
    if let Some(kind) = message.content_type().filter(|kind| kind.bytes().all(|byte| (b' '..0x7f).contains(&byte))) {
        fields.extend_from_slice(format!("Content-Type: {kind}\r\n").as_bytes());
    }
    let trace = message.properties.as_ref().and_then(|properties| properties.user("traceparent"));
    if let Some(trace) = trace.filter(|trace| Parent::parse(trace.as_bytes()).is_some()) {
        fields.extend_from_slice(format!("traceparent: {trace}\r\n").as_bytes());
    }
    let request = Fetch {
        method: "POST",
        target,
        host: Vec::new(),
        fields,
        body: message.payload().to_vec(),
        source: None,
        raw: Vec::new(),
        key: Some(message.topic_bytes().into()),
        timeout_ms: route.steps.timeout().map_or(route.timeout_ms, |timeout| timeout.ms),
        discards: false,
    };
    match fetch(worker, plan, upstream, &request).await {
        Ok(answer) if (200..300).contains(&answer.status) => Outcome::Success,
        Ok(answer) => match answer.status {
            401 | 403 => Outcome::Forbidden,
            413 => Outcome::TooLarge,
            429 => Outcome::QuotaExceeded,
            503 => Outcome::Busy,
            _ => Outcome::BadUpstream,
        },
        Err(Flag::Timeout) => Outcome::UpstreamTimeout,
        Err(Flag::Overflow | Flag::NoHealthy) => Outcome::Busy,
        Err(_) => Outcome::BadUpstream,
    }
}

/// A topic as path segments: all but unreserved characters escaped, slashes kept.
fn put_topic(out: &mut Vec<u8>, topic: &[u8]) {
    for byte in topic {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~') {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_become_paths_that_are_read_the_same_everywhere() {
        let mut out = Vec::new();
        put_topic(&mut out, "a b//ü/c%".as_bytes());
        assert_eq!(out, b"a%20b//%C3%BC/c%25");
    }
}
