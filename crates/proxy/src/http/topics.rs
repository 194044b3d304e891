//! Topics over HTTP: POST and PUT publish, GET reads the last value or streams,
//! DELETE clears. The path is split raw and decoded level by level.

use super::events;
use super::reply::ReplyTo;
use super::request::Request;
use super::view::query;
use crate::client::Client;
use crate::hooks::{self, Subscription};
use crate::pubsub::{Publisher, Publishing, publish, retains};
use tidegate_broker::{Access, Published};
use tidegate_message::{MessageBuilder, Outcome, Properties, Qos};
use tidegate_route::{valid_filter, valid_topic};

/// What is wanted of a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    Publish,
    LastValue,
    Stream,
    Clear,
}

/// What a topic's 405 has to tell (RFC 9110 section 15.5.6).
pub(super) const ALLOW: &[u8] = b"allow: GET, HEAD, POST, PUT, DELETE\r\n";

/// A request for a topic or, to read, a filter.
#[derive(Debug)]
pub(crate) struct TopicRequest {
    pub(crate) wanted: Wanted,
    pub(crate) topic: String,
    retain: bool,
    max_age: Option<u64>,
    properties: Properties,
}

/// Reads a request under the broker's path.
///
/// # Errors
/// The status to answer, and why.
pub(crate) fn read(request: &Request<'_>) -> Result<TopicRequest, (u16, &'static str)> {
    let head = request.head;
    let prefix = request.plan.plan.broker.http_path.len() + 1;
    let topic = decode_topic(head.path().get(prefix..).unwrap_or_default())?;
    let streams = head.list("accept").is_some_and(|accept| {
        tidegate_http::tokens(&accept).any(|range| {
            let kind = range.split(|byte| *byte == b';').next().unwrap_or_default();
            kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
        })
    });
    let wildcard = topic.contains(['+', '#']);
    let wanted = match head.method {
        "POST" | "PUT" => Wanted::Publish,
        // A filter has no last value: a GET of one is a subscription.
        "GET" if streams || wildcard => Wanted::Stream,
        "GET" | "HEAD" => Wanted::LastValue,
        "DELETE" => Wanted::Clear,
        _ => return Err((405, "topics know GET, HEAD, POST, PUT and DELETE")),
    };
    match wanted {
        Wanted::Stream if !valid_filter(&topic) => Err((400, "this is no topic filter")),
        Wanted::Stream => Ok(TopicRequest { wanted, ..publish_of(request, topic) }),
        _ if !valid_topic(&topic) => Err((400, "this is no topic to publish to or read")),
        Wanted::Publish if retains(query(head.query(), "retain")).is_none() => {
            Err((400, "retain in the query is true or false"))
        }
        _ => Ok(TopicRequest { wanted, ..publish_of(request, topic) }),
    }
}

/// A publish of the request's body under `topic`.
pub(crate) fn publish_of(request: &Request<'_>, topic: String) -> TopicRequest {
    let head = request.head;
    let text = |name: &str| head.header(name).map(|value| Box::from(String::from_utf8_lossy(value)));
    let mut user = Vec::new();
    if let Some(trace) = text("traceparent") {
        user.push((Box::from("traceparent"), trace));
    }
    let max_age = head.list("cache-control").and_then(|control| tidegate_http::tokens(&control).find_map(max_age_of));
    TopicRequest {
        wanted: Wanted::Publish,
        topic,
        retain: retains(query(head.query(), "retain")).unwrap_or(true),
        max_age,
        properties: Properties {
            content_type: text("content-type").filter(|kind| &**kind != FORM),
            user,
            ..Properties::default()
        },
    }
}

/// The seconds of `max-age=60` or, which RFC 9111 section 5.2 has us take, `max-age="60"`.
fn max_age_of(directive: &[u8]) -> Option<u64> {
    let (name, seconds) = std::str::from_utf8(directive).ok()?.split_once('=')?;
    name.eq_ignore_ascii_case("max-age").then(|| seconds.trim_matches('"').parse().ok())?
}

/// What curl says of a body when nobody told it what it is.
const FORM: &str = "application/x-www-form-urlencoded";

/// Levels are decoded one by one: an escaped slash would be a level's end for some and
/// a character for others.
fn decode_topic(raw: &[u8]) -> Result<String, (u16, &'static str)> {
    let mut topic = Vec::with_capacity(raw.len());
    let mut rest = raw.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            topic.push(*byte);
            continue;
        }
        let digit = |byte: Option<&u8>| byte.and_then(|byte| (*byte as char).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err((400, "the topic has a broken percent escape"));
        };
        match (high << 4 | low) as u8 {
            b'/' => return Err((400, "the topic has an encoded slash")),
            0 => return Err((400, "the topic has an encoded NUL")),
            byte => topic.push(byte),
        }
    }
    String::from_utf8(topic).map_err(|_| (400, "the topic is not UTF-8"))
}

