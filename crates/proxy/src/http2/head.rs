//! What HTTP/2 and HTTP/1.1 say of a message in different ways (RFC 9113 section 8), beyond what `tidegate-http2`
//! does: how a body follows, tunnels, and fields that belong to a connection.

use tidegate_http2::{HeadWriter, Reason, RequestHead};

/// How a request goes on behind its head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// So many bytes, or none.
    Plain,
    /// Chunks.
    Chunked,
    /// Extended CONNECT (RFC 8441): bytes both ways.
    Tunnel,
}

/// Ends a request's head; `ends`: it has no body.
///
/// # Errors
/// The stream's error: a tunnel that is none of ours.
pub(super) fn finish(head: &mut RequestHead, ends: bool) -> Result<Shape, Reason> {
    let shape = match head.protocol() {
        Some(protocol) => {
            if protocol != b"websocket" || head.has_websocket_key() {
                return Err(Reason::PROTOCOL_ERROR);
            }
            put_upgrade(&mut head.text);
            Shape::Tunnel
        }
        None if ends || head.content_length().is_some() => Shape::Plain,
        None => {
            head.text.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Shape::Chunked
        }
    };
    head.text.extend_from_slice(b"\r\n");
    Ok(shape)
}

/// RFC 8441 section 5: there is no key; the HTTP/1.1 hop needs one.
fn put_upgrade(head: &mut Vec<u8>) {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let mut nonce = [0; 16];
    nonce.fill_with(|| fastrand::u8(..));
    let key = STANDARD.encode(nonce);
    put(head, &[b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ", key.as_bytes(), b"\r\n"]);
}

/// Puts a field of an answer. `false`: HTTP/2 cannot carry it.
pub(super) fn answer_field(out: &mut HeadWriter<'_>, (name, value): (&[u8], &[u8]), loses_length: bool) -> bool {
    let is_lost = is_of_a_connection(name) || loses_length && name.eq_ignore_ascii_case(b"content-length");
    is_lost || out.field(name, value)
}

/// Told apart by length first: most names are none of these.
fn is_of_a_connection(name: &[u8]) -> bool {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    match name.len() {
        2 => is(b"te"),
        7 => is(b"upgrade"),
        10 => is(b"connection") || is(b"keep-alive"),
        16 => is(b"proxy-connection"),
        17 => is(b"transfer-encoding"),
        20 => is(b"sec-websocket-accept"),
        _ => false,
    }
}

/// Fields of trailer lines. Framing and routing fields have no place there (RFC 9110 section 6.5.1).
pub(super) fn trailer_fields(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let is_framing = is_of_a_connection(name)
            || [&b"content-length"[..], b"host"].iter().any(|known| name.eq_ignore_ascii_case(known));
        (!is_framing).then_some((name, value))
    })
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}
