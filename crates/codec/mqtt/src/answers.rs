//! What the server says on a connection: the answers that wait for somebody's decision,
//! deliveries, and the goodbye. Each appends to the output and keeps the session's
//! counts right.

use crate::ack::{AckKind, put_ack};
use crate::aliases::TopicAlias;
use crate::auth::Auth;
use crate::connack::Connack;
use crate::connect::Version;
use crate::fanout::{DeliveryHead, Encoded, append_patched, encode_publish, encoded_len};
use crate::goodbye;
use crate::properties::{Properties, PropertiesBuf, Property};
use crate::reason;
use crate::session::{Session, State};
use crate::settings::Accepted;
use crate::suback::{Suback, Unsuback};
use tidegate_message::{Message, Outcome, Qos};

impl Session {
    /// Accepts the CONNECT and tells the terms.
    pub fn connack(&mut self, accepted: &Accepted<'_>, out: &mut Vec<u8>) {
        let version = self.version();
        let mut properties = PropertiesBuf::new();
        if version.is_v5() {
            self.put_terms(accepted, &mut properties);
            self.put_extras(accepted, &mut properties);
            self.keep_alive = self.granted_keep_alive(accepted);
            self.ends_with_connection = accepted.session_expiry.map_or(self.ends_with_connection, |expiry| expiry == 0);
        }
        // MQTT 3.1 has no session present flag: its byte is reserved.
        let session_present = accepted.session_present && version != Version::V31;
        Connack { session_present, code: reason::SUCCESS, properties: properties.properties() }.encode(version, out);
        self.state = State::Connected;
    }

    /// Whether the client takes a CONNACK with these terms (MQTT-3.1.2-24). Ask before it has a session.
    pub fn takes_connack(&self, accepted: &Accepted<'_>) -> bool {
        if self.room == u32::MAX {
            return true;
        }
        let mut properties = PropertiesBuf::new();
        self.put_terms(accepted, &mut properties);
        goodbye::fits(self.room, &properties)
    }

    /// MQTT-3.1.2-21: what the client asked for, or less.
    fn granted_keep_alive(&self, accepted: &Accepted<'_>) -> u16 {
        let both = [self.settings.server_keep_alive, accepted.keep_alive];
        let longest = both.into_iter().filter(|seconds| *seconds != 0).min().unwrap_or(0);
        if longest != 0 && (self.keep_alive == 0 || self.keep_alive > longest) { longest } else { self.keep_alive }
    }

    fn put_terms(&self, accepted: &Accepted<'_>, properties: &mut PropertiesBuf) {
        let settings = &*self.settings;
        let keep_alive = self.granted_keep_alive(accepted);
        if keep_alive != self.keep_alive {
            properties.push(Property::ServerKeepAlive(keep_alive));
        }
        if let Some(expiry) = accepted.session_expiry {
            properties.push(Property::SessionExpiry(expiry));
        }
        if let Some((method, data)) = accepted.auth {
            properties.push(Property::AuthMethod(method));
            if !data.is_empty() {
                properties.push(Property::AuthData(data));
            }
        }
        if let Some(id) = accepted.assigned_client_id {
            properties.push(Property::AssignedClientId(id));
        }
        if settings.maximum_qos != Qos::ExactlyOnce {
            properties.push(Property::MaximumQos(settings.maximum_qos));
        }
        if !settings.retain_available {
            properties.push(Property::RetainAvailable(false));
        }
        let packet = u32::try_from(settings.limits.mqtt_packet).unwrap_or(u32::MAX).max(1);
        properties
            .push(Property::ReceiveMaximum(settings.receive_maximum.max(1)))
            .push(Property::MaximumPacketSize(packet))
            .push(Property::TopicAliasMaximum(settings.topic_alias_maximum));
    }

    /// What the client can do without, as far as there is room (MQTT-3.2.2-20).
    fn put_extras(&self, accepted: &Accepted<'_>, properties: &mut PropertiesBuf) {
        let information = accepted.response_information.map(Property::ResponseInfo);
        let user = accepted.user_properties.iter().map(|(name, value)| Property::User(name, value));
        for extra in information.into_iter().chain(user) {
            let without = properties.clone();
            if !goodbye::fits(self.room, properties.push(extra)) {
                *properties = without;
            }
        }
    }

