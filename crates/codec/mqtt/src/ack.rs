//! PUBACK, PUBREC, PUBREL and PUBCOMP: four packets of one form.

use crate::connect::Version;
use crate::fixed::framed;
use crate::properties::{Context, Properties};
use crate::publish::packet_id;
use crate::reason;
use crate::rules::{ensure, malformed, protocol, short};
use tidegate_kit::{DecodeError, Reader, put_u16};
use tidegate_message::Limits;

/// Which of the four.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum AckKind {
    /// QoS 1 is done.
    PubAck = 0x40,
    /// QoS 2: received.
    PubRec = 0x50,
    /// QoS 2: the sender forgets the message. Its flags are 0010 (MQTT-3.6.1-1).
    PubRel = 0x62,
    /// QoS 2 is done.
    PubComp = 0x70,
}

/// An acknowledgement of a publish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack<'a> {
    /// Which step it is.
    pub kind: AckKind,
    /// The packet identifier of the PUBLISH.
    pub packet_id: u16,
    /// Reason code; 0 before version 5.
    pub reason: u8,
    /// Reason string and user properties (version 5).
    pub properties: Properties<'a>,
}

impl<'a> Ack<'a> {
    pub(crate) fn read(
        (version, kind): (Version, AckKind),
        reader: &mut Reader<'a>,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let packet_id = packet_id(reader)?;
        let mut ack = Ack { kind, packet_id, reason: reason::SUCCESS, properties: Properties::NONE };
        if reader.is_empty() {
            return Ok(ack);
        }
        ensure(version.is_v5(), malformed("MQTT section 3.4", "an acknowledgement is longer than two bytes"))?;
        ack.reason = reader.u8().map_err(short)?;
        let known = match kind {
            AckKind::PubAck | AckKind::PubRec => reason::in_puback(ack.reason),
            AckKind::PubRel | AckKind::PubComp => reason::in_pubrel(ack.reason),
        };
        ensure(known, protocol("MQTT-3.4.2-1", "the reason code of an acknowledgement is not defined"))?;
        if !reader.is_empty() {
            ack.properties = Properties::read(reader, Context::Ack, limits.mqtt_user_properties)?;
        }
        ensure(reader.is_empty(), malformed("MQTT5 section 3.4", "bytes follow an acknowledgement"))?;
        Ok(ack)
    }

    /// Appends the packet.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        if self.properties.is_empty() || !version.is_v5() {
            return put_ack(out, (version, self.kind), self.packet_id, self.reason);
        }
        framed(out, self.kind as u8, |out| {
            put_u16(out, self.packet_id);
            out.push(self.reason);
            self.properties.put(out);
        });
    }
}

/// Appends an acknowledgement without properties, in the shortest form.
pub fn put_ack(out: &mut Vec<u8>, (version, kind): (Version, AckKind), packet_id: u16, reason: u8) {
    let [high, low] = packet_id.to_be_bytes();
    if reason == reason::SUCCESS || !version.is_v5() {
        out.extend_from_slice(&[kind as u8, 2, high, low]);
    } else {
        out.extend_from_slice(&[kind as u8, 3, high, low, reason]);
    }
}
