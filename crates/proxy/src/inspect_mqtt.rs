//! What the admin API and the TypeScript API ask of the broker: sessions, retained
//! messages, a publish, a subscription.

use crate::gateway::{Gateway, GatewayError};
use crate::inspect::{json, parse};
use crate::pubsub::{Outlet, Publisher, Publishing, Watch, publish};
use crate::worker::{Control, Worker};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use tidegate_broker::{Access, ClientInfo, Kept, Options, Published, SubscriberId};
use tidegate_message::{MessageBuilder, Outcome, Peer, Properties, Protocol, Qos};
use tokio::sync::oneshot;

/// Rows of a page by default and at most.
const PAGE: (usize, usize) = (100, 1_000);
/// Retained messages that are told at most.
const RETAINED_MAX: usize = 1_000;

static NEXT_SUBSCRIPTION: AtomicU32 = AtomicU32::new(1);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientQuery {
    client_id: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// A session as the admin API shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClientRow {
    client_id: String,
    user: Option<String>,
    connected: bool,
    /// Seconds; null: never.
    session_expiry: Option<u32>,
    queued: usize,
    queued_bytes: usize,
    inflight: usize,
    /// QoS 2 messages of it between PUBLISH and PUBREL.
    inbound: usize,
    dropped: u64,
    has_will: bool,
    subscriptions: Vec<SubscriptionRow>,
    worker: u16,
    connection: Option<ClientConnection>,
    last_error: Option<LastError>,
}

/// The connection that serves a session.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientConnection {
    id: String,
    peer: String,
    version: u8,
    created_at: u64,
    bytes_in: u64,
    bytes_out: u64,
    /// Bytes that its socket did not take yet.
    waiting_bytes: usize,
    slow: bool,
}

#[derive(Serialize)]
struct LastError {
    text: String,
    at: u64,
}

#[derive(Serialize)]
struct SubscriptionRow {
    filter: String,
    qos: u8,
}

impl ClientRow {
    pub(crate) fn new(worker: &Worker, client: ClientInfo) -> Self {
        let connection = match worker.hub.outlets.borrow().get(client.id) {
            Some(Outlet::Mqtt(link)) => Some(ClientConnection {
                id: format!("{}-{}-{}", worker.id, link.connection.slot, link.connection.generation),
                peer: link.connection.address().to_string(),
                version: link.session.borrow().version() as u8,
                created_at: worker.clock.epoch_ms() + link.connection.created_at,
                bytes_in: link.connection.bytes_in.get(),
                bytes_out: link.connection.bytes_out.get(),
                waiting_bytes: link.waiting(),
                slow: link.is_slow.get(),
            }),
            _ => None,
        };
        let last_error = worker.shared.faults.of(&client.client_id).map(|(text, at)| LastError { text, at });
        ClientRow {
            connection,
            last_error,
            inbound: client.inbound,
            dropped: client.dropped,
            has_will: client.has_will,
            client_id: client.client_id.to_string(),
            user: client.user.as_deref().map(str::to_owned),
            connected: client.connected,
            session_expiry: (client.expiry != u32::MAX).then_some(client.expiry),
            queued: client.queued,
            queued_bytes: client.queued_bytes,
            inflight: client.inflight,
            subscriptions: client
                .subscriptions
                .iter()
                .map(|(filter, qos)| SubscriptionRow { filter: filter.to_string(), qos: *qos as u8 })
                .collect(),
            worker: worker.id,
        }
    }
}

/// A publish of the API on its way to a worker.
pub(crate) struct ApiPublish {
    topic: String,
    payload: Vec<u8>,
    options: PublishOptions,
    done: oneshot::Sender<Outcome>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PublishOptions {
    qos: u8,
    retain: bool,
    content_type: Option<String>,
    /// Seconds.
    #[serde(alias = "expirySeconds")]
    expiry: Option<u64>,
}

impl Gateway {
    /// Sessions as JSON, in the order of their client ids.
    ///
    /// # Errors
    /// `INVALID_QUERY`, `CLOSED`.
    pub fn mqtt_clients(&self, query: &str) -> Result<String, GatewayError> {
        let query: ClientQuery = parse(query)?;
        let mut rows: Vec<ClientRow> =
            self.ask(|reply| Control::Clients(query.client_id.clone(), reply))?.into_iter().flatten().collect();
        rows.sort_by(|a, b| a.client_id.cmp(&b.client_id));
        if let Some(cursor) = &query.cursor {
            rows.retain(|row| row.client_id > *cursor);
        }
        let limit = query.limit.unwrap_or(PAGE.0).clamp(1, PAGE.1);
        let next = (rows.len() > limit).then(|| rows[limit - 1].client_id.clone());
        rows.truncate(limit);
        json(&serde_json::json!({ "items": rows, "nextCursor": next }))
    }

    /// Ends a client's session and connection: whether there was one.
    ///
    /// # Errors
    /// `CLOSED`.
    pub fn kick_client(&self, client_id: &str) -> Result<bool, GatewayError> {
        let kicked = self.ask(|reply| Control::KickClient(client_id.to_owned(), reply))?;
        Ok(kicked.contains(&true))
    }

