//! The server's side of one connection, without I/O. Bytes in, events for the driver
//! out; answers that need no decision are appended to the output at once. What
//! outlives the connection (queue, packet identifiers, in-flight) is the broker's.

use crate::ack::Ack;
use crate::aliases::{Aliases, OutAliases, Topic};
use crate::auth::Auth;
use crate::connect::{Connect, Version};
use crate::disconnect::Disconnect;
use crate::goodbye;
use crate::packet::{MqttCodec, Packet};
use crate::properties::{Properties, Property};
use crate::publish::{Publish, expires_at, kept};
use crate::reason;
use crate::rules::{coded, ensure, protocol};
use crate::settings::Settings;
use crate::subscribe::Subscribe;
use crate::unsubscribe::Unsubscribe;
use std::sync::Arc;
use tidegate_kit::{Codec, DecodeError};
use tidegate_message::{MessageBuilder, Protocol, Qos};

// MQTT-3.1.0-2
const SECOND_CONNECT: DecodeError = protocol("MQTT-3.1.0-2", "a second CONNECT");
const SERVERS_ONLY: DecodeError = protocol("MQTT5 section 2.1.2", "a packet that only a server sends");

/// A PUBLISH whose topic is known and whose rules were checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incoming<'a> {
    /// The topic, its alias resolved.
    pub topic: Topic<'a>,
    /// Payload.
    pub payload: &'a [u8],
    /// The promise.
    pub qos: Qos,
    /// Packet identifier; 0 at QoS 0.
    pub packet_id: u16,
    /// Whether it may have been sent before.
    pub dup: bool,
    /// Whether it is to be retained.
    pub retain: bool,
    /// All properties as they came.
    pub properties: Properties<'a>,
}

impl Incoming<'_> {
    /// What the broker takes. Allocates only where the PUBLISH has properties to keep.
    pub fn message(&self, now: u64) -> MessageBuilder<'_> {
        let mut message = MessageBuilder::new(Protocol::Mqtt, &self.topic, self.payload);
        message.qos = self.qos;
        message.retain = self.retain;
        if !self.properties.is_empty() {
            message.expires_at = expires_at(self.properties, now);
            message.properties = kept(self.properties);
        }
        message
    }
}

impl crate::connect::Will<'_> {
    /// What the broker publishes; its expiry starts when it is published, so that it is
    /// given as seconds beside the message.
    pub fn message(&self) -> (MessageBuilder<'_>, Option<u32>) {
        let mut message = MessageBuilder::new(Protocol::Mqtt, self.topic, self.payload);
        message.qos = self.qos;
        message.retain = self.retain;
        message.properties = kept(self.properties);
        let pick = |property| if let Property::MessageExpiry(seconds) = property { Some(seconds) } else { None };
        (message, self.properties.find(pick))
    }
}

