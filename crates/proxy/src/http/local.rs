//! Requests that the gateway itself serves: topics, upgrades to MQTT and JSON
//! frames, handlers. What can be answered at once is; the rest takes the client along.

use super::answers::{answered, failed};
use super::dispatch::Next;
use super::failure::Flag;
use super::reply::{ReplyTo, collect};
use super::request::Request;
use super::topics::{self, TopicRequest};
use super::view::wants_websocket;
use super::{handler, hops};
use crate::auth::{Claimed, Credentials, authenticate, basic, bearer};
use crate::client::Client;
use crate::files::{self, FileRequest, relative_path};
use crate::hooks::{self, HookView};
use crate::pubsub::Framing;
use crate::websocket;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_broker::Access;
use tidegate_coap::Transport;
use tidegate_http::{Conditions, RequestHead, tokens};
use tidegate_message::Protocol;
use tidegate_policy::{Place, Template};
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
    /// MQTT in WebSocket messages.
    Mqtt(Accepted),
    /// A CoAP client, over WebSocket.
    Coap(Accepted),
    /// A file of a directory.
    File(FileRequest),
    /// JSON frames.
    Json(Accepted),
    /// A handler: its index, and the head as it sees it.
    Handler(usize, serde_json::Value),
}

/// What a WebSocket is taken with: its accept key, and the subprotocol as the client wrote it.
pub(crate) struct Accepted {
    key: String,
    subprotocol: Box<str>,
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
    if head.target == b"*" {
        return hops::about_server(client, request);
    }
    if !is_topic {
        return failed(client, request, (usize::MAX, Flag::NoRoute, 0));
    }
    match topics::read(request) {
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
    let input = request.template_input(captures);
    let rendered =
        Template::compile(template, names, Place::Topic).is_ok_and(|template| template.render(&input, &mut topic));
    match String::from_utf8(topic).ok().filter(|topic| rendered && tidegate_route::valid_topic(topic)) {
        Some(topic) => local(client, request, (Some(index), What::Topic(topics::publish_of(request, topic)))),
        None => failed(client, request, (index, Flag::Unfit, 0)),
    }
}

/// Serves a file: the path below the route's prefix, or what a rewrite made of it.
pub(crate) fn to_directory(
    client: &Client,
    request: &Request<'_>,
    (index, root, captures): (usize, &Arc<Path>, &Captures),
) -> (Next, usize) {
    let head = request.head;
    if !matches!(head.method, "GET" | "HEAD") {
        let text = b"405 Method Not Allowed: files know GET and HEAD\n";
        return answered(client, request, (index, 405, b"allow: GET, HEAD\r\n", text));
    }
    let rewritten = request.edits.borrow().path().map(<[u8]>::to_vec);
    let path = match &rewritten {
        Some(path) => path.split(|byte| *byte == b'?').next().unwrap_or_default(),
        None => captures.rest().and_then(|span| request.view.path.get(span)).unwrap_or(request.view.path),
    };
    let Some(relative) = relative_path(path) else {
        return answered(client, request, (index, 404, b"", b"404 Not Found: there is no such file\n"));
    };
    let mut redirect = [request.view.path, b"/"].concat();
    if let Some(query) = head.target.get(head.path().len()..) {
        redirect.extend_from_slice(query);
    }
    let conditions = Conditions::of(head.headers);
    let takes_index = request.view.path.ends_with(b"/");
    let mut boundary = [0; 32];
    client.worker.write_id(&mut boundary);
    let file = FileRequest {
        root: Arc::clone(root),
        wants_index: path.ends_with(b"/") || (takes_index && rewritten.is_none()),
        takes_index,
        boundary,
        path: relative,
        redirect,
        conditions: if head.method == "GET" { conditions } else { conditions.without_range() },
        accept_encoding: head.list("accept-encoding").unwrap_or_default().into_owned(),
    };
    local(client, request, (Some(index), What::File(file)))
}

pub(super) fn local(client: &Client, request: &Request<'_>, (route, what): (Option<usize>, What)) -> (Next, usize) {
    let head = request.head;
    // What a route of the config leads to is protected by that route's policies.
    // Who speaks MQTT logs in there, and OSCORE says whose a message is.
    let says_itself = match what {
        What::Mqtt(..) => true,
        What::Coap(..) => client.trust().oscore.as_ref().is_some_and(|terms| !terms.is_empty()),
        _ => false,
    };
    let needs_user = route.is_none() && !client.trust().anonymous && !says_itself;
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
            coding: route.and_then(|index| request.coding(&request.plan.plan.routes[index])),
            edits: request.take_response_edits(),
            seen: client.worker.seen(request),
        },
        credentials: head.header("authorization").and_then(|value| basic(value).or_else(|| bearer(value))),
        needs_user,
    };
    (Next::Local(Box::new(local)), head.len)
}

