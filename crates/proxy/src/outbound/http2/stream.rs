//! One request on a shared HTTP/2 connection, as an exchange reads and writes it: the
//! bytes of HTTP/1.1 in both directions.

use super::super::UNSAYABLE;
use super::super::grpc_web::Web;
use super::framed::{Turn, poll_window, send_framed};
use super::request::translate;
use super::response::{Answer, broken, put_interim};
use crate::http2::is_grpc;
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::header::{self, HeaderValue};
use http::uri::Authority;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tidegate_http::{Body, BodyReader, HEADERS_MAX, Piece, parse_request, put_chunk, put_last_chunk};
use tidegate_message::Limits;
use tokio::io::ReadBuf;

/// Bytes of the request that wait for the upstream's window.
const PENDING_BYTES: usize = 64 << 10;

/// Bytes of the answer that are taken for one read.
const READ_BYTES: usize = 32 << 10;

/// Bytes of a head, which our own policies may have made longer than a client's.
const HEAD_BYTES: usize = 1 << 20;

/// See the module.
pub(crate) struct H2Stream {
    connection: SendRequest<Bytes>,
    active: Rc<Cell<usize>>,
    scheme: &'static str,
    /// Of requests that come without one.
    authority: Authority,
    /// Bytes of the request that are not sent yet: its head, then its body.
    pending: Vec<u8>,
    request: Outgoing,
    response: Option<ResponseFuture>,
    answer: Option<Answer>,
    /// Bytes of the answer that are not read yet.
    incoming: Vec<u8>,
    read: usize,
    accept: Option<String>,
    to_head: bool,
    web: Option<Web>,
    /// The answer is one of gRPC, and not of somebody in between.
    is_call: bool,
    /// How a body is read that gRPC-Web wrote.
    web_body: Option<BodyReader>,
}

enum Outgoing {
    Head,
    Body(SendStream<Bytes>, BodyReader),
    Sent,
}

impl Drop for H2Stream {
    fn drop(&mut self) {
        self.active.set(self.active.get() - 1);
    }
}

