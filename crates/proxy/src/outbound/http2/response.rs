//! An upstream's answer from HTTP/2 to the bytes of HTTP/1.1.

use super::super::Unprocessed;
use super::super::grpc_web::Web;
use super::framed::trailer_lines;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Response, StatusCode, header};
use std::io::{self, Write};
use std::task::{Context, Poll};
use tidegate_http::{put_chunk, put_last_chunk, reason};

/// How the body goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Framing {
    Length,
    Chunked,
    Tunnel,
}

/// An interim answer (RFC 9110 section 15.2); an upgrade is none in HTTP/2.
pub(super) fn put_interim(response: &Response<()>, out: &mut Vec<u8>) {
    let status = response.status().as_u16();
    if status == 101 {
        return;
    }
    // Writing to a Vec cannot fail.
    let _ = write!(out, "HTTP/1.1 {status} {}\r\n", reason(status));
    for (name, value) in response.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// An answer under way.
pub(super) struct Answer {
    body: RecvStream,
    framing: Framing,
    is_done: bool,
    /// Bytes that were taken, and that the window is still closed by.
    held: usize,
}

impl Answer {
    /// Puts the head into `out`.
    pub(super) fn begin(
        response: Response<RecvStream>,
        (to_head, accept, web): (bool, Option<&str>, Option<&Web>),
        out: &mut Vec<u8>,
    ) -> Answer {
        let (parts, body) = response.into_parts();
        let status = parts.status.as_u16();
        let opened = accept.filter(|_| parts.status == StatusCode::OK);
        // Writing to a Vec cannot fail.
        if let Some(accept) = opened {
            let _ = write!(
                out,
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n"
            );
        } else {
            let _ = write!(out, "HTTP/1.1 {status} {}\r\n", reason(status));
        }
        for (name, value) in &parts.headers {
            let value = match web {
                Some(web) if *name == header::CONTENT_TYPE => web.content_type(value.as_bytes()),
                Some(_) if *name == header::CONTENT_LENGTH => continue,
                _ => std::borrow::Cow::Borrowed(value.as_bytes()),
            };
            for part in [name.as_str().as_bytes(), b": ", &value, b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
        let has_length = web.is_none() && parts.headers.contains_key(header::CONTENT_LENGTH);
        let bodiless = to_head || matches!(status, 204 | 304);
        let ends = body.is_end_stream();
        let framing = match opened {
            Some(_) => Framing::Tunnel,
            None if has_length || bodiless => Framing::Length,
            None if ends => {
                out.extend_from_slice(b"content-length: 0\r\n");
                Framing::Length
            }
            None => {
                out.extend_from_slice(b"transfer-encoding: chunked\r\n");
                Framing::Chunked
            }
        };
        out.extend_from_slice(b"\r\n");
        Answer { body, framing, is_done: ends && framing != Framing::Tunnel, held: 0 }
    }

    /// What was taken has been read: the window opens again.
    pub(super) fn release(&mut self) {
        let held = std::mem::take(&mut self.held);
        if held > 0 {
            // The stream may be over by now: then there is no window to open.
            let _ = self.body.flow_control().release_capacity(held);
        }
    }

    /// Puts more of it into `out`, until that is `enough`; nothing where it has ended.
    pub(super) fn poll(
        &mut self,
        (cx, web): (&mut Context<'_>, Option<&Web>),
        (out, enough): (&mut Vec<u8>, usize),
    ) -> Poll<io::Result<()>> {
        let before = out.len();
        while !self.is_done && out.len() < enough {
            let data = match self.body.poll_data(cx) {
                Poll::Pending if out.len() > before => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(data) => data,
            };
            match data {
                Some(Ok(data)) => {
                    self.held += data.len();
                    match (self.framing, web) {
                        (Framing::Chunked, _) if data.is_empty() => {}
                        (Framing::Chunked, Some(web)) => put_chunk(out, &web.response(&data)),
                        (Framing::Chunked, None) => put_chunk(out, &data),
                        (Framing::Length | Framing::Tunnel, _) => out.extend_from_slice(&data),
                    }
                }
                // What came before it goes first.
                Some(Err(_)) if out.len() > before => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(broken(&error))),
                None => {
                    let trailers = match self.body.poll_trailers(cx) {
                        Poll::Pending if out.len() > before => return Poll::Ready(Ok(())),
                        trailers => std::task::ready!(trailers).map_err(|error| broken(&error))?,
                    };
                    self.is_done = true;
                    if self.framing == Framing::Chunked {
                        self.end(trailers, web, out);
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn end(&self, trailers: Option<HeaderMap>, web: Option<&Web>, out: &mut Vec<u8>) {
        let lines = trailers.as_ref().map(trailer_lines);
        match (web, lines) {
            (None, lines) => put_last_chunk(out, &lines.unwrap_or_default()),
            (Some(web), lines) => {
                // Without trailers the call has no status: the client must not read an empty one.
                if let Some(lines) = lines {
                    put_chunk(out, &web.trailers(&lines));
                }
                put_last_chunk(out, b"");
            }
        }
    }
}

/// A stream that `h2` itself had to reset: the answer breaks a rule (RFC 9113 section 8.1.1). One that was
/// refused, or that a GOAWAY left out, was not processed (section 8.7). All else is an end that came too early;
/// of a connection that others broke, too.
pub(super) fn broken(error: &h2::Error) -> io::Error {
    let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    let kind = io::ErrorKind::ConnectionReset;
    if error.is_library() && error.is_reset() {
        io::Error::new(io::ErrorKind::InvalidData, error.to_string())
    } else if error.is_remote() && is_refused {
        io::Error::new(kind, Unprocessed::Refused)
    } else if error.is_remote() && error.is_go_away() {
        io::Error::new(kind, Unprocessed::LeftOut)
    } else {
        io::Error::new(kind, error.to_string())
    }
}