    /// Refuses the CONNECT with a reason code of version 5, translated for older clients.
    pub fn refuse(&mut self, code: u8, out: &mut Vec<u8>) {
        self.refuse_with(code, None, out);
    }

    /// The same with a text for the client (MQTT-3.2.2-19).
    pub fn refuse_because(&mut self, code: u8, why: &str, out: &mut Vec<u8>) {
        let code = if reason::in_connack(code) { code } else { reason::NOT_AUTHORIZED };
        self.refuse_with(code, Some(why).filter(|why| !why.is_empty()).map(Property::ReasonString), out);
    }

    /// Refuses the CONNECT for now: the client may come again in so many seconds, which a
    /// user property `retry-after` tells it.
    pub fn refuse_for(&mut self, code: u8, seconds: u64, out: &mut Vec<u8>) {
        self.refuse_with(code, Some(Property::User("retry-after", &seconds.to_string())), out);
    }

    fn refuse_with(&mut self, code: u8, more: Option<Property<'_>>, out: &mut Vec<u8>) {
        goodbye::refuse((self.codec.refusal(), self.room), code, more, out);
        self.state = State::Closed;
    }

    /// Refuses the CONNECT and names the server to use instead; `moved`: from now on.
    pub fn redirect(&mut self, (reference, moved): (&str, bool), out: &mut Vec<u8>) {
        let code = if moved { reason::SERVER_MOVED } else { reason::USE_ANOTHER_SERVER };
        if self.state == State::Connected && self.version().is_v5() {
            goodbye::disconnect(code, (None, Some(reference)), self.room, out);
        } else if self.state != State::Connected {
            return self.refuse_with(code, Some(Property::ServerReference(reference)), out);
        }
        self.state = State::Closed;
    }

    /// Answers a PUBLISH of QoS 1 or 2; nothing to say at QoS 0. `true`: the connection
    /// must close, because before version 5 a refusal has no code. A publish that is
    /// forbidden is acknowledged there instead (MQTT3-3.3.5-2 allows both), one
    /// that may succeed later is not, so that the client sends it again.
    #[must_use]
    pub fn publish_outcome(&mut self, (packet_id, qos): (u16, Qos), outcome: Outcome, out: &mut Vec<u8>) -> bool {
        let kind = match qos {
            Qos::AtMostOnce => return false,
            Qos::AtLeastOnce => AckKind::PubAck,
            Qos::ExactlyOnce => AckKind::PubRec,
        };
        let later = matches!(outcome, Outcome::QuotaExceeded | Outcome::Busy | Outcome::Internal);
        if later && !self.version().is_v5() {
            self.state = State::Closed;
            return true;
        }
        if kind == AckKind::PubAck || !outcome.is_accepted() {
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
        }
        put_ack(out, (self.version(), kind), packet_id, reason::of_outcome(outcome));
        false
    }

