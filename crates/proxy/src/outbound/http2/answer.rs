//! An upstream's answer from HTTP/2 to the bytes of HTTP/1.1.

use super::super::Unprocessed;
use super::super::grpc_web::Web;
use std::io::{self, Write};
use tidegate_http::{put_chunk, put_last_chunk, reason};
use tidegate_http2::{Answer, Cause, Connection, Reason, RemoteEnd, StreamKey};

/// Bytes of data that become one chunk.
const CHUNK_BYTES: usize = 16 << 10;

/// How the body goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Framing {
    Length,
    Chunked,
    Tunnel,
}

/// An interim answer (RFC 9110 section 15.2).
pub(super) fn put_interim(answer: &Answer, out: &mut Vec<u8>) {
    put_status(answer.status, out);
    out.extend_from_slice(&answer.lines);
    out.extend_from_slice(b"\r\n");
}

fn put_status(status: u16, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "HTTP/1.1 {status} {}\r\n", reason(status));
}

/// The lines of an answer that gRPC-Web is told: its type is another, and its length is not known.
fn put_web_lines(web: &Web, lines: &[u8], out: &mut Vec<u8>) {
    for line in lines.split_inclusive(|octet| *octet == b'\n') {
        if let Some(value) = line.strip_prefix(b"content-type: ") {
            out.extend_from_slice(b"content-type: ");
            out.extend_from_slice(&web.content_type(value.trim_ascii_end()));
            out.extend_from_slice(b"\r\n");
        } else if !line.starts_with(b"content-length: ") {
            out.extend_from_slice(line);
        }
    }
}

/// An answer under way.
pub(super) struct Answering {
    framing: Framing,
    is_done: bool,
}

/// What there was to take.
pub(super) enum Took {
    Some,
    /// Nothing yet.
    Nothing,
    /// The answer is over.
    End,
}

impl Answering {
    /// Puts the head into `out`.
    pub(super) fn begin(
        answer: &Answer,
        (to_head, accept, web): (bool, Option<&str>, Option<&Web>),
        out: &mut Vec<u8>,
    ) -> Answering {
        let opened = accept.filter(|_| answer.status == 200);
        if let Some(accept) = opened {
            // Writing to a Vec cannot fail.
            let _ = write!(
                out,
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n"
            );
        } else {
            put_status(answer.status, out);
        }
        match web {
            Some(web) => put_web_lines(web, &answer.lines, out),
            None => out.extend_from_slice(&answer.lines),
        }
        let has_length = web.is_none() && answer.content_length.is_some();
        let bodiless = to_head || matches!(answer.status, 204 | 304);
        let framing = match opened {
            Some(_) => Framing::Tunnel,
            None if has_length || bodiless => Framing::Length,
            None if answer.ends => {
                out.extend_from_slice(b"content-length: 0\r\n");
                Framing::Length
            }
            None => {
                out.extend_from_slice(b"transfer-encoding: chunked\r\n");
                Framing::Chunked
            }
        };
        out.extend_from_slice(b"\r\n");
        Answering { framing, is_done: answer.ends && framing != Framing::Tunnel }
    }

    /// Whether data passes as it came.
    pub(super) fn is_plain(&self) -> bool {
        self.framing != Framing::Chunked
    }

    /// Puts what came next into `out`: data, or the end.
    ///
    /// # Errors
    /// The stream ended before its answer did.
    pub(super) fn take(
        &mut self,
        (h2, key): (&mut Connection, StreamKey),
        web: Option<&Web>,
        out: &mut Vec<u8>,
    ) -> io::Result<Took> {
        if self.is_done {
            return Ok(Took::End);
        }
        let body = h2.body(key);
        if !body.is_empty() {
            let data = &body[..body.len().min(CHUNK_BYTES)];
            let count = data.len();
            match (self.framing, web) {
                (Framing::Chunked, Some(web)) => put_chunk(out, &web.response(data)),
                (Framing::Chunked, None) => put_chunk(out, data),
                (Framing::Length | Framing::Tunnel, _) => out.extend_from_slice(data),
            }
            h2.consume(key, count);
            return Ok(Took::Some);
        }
        match h2.remote(key) {
            RemoteEnd::Open => Ok(Took::Nothing),
            RemoteEnd::Reset => Err(broken(h2.cause(key))),
            RemoteEnd::Ended => {
                self.is_done = true;
                if self.framing == Framing::Chunked {
                    end(web, &h2.take_trailers(key), out);
                }
                Ok(Took::Some)
            }
        }
    }
}

fn end(web: Option<&Web>, lines: &[u8], out: &mut Vec<u8>) {
    match web {
        None => put_last_chunk(out, lines),
        Some(web) => {
            // Without trailers the call has no status: the client must not read an empty one.
            if !lines.is_empty() {
                put_chunk(out, &web.trailers(lines));
            }
            put_last_chunk(out, b"");
        }
    }
}

/// An answer that breaks a rule is malformed (RFC 9113 section 8.1.1). A stream that was refused, or that a GOAWAY
/// left out, was not processed (section 8.7). All else is an end that came too early; of a connection that others
/// broke, too.
pub(super) fn broken(cause: Cause) -> io::Error {
    let kind = io::ErrorKind::ConnectionReset;
    match cause {
        Cause::Broken => io::Error::new(io::ErrorKind::InvalidData, "the answer breaks a rule of HTTP/2"),
        Cause::Reset(Reason::REFUSED_STREAM) => io::Error::new(kind, Unprocessed::Refused),
        Cause::LeftOut => io::Error::new(kind, Unprocessed::LeftOut),
        Cause::Reset(_) | Cause::Lost => kind.into(),
    }
}
