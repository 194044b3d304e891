//! Writing a head for the next hop: hop-by-hop and identity fields dropped, edits
//! of policies applied, forwarding fields added. Header case is kept.

use crate::body::Body;
use crate::certificate::CertificateHeader;
use crate::fields::{Field, FieldClass, classify, has_token};
use crate::request::RequestHead;
use crate::response::ResponseHead;
use crate::version::Version;
use httparse::Header;
use std::io::Write;
use std::net::IpAddr;
use tidegate_message::ClientCertificate;

/// What policies want changed in a head.
pub trait HeadEdits {
    /// Whether there is nothing to change.
    fn is_empty(&self) -> bool;
    /// Whether a field that came must not go on: it was removed, or set anew.
    fn drops(&self, name: &str) -> bool;
    /// Each field to add: name and value.
    fn each_set(&self, put: &mut dyn FnMut(&[u8], &[u8]));
}

/// No changes.
impl HeadEdits for () {
    fn is_empty(&self) -> bool {
        true
    }

    fn drops(&self, _: &str) -> bool {
        false
    }

    fn each_set(&self, _: &mut dyn FnMut(&[u8], &[u8])) {}
}

/// Framing is not a policy's to change.
fn touches<E: HeadEdits>(edits: &E, name: &str) -> bool {
    !name.eq_ignore_ascii_case("content-length") && edits.drops(name)
}

/// What the request's next hop needs to know besides the head.
pub struct RequestContext<'c, E> {
    /// Path and query to send.
    pub target: &'c [u8],
    /// `Host` to send.
    pub host: &'c [u8],
    /// The client's address.
    pub client: IpAddr,
    /// `http` or `https`: how the client came.
    pub scheme: &'static str,
    /// Whether what the client says about earlier hops is believed.
    pub trusted: bool,
    /// Send an `Upgrade` on.
    pub upgrade: bool,
    /// What the gateway says of itself and of the request.
    pub hop: Hop<'c>,
    /// What policies changed.
    pub edits: &'c E,
}

/// What a hop adds to a request besides `X-Forwarded-*`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hop<'c> {
    /// A `Via` entry with the version that the request came by (RFC 9110 section 7.6.3).
    pub via: Option<&'static str>,
    /// A `Forwarded` element (RFC 7239), also where none came.
    pub forwarded: bool,
    /// `X-Request-Id` of a request that has none.
    pub request_id: Option<&'c [u8]>,
    /// `traceparent`, in place of what came.
    pub traceparent: Option<&'c [u8]>,
    /// The trace begins here: what came as `tracestate` is of another one.
    pub begins_trace: bool,
    /// The client's certificate, in the form that the upstream is told of it.
    pub certificate: Option<(CertificateHeader, &'c ClientCertificate)>,
}

/// Appends the request head for the upstream. The body is framed as it came.
pub fn forward_request<E: HeadEdits>(out: &mut Vec<u8>, head: &RequestHead<'_, '_>, context: &RequestContext<'_, E>) {
    put(out, &[head.method.as_bytes(), b" ", context.target, b" HTTP/1.1\r\nHost: ", context.host, b"\r\n"]);
    let plain = context.edits.is_empty() && !head.connection_names_headers;
    for header in head.headers {
        match classify(header.name) {
            FieldClass::EndToEnd if header.name.len() == 4 && Field::of(header.name) == Field::Host => continue,
            FieldClass::EndToEnd => {}
            FieldClass::HopByHop => continue,
            FieldClass::Identity if !context.trusted => continue,
            // A proxy writes hyphens: this is its client's, who means servers that read both as one variable.
            FieldClass::Identity if header.name.contains('_') => continue,
            FieldClass::Identity if header.name.eq_ignore_ascii_case("x-forwarded-for") => continue,
            FieldClass::Identity if header.name.eq_ignore_ascii_case("forwarded") => continue,
            FieldClass::Identity if context.hop.certificate.is_some() && tells_of_certificate(header.name) => continue,
            FieldClass::Identity => {}
        }
        if context.hop.traceparent.is_some() && tells_of_trace(header.name, context.hop.begins_trace) {
            continue;
        }
        if !plain && (touches(context.edits, header.name) || names_header(head, header.name)) {
            continue;
        }
        let value = if header.name.len() == 14 { plain_length(header) } else { header.value };
        put(out, &[header.name.as_bytes(), b": ", value, b"\r\n"]);
    }
    match head.body {
        Body::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Body::None | Body::Length(_) | Body::UntilClose => {}
    }
    if let Some(protocol) = head.upgrade.filter(|_| context.upgrade) {
        put(out, &[b"Connection: upgrade\r\nUpgrade: ", protocol, b"\r\n"]);
    } else if head.accepts_trailers {
        out.extend_from_slice(b"Connection: TE\r\nTE: trailers\r\n");
    }
    put_forwarded(out, head, context);
    put_hop(out, head, context);
    put_set(out, context.edits);
    out.extend_from_slice(b"\r\n");
}

