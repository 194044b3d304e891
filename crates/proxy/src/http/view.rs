//! A request head as routes and policies see it.

use tidegate_http::{Body, RequestHead, Version};
use tidegate_message::{FieldId, Peer, Protocol, View};
use tidegate_route::decode_query;

/// A view of a request head; nothing is copied.
pub(crate) struct HttpView<'v> {
    pub(crate) head: &'v RequestHead<'v, 'v>,
    /// Canonical path.
    pub(crate) path: &'v [u8],
    /// Host in lower case, without port.
    pub(crate) host: &'v [u8],
    pub(crate) peer: &'v Peer,
    pub(crate) protocol: Protocol,
}

impl View for HttpView<'_> {
    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn peer(&self) -> &Peer {
        self.peer
    }

    fn field(&self, id: FieldId<'_>) -> Option<&[u8]> {
        match id {
            FieldId::Method => Some(self.head.method.as_bytes()),
            FieldId::Host => Some(self.host).filter(|host| !host.is_empty()),
            FieldId::Path => Some(self.path),
            FieldId::Query(name) => query(self.head.query(), name),
            FieldId::Header(name) => self.head.header(name),
            FieldId::Cookie(name) => self.lines("cookie").find_map(|cookies| cookie(cookies, name)),
            FieldId::ContentType => self.head.header("content-type"),
            FieldId::Topic | FieldId::ClientId | FieldId::Attribute(_) => None,
        }
    }

    fn is_repeated(&self, id: FieldId<'_>) -> bool {
        match id {
            FieldId::Header(name) => self.lines(name).nth(1).is_some(),
            FieldId::Query(name) => queries(self.head.query(), name).nth(1).is_some(),
            _ => false,
        }
    }
}

impl<'v> HttpView<'v> {
    fn lines(&self, name: &str) -> impl Iterator<Item = &'v [u8]> {
        self.head.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }
}

/// The first value of a query parameter, as sent.
pub(crate) fn query<'q>(query: &'q [u8], name: &str) -> Option<&'q [u8]> {
    queries(query, name).next()
}

fn queries<'q>(query: &'q [u8], name: &str) -> impl Iterator<Item = &'q [u8]> {
    query.split(|byte| *byte == b'&').filter_map(move |pair| {
        let end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        // An escaped name is the same to a service.
        (*decode_query(&pair[..end]) == *name.as_bytes()).then(|| pair.get(end + 1..).unwrap_or_default())
    })
}

fn cookie<'c>(cookies: &'c [u8], name: &str) -> Option<&'c [u8]> {
    cookies.split(|byte| *byte == b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        let end = memchr::memchr(b'=', pair)?;
        (&pair[..end] == name.as_bytes()).then(|| &pair[end + 1..])
    })
}

/// Whether the request asks for a WebSocket (RFC 6455 section 4.1).
pub(crate) fn wants_websocket(head: &RequestHead<'_, '_>) -> bool {
    // With a body it is a plain request: bytes of a body must not be read as frames.
    head.method == "GET"
        && head.body == Body::None
        && head.version == Version::Http11
        && head.upgrade.is_some_and(|upgrade| tidegate_http::has_token(upgrade, "websocket"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_query_parameters_and_cookies() {
        assert_eq!(query(b"a=1&b=&c&a=2", "a"), Some(&b"1"[..]));
        assert_eq!(query(b"b=1&%61=%32", "a"), Some(&b"%32"[..]), "an escaped name");
        assert_eq!(
            (query(b"a=1&b=&c", "b"), query(b"a=1&c", "c"), query(b"ab=1", "a")),
            (Some(&b""[..]), Some(&b""[..]), None)
        );
        assert_eq!((cookie(b"a=1; id=x=y", "id"), cookie(b"a=1", "b")), (Some(&b"x=y"[..]), None));
    }
}
