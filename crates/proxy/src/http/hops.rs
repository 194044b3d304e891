//! `Max-Forwards` (RFC 9110 section 7.6.2): how many hops OPTIONS and TRACE may still take. And what
//! the last one says.

use super::answers::answered;
use super::dispatch::Next;
use super::request::Request;
use crate::client::Client;
use tidegate_http::RequestHead;

/// Counts this hop. `Some`: it is the last, and this is its answer.
pub(super) fn count_hop(client: &Client, request: &Request<'_>) -> Option<(Next, usize)> {
    let left = hops(request.head)?;
    let Some(left) = left.checked_sub(1) else {
        // What a TRACE would say here, the request's head with what stands in it, is for nobody.
        let status = if request.head.method == "TRACE" { 405 } else { 204 };
        return Some(answered(client, request, (usize::MAX, status, ALLOW, b"")));
    };
    request.edits.borrow_mut().set_request_header("max-forwards", &left.to_string());
    None
}

/// `OPTIONS *` asks about the server itself (RFC 9110 section 9.3.7), and no route claimed it.
pub(super) fn about_server(client: &Client, request: &Request<'_>) -> (Next, usize) {
    answered(client, request, (usize::MAX, 204, ALLOW, b""))
}

const ALLOW: &[u8] = b"allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n";

/// What the field says; `None`: nothing, or not of this method.
fn hops(head: &RequestHead<'_, '_>) -> Option<u32> {
    matches!(head.method, "OPTIONS" | "TRACE").then_some(())?;
    let value = head.header("max-forwards")?;
    value.iter().all(u8::is_ascii_digit).then_some(())?;
    std::str::from_utf8(value).ok()?.parse().ok()
}