/// A length without leading zeros: not everybody reads `010` as ten.
fn plain_length<'b>(header: &Header<'b>) -> &'b [u8] {
    let zeros = header.value.iter().take_while(|digit| **digit == b'0').count();
    if zeros == 0 || Field::of(header.name) != Field::ContentLength {
        return header.value;
    }
    &header.value[zeros.min(header.value.len() - 1)..]
}

/// `X-Forwarded-*`: overwritten for a stranger, continued for a trusted proxy.
fn put_forwarded<E>(out: &mut Vec<u8>, head: &RequestHead<'_, '_>, context: &RequestContext<'_, E>) {
    out.extend_from_slice(b"X-Forwarded-For: ");
    put_earlier(out, head, (context.trusted, "x-forwarded-for"));
    put_address(out, context.client);
    let has = |name: &str| context.trusted && head.header(name).is_some();
    if !has("x-forwarded-proto") {
        put(out, &[b"\r\nX-Forwarded-Proto: ", context.scheme.as_bytes()]);
    }
    if !has("x-forwarded-host") && !head.authority.is_empty() {
        put(out, &[b"\r\nX-Forwarded-Host: ", head.authority]);
    }
    out.extend_from_slice(b"\r\n");
}

/// What hops before said, in one line: they may have sent several.
fn put_earlier(out: &mut Vec<u8>, head: &RequestHead<'_, '_>, (trusted, name): (bool, &str)) {
    if trusted {
        for header in head.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)) {
            put(out, &[header.value, b", "]);
        }
    }
}

/// What a proxy before says of its own client's certificate gives way to the one that was shown here.
fn tells_of_certificate(name: &str) -> bool {
    ["x-forwarded-client-cert", "client-cert", "client-cert-chain"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// What the trace's own fields replace.
fn tells_of_trace(name: &str, begins: bool) -> bool {
    name.eq_ignore_ascii_case("traceparent") || (begins && name.eq_ignore_ascii_case("tracestate"))
}

fn put_hop<E>(out: &mut Vec<u8>, head: &RequestHead<'_, '_>, context: &RequestContext<'_, E>) {
    let Hop { via, forwarded, request_id, traceparent, begins_trace: _, certificate } = context.hop;
    if forwarded || context.trusted && head.header("forwarded").is_some() {
        out.extend_from_slice(b"Forwarded: ");
        put_earlier(out, head, (context.trusted, "forwarded"));
        // RFC 7239 section 6: an IPv6 address stands in brackets and quotes.
        let (open, close): (&[u8], &[u8]) = if context.client.is_ipv6() { (b"\"[", b"]\"") } else { (b"", b"") };
        put(out, &[b"for=", open]);
        put_address(out, context.client);
        put(out, &[close, b";proto=", context.scheme.as_bytes()]);
        if !head.authority.is_empty() {
            put(out, &[b";host=\"", head.authority, b"\""]);
        }
        out.extend_from_slice(b"\r\n");
    }
    if let Some(version) = via {
        put(out, &[b"Via: ", version.as_bytes(), b" tidegate\r\n"]);
    }
    if let Some(id) = request_id {
        put(out, &[b"X-Request-Id: ", id, b"\r\n"]);
    }
    if let Some(trace) = traceparent {
        put(out, &[b"traceparent: ", trace, b"\r\n"]);
    }
    if let Some((header, certificate)) = certificate {
        header.put(certificate, out);
    }
}

/// An IPv4 address without the formatting machinery: it is written for each request.
fn put_address(out: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(v4) = address else {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{address}");
        return;
    };
    for (index, octet) in v4.octets().into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        if octet >= 100 {
            out.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            out.push(b'0' + octet / 10 % 10);
        }
        out.push(b'0' + octet % 10);
    }
}

/// What the response's way back needs to know besides the head.
pub struct ResponseContext<'c, E> {
    /// The client's version.
    pub version: Version,
    /// Whether the client's connection stays open.
    pub keep_alive: bool,
    /// How the body goes on.
    pub body: Body,
    /// An upgrade was agreed on (101).
    pub upgrade: bool,
    /// What policies changed.
    pub edits: &'c E,
}