fn refuse(client: &Client, request: &Request<'_>, (status, text): (u16, &str)) -> (Next, usize) {
    let body = format!("{status} {}: {text}\n", tidegate_http::reason(status));
    let fields: &[u8] = if status == 405 { topics::ALLOW } else { b"" };
    answered(client, request, (usize::MAX, status, fields, body.as_bytes()))
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
    let mut keys = head.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("sec-websocket-key"));
    // RFC 6455 section 11.3.1: there is one.
    let key = keys.next().map(|header| header.value).filter(|key| is_valid_key(key) && keys.next().is_none());
    let Some(key) = key.filter(|_| version == Some(b"13")) else {
        let (status, fields): (u16, &[u8]) = match version {
            // RFC 9110 section 15.5.22, RFC 6455 section 4.4.
            Some(version) if version != b"13" => {
                (426, b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n")
            }
            _ => (400, b"sec-websocket-version: 13\r\n"),
        };
        let text = b"a WebSocket needs a valid key and version 13\n";
        return answered(client, request, (usize::MAX, status, fields, text));
    };
    // The client names first what it likes most (RFC 6455 section 4.1).
    let offered = head.list("sec-websocket-protocol").unwrap_or_default();
    if let Some(what) = tokens(&offered).find_map(|offered| served(accept_key(key), offered)) {
        return local(client, request, (None, what));
    }
    let text = b"no route claims this WebSocket; offer the subprotocol mqtt, coap or tidegate.v1.json\n";
    answered(client, request, (usize::MAX, 404, b"", text))
}

/// What a subprotocol stands for. Browsers hold on to the case of what they offered.
fn served(key: String, offered: &[u8]) -> Option<What> {
    let subprotocol = std::str::from_utf8(offered).ok()?;
    let accepted = Accepted { key, subprotocol: subprotocol.into() };
    Some(match subprotocol.to_ascii_lowercase().as_str() {
        // The second is what it was called when it was MQTT 3.1.
        "mqtt" | "mqttv3.1" => What::Mqtt(accepted),
        "coap" => What::Coap(accepted),
        websocket::SUBPROTOCOL => What::Json(accepted),
        _ => return None,
    })
}

/// Who sent these credentials: a policy knows first.
async fn identify(client: &mut Client, credentials: Credentials<'_>) -> Option<Access> {
    let (worker, plan) = (Rc::clone(&client.worker), client.worker.plan());
    if !plan.plan.hooks.authenticate.is_empty() {
        let view = HookView::new(credentials.protocol, &client.peer, None)
            .with("hook", &b"authenticate"[..])
            .with("username", credentials.user.as_bytes())
            .with("password", credentials.password);
        match hooks::authenticate(&worker, &plan, &view).await {
            Ok(Some((access, tenant))) => {
                client.know(|known| known.tenant = tenant);
                return Some(access);
            }
            Ok(None) => {}
            Err(_) => return None,
        }
    }
    authenticate(&worker, credentials, client.left()).await
}

impl Local {
    /// Serves it; the client comes back where its connection goes on.
    pub(crate) async fn run(self, mut client: Box<Client>) -> Option<Box<Client>> {
        let Local { mut what, reply, credentials, needs_user } = self;
        let mut access = Access::default();
        if let Some((user, password)) = credentials.as_ref().filter(|_| reply.plan.knows_users()) {
            let (protocol, peer) = (Protocol::Http1, client.peer.address);
            let credentials = Credentials { protocol, client_id: "", user, password, peer };
            access = identify(&mut client, credentials).await.unwrap_or_default();
        }
        if let (None, Some(user)) = (&credentials, client.peer.user()) {
            // Who the handshake proved it to be, by its certificate.
            access = Claimed { user: Arc::clone(user), ..Claimed::default() }.access(&reply.plan);
        }
        // Wrong credentials are an error even where none are needed, once there are users.
        let wrong = credentials.is_some() && reply.plan.knows_users() && access.user.is_none();
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
        let own = reply.route.and_then(|index| reply.plan.routes[index].steps.body_limit());
        let limit = own.map_or(limit, |own| limit.min(usize::try_from(own).unwrap_or(usize::MAX)));
        match what {
            What::Mqtt(accept) => {
                switch(&mut client, (&accept, Protocol::Mqtt)).await?;
                crate::mqtt::Serving::new(*client, Framing::WebSocket).await;
                None
            }
            What::Coap(accept) => {
                switch(&mut client, (&accept, Protocol::CoapTcp)).await?;
                crate::coap::serve_stream(client, (Transport::WebSocket, access)).await;
                None
            }
            What::Json(accept) => {
                switch(&mut client, (&accept, Protocol::WebSocket)).await?;
                websocket::serve(client, access).await;
                None
            }
            What::File(file) => match collect(&mut client, &reply, limit).await {
                Ok(_) => files::serve(client, (file, reply)).await,
                Err(status) => reply.close(client, status).await,
            },
            What::Topic(topic) => match collect(&mut client, &reply, limit).await {
                Ok(body) => topics::serve(client, (topic, reply, access), &body).await,
                Err(status) => reply.close(client, status).await,
            },
            What::Handler(index, head) => match collect(&mut client, &reply, limit).await {
                Ok(body) => handler::handle(client, reply, (index, &head, &body)).await,
                Err(status) => reply.close(client, status).await,
            },
        }
    }
}

/// 101 with the subprotocol.
async fn switch(client: &mut Client, (accept, protocol): (&Accepted, Protocol)) -> Option<()> {
    let Accepted { key, subprotocol } = accept;
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {key}\r\nsec-websocket-protocol: {subprotocol}\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await.ok()?;
    client.becomes(protocol);
    Some(())
}
