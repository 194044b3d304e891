//! One request on a shared HTTP/2 connection, as an exchange reads and writes it: the
//! bytes of HTTP/1.1 in both directions.

use super::super::grpc_web::Web;
use super::super::{UNSAYABLE, Unprocessed};
use super::answer::{Answering, Took, broken, put_interim};
use super::link::Link;
use super::request::{self, Asked};
use crate::http2::{Unsent, is_grpc, send_framed};
use std::io;
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tidegate_http::{Body, BodyReader, HEADERS_MAX, Piece, parse_request, put_chunk, put_last_chunk};
use tidegate_http2::{AskError, Connection, RemoteEnd, StreamKey};
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
    link: Rc<Link>,
    /// `None`: the request is not out yet.
    key: Option<StreamKey>,
    /// Bytes of the request that are not sent yet: its head, then its body.
    pending: Vec<u8>,
    request: Outgoing,
    answer: Option<Answering>,
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
    Body(BodyReader),
    Sent,
}

impl Drop for H2Stream {
    fn drop(&mut self) {
        self.link.active.set(self.link.active.get() - 1);
        if let Some(key) = self.key {
            self.link.with(|h2| h2.close(key));
        }
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
    pub(super) fn new(link: Rc<Link>) -> Self {
        link.active.set(link.active.get() + 1);
        H2Stream {
            link,
            key: None,
            pending: Vec::new(),
            request: Outgoing::Head,
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

    pub(in crate::outbound) fn poll_write(&mut self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
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

    pub(in crate::outbound) fn poll_read(&mut self, cx: &Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.push(cx)?;
        if self.read == self.incoming.len() {
            self.incoming.clear();
            self.incoming.shrink_to(2 * READ_BYTES);
            self.read = 0;
            if self.pass(read) {
                return Poll::Ready(Ok(()));
            }
            ready!(self.fill(cx))?;
        }
        let bytes = &self.incoming[self.read..];
        let fits = bytes.len().min(read.remaining());
        read.put_slice(&bytes[..fits]);
        self.read += fits;
        Poll::Ready(Ok(()))
    }

    /// The client sends no more.
    pub(in crate::outbound) fn end(&mut self, cx: &Context<'_>) -> io::Result<()> {
        self.push(cx)?;
        if let (Some(key), Outgoing::Body(BodyReader::UntilClose)) = (self.key, &self.request) {
            self.link.with(|h2| h2.end(key));
            self.request = Outgoing::Sent;
        }
        Ok(())
    }

    /// Data that stays as it is goes straight to who reads. Whether there was any.
    fn pass(&self, read: &mut ReadBuf<'_>) -> bool {
        let (Some(key), Some(answer)) = (self.key, &self.answer) else { return false };
        answer.is_plain()
            && self.link.with(|h2| {
                let body = h2.body(key);
                let fits = body.len().min(read.remaining());
                read.put_slice(&body[..fits]);
                h2.consume(key, fits);
                fits > 0
            })
    }

    /// Takes what came; nothing where the answer has ended.
    fn fill(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        // The request is not out yet; sending it wakes the task.
        let Some(key) = self.key else { return Poll::Pending };
        let link = Rc::clone(&self.link);
        link.with(|h2| {
            loop {
                let took = self.take(h2, key);
                let has_some = !self.incoming.is_empty();
                match took {
                    Ok(Took::Some) if self.incoming.len() < READ_BYTES => {}
                    Ok(Took::Nothing) if !has_some => {
                        h2.register(key, cx.waker());
                        return Poll::Pending;
                    }
                    // What came before it goes first.
                    Err(error) if !has_some => return Poll::Ready(Err(error)),
                    _ => return Poll::Ready(Ok(())),
                }
            }
        })
    }

    fn take(&mut self, h2: &mut Connection, key: StreamKey) -> io::Result<Took> {
        let web = self.web.as_ref().filter(|_| self.is_call);
        if let Some(answer) = &mut self.answer {
            return answer.take((h2, key), web, &mut self.incoming);
        }
        let Some(head) = h2.take_answer(key) else {
            let is_over = h2.remote(key) == RemoteEnd::Reset;
            return if is_over { Err(broken(h2.cause(key))) } else { Ok(Took::Nothing) };
        };
        if head.is_interim() {
            put_interim(&head, &mut self.incoming);
            return Ok(Took::Some);
        }
        self.is_call = is_grpc(head.content_type());
        let web = self.web.as_ref().filter(|_| self.is_call);
        let context = (self.to_head, self.accept.as_deref(), web);
        self.answer = Some(Answering::begin(&head, context, &mut self.incoming));
        Ok(Took::Some)
    }

    /// Sends what waits, as far as the window reaches.
    fn push(&mut self, cx: &Context<'_>) -> io::Result<()> {
        if matches!(self.request, Outgoing::Head) && !self.begin()? {
            return Ok(());
        }
        let (Some(key), Outgoing::Body(reader)) = (self.key, &mut self.request) else { return Ok(()) };
        let pending = &self.pending;
        let sent = self.link.with(|h2| {
            let mut used = 0;
            loop {
                if !h2.can_be_sent(key) {
                    // It was answered early, or reset: the answer says so.
                    return Ok((used, true));
                }
                match send_framed(h2, key, (reader, &pending[used..])) {
                    Ok(sent) => {
                        used += sent.used;
                        if sent.is_end {
                            return Ok((used, true));
                        }
                    }
                    Err(Unsent::NeedMore) => return Ok((used, false)),
                    Err(Unsent::Blocked) => {
                        h2.register(key, cx.waker());
                        return Ok((used, false));
                    }
                    Err(Unsent::Broken) => return Err(fault("the request's body is framed wrongly")),
                }
            }
        });
        let (used, is_end) = sent?;
        if is_end {
            self.request = Outgoing::Sent;
            self.pending = Vec::new();
        } else {
            self.pending.drain(..used);
        }
        Ok(())
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
        let is_tunnel = request::is_tunnel(&head);
        if is_tunnel && !self.link.h2.borrow().takes_tunnels() {
            return Err(fault("the upstream takes no WebSocket over HTTP/2"));
        }
        self.to_head = head.method == "HEAD";
        let body = if is_tunnel { Body::UntilClose } else { head.body };
        let ends = body == Body::None;
        let asked = self.link.with(|h2| request::ask((&self.link, h2), (&head, self.web.as_ref()), ends));
        let Asked { key, accept } = asked.map_err(|error| match error {
            AskError::Left => io::Error::new(io::ErrorKind::ConnectionReset, Unprocessed::LeftOut),
            AskError::Unsayable => unsayable("HTTP/2 cannot say this request"),
        })?;
        (self.key, self.accept) = (Some(key), accept);
        let len = head.len;
        if ends {
            self.request = Outgoing::Sent;
            self.pending = Vec::new();
            return Ok(true);
        }
        let rest = self.pending.split_off(len);
        self.pending.clear();
        if self.web.is_some() {
            self.web_body = Some(BodyReader::new(body, 0));
            self.request = Outgoing::Body(BodyReader::new(Body::Chunked, 0));
            self.translate_body(&rest)?;
        } else {
            self.request = Outgoing::Body(BodyReader::new(body, 0));
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