/// Appends the response head for the client. `false`: nothing had to change and
/// nothing was appended; the head may go on as it came.
pub fn forward_response<E: HeadEdits>(
    out: &mut Vec<u8>,
    head: &ResponseHead<'_, '_>,
    context: &ResponseContext<'_, E>,
) -> bool {
    let same_body = head.body == context.body;
    let plain = context.version == Version::Http11 && head.version == Version::Http11 && context.keep_alive;
    if plain && same_body && !head.has_hop_by_hop && !context.upgrade && context.edits.is_empty() {
        return false;
    }
    // RFC 9112 section 2.3: the gateway answers with its own version.
    let _ = write!(out, "HTTP/1.1 {} {}\r\n", head.status, head.reason);
    each_kept_field(head, (context.body, context.edits), &mut |name, value| put(out, &[name, b": ", value, b"\r\n"]));
    if context.body == Body::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    match (context.upgrade, context.keep_alive, context.version) {
        (true, ..) => {
            put(out, &[b"Connection: upgrade\r\nUpgrade: ", head.header("upgrade").unwrap_or(b"websocket"), b"\r\n"])
        }
        (false, false, _) => out.extend_from_slice(b"Connection: close\r\n"),
        (false, true, Version::Http10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (false, true, Version::Http11) => {}
    }
    put_set(out, context.edits);
    out.extend_from_slice(b"\r\n");
    true
}

/// Hands over each field of an answer that goes on, then each that policies set. How the body is framed and
/// what belongs to a connection is not among them, for a client that has other means for that.
pub fn each_response_field<E: HeadEdits>(
    head: &ResponseHead<'_, '_>,
    (body, edits): (Body, &E),
    hand: &mut impl FnMut(&[u8], &[u8]),
) {
    each_kept_field(head, (body, edits), hand);
    edits.each_set(hand);
}

fn each_kept_field<E: HeadEdits>(
    head: &ResponseHead<'_, '_>,
    (body, edits): (Body, &E),
    hand: &mut impl FnMut(&[u8], &[u8]),
) {
    let loses_length = head.has_no_length() || head.body != body && body == Body::Chunked;
    for header in head.headers {
        if loses_length && header.name.eq_ignore_ascii_case("content-length") {
            continue;
        }
        let hop = head.has_hop_by_hop
            && (classify(header.name) == FieldClass::HopByHop || head.connection_names(header.name));
        if !hop && !touches(edits, header.name) {
            hand(header.name.as_bytes(), header.value);
        }
    }
}

fn put_set<E: HeadEdits>(out: &mut Vec<u8>, edits: &E) {
    edits.each_set(&mut |name, value| put(out, &[name, b": ", value, b"\r\n"]));
}

// The number of parts is known where it is called: inlined, no loop and few lengths are left.
#[inline]
fn put<const N: usize>(out: &mut Vec<u8>, parts: &[&[u8]; N]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Whether a `Connection` header of the request names this one (RFC 9110 section 7.6.1).
/// `Connection: content-length` must not unframe the body that follows.
fn names_header(head: &RequestHead<'_, '_>, name: &str) -> bool {
    head.connection_names_headers
        && !name.eq_ignore_ascii_case("content-length")
        && head
            .headers
            .iter()
            .any(|header| Field::of(header.name) == Field::Connection && has_token(header.value, name))
}