    /// Retained messages that match a filter, as JSON, payloads in base64 with their text where they are text.
    ///
    /// # Errors
    /// `INTERNAL`.
    pub fn retained(&self, filter: &str) -> Result<String, GatewayError> {
        let now = self.shared.clock.millis();
        let kept = self.shared.broker.retained().matching(filter, now, RETAINED_MAX);
        let row = |kept: &Kept| {
            let message = &kept.message;
            serde_json::json!({
                "topic": message.topic(),
                "qos": message.qos as u8,
                "bytes": message.payload().len(),
                "text": std::str::from_utf8(message.payload()).ok(),
                "payload": STANDARD.encode(message.payload()),
                "contentType": message.content_type(),
                "expiresInSeconds": message.remaining_seconds(now),
            })
        };
        json(&serde_json::json!({ "items": kept.iter().map(row).collect::<Vec<_>>() }))
    }

    /// Publishes as the gateway itself; the outcome's label.
    ///
    /// # Errors
    /// `INVALID_QUERY`, `CLOSED`.
    pub fn publish(&self, topic: String, payload: Vec<u8>, options: &str) -> Result<&'static str, GatewayError> {
        let options: PublishOptions = parse(options)?;
        let outcome =
            self.ask_one(0, |done| Control::Publish(Box::new(ApiPublish { topic, payload, options, done })))?;
        Ok(outcome.label())
    }

    /// Shows packets of chosen clients and topics as records of subscription 0; an empty
    /// list ends it.
    ///
    /// # Errors
    /// `INVALID_QUERY`, `CLOSED`.
    pub fn trace(&self, watches: &str) -> Result<(), GatewayError> {
        let watches: Vec<Watch> = parse(watches)?;
        self.ask(|reply| Control::Trace(watches.clone(), reply)).map(drop)
    }

    /// Subscribes; messages come as events with the number returned.
    ///
    /// # Errors
    /// `INVALID_TOPIC`: this is no filter; `CLOSED`.
    pub fn subscribe(&self, filter: &str, qos: u8) -> Result<u32, GatewayError> {
        let id = NEXT_SUBSCRIPTION.fetch_add(1, Ordering::Relaxed);
        let filter_owned = filter.to_owned();
        let outcome = self.ask_one(0, |done| Control::Subscribe { id, filter: filter_owned, qos, done })?;
        match outcome {
            Outcome::Success => Ok(id),
            refused => Err(GatewayError {
                code: "INVALID_TOPIC",
                message: format!("cannot subscribe to {filter}: {}", refused.label()),
            }),
        }
    }

    /// Ends a subscription; an unknown number changes nothing.
    pub fn unsubscribe(&self, id: u32) {
        let _ = self.ask_one(0, |done| Control::Unsubscribe(id, done));
    }
}

/// Publishes for the API, on a worker.
pub(crate) fn publish_here(worker: &Rc<Worker>, request: Box<ApiPublish>) {
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let ApiPublish { topic, payload, options, done } = *request;
        let mut message = MessageBuilder::new(Protocol::Internal, &topic, &payload);
        message.qos = Qos::from_bits(options.qos).unwrap_or_default();
        message.retain = options.retain;
        message.expires_at = options.expiry.map(|seconds| worker.clock.millis() + seconds.saturating_mul(1_000));
        message.properties = options
            .content_type
            .map(|kind| Box::new(Properties { content_type: Some(kind.into()), ..Properties::default() }));
        let peer = Rc::new(Peer::new(SocketAddr::from(([127, 0, 0, 1], 0))));
        let access = Access::superuser(Some("$gateway".into()));
        let published = match publish(&worker, &Publisher { session: None, access, peer }, message) {
            Publishing::Done(published) => published,
            Publishing::Later(later) => later.await,
        };
        let _ = done.send(if let Published::New(outcome) = published { outcome } else { Outcome::Success });
    });
}

/// Subscribes for the API, on a worker. Answers when every worker knows.
pub(crate) fn subscribe_here(
    worker: &Rc<Worker>,
    (id, filter, qos): (u32, String, u8),
    done: oneshot::Sender<Outcome>,
) {
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let access = Access::superuser(Some("$gateway".into()));
        let subscriber: SubscriberId = worker.hub.broker.borrow_mut().add_subscriber(Protocol::Internal, access);
        worker.hub.outlets.borrow_mut().insert(subscriber, Outlet::Api(id));
        let options = Options { qos: Qos::from_bits(qos).unwrap_or_default(), ..Options::default() };
        let granted = worker.with_broker(|broker, sink| broker.subscribe(subscriber, &filter, options, sink));
        match granted {
            Ok(granted) => {
                worker.settled(granted.after).await;
                worker.api.borrow_mut().insert(id, subscriber);
                let _ = done.send(Outcome::Success);
                let now = worker.clock.millis();
                worker.with_broker(|broker, sink| broker.replay(now, subscriber, &granted, sink));
            }
            Err(outcome) => {
                forget(&worker, subscriber);
                let _ = done.send(outcome);
            }
        }
    });
}

/// Ends a subscription of the API.
pub(crate) fn unsubscribe_here(worker: &Rc<Worker>, id: u32) {
    let subscriber = worker.api.borrow_mut().remove(&id);
    if let Some(subscriber) = subscriber {
        forget(worker, subscriber);
    }
}

fn forget(worker: &Rc<Worker>, subscriber: SubscriberId) {
    worker.hub.outlets.borrow_mut().remove(subscriber);
    worker.with_broker(|broker, sink| broker.remove_subscriber(subscriber, sink));
}
