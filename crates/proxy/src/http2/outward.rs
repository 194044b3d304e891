//! The driver's answer onto its stream: the head, data as far as the client's window
//! reaches, trailers. What finds it closed waits here.

use super::end::END_BYTES;
use super::framed::{Unsent, send_framed};
use super::grpc;
use super::head::answer_field;
use super::stream::Parent;
use std::io;
use std::mem::MaybeUninit;
use std::rc::Rc;
use tidegate_http::{Body, BodyReader, HEADERS_MAX, HeadEdits, ResponseHead, each_response_field, parse_response};
use tidegate_http2::{Connection, Reason, RemoteEnd, StreamKey};

/// How far the answer is.
enum State {
    Head,
    Body(BodyReader),
    Done,
    /// The stream must be reset.
    Broken(Reason),
}

/// Where an answer stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Everything that was there is out.
    Idle,
    /// The client's window is closed, or its socket.
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

const BROKEN: Pause = Pause::Broken(Reason::INTERNAL_ERROR);

impl From<Unsent> for Pause {
    fn from(unsent: Unsent) -> Self {
        match unsent {
            Unsent::NeedMore => Pause::NeedMore,
            Unsent::Blocked => Pause::Blocked,
            Unsent::Broken => BROKEN,
        }
    }
}

/// See the module.
pub(super) struct Outward {
    state: State,
    key: StreamKey,
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
    pub(super) fn new(key: StreamKey, parent: Rc<Parent>, shape: AnswerShape) -> Self {
        let (rest, is_blocked, is_ended) = (Vec::new(), false, false);
        Outward { state: State::Head, key, parent, shape, rest, is_blocked, is_ended, sent: 0 }
    }

    pub(super) const fn stage(&self) -> Stage {
        match &self.state {
            State::Body(_) if self.is_blocked => Stage::Blocked,
            State::Head | State::Body(_) => Stage::Idle,
            State::Done => Stage::Finished,
            State::Broken(_) => Stage::Broken,
        }
    }

    /// Whether more can be written.
    pub(super) const fn has_room(&self) -> bool {
        self.rest.len() < END_BYTES
    }

    /// Whether the client took its stream back before the answer's end.
    pub(super) fn is_reset(&self) -> bool {
        matches!(self.state, State::Head | State::Body(_))
            && self.parent.h2.borrow().remote(self.key) == RemoteEnd::Reset
    }

    /// Ends the stream with an error: its own, where it has one.
    pub(super) fn reset(&mut self, reason: Reason) {
        let reason = match std::mem::replace(&mut self.state, State::Done) {
            State::Head | State::Body(_) => reason,
            State::Broken(own) => own,
            State::Done => return,
        };
        self.parent.h2.borrow_mut().reset(self.key, reason);
    }

    /// There is no rest of what was begun; who has heard all that there was is told so (RFC 8441 section 5).
    pub(super) fn cut(&mut self) {
        if matches!(self.state, State::Body(_)) && self.rest.is_empty() {
            self.state = State::Broken(Reason::CANCEL);
        }
    }

    /// The call's time is over: says so in gRPC's words, wherever the answer stands.
    pub(super) fn deadline_exceeded(&mut self) {
        let mut h2 = self.parent.h2.borrow_mut();
        match &self.state {
            State::Head => put_grpc(&mut h2, self.key, grpc::DEADLINE_EXCEEDED, b"deadline exceeded"),
            State::Body(_) => {
                let status = grpc::DEADLINE_EXCEEDED.to_string();
                h2.trailers(self.key, [(&b"grpc-status"[..], status.as_bytes())].into_iter());
            }
            State::Done | State::Broken(_) => {}
        }
        self.state = State::Done;
    }

