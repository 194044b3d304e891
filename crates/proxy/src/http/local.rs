//! Requests that the gateway itself serves: topics, upgrades to MQTT and JSON
//! frames, handlers. What can be answered at once is; the rest takes the client along.

use super::dispatch::{Next, Request, answered, failed};
use super::failure::Flag;
use super::topics::{self, TopicRequest};
use super::view::wants_websocket;
use crate::auth::{authenticate, basic};
use crate::client::{Client, Input};
use crate::http::respond::{Answer, respond};
use crate::plan::Plan;
use crate::pubsub::Framing;
use crate::websocket;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_broker::Access;
use tidegate_coap::Transport;
use tidegate_http::{Body, BodyReader, Piece, RequestHead, Version, has_token};
use tidegate_message::Protocol;
use tidegate_policy::{Place, Template, TemplateInput};
use tidegate_route::Captures;
use tidegate_websocket::{accept_key, is_valid_key};

/// Something that is served here and waits: for its body, for a login, for ever.
pub(crate) struct Local {
    pub(crate) what: What,
    pub(crate) reply: ReplyTo,
    credentials: Option<(String, Vec<u8>)>,
    needs_user: bool,
}

/// What is served.
pub(crate) enum What {
    Topic(TopicRequest),
    /// MQTT in WebSocket messages; the accept key.
    Mqtt(String),
    /// A CoAP client, over WebSocket.
    Coap(String),
    /// JSON frames; the accept key.
    Json(String),
    /// A handler: its index, and the head as it sees it.
    Handler(usize, serde_json::Value),
}

/// What the answer needs to know of the request.
pub(crate) struct ReplyTo {
    pub(crate) route: Option<usize>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) started_us: u64,
    pub(crate) to_head: bool,
    pub(crate) keep_alive: bool,
    pub(crate) version: Version,
    pub(crate) body: Body,
    pub(crate) expects_continue: bool,
}