/// What the driver has to do something about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// Decide, then call `connack` or `refuse`; feed no bytes before.
    Connect(Connect<'a>),
    /// Publish, then call `publish_outcome` (or `publish_again` for a QoS 2 identifier
    /// that the broker already has).
    Publish(Incoming<'a>),
    /// PUBACK, PUBREC or PUBCOMP for what was delivered; PUBREL for what was received.
    Ack(Ack<'a>),
    /// Subscribe, then call `suback`.
    Subscribe(Subscribe<'a>),
    /// Unsubscribe, then call `unsuback`.
    Unsubscribe(Unsubscribe<'a>),
    /// Already answered.
    Ping,
    /// The client leaves; close.
    Disconnect {
        /// Whether its will is to be published (reason 0x04).
        with_will: bool,
        /// The session expiry that replaces the CONNECT's, seconds.
        session_expiry: Option<u32>,
    },
    /// A step of enhanced authentication; answer with `auth`, `connack` or `refuse`.
    Auth(Auth<'a>),
}

/// `AwaitingConnect -> Deciding -> Connected -> Closed`; an error closes from anywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    AwaitingConnect,
    Deciding,
    Connected,
    Closed,
}

/// One connection. 80 bytes while it has no aliases.
#[derive(Debug)]
pub struct Session {
    pub(crate) settings: Arc<Settings>,
    aliases: Option<Box<Aliases>>,
    pub(crate) out_aliases: Option<Box<OutAliases>>,
    heard_at: u64,
    pub(crate) codec: MqttCodec,
    /// Largest packet the client takes.
    pub(crate) room: u32,
    receive_maximum: u16,
    pub(crate) unacknowledged: u16,
    pub(crate) keep_alive: u16,
    pub(crate) state: State,
    /// Whether the CONNECT's session expiry was 0.
    pub(crate) ends_with_connection: bool,
    /// Request Problem Information.
    explains: bool,
}

impl Session {
    /// A connection that has not said anything yet. How long it may stay silent is the
    /// driver's half-open deadline.
    pub fn new(settings: Arc<Settings>, now: u64) -> Self {
        Session {
            codec: MqttCodec::new(&settings.limits),
            settings,
            aliases: None,
            out_aliases: None,
            heard_at: now,
            room: u32::MAX,
            receive_maximum: u16::MAX,
            unacknowledged: 0,
            keep_alive: 0,
            state: State::AwaitingConnect,
            ends_with_connection: true,
            explains: true,
        }
    }

    /// The version; 3.1.1 until a CONNECT said another.
    pub fn version(&self) -> Version {
        self.codec.version().unwrap_or(Version::V311)
    }

    /// Whether its CONNECT said that it is a bridge's: it gets nothing that it published, and RETAIN as it was.
    pub fn is_bridge(&self) -> bool {
        self.codec.is_bridge()
    }

    /// Whether a CONNECT was accepted and nothing ended the connection since.
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Whether it is over: flush the output, then close.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Publishes of QoS 1 and 2 the client takes unacknowledged; 65,535 before version 5.
    pub fn receive_maximum(&self) -> u16 {
        self.receive_maximum
    }

    /// When the connection is dead unless something comes (MQTT-3.1.2-22): one and a
    /// half keep-alives after the last packet.
    pub fn deadline(&self) -> Option<u64> {
        let silent = u64::from(self.keep_alive) * 1_500;
        (self.state == State::Connected && silent > 0).then(|| self.heard_at.saturating_add(silent))
    }

    /// Another server granted another keep-alive, seconds.
    pub fn regrant_keep_alive(&mut self, seconds: u16) {
        self.keep_alive = seconds;
    }

    /// Ends a connection whose deadline passed; `true`: it did, close.
    pub fn handle_timeout(&mut self, now: u64, out: &mut Vec<u8>) -> bool {
        let dead = self.deadline().is_some_and(|deadline| deadline <= now);
        if dead {
            self.disconnect(reason::KEEP_ALIVE_TIMEOUT, out);
        }
        dead
    }

    /// A PINGREQ that was read ahead of packets whose turn has not come: it is answered.
    pub fn ping(&mut self, now: u64, out: &mut Vec<u8>) {
        self.heard(now);
        Packet::PingResp.encode(self.version(), out);
    }

    /// The client counts as heard: nobody listened to it for a while.
    pub fn heard(&mut self, now: u64) {
        self.heard_at = now;
    }

    /// Reads one packet from the front of `input`: its event and how many bytes it took;
    /// `None`: more bytes are needed.
    ///
    /// # Errors
    /// The broken rule. What the client may be told is in `out` already: flush, close.
    pub fn receive<'a>(
        &mut self,
        now: u64,
        input: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<(Event<'a>, usize)>, DecodeError> {
        let decoded = self.codec.decode(input).inspect_err(|error| self.fail(error, out))?;
        let Some((packet, used)) = decoded else { return Ok(None) };
        Ok(Some((self.handle(now, packet, out)?, used)))
    }

    /// Handles one packet.
    ///
    /// # Errors
    /// As `receive`.
    pub fn handle<'a>(&mut self, now: u64, packet: Packet<'a>, out: &mut Vec<u8>) -> Result<Event<'a>, DecodeError> {
        self.heard_at = now;
        self.step(packet, out).inspect_err(|error| self.fail(error, out))
    }

    fn step<'a>(&mut self, packet: Packet<'a>, out: &mut Vec<u8>) -> Result<Event<'a>, DecodeError> {
        match (self.state, packet) {
            (State::AwaitingConnect, Packet::Connect(connect)) => self.connect(connect),
            // MQTT-3.1.0-1
            (State::AwaitingConnect, _) => Err(protocol("MQTT-3.1.0-1", "the first packet is not a CONNECT")),
            (_, Packet::Connect(_)) => Err(SECOND_CONNECT),
            (State::Deciding | State::Connected, Packet::Disconnect(packet)) => self.goodbye(packet),
            (State::Deciding | State::Connected, Packet::Auth(auth)) => Ok(Event::Auth(auth)),
            (State::Connected, packet) => self.traffic(packet, out),
            _ => Err(protocol("MQTT-3.1.4-6", "a packet before the CONNACK or after the end")),
        }
    }

    fn connect<'a>(&mut self, connect: Connect<'a>) -> Result<Event<'a>, DecodeError> {
        self.codec = MqttCodec::of(&connect, &self.settings.limits);
        if let Some(will) = &connect.will {
            self.check_promise(will.qos, will.retain)?;
        }
        let explains = |property| if let Property::RequestProblemInfo(wanted) = property { Some(wanted) } else { None };
        self.keep_alive = connect.keep_alive;
        self.room = connect.maximum_packet_size();
        self.receive_maximum = connect.receive_maximum();
        self.out_aliases = OutAliases::new(connect.topic_alias_maximum().min(self.settings.topic_alias_maximum));
        self.explains = connect.properties.find(explains).unwrap_or(true);
        self.ends_with_connection = connect.session_expiry() == 0;
        self.state = State::Deciding;
        Ok(Event::Connect(connect))
    }

    fn check_promise(&self, qos: Qos, retain: bool) -> Result<(), DecodeError> {
        // MQTT-3.2.2-11, MQTT-3.2.2-12
        let kept = qos <= self.settings.maximum_qos;
        ensure(kept, coded(reason::QOS_NOT_SUPPORTED, "MQTT-3.2.2-11", "the QoS is above the maximum"))?;
        // MQTT-3.2.2-14
        let retains = !retain || self.settings.retain_available;
        ensure(retains, coded(reason::RETAIN_NOT_SUPPORTED, "MQTT-3.2.2-14", "retained messages are not available"))
    }

    fn traffic<'a>(&mut self, packet: Packet<'a>, out: &mut Vec<u8>) -> Result<Event<'a>, DecodeError> {
        match packet {
            Packet::Publish(publish) => self.publish(publish),
            Packet::Ack(ack) => Ok(Event::Ack(ack)),
            Packet::Subscribe(subscribe) => Ok(Event::Subscribe(subscribe)),
            Packet::Unsubscribe(unsubscribe) => Ok(Event::Unsubscribe(unsubscribe)),
            Packet::PingReq => {
                Packet::PingResp.encode(self.version(), out);
                Ok(Event::Ping)
            }
            _ => Err(SERVERS_ONLY),
        }
    }

    /// Whether a client may send a packet that another server is to handle.
    ///
    /// # Errors
    /// As `receive`.
    pub fn check(&mut self, now: u64, packet: &Packet<'_>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        self.heard_at = now;
        let checked = match packet {
            Packet::Publish(publish) => publish.check_client(),
            Packet::Disconnect(disconnect) => self.check_goodbye(disconnect),
            Packet::Connect(_) => Err(SECOND_CONNECT),
            Packet::Connack(_) | Packet::Suback(_) | Packet::Unsuback(_) | Packet::PingResp => Err(SERVERS_ONLY),
            _ => Ok(()),
        };
        checked.inspect_err(|error| self.fail(error, out))
    }

    fn publish<'a>(&mut self, publish: Publish<'a>) -> Result<Event<'a>, DecodeError> {
        self.check_promise(publish.qos, publish.retain)?;
        let mut topic = Topic::Given(publish.topic);
        if !publish.properties.is_empty() {
            publish.check_client()?;
            topic = Aliases::resolve(&mut self.aliases, &publish, self.settings.topic_alias_maximum)?;
        }
        if publish.qos != Qos::AtMostOnce {
            self.unacknowledged = self.unacknowledged.saturating_add(1);
            // MQTT-3.3.4-7: what the client must not exceed.
            let exceeded = self.version().is_v5() && self.unacknowledged > self.settings.receive_maximum;
            let flood = coded(reason::RECEIVE_MAXIMUM_EXCEEDED, "MQTT-3.3.4-7", "the receive maximum is exceeded");
            ensure(!exceeded, flood)?;
        }
        let Publish { payload, qos, packet_id, dup, retain, properties, .. } = publish;
        Ok(Event::Publish(Incoming { topic, payload, qos, packet_id, dup, retain, properties }))
    }

    fn check_goodbye(&self, packet: &Disconnect<'_>) -> Result<(), DecodeError> {
        packet.check_client()?;
        // MQTT5 section 3.14.2.2.2
        let revived = self.ends_with_connection && packet.session_expiry().is_some_and(|expiry| expiry != 0);
        ensure(!revived, protocol("MQTT5 section 3.14.2.2.2", "a session expiry after a CONNECT without one"))
    }

    fn goodbye<'a>(&mut self, packet: Disconnect<'a>) -> Result<Event<'a>, DecodeError> {
        self.check_goodbye(&packet)?;
        self.state = State::Closed;
        // MQTT-3.14.4-3: reason 0 discards the will; any other keeps it.
        Ok(Event::Disconnect { with_will: packet.reason != reason::SUCCESS, session_expiry: packet.session_expiry() })
    }

    /// Ends a connection whose client broke a rule; it is told what it may be told.
    pub fn fail(&mut self, error: &DecodeError, out: &mut Vec<u8>) {
        let code = u8::try_from(error.code).unwrap_or(reason::UNSPECIFIED);
        let named = match self.codec.version() {
            // MQTT3-3.1.4-1: what does not conform gets no CONNACK, what has a return code of its own does.
            Some(version) if !version.is_v5() => code == reason::CLIENT_ID_NOT_VALID,
            Some(_) => true,
            None => code == reason::UNSUPPORTED_VERSION,
        };
        match self.state {
            // MQTT5 section 4.13.1: an answer is only owed to what looked like a CONNECT.
            State::AwaitingConnect if named => goodbye::refuse((self.codec.refusal(), self.room), code, None, out),
            State::Deciding => goodbye::refuse((self.codec.refusal(), self.room), code, None, out),
            State::Connected if self.version().is_v5() => {
                goodbye::disconnect(code, (self.explains.then_some(error.what), None), self.room, out);
            }
            _ => {}
        }
        self.state = State::Closed;
    }
}
