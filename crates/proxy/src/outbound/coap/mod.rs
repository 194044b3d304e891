//! Upstreams that speak CoAP: an exchange writes a request of HTTP/1.1 into a pipe and
//! reads its answer there; at the other end the request goes to the endpoint as CoAP (RFC
//! 8075). So balancing, retries, breakers and timeouts are those of every upstream.

mod cache;
mod clients;
mod observing;
mod passing;
mod to_coap;
mod to_http;

pub(crate) use cache::Changes;
pub(crate) use clients::CoapClients;
pub(crate) use observing::{Observation, key_of};
pub(crate) use passing::{OPTIONS_FIELD, passed_on, read_options, write_options};
pub(crate) use to_coap::{
    ASKED_BY_COAP, HOST_FIELD, NO_HOP_LIMIT, OBSERVE_FIELD, host_and_port, links_of, location_of,
};
pub(crate) use to_http::CODE_FIELD;

use crate::worker::Worker;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::rc::Rc;
use tidegate_coap::{Answer, Code, Failure, OptionNumber};
use tidegate_http::{BodyReader, HEADERS_MAX, Piece, parse_request};
use tidegate_message::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Bytes between an exchange and its task.
const PIPE_BYTES: usize = 64 << 10;
/// Bytes of a head, which our own policies may have made longer than a client's.
const HEAD_BYTES: usize = 1 << 20;

/// A way to an endpoint; it serves one request.
pub(super) fn open(worker: &Rc<Worker>, (upstream, address): (&str, SocketAddr)) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    let (worker, upstream) = (Rc::clone(worker), Box::from(upstream));
    tokio::task::spawn_local(async move {
        // What fails is seen by the exchange as a connection that ends.
        let _ = serve(&worker, (&upstream, address), theirs).await;
    });
    ours
}

async fn serve(worker: &Rc<Worker>, (upstream, address): (&str, SocketAddr), mut pipe: DuplexStream) -> io::Result<()> {
    let max_body = worker.plan().plan.bounds.body_collected;
    let Some((head, body)) = read_request(&mut pipe, max_body).await? else {
        return pipe.write_all(to_http::TOO_LARGE).await;
    };
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let Ok(Some(parsed)) = parse_request(&head, &bounds(), &mut headers) else { return Ok(()) };
    let mut request = match to_coap::translate(&parsed, body) {
        Ok(request) => request,
        Err(refusal) => return pipe.write_all(refusal).await,
    };
    let answer = loop {
        let answer = ask(worker, (upstream, address), &request).await;
        // RFC 8075 section 6.1: CoAP takes one format at a time.
        let is_unacceptable = answer.as_ref().is_ok_and(|answer| answer.code == Code::NOT_ACCEPTABLE);
        if !is_unacceptable || !request.next_format() {
            break answer;
        }
    };
    match answer {
        // RFC 7252 section 5.4.1: HTTP has no place for it, so that nobody can understand the answer.
        Ok(answer) if !request.is_asked_by_coap && has_strange(&answer) => {
            pipe.write_all(to_http::failed(Failure::Broken)).await
        }
        Ok(answer) => pipe.write_all(&to_http::answer(&request, &answer)).await,
        // Nothing came, and nobody knows what the endpoint did: as a connection that breaks.
        Err(Failure::Timeout) => Ok(()),
        Err(failure) => pipe.write_all(to_http::failed(failure)).await,
    }
}

/// The answer that is kept, or the endpoint's.
async fn ask(
    worker: &Rc<Worker>,
    (upstream, address): (&str, SocketAddr),
    request: &to_coap::Outgoing,
) -> Result<Rc<Answer>, Failure> {
    let key = cache::key(upstream, request);
    let now = worker.clock.millis();
    let mut sent = request.clone();
    let changes = &worker.shared.coap_changes;
    let (fresh, stale) = worker.coap_clients.cached(now, (key, changes.of(upstream, &request.options)));
    match fresh {
        // RFC 7641 section 5: an answer that is kept does not make an observer.
        _ if request.observe.is_some() => {
            let observed = observing::observe(worker, (key, address), request).await;
            observed.map(Rc::new)
        }
        Some(answer) => Ok(answer),
        None => {
            to_coap::validate(&mut sent, stale.as_deref());
            let asked = CoapClients::ask(worker, address, sent).await;
            asked.map(|answer| {
                let end = worker.clock.millis();
                changes.note(end, (upstream, request), &answer);
                worker.coap_clients.keep((end, now), key, (answer, stale))
            })
        }
    }
}

/// Whether an answer has a critical option that is not known.
fn has_strange(answer: &Answer) -> bool {
    answer.options.iter().any(|(number, _)| number & 1 == 1 && !OptionNumber::is_known(number))
}

fn bounds() -> Limits {
    Limits { header_line: HEAD_BYTES, header_total: HEAD_BYTES, header_count: HEADERS_MAX, ..Limits::default() }
}

/// Head and body of the request in the pipe. `None`: the body is too long to be put together.
async fn read_request(pipe: &mut DuplexStream, max_body: usize) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut bytes = Vec::new();
    let (len, mut reader) = loop {
        if pipe.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        if let Some(head) = parse_request(&bytes, &bounds(), &mut headers).map_err(|_| invalid())? {
            break (head.len, BodyReader::new(head.body, Limits::default().chunk_extensions));
        }
    };
    let mut rest = bytes.split_off(len);
    let mut body = Vec::new();
    loop {
        let (piece, used) = reader.next(&rest).map_err(|_| invalid())?;
        match piece {
            Piece::Data(data) if body.len() + data.len() > max_body => return Ok(None),
            Piece::Data(data) => body.extend_from_slice(data),
            Piece::End(_) => return Ok(Some((bytes, body))),
            Piece::NeedMore => {}
        }
        let is_short = matches!(piece, Piece::NeedMore);
        rest.drain(..used);
        if is_short && pipe.read_buf(&mut rest).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
