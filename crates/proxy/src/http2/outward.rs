//! The driver's answer onto its stream: the head, data as far as the client's window
//! reaches, trailers. What finds it closed waits here.

use super::end::END_BYTES;
use super::framed::{Turn, send_framed};
use super::stream::Parent;
use super::{grpc, head};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use std::io;
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::task::Context;
use tidegate_http::{Body, BodyReader, HEADERS_MAX, HeadEdits, ResponseHead, parse_response};

/// Longest payload of a DATA frame, unless the client asks for longer ones (RFC 9113 section 4.2).
const FRAME_BYTES: usize = 16 << 10;

/// How far the answer is.
enum State {
    Head(SendResponse<Bytes>),
    Body(SendStream<Bytes>, BodyReader),
    Done,
    /// The stream must be reset.
    Broken(SendHalf, Reason),
}

/// What a reset is sent by.
enum SendHalf {
    Head(SendResponse<Bytes>),
    Body(SendStream<Bytes>),
}

/// Where an answer stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Everything that was there is out.
    Idle,
    /// The client's window is closed.
    Blocked,
    Finished,
    /// The stream must be reset.
    Broken,
}

/// What one step came to.
enum Pause {
    /// More must be written first.
    NeedMore,
    Blocked,
    Broken(Reason),
}

/// See the module.
pub(super) struct Outward {
    state: State,
    parent: Rc<Parent>,
    shape: AnswerShape,
    /// What is not sent yet: part of a head, or a body that found the window closed.
    rest: Vec<u8>,
    /// It is the window that it waits for.
    is_blocked: bool,
    /// The driver writes no more.
    is_ended: bool,
    /// Bytes of data that have been handed over.
    pub(super) sent: u64,
}

/// What an answer depends on in its request.
#[derive(Clone, Copy)]
pub(super) struct AnswerShape {
    pub(super) is_tunnel: bool,
    pub(super) to_head: bool,
    pub(super) is_grpc: bool,
}

impl Outward {
    pub(super) fn new(respond: SendResponse<Bytes>, parent: Rc<Parent>, shape: AnswerShape) -> Self {
        let (rest, is_blocked, is_ended) = (Vec::new(), false, false);
        Outward { state: State::Head(respond), parent, shape, rest, is_blocked, is_ended, sent: 0 }
    }

    pub(super) fn stage(&self) -> Stage {
        match &self.state {
            State::Body(..) if self.is_blocked => Stage::Blocked,
            State::Head(_) | State::Body(..) => Stage::Idle,
            State::Done => Stage::Finished,
            State::Broken(..) => Stage::Broken,
        }
    }

    /// Whether more can be written.
    pub(super) const fn has_room(&self) -> bool {
        self.rest.len() < END_BYTES
    }