/// Whether a raw path stands under the broker's path.
pub(crate) fn is_topic_path(http_path: &str, path: &[u8]) -> bool {
    path.strip_prefix(http_path.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// A request that no route of the config claims.
pub(crate) fn builtin(client: &Client, request: &Request<'_>) -> (Next, usize) {
    let head = request.head;
    let is_topic = is_topic_path(&request.plan.plan.broker.http_path, head.path());
    if (is_topic || head.upgrade.is_some()) && !comes_from_here(client, head) {
        return refuse(client, request, (403, "this page may not use the gateway: Origin and Host differ"));
    }
    if wants_websocket(head) {
        return upgrade(client, request);
    }
    if !is_topic {
        return failed(client, request, (usize::MAX, Flag::NoRoute, 0));
    }
    match topics::read(client, request) {
        Ok(topic) => local(client, request, (None, What::Topic(topic))),
        Err((status, text)) => refuse(client, request, (status, text)),
    }
}

/// Publishes the request under a route's topic.
pub(crate) fn to_topic(
    client: &Client,
    request: &Request<'_>,
    (index, template, captures): (usize, &str, &Captures),
) -> (Next, usize) {
    let mut topic = Vec::new();
    let names = request.plan.plan.table.capture_names(index);
    let input = TemplateInput { path: request.view.path, captures, topic: b"" };
    let rendered =
        Template::compile(template, names, Place::Topic).is_ok_and(|template| template.render(&input, &mut topic));
    match String::from_utf8(topic).ok().filter(|topic| rendered && tidegate_route::valid_topic(topic)) {
        Some(topic) => local(client, request, (Some(index), What::Topic(topics::publish_of(client, request, topic)))),
        None => failed(client, request, (index, Flag::Unfit, 0)),
    }
}

/// Gives the request to a handler.
pub(crate) fn to_handler(client: &Client, request: &Request<'_>, (index, handler): (usize, usize)) -> (Next, usize) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let head = request.head;
    let headers: Vec<(String, String)> =
        head.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect();
    let seen = serde_json::json!({
        "protocol": "http1",
        "kind": "request",
        "method": head.method,
        "host": text(request.view.host),
        "path": text(request.view.path),
        "query": text(head.query()),
        "source": client.peer.address.ip().to_string(),
        "contentType": head.header("content-type").map(text),
        "headers": headers,
    });
    local(client, request, (Some(index), What::Handler(handler, seen)))
}

fn local(client: &Client, request: &Request<'_>, (route, what): (Option<usize>, What)) -> (Next, usize) {
    let head = request.head;
    // What a route of the config leads to is protected by that route's policies.
    let needs_user = route.is_none() && !client.trust.anonymous && !matches!(what, What::Mqtt(_));
    let local = Local {
        what,
        reply: ReplyTo {
            route,
            plan: Arc::clone(&request.plan.plan),
            started_us: request.started_us,
            to_head: head.method == "HEAD",
            keep_alive: request.keep_alive,
            version: head.version,
            body: head.body,
            expects_continue: head.expects_continue,
        },
        credentials: head.header("authorization").and_then(basic),
        needs_user,
    };
    (Next::Local(Box::new(local)), head.len)
}

fn refuse(client: &Client, request: &Request<'_>, (status, text): (u16, &str)) -> (Next, usize) {
    let body = format!("{status} {}: {text}\n", tidegate_http::reason(status));
    answered(client, request, (usize::MAX, status, b"", body.as_bytes()))
}

/// Against cross-site requests and DNS rebinding: a browser names where its page came
/// from, and on loopback a page may only come from loopback.
fn comes_from_here(client: &Client, head: &RequestHead<'_, '_>) -> bool {
    let name = String::from_utf8_lossy(head.host()).to_ascii_lowercase();
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let is_local = name == "localhost" || name.ends_with(".localhost") || bare.parse::<std::net::IpAddr>().is_ok();
    let is_loopback = client.peer.address.ip().is_loopback();
    let Some(origin) = head.header("origin") else {
        // Reading its own origin, a page sends none. Only a name with a dot can be one that was rebound.
        return !is_loopback || is_local || !name.contains('.');
    };
    let host = origin.split(|byte| *byte == b'/').nth(2).unwrap_or_default();
    host.eq_ignore_ascii_case(head.authority) && (!is_loopback || is_local)
}

/// A WebSocket that no route claims: MQTT or JSON frames, by its subprotocol.
fn upgrade(client: &Client, request: &Request<'_>) -> (Next, usize) {
    let head = request.head;
    let version = head.header("sec-websocket-version");
    let key = head.header("sec-websocket-key").filter(|key| is_valid_key(key));
    let Some(key) = key.filter(|_| version == Some(b"13")) else {
        let fields = b"sec-websocket-version: 13\r\n";
        let status = if version.is_some_and(|version| version != b"13") { 426 } else { 400 };
        return answered(
            client,
            request,
            (usize::MAX, status, fields, b"a WebSocket needs a valid key and version 13\n"),
        );
    };
    let accept = accept_key(key);
    let offered = |name| {
        head.headers
            .iter()
            .any(|header| header.name.eq_ignore_ascii_case("sec-websocket-protocol") && has_token(header.value, name))
    };
    if offered("mqtt") {
        return local(client, request, (None, What::Mqtt(accept)));
    }
    if offered("coap") {
        return local(client, request, (None, What::Coap(accept)));
    }
    if offered(websocket::SUBPROTOCOL) {
        return local(client, request, (None, What::Json(accept)));
    }
    let text = b"no route claims this WebSocket; offer the subprotocol mqtt, coap or tidegate.v1.json\n";
    answered(client, request, (usize::MAX, 404, b"", text))
}

impl Local {
    /// Serves it; the client comes back where its connection goes on.
    pub(crate) async fn run(self, mut client: Box<Client>) -> Option<Box<Client>> {
        let Local { mut what, reply, credentials, needs_user } = self;
        let mut access = Access::default();
        if let Some((user, password)) = &credentials
            && !reply.plan.users.is_empty()
        {
            access.user = authenticate(&client.worker, user, password).await;
        }
        // Wrong credentials are an error even where none are needed, once there are users.
        let wrong = credentials.is_some() && !reply.plan.users.is_empty() && access.user.is_none();
        if (needs_user || (wrong && reply.route.is_none())) && access.user.is_none() {
            return reply.ask_for_user(client).await;
        }
        if let (What::Handler(_, head), Some(user)) = (&mut what, &access.user) {
            head["user"] = (&**user).into();
        }
        let limit = match &what {
            What::Handler(index, _) => reply.plan.handlers.get(*index).map_or(0, |handler| handler.max_body_bytes),
            _ => reply.plan.bounds.body_collected,
        };
        match what {
            What::Mqtt(accept) => {
                switch(&mut client, (&accept, "mqtt")).await?;
                let carried = client.carried();
                crate::mqtt::serve(client, carried, Framing::WebSocket).await;
                None
            }
            What::Coap(accept) => {
                switch(&mut client, (&accept, "coap")).await?;
                let carried = client.carried();
                crate::coap::serve_stream(client, carried, (Transport::WebSocket, access)).await;
                None
            }
            What::Json(accept) => {
                switch(&mut client, (&accept, websocket::SUBPROTOCOL)).await?;
                websocket::serve(client, access).await;
                None
            }
            What::Topic(topic) => match collect(&mut client, &reply, limit).await {
                Ok(body) => topics::serve(client, (topic, reply, access), &body).await,
                Err(status) => reply.close(client, status).await,
            },
            What::Handler(index, head) => match collect(&mut client, &reply, limit).await {
                Ok(body) => handle(client, reply, (index, &head, &body)).await,
                Err(status) => reply.close(client, status).await,
            },
        }
    }
}

async fn handle(client: Box<Client>, reply: ReplyTo, call: (usize, &serde_json::Value, &[u8])) -> Option<Box<Client>> {
    use crate::handle::HandlerFailure;
    let worker = Rc::clone(&client.worker);
    match crate::handle::call(&worker, &reply.plan, call).await {
        Ok(answer) => {
            let mut fields = Vec::new();
            let clean = |text: &str| !text.bytes().any(|byte| byte < b' ' && byte != b'\t' || byte == 0x7f);
            for (name, value) in &answer.headers {
                let framing = ["content-length", "transfer-encoding", "connection"]
                    .iter()
                    .any(|known| name.eq_ignore_ascii_case(known));
                if !framing
                    && !name.is_empty()
                    && clean(value)
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                {
                    fields.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
                }
            }
            reply.send(client, (answer.status, &fields, &answer.body)).await
        }
        Err(HandlerFailure::TimedOut) => reply.send(client, (504, b"", b"the handler did not answer in time\n")).await,
        Err(HandlerFailure::Unavailable) => {
            reply.send(client, (503, b"retry-after: 1\r\n", b"no handler can take the request now\n")).await
        }
    }
}

/// 101 with the subprotocol.
async fn switch(client: &mut Client, (accept, protocol): (&str, &str)) -> Option<()> {
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {accept}\r\nsec-websocket-protocol: {protocol}\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await.ok()?;
    let counters = &client.worker.counters;
    counters.of(Protocol::Http1).open.sub(1);
    let inner = match protocol {
        "mqtt" => Protocol::Mqtt,
        "coap" => Protocol::CoapTcp,
        _ => Protocol::WebSocket,
    };
    counters.of(inner).open.add(1);
    counters.of(inner).accepted.add(1);
    client.connection.protocol.set(Some(inner));
    Some(())
}

/// The whole body, from what was carried over and what still comes. `Err`: the status
/// to close with.
async fn collect(client: &mut Client, reply: &ReplyTo, limit: usize) -> Result<Vec<u8>, u16> {
    if matches!(reply.body, Body::Length(length) if length > limit as u64) {
        return Err(413);
    }
    let mut reader = BodyReader::new(reply.body, reply.plan.bounds.chunk_extensions);
    let mut body = Vec::new();
    if reply.body != Body::None {
        client.deadline(client.worker.clock.millis(), reply.plan.limits.stall_timeout_ms);
    }
    let mut input: Option<Input> = client.carried();
    let mut asked = !reply.expects_continue;
    loop {
        if let Some(mut ready) = input.take() {
            let done = fill(&mut reader, &mut ready, (&mut body, limit));
            client.stash(ready);
            if done? {
                return Ok(body);
            }
        } else if reader.is_done() {
            return Ok(body);
        }
        if !std::mem::replace(&mut asked, true) {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.map_err(|_| 0_u16)?;
        }
        input = Some(
            client
                .input(false)
                .await
                .map_err(|ended| if ended == crate::client::Ended::TimedOut { 408 } else { 0_u16 })?,
        );
        client.deadline(client.worker.clock.millis(), reply.plan.limits.stall_timeout_ms);
    }
}

fn fill(reader: &mut BodyReader, input: &mut Input, (body, limit): (&mut Vec<u8>, usize)) -> Result<bool, u16> {
    loop {
        let (start, end) = (input.start, input.end);
        let (piece, used) = reader.next(&input.buffer[start..end]).map_err(|error| error.code)?;
        match piece {
            Piece::Data(data) => body.extend_from_slice(data),
            Piece::NeedMore => {
                input.start += used;
                return Ok(false);
            }
            Piece::End(_) => {
                input.start += used;
                return Ok(true);
            }
        }
        input.start += used;
        if body.len() > limit {
            return Err(413);
        }
    }
}

impl ReplyTo {
    /// Sends an answer; the client comes back where its connection goes on.
    pub(crate) async fn send(
        &self,
        mut client: Box<Client>,
        (status, fields, body): (u16, &[u8], &[u8]),
    ) -> Option<Box<Client>> {
        let worker = Rc::clone(&client.worker);
        let micros = worker.clock.micros();
        let keep_alive = self.keep_alive && !client.connection.is_leaving();
        let mut all = fields.to_vec();
        let typed = memchr::memmem::find(&fields.to_ascii_lowercase(), b"content-type:").is_some();
        if !typed && !body.is_empty() {
            all.extend_from_slice(b"content-type: text/plain; charset=utf-8\r\n");
        }
        let mut out = worker.buffers.take_write();
        respond(
            &client,
            micros / 1_000,
            &Answer { status, fields: &all, body, to_head: self.to_head, keep_alive },
            &mut out,
        );
        self.count(&client, status);
        client.deadline(micros / 1_000, self.plan.limits.stall_timeout_ms);
        let written = client.write_all(&out).await;
        worker.buffers.give_write(out);
        match written {
            Ok(()) if keep_alive => Some(client),
            Ok(()) => {
                client.close().await;
                None
            }
            Err(_) => None,
        }
    }

    /// Asks for credentials (401), the body read first: what is left of it would be taken for
    /// the next request.
    /// A client that waits for 100 (Continue) is spared sending it, and the connection closes.
    async fn ask_for_user(mut self, mut client: Box<Client>) -> Option<Box<Client>> {
        let limit = self.plan.bounds.body_collected;
        if self.expects_continue || collect(&mut client, &self, limit).await.is_err() {
            client.connection.lingers.set(true);
            self.keep_alive = false;
        }
        let fields = b"www-authenticate: Basic realm=\"tidegate\", charset=\"UTF-8\"\r\n";
        self.send(client, (401, fields, b"say who you are: user and password\n")).await
    }

    /// Sends an error and closes, since the body was not read whole. Status 0: the client is gone.
    async fn close(mut self, client: Box<Client>, status: u16) -> Option<Box<Client>> {
        if status == 0 {
            return None;
        }
        client.connection.lingers.set(true);
        self.keep_alive = false;
        let body = format!("{status} {}\n", tidegate_http::reason(status));
        self.send(client, (status, b"", body.as_bytes())).await
    }

    /// Counts the answer on its route.
    pub(crate) fn count(&self, client: &Client, status: u16) {
        let counters = self.route.map_or(&self.plan.builtin, |index| &self.plan.routes[index].counters);
        let counters = counters[usize::from(client.worker.id)].of(Protocol::Http1);
        counters.codes.add(status);
        counters.duration.observe(client.worker.clock.micros().saturating_sub(self.started_us));
    }
}
