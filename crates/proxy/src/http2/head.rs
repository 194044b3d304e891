//! Heads from HTTP/2 to HTTP/1.1 and back (RFC 9113 section 8). What the two read
//! differently is refused: a request means the same to every hop.

use crate::worker::Buffers;
use h2::Reason;
use h2::ext::Protocol;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use tidegate_http::{Body, HeadEdits, ResponseHead, each_response_field};

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

/// What the way back needs to know of a request.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) head: Vec<u8>,
    pub(super) shape: Shape,
    pub(super) to_head: bool,
    pub(super) is_grpc: bool,
    pub(super) timeout: Option<std::time::Duration>,
}

/// Writes a request's head as HTTP/1.1, in the empty buffer `head`.
///
/// # Errors
/// The stream's error: the head says two things at once, or what HTTP/1.1 cannot say.
pub(super) fn translate(
    parts: &Parts,
    (ends, is_refused): (bool, bool),
    mut head: Vec<u8>,
) -> Result<Translated, Reason> {
    let tunnel = parts.extensions.get::<Protocol>();
    let host = one_host(parts)?;
    let target = match (&parts.method, tunnel) {
        (&Method::CONNECT, None) => host.unwrap_or_default(),
        _ => parts.uri.path_and_query().map_or("/", |target| target.as_str()).as_bytes(),
    };
    let method = if tunnel.is_some() { "GET" } else { parts.method.as_str() };
    // The rules of HTTP/1.1 refuse a fragment, which is the client's own; a scheme that is not of
    // HTTP they would refuse by its absolute form.
    let fragment: &[u8] = if is_refused { b"#" } else { b"" };
    put(&mut head, &[method.as_bytes(), b" ", target, fragment, b" HTTP/1.1\r\n"]);
    // Without one the rules of HTTP/1.1 refuse it: 400.
    if let Some(host) = host {
        put(&mut head, &[b"host: ", host, b"\r\n"]);
    }
    put_fields(&mut head, &parts.headers)?;
    let shape = match tunnel {
        Some(protocol) => {
            put_upgrade(&mut head, (protocol.as_str(), &parts.headers))?;
            Shape::Tunnel
        }
        None if ends || parts.headers.contains_key(header::CONTENT_LENGTH) => Shape::Plain,
        None => {
            head.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Shape::Chunked
        }
    };
    head.extend_from_slice(b"\r\n");
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let is_grpc = content_type.is_some_and(|value| super::grpc::is_grpc(value.as_bytes()));
    let timeout = parts.headers.get("grpc-timeout").filter(|_| is_grpc);
    Ok(Translated {
        head,
        shape,
        to_head: parts.method == Method::HEAD,
        is_grpc,
        timeout: timeout.and_then(|value| super::grpc::parse_timeout(value.as_bytes())),
    })
}

/// `:authority` and `Host` must not differ (RFC 9113 section 8.3.1).
fn one_host(parts: &Parts) -> Result<Option<&[u8]>, Reason> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (host, second) = (hosts.next().map(HeaderValue::as_bytes), hosts.next());
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    match (authority, host) {
        _ if second.is_some() => Err(Reason::PROTOCOL_ERROR),
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => Err(Reason::PROTOCOL_ERROR),
        (Some(authority), _) => Ok(Some(authority)),
        (None, host) => Ok(host),
    }
}

fn put_fields(head: &mut Vec<u8>, fields: &HeaderMap) -> Result<(), Reason> {
    for (name, value) in fields {
        match *name {
            header::HOST | header::COOKIE => continue,
            // RFC 9113 section 8.2.2: these are a connection's own.
            header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE => return Err(Reason::PROTOCOL_ERROR),
            header::TE if value != "trailers" => return Err(Reason::PROTOCOL_ERROR),
            _ => {}
        }
        put(head, &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    // RFC 9113 section 8.2.3: crumbs are one field again.
    for (index, crumb) in fields.get_all(header::COOKIE).iter().enumerate() {
        put(head, &[if index == 0 { b"cookie: " } else { b"; " }, crumb.as_bytes()]);
    }
    if fields.contains_key(header::COOKIE) {
        head.extend_from_slice(b"\r\n");
    }
    Ok(())
}

/// RFC 8441 section 5: there is no key; the HTTP/1.1 hop needs one.
fn put_upgrade(head: &mut Vec<u8>, (protocol, fields): (&str, &HeaderMap)) -> Result<(), Reason> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    if protocol != "websocket" || fields.contains_key(header::SEC_WEBSOCKET_KEY) {
        return Err(Reason::PROTOCOL_ERROR);
    }
    let mut nonce = [0; 16];
    nonce.fill_with(|| fastrand::u8(..));
    let key = STANDARD.encode(nonce);
    put(head, &[b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ", key.as_bytes(), b"\r\n"]);
    Ok(())
}

/// An answer's head as HTTP/2 says it, with what policies changed; `None`: a field that HTTP/2 cannot carry.
pub(super) fn answer<E: HeadEdits>(
    head: &ResponseHead<'_, '_>,
    (body, edits): (Body, &E),
    buffers: &Buffers,
) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status).ok()?;
    let fields = response.headers_mut();
    fields.reserve(head.headers.len());
    let mut is_told = true;
    each_response_field(head, (body, edits), &mut |name, value| {
        let Ok(name) = HeaderName::from_bytes(name) else { return is_told = false };
        if is_of_a_connection(&name) {
            return;
        }
        match HeaderValue::from_maybe_shared(buffers.small(value)) {
            Ok(value) => _ = fields.append(name, value),
            Err(_) => is_told = false,
        }
    });
    is_told.then_some(response)
}

fn is_of_a_connection(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE | header::SEC_WEBSOCKET_ACCEPT | header::TE
    ) || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// Trailer lines as fields. Framing and routing fields have no place there (RFC 9110 section 6.5.1).
pub(crate) fn trailers(lines: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) else { continue };
        if !is_of_a_connection(&name) && !matches!(name, header::CONTENT_LENGTH | header::HOST) {
            fields.append(name, value);
        }
    }
    fields
}

/// Fields as trailer lines.
pub(crate) fn trailer_lines(fields: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in fields {
        put(&mut lines, &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    lines
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}
