//! The proxy role: a client whose route leads to a broker of an upstream. Its CONNECT
//! picks the endpoint, its packets pass as they are, one connection to one; what the
//! access rules forbid is answered here and never arrives there.

use super::serve::Connection;
use crate::outbound::{Dialing, secure};
use crate::plan::Plan;
use crate::pubsub::MqttLink;
use crate::worker::Worker;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tidegate_balance::{InFlight, PickRequest, Tried};
use tidegate_broker::Access;
use tidegate_kit::Codec;
use tidegate_message::{FieldId, Limits, Peer, Protocol, Qos, View};
use tidegate_mqtt::{AckKind, MqttCodec, Packet, Publish, Subscribe, Version, put_ack, reason};
use tidegate_policy::KeyInput;
use tidegate_resilience::Permit;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::AbortHandle;

/// Endpoints that are tried for one CONNECT.
const TRIES: usize = 3;
/// Clients of a lost broker are told within that time, so that they do not come back at once.
const SPREAD_MS: u64 = 2_000;
/// How often a client that does not read is looked at.
const SLOW: Duration = Duration::from_millis(5);

/// What a CONNECT brings to its route.
pub(crate) struct Wanted<'w> {
    pub(crate) client_id: &'w str,
    pub(crate) peer: &'w Peer,
}

impl View for Wanted<'_> {
    fn protocol(&self) -> Protocol {
        Protocol::Mqtt
    }

    fn peer(&self) -> &Peer {
        self.peer
    }

    fn field(&self, id: FieldId<'_>) -> Option<&[u8]> {
        if let FieldId::ClientId = id { Some(self.client_id.as_bytes()) } else { None }
    }
}

/// The two directions of a connection to a broker, in the clear or over TLS.
type Read = Box<dyn AsyncRead + Unpin>;
type Write = Box<dyn AsyncWrite + Unpin>;

