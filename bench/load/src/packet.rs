//! As much MQTT 3.1.1 as load needs: written by hand, checked only as far as a broker
//! could mislead the counts.

/// A packet of the broker that matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packet<'a> {
    /// CONNACK with its return code.
    ConnAck(u8),
    /// SUBACK with its first return code.
    SubAck(u8),
    /// PUBACK.
    PubAck,
    /// PUBLISH; the identifier is 0 at QoS 0.
    Publish { id: u16, payload: &'a [u8] },
    /// Anything else.
    Other,
}

/// Reads one packet and its length from the front; `None`: it is not whole yet.
pub fn decode(input: &[u8]) -> Option<(Packet<'_>, usize)> {
    let (&first, rest) = input.split_first()?;
    let (mut len, mut width) = (0, 0);
    loop {
        let byte = *rest.get(width)?;
        len |= usize::from(byte & 0x7f) << (7 * width);
        width += 1;
        if byte & 0x80 == 0 || width == 4 {
            break;
        }
    }
    let body = rest.get(width..width + len)?;
    let packet = match (first >> 4, body) {
        (2, [_, code, ..]) => Packet::ConnAck(*code),
        (9, [_, _, code, ..]) => Packet::SubAck(*code),
        (4, _) => Packet::PubAck,
        (3, _) => publish(first, body).unwrap_or(Packet::Other),
        _ => Packet::Other,
    };
    Some((packet, 1 + width + len))
}

fn publish(first: u8, body: &[u8]) -> Option<Packet<'_>> {
    let (topic, rest) = body.split_first_chunk::<2>()?;
    let rest = rest.get(usize::from(u16::from_be_bytes(*topic))..)?;
    if first & 0x06 == 0 {
        return Some(Packet::Publish { id: 0, payload: rest });
    }
    let (id, payload) = rest.split_first_chunk::<2>()?;
    Some(Packet::Publish { id: u16::from_be_bytes(*id), payload })
}

/// CONNECT with a keep-alive of ten minutes; `kept`: the session outlives the connection.
pub fn connect(client_id: &str, kept: bool) -> Vec<u8> {
    let mut body = b"\0\x04MQTT\x04\x02\x02\x58".to_vec();
    body[7] = if kept { 0 } else { 2 };
    put_text(&mut body, client_id);
    packet(0x10, &body)
}

/// SUBSCRIBE to one filter.
pub fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    let mut body = vec![0, 1];
    put_text(&mut body, filter);
    body.push(qos);
    packet(0x82, &body)
}

/// DISCONNECT.
pub const DISCONNECT: [u8; 2] = [0xe0, 0];

/// Everything of a PUBLISH in front of its packet identifier: the same each time.
pub fn publish_head(topic: &str, qos: u8, payload: usize) -> Vec<u8> {
    let mut body = Vec::new();
    put_text(&mut body, topic);
    let len = body.len() + payload + if qos > 0 { 2 } else { 0 };
    let mut out = vec![0x30 | qos << 1];
    put_length(&mut out, len);
    out.extend_from_slice(&body);
    out
}

/// Appends a PUBACK.
pub fn put_puback(out: &mut Vec<u8>, id: u16) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[0x40, 2, high, low]);
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    put_length(&mut out, body.len());
    out.extend_from_slice(body);
    out
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_length(out: &mut Vec<u8>, mut len: usize) {
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes_and_waits_for_what_is_missing() {
        let mut bytes = publish_head("a/b", 1, 200);
        bytes.extend_from_slice(&[0, 7]);
        bytes.extend_from_slice(&[9; 200]);
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None, "first {end} bytes");
        }
        assert_eq!(decode(&bytes), Some((Packet::Publish { id: 7, payload: &[9; 200] }, bytes.len())));
    }

    #[test]
    fn reads_the_answers_of_a_broker() {
        assert_eq!(decode(&[0x20, 2, 0, 5]), Some((Packet::ConnAck(5), 4)));
        assert_eq!(decode(&[0x90, 3, 0, 1, 0x80]), Some((Packet::SubAck(0x80), 5)));
        assert_eq!(decode(&[0x40, 2, 0, 1]), Some((Packet::PubAck, 4)));
        assert_eq!(decode(&[0xd0, 0]), Some((Packet::Other, 2)));
    }
}