    /// Whether the client took its stream back.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> bool {
        let reset = match &mut self.state {
            State::Head(respond) => respond.poll_reset(cx),
            State::Body(send, _) => send.poll_reset(cx),
            State::Done | State::Broken(..) => return false,
        };
        reset.is_ready()
    }

    /// Ends the stream with an error: its own, where it has one.
    pub(super) fn reset(&mut self, reason: Reason) {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Head(mut respond) => respond.send_reset(reason),
            State::Body(mut send, _) => send.send_reset(reason),
            State::Broken(SendHalf::Head(mut respond), own) => respond.send_reset(own),
            State::Broken(SendHalf::Body(mut send), own) => send.send_reset(own),
            State::Done => {}
        }
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
            State::Done | State::Broken(..) => {}
        }
        self.count(1);
        self.state = State::Done;
    }

    /// Takes bytes of the answer: what has to wait is kept, as far as there is room.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_ended || matches!(self.state, State::Broken(..)) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if !self.has_room() && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let waits = !self.rest.is_empty();
        let used = if waits { 0 } else { self.advance(bytes) };
        let fits = (END_BYTES - self.rest.len()).min(bytes.len() - used);
        self.rest.extend_from_slice(&bytes[used..used + fits]);
        if waits {
            self.pump();
        }
        match self.state {
            State::Broken(..) => Err(io::ErrorKind::BrokenPipe.into()),
            // Nobody hears what follows the end.
            State::Done => {
                self.rest = Vec::new();
                Ok(bytes.len())
            }
            State::Head(_) | State::Body(..) => Ok(used + fits),
        }
    }

    /// Begins an answer by its fields.
    pub(super) fn begin<E: HeadEdits>(
        &mut self,
        head: &ResponseHead<'_, '_>,
        (body, edits): (Body, &E),
    ) -> io::Result<()> {
        let begun = match head::answer(head, (body, edits), &self.parent.worker.buffers) {
            Some(response) => self.send_head(response, (body, head.reason)),
            None => Err(Pause::Broken(Reason::INTERNAL_ERROR)),
        };
        self.settle(begun);
        if matches!(self.state, State::Broken(..)) { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    /// Nothing more is written.
    pub(super) fn end(&mut self) {
        self.is_ended = true;
        self.pump();
    }

    /// Sends what waits, as far as it goes by now.
    pub(super) fn pump(&mut self) {
        if self.rest.is_empty() && !self.is_ended {
            return;
        }
        let rest = std::mem::take(&mut self.rest);
        let used = self.advance(&rest);
        if used < rest.len() && !matches!(self.state, State::Done) {
            self.rest = rest;
            self.rest.drain(..used);
        }
    }

    /// Sends of `bytes` what can be sent now; how many were used.
    fn advance(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        self.is_blocked = false;
        loop {
            let step = match &mut self.state {
                State::Head(_) => self.head(&bytes[at..]),
                State::Body(..) => self.body(&bytes[at..]),
                State::Done | State::Broken(..) => return at,
            };
            match step {
                Ok(used) => at += used,
                // The driver left in the middle of its answer.
                Err(Pause::NeedMore) if self.is_ended => self.settle(Err(Pause::Broken(Reason::INTERNAL_ERROR))),
                Err(Pause::NeedMore) => return at,
                Err(Pause::Blocked) => {
                    self.is_blocked = true;
                    return at;
                }
                Err(broken) => self.settle(Err(broken)),
            }
        }
    }

    /// Remembers that the stream is broken.
    fn settle(&mut self, step: Result<(), Pause>) {
        let Err(Pause::Broken(reason)) = step else { return };
        self.state = match std::mem::replace(&mut self.state, State::Done) {
            State::Head(respond) => State::Broken(SendHalf::Head(respond), reason),
            State::Body(send, _) => State::Broken(SendHalf::Body(send), reason),
            over => over,
        };
    }

    /// Reads a head that came as bytes.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, Pause> {
        let broken = Pause::Broken(Reason::INTERNAL_ERROR);
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let plan = self.parent.worker.plan();
        let head = match parse_response(bytes, &plan.plan.bounds, self.shape.to_head, &mut headers) {
            Ok(Some(head)) => head,
            Ok(None) => return Err(Pause::NeedMore),
            Err(_) => return Err(broken),
        };
        let opened = self.shape.is_tunnel && head.status == 101;
        let body = if opened { Body::UntilClose } else { head.body };
        let buffers = &self.parent.worker.buffers;
        let Some(mut response) = head::answer(&head, (head.body, &()), buffers) else { return Err(broken) };
        if opened {
            // RFC 8441 section 5: 200 takes the place of 101.
            *response.status_mut() = StatusCode::OK;
        }
        self.send_head(response, (body, head.reason)).map(|()| head.len)
    }

    fn send_head(&mut self, mut response: Response<()>, (mut body, reason): (Body, &str)) -> Result<(), Pause> {
        let State::Head(respond) = &mut self.state else { return Ok(()) };
        let status = response.status().as_u16();
        if self.shape.is_grpc && status >= 300 {
            // gRPC's answers are 200; all else is somebody who does not speak it.
            (response, body) = (grpc_response(grpc::status_of(status), reason.as_bytes()), Body::None);
        }
        if status < 200 {
            let _ = respond.send_informational(response);
            return Ok(());
        }
        let ends = body == Body::None || self.shape.to_head;
        if self.shape.is_grpc && ends {
            response.headers_mut().remove(header::CONTENT_LENGTH);
        }
        match respond.send_response(response, ends) {
            Ok(_) if ends => self.state = State::Done,
            // Chunk extensions are for upstreams; the driver writes none.
            Ok(send) => self.state = State::Body(send, BodyReader::new(body, 0)),
            Err(_) => return Err(Pause::Broken(Reason::INTERNAL_ERROR)),
        }
        self.count(1);
        Ok(())
    }

    fn body(&mut self, bytes: &[u8]) -> Result<usize, Pause> {
        let State::Body(send, reader) = &mut self.state else { return Ok(0) };
        let (used, count, turn) = send_framed((send, reader), bytes, |data| self.parent.worker.buffers.small(data));
        let turn = match turn {
            Turn::NeedMore if self.is_ended && matches!(reader, BodyReader::UntilClose) => {
                match send.send_data(Bytes::new(), true) {
                    Ok(()) => Turn::Done,
                    Err(_) => Turn::Broken(Reason::INTERNAL_ERROR),
                }
            }
            turn => turn,
        };
        self.sent += count as u64;
        self.count(count.div_ceil(FRAME_BYTES) as u32);
        match turn {
            Turn::Sent => Ok(used),
            Turn::NeedMore if used > 0 => Ok(used),
            Turn::NeedMore => Err(Pause::NeedMore),
            Turn::Blocked => Err(Pause::Blocked),
            Turn::Done => {
                self.state = State::Done;
                Ok(used)
            }
            Turn::Broken(reason) => Err(Pause::Broken(reason)),
        }
    }

    /// Frames that the client was sent, about: long data leaves in several.
    fn count(&self, frames: u32) {
        let verdict = &self.parent.verdict;
        verdict.answered.set(true);
        verdict.sent.set(verdict.sent.get().saturating_add(frames));
    }
}

/// An answer of gRPC that is a head alone ("Trailers-Only").
fn grpc_response(status: u8, message: &[u8]) -> Response<()> {
    let mut response = Response::new(());
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    fields.insert("grpc-status", HeaderValue::from(u16::from(status)));
    if let Ok(text) = HeaderValue::from_bytes(&grpc::message(message)) {
        fields.insert("grpc-message", text);
    }
    response
}
