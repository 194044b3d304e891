//! A request's head from HTTP/1.1 to HTTP/2, for an upstream.

use h2::ext::Protocol;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, Uri, Version};
use tidegate_http::{Field, FieldClass, RequestHead, classify};

/// What becomes of a request on its way.
pub(super) struct Translated {
    pub(super) request: Request<()>,
    /// The accept key that the client of an upgrade waits for.
    pub(super) accept: Option<String>,
}

/// The head as HTTP/2 says it; `None`: it cannot.
pub(super) fn translate(
    head: &RequestHead<'_, '_>,
    (scheme, own): (&str, &Authority),
    drops_length: bool,
) -> Option<Translated> {
    let target = std::str::from_utf8(head.target).ok()?;
    let authority = match head.authority {
        b"" => own.clone(),
        authority => Authority::try_from(authority).ok()?,
    };
    let upgrade = head.upgrade.filter(|upgrade| tidegate_http::has_token(upgrade, "websocket"));
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = match upgrade {
        Some(_) => Method::CONNECT,
        None => Method::from_bytes(head.method.as_bytes()).ok()?,
    };
    let target = if target == "*" { "/" } else { target };
    *request.uri_mut() = Uri::builder().scheme(scheme).authority(authority).path_and_query(target).build().ok()?;
    let mut accept = None;
    if upgrade.is_some() {
        // RFC 8441 section 4
        request.extensions_mut().insert(Protocol::from("websocket"));
        accept = head.header("sec-websocket-key").map(tidegate_websocket::accept_key);
    }
    let fields = request.headers_mut();
    fields.reserve(head.headers.len());
    for field in head.headers {
        let is_routing = matches!(Field::of(field.name), Field::Host | Field::Upgrade | Field::Connection);
        let is_length = drops_length && Field::of(field.name) == Field::ContentLength;
        if is_routing || is_length || classify(field.name) == FieldClass::HopByHop {
            continue;
        }
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        if upgrade.is_some() && name == header::SEC_WEBSOCKET_KEY {
            continue;
        }
        fields.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    if head.accepts_trailers {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    Some(Translated { request, accept })
}