    /// Takes bytes of the answer: what has to wait is kept, as far as there is room.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_ended || matches!(self.state, State::Broken(_)) {
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
            State::Broken(_) => Err(io::ErrorKind::BrokenPipe.into()),
            // Nobody hears what follows the end.
            State::Done => {
                self.rest = Vec::new();
                Ok(bytes.len())
            }
            State::Head | State::Body(_) => Ok(used + fits),
        }
    }

    /// Begins an answer by its fields.
    pub(super) fn begin<E: HeadEdits>(&mut self, head: &ResponseHead<'_, '_>, how: (Body, &E)) -> io::Result<()> {
        let begun = self.send_head(head, (head.status, how));
        self.settle(begun);
        if matches!(self.state, State::Broken(_)) { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
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
                State::Head => self.head(&bytes[at..]),
                State::Body(_) => self.body(&bytes[at..]),
                State::Done | State::Broken(_) => return at,
            };
            match step {
                Ok(used) => at += used,
                // The driver left in the middle of its answer.
                Err(Pause::NeedMore) if self.is_ended => self.settle(Err(BROKEN)),
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
        if let (Err(Pause::Broken(reason)), State::Head | State::Body(_)) = (step, &self.state) {
            self.state = State::Broken(reason);
        }
    }

    /// Reads a head that came as bytes.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, Pause> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let plan = self.parent.worker.plan();
        let head = match parse_response(bytes, &plan.plan.bounds, self.shape.to_head, &mut headers) {
            Ok(Some(head)) => head,
            Ok(None) => return Err(Pause::NeedMore),
            Err(_) => return Err(BROKEN),
        };
        // RFC 8441 section 5: 200 takes the place of 101.
        let opened = self.shape.is_tunnel && head.status == 101;
        let (status, body) = if opened { (200, Body::UntilClose) } else { (head.status, head.body) };
        self.send_head(&head, (status, (body, &()))).map(|()| head.len)
    }

    fn send_head<E: HeadEdits>(
        &mut self,
        head: &ResponseHead<'_, '_>,
        (status, (mut body, edits)): (u16, (Body, &E)),
    ) -> Result<(), Pause> {
        let Outward { state, key, parent, shape, .. } = self;
        if !matches!(state, State::Head) {
            return Ok(());
        }
        let mut h2 = parent.h2.borrow_mut();
        if shape.is_grpc && status >= 300 {
            // gRPC's answers are 200; all else is somebody who does not speak it.
            put_grpc(&mut h2, *key, grpc::status_of(status), head.reason.as_bytes());
            *state = State::Done;
            return Ok(());
        }
        if status < 200 {
            body = Body::None;
        }
        let ends = body == Body::None || shape.to_head;
        let loses_length = shape.is_grpc && ends;
        let Some(mut writer) = h2.head(*key, status) else { return Err(BROKEN) };
        let mut is_told = true;
        each_response_field(head, (body, edits), &mut |name, value| {
            is_told &= answer_field(&mut writer, (name, value), loses_length);
        });
        if !is_told {
            return Err(BROKEN);
        }
        writer.finish(ends && status >= 200);
        if status >= 200 {
            // Chunk extensions are for upstreams; the driver writes none.
            *state = if ends { State::Done } else { State::Body(BodyReader::new(body, 0)) };
        }
        Ok(())
    }

    /// Sends a frame of data, or the end.
    fn body(&mut self, bytes: &[u8]) -> Result<usize, Pause> {
        let State::Body(reader) = &mut self.state else { return Ok(0) };
        let mut h2 = self.parent.h2.borrow_mut();
        if bytes.is_empty() && !reader.is_done() {
            if !self.is_ended || !matches!(reader, BodyReader::UntilClose) {
                return Err(Pause::NeedMore);
            }
            h2.end(self.key);
            self.state = State::Done;
            return Ok(0);
        }
        let sent = send_framed(&mut h2, self.key, (reader, bytes))?;
        self.sent += sent.data as u64;
        if sent.is_end {
            self.state = State::Done;
        }
        Ok(sent.used)
    }
}

/// An answer of gRPC that is a head alone ("Trailers-Only").
fn put_grpc(h2: &mut Connection, key: StreamKey, status: u8, message: &[u8]) {
    let Some(mut head) = h2.head(key, 200) else { return };
    head.field(b"content-type", b"application/grpc");
    head.field(b"grpc-status", status.to_string().as_bytes());
    head.field(b"grpc-message", &grpc::message(message));
    head.finish(true);
}