fn fault(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// A fault of the client's.
fn unsayable(text: &str) -> io::Error {
    io::Error::new(UNSAYABLE, text)
}

impl H2Stream {
    pub(in crate::outbound) fn new(
        connection: SendRequest<Bytes>,
        (active, scheme, authority): (Rc<Cell<usize>>, &'static str, Authority),
    ) -> Self {
        active.set(active.get() + 1);
        H2Stream {
            connection,
            active,
            scheme,
            authority,
            pending: Vec::new(),
            request: Outgoing::Head,
            response: None,
            answer: None,
            incoming: Vec::new(),
            read: 0,
            accept: None,
            to_head: false,
            web: None,
            is_call: false,
            web_body: None,
        }
    }

    pub(in crate::outbound) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.push(cx)?;
        if matches!(self.request, Outgoing::Sent) {
            // An answer may come before the request is whole: the rest interests nobody.
            return Poll::Ready(Ok(bytes.len()));
        }
        let taken = PENDING_BYTES.saturating_sub(self.pending.len()).min(bytes.len());
        if taken == 0 && !bytes.is_empty() {
            return Poll::Pending;
        }
        match &mut self.web_body {
            None => self.pending.extend_from_slice(&bytes[..taken]),
            Some(_) => self.translate_body(&bytes[..taken])?,
        }
        self.push(cx)?;
        Poll::Ready(Ok(taken))
    }

    pub(in crate::outbound) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        read: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.push(cx)?;
        if self.read == self.incoming.len() {
            self.incoming.clear();
            self.incoming.shrink_to(2 * READ_BYTES);
            self.read = 0;
            if let Some(answer) = &mut self.answer {
                answer.release();
            }
            ready!(self.poll_answer(cx))?;
        }
        let bytes = &self.incoming[self.read..];
        let fits = bytes.len().min(read.remaining());
        read.put_slice(&bytes[..fits]);
        self.read += fits;
        Poll::Ready(Ok(()))
    }

    /// Takes what is there while nobody reads it: `h2` keeps each frame by itself, however
    /// little it brings. Bounded by the stream's window, which opens only with a read.
    pub(in crate::outbound) fn absorb(&mut self, cx: &mut Context<'_>) {
        if let Some(answer) = &mut self.answer {
            // An error is met again by who reads.
            let web = self.web.as_ref().filter(|_| self.is_call);
            let _ = answer.poll((cx, web), (&mut self.incoming, usize::MAX));
        }
    }

    /// The client sends no more.
    pub(in crate::outbound) fn end(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.push(cx)?;
        if let Outgoing::Body(send, BodyReader::UntilClose) = &mut self.request {
            let _ = send.send_data(Bytes::new(), true);
            self.request = Outgoing::Sent;
        }
        Ok(())
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(response) = &mut self.response {
            if let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
                put_interim(&interim, &mut self.incoming);
                return Poll::Ready(Ok(()));
            }
            let response = ready!(Pin::new(response).poll(cx)).map_err(|error| broken(&error))?;
            self.response = None;
            self.is_call = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| is_grpc(kind.as_bytes()));
            let web = self.web.as_ref().filter(|_| self.is_call);
            let context = (self.to_head, self.accept.as_deref(), web);
            self.answer = Some(Answer::begin(response, context, &mut self.incoming));
            return Poll::Ready(Ok(()));
        }
        match &mut self.answer {
            Some(answer) => {
                let web = self.web.as_ref().filter(|_| self.is_call);
                answer.poll((cx, web), (&mut self.incoming, READ_BYTES))
            }
            // The request is not out yet; sending it wakes the task.
            None => Poll::Pending,
        }
    }

    /// Sends what waits, as far as the window reaches.
    fn push(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            if matches!(self.request, Outgoing::Head) && !self.begin()? {
                return Ok(());
            }
            match &mut self.request {
                Outgoing::Sent | Outgoing::Head => return Ok(()),
                Outgoing::Body(send, reader) => {
                    let (used, _, turn) = send_framed((send, reader), &self.pending, Bytes::copy_from_slice);
                    self.pending.drain(..used);
                    let turn = match turn {
                        Turn::Blocked => match poll_window(send, cx) {
                            Poll::Pending => return Ok(()),
                            Poll::Ready(true) => Turn::Sent,
                            Poll::Ready(false) => Turn::Broken(Reason::CANCEL),
                        },
                        turn => turn,
                    };
                    match turn {
                        Turn::Sent => {}
                        Turn::NeedMore | Turn::Blocked => return Ok(()),
                        // An early answer with NO_ERROR is one: it is read, the rest is not sent.
                        Turn::Done | Turn::Broken(Reason::CANCEL | Reason::NO_ERROR) => {
                            self.request = Outgoing::Sent;
                            self.pending = Vec::new();
                        }
                        Turn::Broken(_) => return Err(fault("the request's body is framed wrongly")),
                    }
                }
            }
        }
    }

    /// Sends the head, once all of it is there.
    fn begin(&mut self) -> io::Result<bool> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        // It is our own writing: its bounds were held when it came.
        let (header_line, header_total) = (HEAD_BYTES, HEAD_BYTES);
        let limits = Limits { header_line, header_total, header_count: HEADERS_MAX, ..Limits::default() };
        let head = match parse_request(&self.pending, &limits, &mut headers) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(false),
            Err(error) => return Err(fault(&error.to_string())),
        };
        self.web = head.header("content-type").and_then(Web::of);
        let mut translated = translate(&head, (self.scheme, &self.authority), self.web.is_some())
            .ok_or_else(|| unsayable("HTTP/2 cannot say this request"))?;
        if translated.accept.is_some() && !self.connection.is_extended_connect_protocol_enabled() {
            return Err(fault("the upstream takes no WebSocket over HTTP/2"));
        }
        self.to_head = head.method == "HEAD";
        if let Some(web) = &self.web {
            let fields = translated.request.headers_mut();
            let kind = HeaderValue::from_bytes(&web.request_type()).map_err(|_| unsayable("no content type"))?;
            fields.insert(header::CONTENT_TYPE, kind);
            fields.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        let body = if translated.accept.is_some() { Body::UntilClose } else { head.body };
        let len = head.len;
        let ends = body == Body::None;
        let sent = self.connection.send_request(translated.request, ends).map_err(|error| broken(&error))?;
        self.accept = translated.accept;
        let (response, send) = sent;
        self.response = Some(response);
        let rest = self.pending.split_off(len);
        self.pending.clear();
        if ends {
            self.request = Outgoing::Sent;
        } else if self.web.is_some() {
            self.web_body = Some(BodyReader::new(body, 0));
            self.request = Outgoing::Body(send, BodyReader::new(Body::Chunked, 0));
            self.translate_body(&rest)?;
        } else {
            self.request = Outgoing::Body(send, BodyReader::new(body, 0));
            self.pending = rest;
        }
        Ok(true)
    }

    /// Takes bytes of a gRPC-Web body; what is gRPC of them waits, in chunks.
    fn translate_body(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let (Some(web), Some(reader)) = (&mut self.web, &mut self.web_body) else { return Ok(()) };
        loop {
            let (piece, used) = reader.next(bytes).map_err(|error| fault(&error.to_string()))?;
            bytes = &bytes[used..];
            match piece {
                Piece::NeedMore => return Ok(()),
                Piece::Data(data) => {
                    let data = web.request(data).ok_or_else(|| unsayable("the body is no base64"))?;
                    if !data.is_empty() {
                        put_chunk(&mut self.pending, &data);
                    }
                }
                Piece::End(_) if !web.is_whole() => return Err(unsayable("the body ends within a base64 group")),
                Piece::End(_) => {
                    put_last_chunk(&mut self.pending, b"");
                    self.web_body = None;
                    return Ok(());
                }
            }
        }
    }
}