/// One client's way to its broker.
pub(crate) struct Relay {
    write: Write,
    codec: MqttCodec,
    version: Version,
    gathered: Vec<u8>,
    reading: AbortHandle,
    _in_flight: Option<InFlight>,
    _permit: Permit,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

fn codec(plan: &Plan, version: Version) -> MqttCodec {
    MqttCodec::with_version(&Limits { mqtt_packet: plan.bounds.mqtt_packet, ..plan.bounds }, version)
}

/// Connects to an endpoint of the upstream and hands the CONNECT on; `None`: there is none.
pub(crate) async fn open(
    connection: &Connection,
    (route, upstream): (usize, usize),
    (wanted, version, connect): (Wanted<'_>, Version, &[u8]),
) -> Option<Relay> {
    let worker = &connection.client.worker;
    let plan = worker.plan();
    let target = plan.plan.upstreams.get(upstream).filter(|target| target.problem.is_none())?;
    let counters = &target.counters[usize::from(worker.id)];
    let permit = target.requests.take().ok()?;
    let mut key = Vec::new();
    let input = KeyInput { route: &plan.plan.routes[route].name, hash_key: None };
    let has_key = target.key.as_ref().is_some_and(|own| own.write(&wanted, &input, &mut key));
    let mut tried = Tried::new();
    for _ in 0..TRIES {
        let pick = PickRequest {
            key: has_key.then_some(&*key),
            source: Some(wanted.peer.address.ip()),
            tried,
            now_ms: worker.clock.millis(),
        };
        let picked = plan.upstreams[upstream].picker.borrow_mut().pick(&pick, &target.endpoints);
        let Some(endpoint) = picked else { break };
        let Some(known) = target.endpoints.get(endpoint) else { break };
        counters.connects.add(1);
        let host = target.hosts.get(endpoint as usize).cloned().unwrap_or_default();
        let Some((read, write)) = dial(worker, (known.address, &host), (&target.dialing, connect)).await else {
            plan.upstreams[upstream].picker.borrow_mut().on_failure(endpoint);
            tried.add(endpoint);
            continue;
        };
        counters.codes.add(200);
        let reader = Reader {
            worker: Rc::clone(worker),
            link: Rc::clone(&connection.link),
            codec: codec(&plan.plan, version),
            has_said_goodbye: false,
        };
        let reading = tokio::task::spawn_local(reader.run(read)).abort_handle();
        return Some(Relay {
            write,
            codec: codec(&plan.plan, version),
            version,
            gathered: Vec::new(),
            reading,
            _in_flight: target.endpoints.begin(endpoint),
            _permit: permit,
        });
    }
    counters.codes.add(503);
    None
}

async fn dial(
    worker: &Rc<Worker>,
    (address, host): (SocketAddr, &str),
    (dialing, connect): (&Dialing, &[u8]),
) -> Option<(Read, Write)> {
    let opening = async {
        let stream = tidegate_upstream::connect(address, dialing.timeout).await.ok()?;
        let (read, mut write): (Read, Write) = match &dialing.tls {
            None => {
                let (read, write) = stream.into_split();
                (Box::new(read), Box::new(write))
            }
            Some(terms) => {
                let (read, write) = tokio::io::split(secure(Rc::clone(worker), (stream, host), terms).await.ok()?);
                (Box::new(read), Box::new(write))
            }
        };
        write.write_all(connect).await.ok()?;
        Some((read, write))
    };
    tokio::time::timeout(dialing.timeout, opening).await.ok().flatten()
}

/// The other direction: from the broker to the client.
struct Reader {
    worker: Rc<Worker>,
    link: Rc<MqttLink>,
    codec: MqttCodec,
    has_said_goodbye: bool,
}

impl Reader {
    async fn run(mut self, mut read: Read) {
        let bound = self.worker.plan().plan.broker.max_queued_bytes;
        let mut bytes = Vec::new();
        while let Ok(1..) = read.read_buf(&mut bytes).await {
            let Some(whole) = self.look(&bytes) else { break };
            self.link.out.borrow_mut().extend_from_slice(&bytes[..whole]);
            bytes.drain(..whole);
            self.worker.hub.flusher.mark(&self.link);
            while self.link.waiting() > bound && !self.link.is_broken.get() {
                tokio::time::sleep(SLOW).await;
            }
        }
        if !self.has_said_goodbye {
            tokio::time::sleep(Duration::from_millis(self.worker.random() % SPREAD_MS)).await;
        }
        self.link.end_relay(!self.has_said_goodbye);
    }

    /// Counts what came; how many bytes are whole packets, `None`: they are none.
    fn look(&mut self, bytes: &[u8]) -> Option<usize> {
        let counters = self.worker.counters.of(Protocol::Mqtt);
        let mut at = 0;
        while let Some((packet, used)) = self.codec.decode(&bytes[at..]).ok()? {
            at += used;
            match packet {
                Packet::Publish(publish) => {
                    counters.messages_out[publish.qos as usize].add(1);
                    counters.message_bytes_out.add(publish.payload.len() as u64);
                }
                Packet::Disconnect(_) => self.has_said_goodbye = true,
                Packet::Connack(connack) => self.has_said_goodbye = connack.code != 0,
                _ => {}
            }
        }
        Some(at)
    }
}

impl Relay {
    /// Looks at what a client sent and gathers what may pass: bytes used, and whether the
    /// connection goes on.
    pub(crate) fn take(
        &mut self,
        (worker, link, access): (&Worker, &MqttLink, &Access),
        bytes: &[u8],
    ) -> (usize, bool) {
        let mut at = 0;
        loop {
            let (packet, used) = match self.codec.decode(&bytes[at..]) {
                Ok(Some(found)) => found,
                Ok(None) => return (at, true),
                Err(error) => {
                    let code = u8::try_from(error.code).unwrap_or(reason::UNSPECIFIED);
                    link.session.borrow_mut().disconnect(code, &mut link.out.borrow_mut());
                    return (at, false);
                }
            };
            let whole = &bytes[at..at + used];
            at += used;
            let passes = match &packet {
                Packet::Publish(publish) => self.may_publish((worker, link, access), publish),
                Packet::Subscribe(subscribe) => self.may_subscribe((worker, link, access), subscribe),
                Packet::Connect(_) => {
                    link.session.borrow_mut().disconnect(reason::PROTOCOL_ERROR, &mut link.out.borrow_mut());
                    return (at, false);
                }
                _ => true,
            };
            if passes {
                self.gathered.extend_from_slice(whole);
            }
            if let Packet::Disconnect(_) = packet {
                return (at, false);
            }
        }
    }

    /// Sends what was gathered; `false`: the broker is gone.
    pub(crate) async fn flush(&mut self, timeout_ms: u64) -> bool {
        if self.gathered.is_empty() {
            return true;
        }
        let sent = tokio::time::timeout(Duration::from_millis(timeout_ms), self.write.write_all(&self.gathered)).await;
        self.gathered.clear();
        matches!(sent, Ok(Ok(())))
    }

    fn may_publish(&self, (worker, link, access): (&Worker, &MqttLink, &Access), publish: &Publish<'_>) -> bool {
        let counters = worker.counters.of(Protocol::Mqtt);
        counters.messages_in[publish.qos as usize].add(1);
        counters.message_bytes_in.add(publish.payload.len() as u64);
        // A topic that only an alias names was looked at when the alias was set.
        let may = publish.topic.is_empty() || worker.shared.broker.acl().may_publish(access, publish.topic);
        if !may {
            counters.refused.add(1);
            worker.counters.auth(Protocol::Mqtt, "publish-forbidden");
            let kind = match publish.qos {
                Qos::AtMostOnce => return false,
                Qos::AtLeastOnce => AckKind::PubAck,
                Qos::ExactlyOnce => AckKind::PubRec,
            };
            put_ack(&mut link.out.borrow_mut(), (self.version, kind), publish.packet_id, reason::NOT_AUTHORIZED);
        }
        may
    }

    /// A SUBSCRIBE passes whole or not at all: each filter that is forbidden is told so, the
    /// others that they stood beside one.
    fn may_subscribe(&self, (worker, link, access): (&Worker, &MqttLink, &Access), subscribe: &Subscribe<'_>) -> bool {
        let acl = worker.shared.broker.acl();
        let may = |filter: &str| {
            let plain = tidegate_broker::split_share(filter).map_or(filter, |(_, plain)| plain);
            acl.may_subscribe(access, plain)
        };
        if subscribe.filters.iter().all(|subscription| may(subscription.filter)) {
            return true;
        }
        worker.counters.auth(Protocol::Mqtt, "subscribe-forbidden");
        let code = |filter| if may(filter) { reason::IMPLEMENTATION_SPECIFIC } else { reason::NOT_AUTHORIZED };
        let codes: Vec<u8> = subscribe.filters.iter().map(|subscription| code(subscription.filter)).collect();
        link.session.borrow_mut().suback(subscribe.packet_id, &codes, &mut link.out.borrow_mut());
        false
    }
}
