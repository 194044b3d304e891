//! The driver's answer from the pipe onto its stream: the head, data as far as the
//! client's window reaches, trailers.

use super::framed::{Turn, send_framed};
use super::grpc;
use super::head;
use crate::ends::Pipe;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use std::mem::MaybeUninit;
use std::task::Context;
use tidegate_http::{Body, BodyReader, HEADERS_MAX, parse_response};
use tidegate_message::Limits;

/// Longest payload of a DATA frame, unless the client asks for longer ones (RFC 9113 section 4.2).
const FRAME_BYTES: usize = 16 << 10;

/// How far the answer is.
enum State {
    Head(SendResponse<Bytes>),
    Body(SendStream<Bytes>, BodyReader),
    Done,
}

/// What one look came to.
#[derive(PartialEq, Eq)]
pub(super) enum Pumped {
    /// Everything that was there is out.
    Idle,
    /// The client's window is closed.
    Blocked,
    Finished,
    /// The stream must be reset, or was.
    Broken(Reason),
}

/// See the module.
pub(super) struct Outward {
    state: State,
    pub(super) is_tunnel: bool,
    pub(super) to_head: bool,
    pub(super) is_grpc: bool,
    /// Bytes of data that have been handed over.
    pub(super) sent: u64,
    /// Frames that have been, about: long data leaves in several.
    pub(super) frames: u32,
}

impl Outward {
    pub(super) const fn new(respond: SendResponse<Bytes>, (is_tunnel, to_head, is_grpc): (bool, bool, bool)) -> Self {
        Outward { state: State::Head(respond), is_tunnel, to_head, is_grpc, sent: 0, frames: 0 }
    }

    /// Whether the answer has begun.
    pub(super) const fn has_begun(&self) -> bool {
        !matches!(self.state, State::Head(_))
    }

    /// Whether the client took its stream back.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> bool {
        let reset = match &mut self.state {
            State::Head(respond) => respond.poll_reset(cx),
            State::Body(send, _) => send.poll_reset(cx),
            State::Done => return false,
        };
        reset.is_ready()
    }

    /// Ends the stream with an error.
    pub(super) fn reset(&mut self, reason: Reason) {
        match &mut self.state {
            State::Head(respond) => respond.send_reset(reason),
            State::Body(send, _) => send.send_reset(reason),
            State::Done => {}
        }
        self.state = State::Done;
    }

    /// The call's time is over: says so in gRPC's words, wherever the answer stands.
    pub(super) fn deadline_exceeded(&mut self) {
        match &mut self.state {
            State::Head(respond) => {
                let response = grpc_response(grpc::DEADLINE_EXCEEDED, b"deadline exceeded");
                let _ = respond.send_response(response, true);
            }
            State::Body(send, _) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from(u16::from(grpc::DEADLINE_EXCEEDED)));
                let _ = send.send_trailers(trailers);
            }
            State::Done => {}
        }
        self.state = State::Done;
    }

    /// Moves what the driver wrote.
    pub(super) fn pump(&mut self, pipe: &Pipe, limits: &Limits, cx: &mut Context<'_>) -> Pumped {
        loop {
            let pumped = match &mut self.state {
                State::Head(_) => self.head(pipe, limits),
                State::Body(..) => self.body(pipe, cx),
                State::Done => return Pumped::Finished,
            };
            match pumped {
                Ok(()) => {}
                Err(Pumped::Idle) if pipe.is_ended() => return Pumped::Broken(Reason::INTERNAL_ERROR),
                Err(pumped) => return pumped,
            }
        }
    }

    fn head(&mut self, pipe: &Pipe, limits: &Limits) -> Result<(), Pumped> {
        let State::Head(respond) = &mut self.state else { return Ok(()) };
        let (is_tunnel, is_grpc) = (self.is_tunnel, self.is_grpc);
        let translated = pipe.take(|bytes| {
            let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
            match parse_response(bytes, limits, self.to_head, &mut headers) {
                Ok(None) => (0, Err(Pumped::Idle)),
                Err(_) => (0, Err(Pumped::Broken(Reason::INTERNAL_ERROR))),
                Ok(Some(head)) => {
                    let opened = is_tunnel && head.status == 101;
                    // RFC 8441 section 5: 200 takes the place of 101.
                    let status = if opened { 200 } else { head.status };
                    let Some(mut response) = head::respond(&head, status) else {
                        return (head.len, Err(Pumped::Broken(Reason::INTERNAL_ERROR)));
                    };
                    if is_grpc && status >= 300 {
                        // gRPC's answers are 200; all else is somebody who does not speak it.
                        response = grpc_response(grpc::status_of(status), head.reason.as_bytes());
                        return (head.len, Ok((response, Body::None, status)));
                    }
                    let body = if opened { Body::UntilClose } else { head.body };
                    (head.len, Ok((response, body, status)))
                }
            }
        });
        let (mut response, body, status) = translated?;
        if status < 200 {
            let _ = respond.send_informational(response);
            return Ok(());
        }
        if is_grpc && body == Body::None {
            response.headers_mut().remove(header::CONTENT_LENGTH);
        }
        let ends = body == Body::None;
        self.frames += 1;
        match respond.send_response(response, ends) {
            Ok(_) if ends => self.state = State::Done,
            // Chunk extensions are for upstreams; the driver writes none.
            Ok(send) => self.state = State::Body(send, BodyReader::new(body, 0)),
            Err(_) => return Err(Pumped::Broken(Reason::INTERNAL_ERROR)),
        }
        Ok(())
    }

    fn body(&mut self, pipe: &Pipe, cx: &mut Context<'_>) -> Result<(), Pumped> {
        let State::Body(send, reader) = &mut self.state else { return Ok(()) };
        let (count, turn) = pipe.take(|bytes| {
            let (used, count, turn) = send_framed((send, reader), bytes, cx);
            (used, (count, turn))
        });
        self.sent += count as u64;
        self.frames += count.div_ceil(FRAME_BYTES) as u32;
        match turn {
            Turn::Sent => Ok(()),
            Turn::NeedMore if pipe.is_ended() && matches!(reader, BodyReader::UntilClose) => {
                let ended = send.send_data(Bytes::new(), true);
                self.state = State::Done;
                ended.map_err(|_| Pumped::Broken(Reason::INTERNAL_ERROR))
            }
            Turn::NeedMore => Err(Pumped::Idle),
            Turn::Blocked => Err(Pumped::Blocked),
            Turn::Done => {
                self.state = State::Done;
                Ok(())
            }
            Turn::Broken(reason) => Err(Pumped::Broken(reason)),
        }
    }
}

/// An answer of gRPC that is a head alone ("Trailers-Only").
fn grpc_response(status: u8, message: &[u8]) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::OK;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    fields.insert("grpc-status", HeaderValue::from(u16::from(status)));
    if let Ok(text) = HeaderValue::from_bytes(&grpc::message(message)) {
        fields.insert("grpc-message", text);
    }
    response
}
