//! A request's head from HTTP/1.1 to HTTP/2, for an upstream.

use super::super::grpc_web::Web;
use super::link::Link;
use tidegate_http::{Field, FieldClass, RequestHead, classify};
use tidegate_http2::{AskError, Connection, StreamKey, Target};

/// What becomes of a request on its way.
pub(super) struct Asked {
    pub(super) key: StreamKey,
    /// The accept key that the client of an upgrade waits for.
    pub(super) accept: Option<String>,
}

/// Whether a head asks for a WebSocket: an extended CONNECT here (RFC 8441 section 4).
pub(super) fn is_tunnel(head: &RequestHead<'_, '_>) -> bool {
    head.upgrade.is_some_and(|upgrade| tidegate_http::has_token(upgrade, "websocket"))
}

/// Opens a stream with the head; `ends`: no body follows.
///
/// # Errors
/// The connection takes no more, or HTTP/2 cannot say this.
pub(super) fn ask(
    (link, h2): (&Link, &mut Connection),
    (head, web): (&RequestHead<'_, '_>, Option<&Web>),
    ends: bool,
) -> Result<Asked, AskError> {
    let is_tunnel = is_tunnel(head);
    let target = Target {
        method: if is_tunnel { b"CONNECT" } else { head.method.as_bytes() },
        scheme: link.scheme.as_bytes(),
        authority: if head.authority.is_empty() { link.authority.as_bytes() } else { head.authority },
        path: head.target,
        protocol: is_tunnel.then_some(b"websocket"),
    };
    let mut writer = h2.ask(&target)?;
    let mut is_told = true;
    for field in head.headers {
        let kind = Field::of(field.name);
        let is_routing = matches!(kind, Field::Host | Field::Upgrade | Field::Connection);
        let is_type = field.name.eq_ignore_ascii_case("content-type");
        let is_of_web = web.is_some() && (is_type || matches!(kind, Field::ContentLength));
        let is_key = is_tunnel && field.name.eq_ignore_ascii_case("sec-websocket-key");
        if is_routing || is_of_web || is_key || classify(field.name) == FieldClass::HopByHop {
            continue;
        }
        is_told &= writer.field(field.name.as_bytes(), field.value);
    }
    if let Some(web) = web {
        is_told &= writer.field(b"content-type", &web.request_type());
    }
    if head.accepts_trailers || web.is_some() {
        writer.field(b"te", b"trailers");
    }
    if !is_told {
        return Err(AskError::Unsayable);
    }
    let key = writer.key();
    writer.finish(ends);
    let accept = head.header("sec-websocket-key").filter(|_| is_tunnel).map(tidegate_websocket::accept_key);
    Ok(Asked { key, accept })
}
