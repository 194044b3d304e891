//! The proxy role: a client whose route leads to a broker of an upstream. Its CONNECT
//! picks the endpoint, its packets pass as they are, one connection to one; what the
//! access rules, a policy or a limit of the route forbids is answered here and never
//! arrives there, nor does what a policy for deliveries withholds arrive at the client.

mod acks;
mod aliases;
mod asked;
mod delivering;
mod holders;
mod passing;
mod reader;
mod will;

pub(crate) use asked::Asked;
pub(crate) use holders::Holders;
pub(super) use will::judged;

use self::acks::Acks;
use self::aliases::Aliases;
use self::holders::Hold;
use self::reader::Reader;
use super::serve::Connection;
use crate::outbound::{Dialing, secure};
use crate::plan::Plan;
use crate::worker::Worker;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tidegate_balance::{InFlight, PickRequest, Tried};
use tidegate_broker::Access;
use tidegate_message::{FieldId, Limits, Peer, Protocol, View};
use tidegate_mqtt::{Connect, MqttCodec, Version};
use tidegate_policy::KeyInput;
use tidegate_resilience::Permit;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::task::AbortHandle;

/// Endpoints that are tried for one CONNECT.
const TRIES: usize = 3;
/// Clients of a lost broker are told within that time, so that they do not come back at once.
const SPREAD_MS: u64 = 2_000;

/// What a CONNECT brings to its route.
pub(crate) struct Wanted<'w> {
    pub(crate) client_id: &'w str,
    /// With the user that it is, or says to be where nobody asks for proof.
    pub(crate) peer: &'w Peer,
    /// Of its will.
    pub(crate) topic: Option<&'w str>,
}

impl View for Wanted<'_> {
    fn protocol(&self) -> Protocol {
        Protocol::Mqtt
    }

    fn peer(&self) -> &Peer {
        self.peer
    }

    fn field(&self, id: FieldId<'_>) -> Option<&[u8]> {
        match id {
            FieldId::ClientId => Some(self.client_id.as_bytes()),
            FieldId::Topic => self.topic.map(str::as_bytes),
            _ => None,
        }
    }
}

/// What a CONNECT goes on with.
pub(crate) struct Opening<'w> {
    pub(crate) wanted: Wanted<'w>,
    pub(crate) version: Version,
    /// Its bytes.
    pub(crate) connect: &'w [u8],
    pub(crate) takes: Takes,
    /// For the access rules.
    pub(crate) access: &'w Access,
}

/// What a client takes, as its CONNECT says.
#[derive(Clone, Copy)]
pub(crate) struct Takes {
    /// Unacknowledged publishes.
    pub(crate) publishes: u16,
    /// The largest packet, bytes.
    pub(crate) packet: u32,
    pub(crate) aliases: u16,
}

impl Takes {
    pub(crate) fn of(connect: &Connect<'_>) -> Self {
        let (publishes, packet) = (connect.receive_maximum(), connect.maximum_packet_size());
        Takes { publishes, packet, aliases: connect.topic_alias_maximum() }
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
    /// What goes to the broker, from the client and from the reading half.
    gathered: Rc<RefCell<Vec<u8>>>,
    /// The route's place in the plan of that version.
    route: Cell<(Option<usize>, u64)>,
    route_name: Box<str>,
    aliases: Aliases,
    /// QoS 2 publishes that were answered here: their PUBRELs are, too.
    answered: HashSet<u16>,
    acks: Rc<RefCell<Acks>>,
    reading: AbortHandle,
    _hold: Option<Rc<Hold>>,
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
    Opening { wanted, version, connect, takes, access }: Opening<'_>,
) -> Option<Relay> {
    let worker = &connection.client.worker;
    let plan = worker.plan();
    let target = plan.plan.upstreams.get(upstream).filter(|target| target.problem.is_none())?;
    let counters = &target.counters[usize::from(worker.id)];
    let permit = target.requests.take().ok()?;
    let mut key = Vec::new();
    let input = KeyInput { route: &plan.plan.routes[route].name, hash_key: None };
    let has_key = target.key.as_ref().is_some_and(|own| own.write(&wanted, &input, &mut key));
    // Ahead of the CONNECT: the broker may close the connection before at once.
    let named = Some(wanted.client_id).filter(|client_id| !client_id.is_empty());
    let hold = named.map(|client_id| Rc::new(worker.shared.holders.claim(&target.name, client_id)));
    let mut tried = Tried::new();
    for _ in 0..TRIES {
        let pick = PickRequest {
            key: has_key.then_some(&*key),
            source: Some(wanted.peer.address.ip()),
            tried,
            now_ms: worker.clock.millis(),
            ..PickRequest::default()
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
        let alias_maximum = Rc::<Cell<u16>>::default();
        let gathered = Rc::<RefCell<Vec<u8>>>::default();
        let acks = Rc::new(RefCell::new(Acks::new(version, takes.publishes)));
        let reader = Reader {
            worker: Rc::clone(worker),
            link: Rc::clone(&connection.link),
            codec: codec(&plan.plan, version),
            version,
            alias_maximum: Rc::clone(&alias_maximum),
            aliases: Aliases::new(Rc::new(Cell::new(takes.aliases))),
            acks: Rc::clone(&acks),
            gathered: Rc::clone(&gathered),
            room: takes.packet,
            access: access.clone(),
            hold: hold.clone(),
            has_said_goodbye: false,
        };
        let reading = tokio::task::spawn_local(reader.run(read)).abort_handle();
        return Some(Relay {
            write,
            codec: codec(&plan.plan, version),
            version,
            gathered,
            route: Cell::new((Some(route), plan.plan.version)),
            route_name: plan.plan.routes[route].name.clone(),
            aliases: Aliases::new(alias_maximum),
            answered: HashSet::new(),
            acks,
            reading,
            _hold: hold,
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

impl Relay {
    /// Whether something waits to be sent.
    pub(crate) fn has_gathered(&self) -> bool {
        !self.gathered.borrow().is_empty()
    }

    /// Sends what was gathered as far as it goes at once; `None`: some of it has to wait.
    pub(crate) fn flush_now(&mut self) -> Option<bool> {
        let mut gathered = self.gathered.borrow_mut();
        while !gathered.is_empty() {
            // Whoever has to wait asks again, with a waker.
            let mut cx = Context::from_waker(Waker::noop());
            match Pin::new(&mut self.write).poll_write(&mut cx, &gathered) {
                Poll::Pending => return None,
                Poll::Ready(Ok(count @ 1..)) if count < gathered.len() => drop(gathered.drain(..count)),
                Poll::Ready(Ok(1..)) => gathered.clear(),
                Poll::Ready(Ok(0) | Err(_)) => return Some(false),
            }
        }
        Some(true)
    }

    /// Sends what was gathered; `false`: the broker is gone.
    pub(crate) async fn flush(&mut self, timeout_ms: u64) -> bool {
        if !self.has_gathered() {
            return true;
        }
        let mut bytes = self.gathered.take();
        let sent = tokio::time::timeout(Duration::from_millis(timeout_ms), self.write.write_all(&bytes)).await;
        bytes.clear();
        let mut gathered = self.gathered.borrow_mut();
        if gathered.is_empty() {
            // Its room is used again.
            *gathered = bytes;
        }
        matches!(sent, Ok(Ok(())))
    }
}
