//! Requests that a handler in TypeScript answers: the head as it sees it, and its reply as
//! an answer.

use super::dispatch::Next;
use super::local::{What, local};
use super::reply::ReplyTo;
use super::request::Request;
use crate::client::Client;
use crate::handle::HandlerFailure;
use std::rc::Rc;

/// Gives the request to a handler.
pub(crate) fn to_handler(client: &Client, request: &Request<'_>, (index, handler): (usize, usize)) -> (Next, usize) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let head = request.head;
    let headers: Vec<(String, String)> =
        head.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect();
    let seen = serde_json::json!({
        "protocol": client.protocol.label(),
        "kind": "request",
        "method": head.method,
        "host": text(request.view.host),
        "path": text(request.view.path),
        "query": text(head.query()),
        "source": client.peer.address.ip().to_string(),
        "contentType": head.header("content-type").map(text),
        "headers": headers,
    });
    local(client, request, (Some(index), What::Handler(handler, seen)))
}

/// Asks the handler and answers with its reply.
pub(super) async fn handle(
    client: Box<Client>,
    reply: ReplyTo,
    call: (usize, &serde_json::Value, &[u8]),
) -> Option<Box<Client>> {
    let worker = Rc::clone(&client.worker);
    match crate::handle::call(&worker, &reply.plan, call).await {
        Ok(answer) => {
            let mut fields = Vec::new();
            let clean = |text: &str| !text.bytes().any(|byte| byte < b' ' && byte != b'\t' || byte == 0x7f);
            for (name, value) in &answer.headers {
                let framing = ["content-length", "transfer-encoding", "connection"]
                    .iter()
                    .any(|known| name.eq_ignore_ascii_case(known));
                if !framing
                    && !name.is_empty()
                    && clean(value)
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                {
                    fields.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
                }
            }
            reply.send(client, (answer.status, &fields, &answer.body)).await
        }
        Err(HandlerFailure::TimedOut) => reply.send(client, (504, b"", b"the handler did not answer in time\n")).await,
        Err(HandlerFailure::Unavailable) => {
            reply.send(client, (503, b"retry-after: 1\r\n", b"no handler can take the request now\n")).await
        }
    }
}