    /// Answers a QoS 2 PUBLISH whose identifier is in use already: it is not published
    /// again (MQTT-4.3.3-10).
    pub fn publish_again(&mut self, packet_id: u16, out: &mut Vec<u8>) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
        put_ack(out, (self.version(), AckKind::PubRec), packet_id, reason::SUCCESS);
    }

    /// Answers a PUBREL; `known`: the broker had the identifier.
    pub fn pubcomp(&mut self, packet_id: u16, known: bool, out: &mut Vec<u8>) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
        let code = if known { reason::SUCCESS } else { reason::PACKET_ID_NOT_FOUND };
        put_ack(out, (self.version(), AckKind::PubComp), packet_id, code);
    }

    /// Answers a PUBREC; `known`: the broker had the identifier.
    pub fn pubrel(&mut self, packet_id: u16, known: bool, out: &mut Vec<u8>) {
        let code = if known { reason::SUCCESS } else { reason::PACKET_ID_NOT_FOUND };
        put_ack(out, (self.version(), AckKind::PubRel), packet_id, code);
    }

    /// Answers a SUBSCRIBE: granted QoS or reason code, in the order of the filters. `false`: the client
    /// does not take an answer of that size (MQTT-3.1.2-24), and the connection must close.
    #[must_use]
    pub fn suback(&mut self, packet_id: u16, codes: &[u8], out: &mut Vec<u8>) -> bool {
        let at = out.len();
        Suback { packet_id, properties: Properties::NONE, codes }.encode(self.version(), out);
        self.keep_if_taken(at, out)
    }

    /// Answers an UNSUBSCRIBE; the answer is `suback`'s.
    #[must_use]
    pub fn unsuback(&mut self, packet_id: u16, codes: &[u8], out: &mut Vec<u8>) -> bool {
        let at = out.len();
        Unsuback { packet_id, properties: Properties::NONE, codes }.encode(self.version(), out);
        self.keep_if_taken(at, out)
    }

    fn keep_if_taken(&mut self, at: usize, out: &mut Vec<u8>) -> bool {
        let fits = out.len() - at <= self.room as usize;
        if !fits {
            out.truncate(at);
            self.disconnect(reason::PACKET_TOO_LARGE, out);
        }
        fits
    }

    /// Continues enhanced authentication. `false`: the client does not take a packet of that size
    /// (MQTT-3.1.2-24), and nothing was said.
    #[must_use]
    pub fn auth(&mut self, step: &Auth<'_>, out: &mut Vec<u8>) -> bool {
        let at = out.len();
        step.encode(out);
        let fits = out.len() - at <= self.room as usize;
        if !fits {
            out.truncate(at);
        }
        fits
    }

    /// Appends a delivery. `false`: it is larger than the client takes and was not sent
    /// (MQTT-3.1.2-24); count the drop and treat it as acknowledged (MQTT-3.1.2-25).
    #[must_use]
    pub fn deliver(&mut self, (head, now): (&DeliveryHead<'_>, u64), message: &Message, out: &mut Vec<u8>) -> bool {
        let version = self.version();
        let mut head = *head;
        let found = self.out_aliases.as_ref().and_then(|aliases| aliases.find(message.topic_bytes()));
        // Clients are known that keep a QoS 2 message until PUBREL without the topic that its alias stood for:
        // it says both (MQTT5 section 3.3.2.3.4).
        let says_both =
            |alias: TopicAlias| TopicAlias { is_known: alias.is_known && head.qos != Qos::ExactlyOnce, ..alias };
        head.topic_alias = found.map(says_both);
        let fits = |head: &DeliveryHead<'_>| encoded_len(version, head, message) <= self.room as usize;
        let mut fits_now = self.room == u32::MAX || fits(&head);
        if !fits_now && head.topic_alias.is_some_and(|alias| !alias.is_known) {
            // A new alias goes along with its topic and is longer than that alone.
            head.topic_alias = None;
            fits_now = fits(&head);
        }
        let fits = fits_now;
        if fits {
            encode_publish(out, version, (&head, now), message);
            if let Some((aliases, alias)) = self.out_aliases.as_mut().zip(head.topic_alias.and(found)) {
                aliases.set(message.topic_bytes(), alias);
            }
        }
        fits
    }

    /// Whether deliveries are the session's own, so that none prepared for others fits.
    pub const fn uses_aliases(&self) -> bool {
        self.out_aliases.is_some()
    }

    /// Appends a prepared delivery of this session's version; the answer is `deliver`'s.
    #[must_use]
    pub fn deliver_prepared(&self, encoded: &Encoded, packet_id: u16, flags: (bool, bool), out: &mut Vec<u8>) -> bool {
        let fits = encoded.bytes().len() <= self.room as usize;
        if fits {
            append_patched(out, encoded, packet_id, flags);
        }
        fits
    }

    /// Another server answers from now on; this one may still say goodbye.
    pub fn relay(&mut self) {
        self.state = State::Connected;
    }

    /// Ends the connection with a reason; older clients are told nothing (a server's
    /// DISCONNECT exists since version 5).
    pub fn disconnect(&mut self, code: u8, out: &mut Vec<u8>) {
        if self.state == State::Connected && self.version().is_v5() {
            goodbye::disconnect(code, (None, None), self.room, out);
        }
        self.state = State::Closed;
    }
}
