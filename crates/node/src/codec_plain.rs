//! Plain packets of MQTT as numbers: PUBLISH, its acknowledgements and pings without properties, which is most of what
//! there is. Five numbers each: type, flags and packet id in one (bits 0, 8 and 16), where the topic and the payload
//! stand and how long they are. The flags of a PUBLISH are those of its first byte (MQTT 5 section 3.3.1), those of
//! an acknowledgement its reason.

use crate::codec::{bytes, invalid, span};
use napi::bindgen_prelude::Result;
use tidegate_message::Qos;
use tidegate_mqtt::{Ack, AckKind, Packet, Properties, Publish};

const PUBLISH: u32 = 3;
const ACKS: [(AckKind, u32); 4] =
    [(AckKind::PubAck, 4), (AckKind::PubRec, 5), (AckKind::PubRel, 6), (AckKind::PubComp, 7)];
const PINGREQ: u32 = 12;
const PINGRESP: u32 = 13;

/// Appends a packet that was decoded from `input`; `None`: it is not plain.
pub(crate) fn put_packet(numbers: &mut Vec<u32>, input: &[u8], packet: &Packet<'_>) -> Option<()> {
    let is_plain = |properties: Properties<'_>| properties.iter().next().is_none();
    let [head, topic, topic_len, payload, payload_len] = match *packet {
        Packet::Publish(packet) if is_plain(packet.properties) => {
            let flags = u32::from(packet.retain) | (packet.qos as u32) << 1 | u32::from(packet.dup) << 3;
            let [topic, topic_len] = span(input, packet.topic.as_bytes());
            let [payload, payload_len] = span(input, packet.payload);
            [PUBLISH | flags << 8 | u32::from(packet.packet_id) << 16, topic, topic_len, payload, payload_len]
        }
        Packet::Ack(Ack { kind, packet_id, reason, properties }) if is_plain(properties) => {
            let (_, number) = ACKS.iter().find(|(known, _)| *known == kind)?;
            [number | u32::from(reason) << 8 | u32::from(packet_id) << 16, 0, 0, 0, 0]
        }
        Packet::PingReq => [PINGREQ, 0, 0, 0, 0],
        Packet::PingResp => [PINGRESP, 0, 0, 0, 0],
        _ => return None,
    };
    numbers.extend([head, topic, topic_len, payload, payload_len]);
    Some(())
}

/// Takes the next packet off the numbers.
pub(crate) fn next_packet<'f>(numbers: &mut &[u32], fields: &'f [u8]) -> Result<Packet<'f>> {
    let (&[head, topic, topic_len, payload, payload_len], rest) =
        numbers.split_first_chunk().ok_or_else(|| invalid("the numbers end within a packet"))?;
    *numbers = rest;
    let (number, flags, packet_id) = (head & 0xff, (head >> 8) as u8, (head >> 16) as u16);
    let properties = Properties::default();
    Ok(match number {
        PUBLISH => {
            let topic = bytes(fields, [topic, topic_len])?;
            if topic.len() > usize::from(u16::MAX) {
                return Err(invalid("a text is over 65,535 bytes"));
            }
            Packet::Publish(Publish {
                dup: flags & 8 > 0,
                qos: Qos::from_bits(flags >> 1 & 3).ok_or_else(|| invalid("a QoS is 0, 1 or 2"))?,
                retain: flags & 1 > 0,
                topic: std::str::from_utf8(topic).map_err(invalid)?,
                packet_id,
                properties,
                payload: bytes(fields, [payload, payload_len])?,
            })
        }
        PINGREQ => Packet::PingReq,
        PINGRESP => Packet::PingResp,
        _ => {
            let (kind, _) = ACKS.into_iter().find(|(_, known)| *known == number).ok_or_else(|| invalid("no packet"))?;
            Packet::Ack(Ack { kind, packet_id, reason: flags, properties })
        }
    })
}
