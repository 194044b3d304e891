//! `Max-Forwards` (RFC 9110 section 7.6.2): how many hops OPTIONS and TRACE may still take. And what
//! the last one says.

use super::answers::answered;
use super::dispatch::Next;
use super::request::Request;
use crate::client::Client;
use tidegate_http::RequestHead;

/// Counts this hop. `Some`: it is the last, and this is its answer.
pub(super) fn count_hop(client: &Client, request: &Request<'_>) -> Option<(Next, usize)> {
    if hops(request.head)? > 0 {
        return None;
    }
    // What a TRACE would say here, the request's head with what stands in it, is for nobody.
    Some(if request.head.method == "TRACE" {
        no_trace(client, request, usize::MAX)
    } else {
        about_server(client, request)
    })
}

/// Says to the next hop how many are left, behind everything that policies changed.
pub(super) fn pass_hop(request: &Request<'_>) {
    if let Some(hops) = hops(request.head) {
        request.edits.borrow_mut().set_request_header("max-forwards", &hops.saturating_sub(1).to_string());
    }
}

/// A TRACE would show its client what policies and the gateway put into the request.
pub(super) fn no_trace(client: &Client, request: &Request<'_>, route: usize) -> (Next, usize) {
    answered(client, request, (route, 405, ALLOW, b"405 Method Not Allowed: TRACE is not offered\n"))
}

/// `OPTIONS *` asks about the server itself (RFC 9110 section 9.3.7), and no route claimed it.
pub(super) fn about_server(client: &Client, request: &Request<'_>) -> (Next, usize) {
    answered(client, request, (usize::MAX, 204, ALLOW, b""))
}

const ALLOW: &[u8] = b"allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n";

/// What the field says, at most 4,294,967,295; `None`: nothing, or not of this method.
fn hops(head: &RequestHead<'_, '_>) -> Option<u32> {
    matches!(head.method, "OPTIONS" | "TRACE").then_some(())?;
    let value = head.header("max-forwards")?;
    (!value.is_empty() && value.iter().all(u8::is_ascii_digit)).then_some(())?;
    Some(std::str::from_utf8(value).ok()?.parse().unwrap_or(u32::MAX))
}
