//! A request as routes and policies see it, with the names that HTTP has for its parts.

use std::borrow::Cow;
use tidegate_coap::{Message, OptionNumber, media_type};
use tidegate_message::{FieldId, Peer, Protocol, View};

/// Longest name that DNS allows; a longer one is no host.
const HOST_MAX: usize = 253;

/// A view of a request.
pub(super) struct CoapView<'v> {
    pub(super) message: Message<'v>,
    pub(super) protocol: Protocol,
    pub(super) peer: Peer,
    /// Canonical path.
    pub(super) path: &'v [u8],
    pub(super) body: &'v [u8],
    host: Option<Cow<'v, [u8]>>,
    content_type: Option<Cow<'static, str>>,
    accept: Option<Cow<'static, str>>,
}

impl<'v> CoapView<'v> {
    pub(super) fn new(
        message: Message<'v>,
        (protocol, peer): (Protocol, Peer),
        (path, body): (&'v [u8], &'v [u8]),
    ) -> Self {
        let host = message.host().filter(|host| is_host(host)).map(lower);
        let host = host.map(|host| with_port(&message, host));
        let content_type = message.content_format().map(type_of);
        let accept = message.accept().map(type_of);
        CoapView { message, protocol, peer, path, body, host, content_type, accept }
    }

    /// The method by its HTTP name.
    pub(super) fn method(&self) -> &'static str {
        self.message.code.method().unwrap_or_default()
    }

    /// Whether it is for a host elsewhere.
    pub(super) fn is_proxied(&self) -> bool {
        self.message.is_proxied()
    }

    /// The host that the request names, in lower case; of one for a host elsewhere with the
    /// port, where that is not the scheme's.
    pub(super) fn host(&self) -> Option<&[u8]> {
        self.host.as_deref()
    }

    pub(super) fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    pub(super) fn accept(&self) -> Option<&str> {
        self.accept.as_deref()
    }

    /// `traceparent`, where it can stand in a header.
    pub(super) fn trace(&self) -> Option<&'v [u8]> {
        let value = self.message.option(OptionNumber::TRACEPARENT)?.value;
        value.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-').then_some(value)
    }
}

impl View for CoapView<'_> {
    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }

    fn field(&self, id: FieldId<'_>) -> Option<&[u8]> {
        match id {
            FieldId::Method => Some(self.method().as_bytes()),
            FieldId::Host => self.host(),
            FieldId::Path => Some(self.path),
            FieldId::Query(name) => self.message.query_value(name),
            FieldId::ContentType => self.content_type().map(str::as_bytes),
            FieldId::Header(name) if name.eq_ignore_ascii_case("content-type") => {
                self.content_type().map(str::as_bytes)
            }
            FieldId::Header(name) if name.eq_ignore_ascii_case("accept") => self.accept().map(str::as_bytes),
            FieldId::Header(name) if name.eq_ignore_ascii_case("host") => self.host(),
            FieldId::Header(name) if name.eq_ignore_ascii_case("traceparent") => self.trace(),
            FieldId::Header(_) | FieldId::Cookie(_) | FieldId::Topic | FieldId::ClientId | FieldId::Attribute(_) => {
                None
            }
        }
    }

    fn payload(&self) -> &[u8] {
        self.body
    }
}

/// The media type of a Content-Format. One without a name keeps its number (RFC 8075
/// section 6.2).
pub(crate) fn type_of(format: u16) -> Cow<'static, str> {
    media_type(format).map_or_else(|| Cow::Owned(format!("{NUMBERED}{format}")), Cow::Borrowed)
}

/// The Content-Format of a media type; `None`: CoAP has no number for it.
pub(crate) fn format_of(media_type: &str) -> Option<u16> {
    match media_type.strip_prefix(NUMBERED) {
        Some(number) => number.parse().ok(),
        None => tidegate_coap::content_format(media_type),
    }
}

const NUMBERED: &str = "application/coap-payload;cf=";

/// What a header can hold without being mistaken for anything else.
fn is_host(host: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']');
    (1..=HOST_MAX).contains(&host.len()) && host.iter().all(plain)
}

/// An ordinary request's port is the one it came to.
fn with_port<'h>(message: &Message<'_>, host: Cow<'h, [u8]>) -> Cow<'h, [u8]> {
    match message.uint(OptionNumber::URI_PORT).filter(|_| message.is_proxied()) {
        Some(port) => Cow::Owned([&host, format!(":{port}").as_bytes()].concat()),
        None => host,
    }
}

fn lower(host: &[u8]) -> Cow<'_, [u8]> {
    let host = host.strip_suffix(b".").unwrap_or(host);
    if host.iter().any(u8::is_ascii_uppercase) { Cow::Owned(host.to_ascii_lowercase()) } else { Cow::Borrowed(host) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidegate_coap::{Code, Head, OptionList, Token, Type, encode};

    fn with_view(code: Code, options: &OptionList, check: impl FnOnce(&CoapView<'_>)) {
        let head = Head { kind: Type::Confirmable, code, message_id: 1, token: Token::default() };
        let mut datagram = Vec::new();
        encode(&mut datagram, &head, [options, &OptionList::new()], b"21.5");
        let message = Message::decode(&datagram, 64).expect("valid");
        check(&CoapView::new(
            message,
            (Protocol::Coap, Peer::new(([192, 0, 2, 1], 5).into())),
            (b"/a", message.payload),
        ));
    }

    #[test]
    fn options_have_the_names_of_their_headers() {
        let mut options = OptionList::new();
        options
            .push(OptionNumber::URI_HOST, b"Plant.Example")
            .push_uint(OptionNumber::CONTENT_FORMAT, 50)
            .push(OptionNumber::URI_QUERY, b"unit=C")
            .push_uint(OptionNumber::ACCEPT, 60);
        with_view(Code::PUT, &options, |view| {
            let field = |id| view.field(id).map(|value| String::from_utf8_lossy(value).into_owned());
            assert_eq!(field(FieldId::Method).as_deref(), Some("PUT"));
            assert_eq!(field(FieldId::Host).as_deref(), Some("plant.example"));
            assert_eq!(field(FieldId::Query("unit")).as_deref(), Some("C"));
            assert_eq!(field(FieldId::Header("Content-Type")).as_deref(), Some("application/json"));
            assert_eq!(field(FieldId::Header("accept")).as_deref(), Some("application/cbor"));
            assert_eq!((field(FieldId::Header("x-a")), view.payload()), (None, &b"21.5"[..]));
        });
    }

    #[test]
    fn a_host_or_trace_that_would_break_a_header_is_none() {
        let mut options = OptionList::new();
        options.push(OptionNumber::URI_HOST, b"a\r\nx: y").push(OptionNumber::TRACEPARENT, b"0\r\n");
        with_view(Code::GET, &options, |view| assert_eq!((view.host(), view.trace()), (None, None)));
    }

    proptest! {
        #[test]
        fn a_content_format_survives_as_a_media_type(format: u16) {
            prop_assert_eq!(format_of(&type_of(format)), Some(format));
        }
    }
}