/// Serves it.
pub(crate) async fn serve(
    client: Box<Client>,
    (request, reply, access): (TopicRequest, ReplyTo, Access),
    body: &[u8],
) -> Option<Box<Client>> {
    match request.wanted {
        Wanted::Stream => {
            events::serve(client, (request.topic, reply, access)).await;
            None
        }
        Wanted::LastValue => last_value(client, (&request.topic, reply, access)).await,
        Wanted::Publish => {
            let outcome = send(&client, (&request, access), body).await;
            let body = if outcome.is_accepted() { String::new() } else { format!("{}\n", outcome.label()) };
            let fields: &[u8] = if matches!(status(outcome), 429 | 503) { b"retry-after: 1\r\n" } else { b"" };
            reply.send(client, (status(outcome), fields, body.as_bytes())).await
        }
        Wanted::Clear => {
            let clear = TopicRequest { retain: true, ..request };
            let outcome = send(&client, (&clear, access), b"").await;
            let code = if outcome.is_accepted() { 204 } else { status(outcome) };
            reply.send(client, (code, b"", b"")).await
        }
    }
}

/// Publishes; the answer follows when it is with whoever it has to be with.
async fn send(client: &Client, (request, access): (&TopicRequest, Access), body: &[u8]) -> Outcome {
    let worker = &client.worker;
    if worker.hub.links.is_congested() {
        worker.hub.links.uncongested().await;
    }
    let mut message = MessageBuilder::new(client.protocol, &request.topic, body);
    (message.qos, message.retain) = (Qos::AtLeastOnce, request.retain);
    message.expires_at =
        request.max_age.map(|seconds| worker.clock.millis().saturating_add(seconds.saturating_mul(1_000)));
    if request.properties != Properties::default() {
        message.properties = Some(Box::new(request.properties.clone()));
    }
    let publisher = Publisher { session: None, access, peer: client.peer.clone() };
    let published = match publish(worker, &publisher, message) {
        Publishing::Done(published) => published,
        Publishing::Later(later) => later.await,
    };
    match published {
        Published::New(outcome) => outcome,
        Published::Again => Outcome::Success,
    }
}

async fn last_value(client: Box<Client>, (topic, reply, access): (&str, ReplyTo, Access)) -> Option<Box<Client>> {
    let worker = &client.worker;
    if worker.plan().plan.hooks.on_subscribe() {
        let wanted = Subscription { filter: topic.into(), qos: Qos::AtLeastOnce };
        if let Err(refusal) = hooks::subscribe(worker, (client.protocol, &client.peer, &access), wanted).await {
            let outcome = refusal.outcome();
            return reply.send(client, (status(outcome), b"", outcome.label().as_bytes())).await;
        }
    }
    let now = worker.clock.millis();
    let (kept, may) = {
        let broker = worker.hub.broker.borrow();
        (broker.retained(now, &access, topic), broker.shared().acl().may_receive(&access, topic))
    };
    let Some(kept) = kept.into_iter().next() else {
        if !may {
            return reply.send(client, (403, b"", b"forbidden\n")).await;
        }
        return reply.send(client, (404, b"", b"404 Not Found: the topic has no last value\n")).await;
    };
    let message = &kept.message;
    let kind = message.content_type().unwrap_or_else(|| {
        if std::str::from_utf8(message.payload()).is_ok() {
            "text/plain; charset=utf-8"
        } else {
            "application/octet-stream"
        }
    });
    let mut fields = format!("content-type: {}\r\n", safe(kind));
    match message.remaining_seconds(now) {
        Some(seconds) => fields.push_str(&format!("cache-control: max-age={seconds}\r\n")),
        None => fields.push_str("cache-control: no-cache\r\n"),
    }
    reply.send(client, (200, fields.as_bytes(), message.payload())).await
}

/// A field value that cannot end its line: what an MQTT client calls a content type is any text.
fn safe(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

/// The status of a publish.
pub(crate) const fn status(outcome: Outcome) -> u16 {
    match outcome {
        Outcome::Success => 204,
        Outcome::NoSubscribers => 202,
        Outcome::Malformed | Outcome::InvalidTopic => 400,
        Outcome::Unauthenticated => 401,
        Outcome::Forbidden => 403,
        Outcome::NotFound => 404,
        Outcome::TooLarge => 413,
        Outcome::QuotaExceeded => 429,
        Outcome::Internal => 500,
        Outcome::BadUpstream => 502,
        Outcome::Busy => 503,
        Outcome::UpstreamTimeout => 504,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_decoded_level_by_level() {
        assert_eq!(decode_topic(b"a//b%20c/%C3%A9"), Ok("a//b c/é".to_owned()));
        for bad in [&b"a%2Fb"[..], b"a%2fb", b"%00", b"%zz", b"%4", b"%ff"] {
            assert!(decode_topic(bad).is_err_and(|(status, _)| status == 400), "{}", String::from_utf8_lossy(bad));
        }
    }
}
