//! One connection: what the other end sends (RFC 9113 sections 4 to 6).

use crate::client::{Asking, Cause};
use crate::frame::{FrameHead, HEADER, PAYLOAD_MAX, PREFACE, Reason, flag, kind, put_frame};
use crate::head::RequestHead;
use crate::hpack::{Decoder, Encoder};
use crate::message::Block;
use crate::meter::{Allowed, Flood, Meter};
use crate::streams::{Gone, RemoteEnd, StreamKey, Streams};

/// Largest window (section 6.9.1).
pub(crate) const WINDOW_MAX: i64 = (1 << 31) - 1;
/// A window as it is before anything is said (section 6.9.2).
const WINDOW: u32 = 65_535;
/// What the PING says that a GOAWAY is followed by.
pub(crate) const LEAVING: [u8; 8] = *b"leaving.";

/// What the other end is told of us, and what it may do.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// SETTINGS_MAX_CONCURRENT_STREAMS of a server.
    pub streams_max: u32,
    /// SETTINGS_MAX_HEADER_LIST_SIZE, in octets; larger requests are answered with 431.
    pub head_max: u32,
    /// Octets of a body that may be on their way: SETTINGS_INITIAL_WINDOW_SIZE.
    pub stream_window: u32,
    /// Octets of all bodies that may; at least 65,535.
    pub connection_window: u32,
    /// Octets of frames that may wait for the socket.
    pub out_max: usize,
    /// What is a flood.
    pub allowed: Allowed,
}

/// Who takes the requests.
pub trait TakeRequest {
    /// A request began. Its `text` may be taken, and another buffer put in its place; `ends`: it has no body.
    ///
    /// # Errors
    /// What the stream is reset with.
    fn take(&mut self, key: StreamKey, head: &mut RequestHead, ends: bool) -> Result<(), Reason>;
}

/// Why a connection takes nothing more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// A rule of the protocol was broken.
    Rule(Reason),
    /// The other end made too much work.
    Flood(Flood),
}

/// What a broken rule ends.
pub(crate) enum Broken {
    Connection(Failure),
    Stream(u32, Reason),
}

pub(crate) const fn rule<T>(reason: Reason) -> Result<T, Broken> {
    Err(Broken::Connection(Failure::Rule(reason)))
}

impl From<Flood> for Broken {
    fn from(flood: Flood) -> Self {
        Broken::Connection(Failure::Flood(flood))
    }
}

/// How far we are with leaving (section 6.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leaving {
    No,
    /// The client was told; streams that it opened before it knew are served.
    Told,
    /// Streams above that are not.
    Last(u32),
}

/// One connection, of a client or to a server. It reads octets and keeps those that are to be sent: no I/O.
pub struct Connection {
    pub(crate) config: Config,
    pub(crate) decoder: Decoder,
    pub(crate) encoder: Encoder,
    pub(crate) streams: Streams,
    pub(crate) meter: Meter,
    pub(crate) head: RequestHead,
    /// The beginning of a frame.
    pub(crate) held: Vec<u8>,
    /// Octets of the preface that came.
    pub(crate) preface: usize,
    pub(crate) has_settings: bool,
    pub(crate) block: Option<Block>,
    /// Of the end that opens streams.
    pub(crate) asking: Option<Asking>,
    /// The last stream that was opened.
    pub(crate) last: u32,
    pub(crate) leaving: Leaving,
    pub(crate) is_left: bool,
    pub(crate) failure: Option<Failure>,
    /// Frames for the socket, and how much of them it took.
    pub(crate) out: Vec<u8>,
    pub(crate) taken: usize,
    /// A field's name in lower case, while it is written.
    pub(crate) name: Vec<u8>,
    pub(crate) send_window: i64,
    /// The other end's SETTINGS_INITIAL_WINDOW_SIZE.
    pub(crate) initial_window: i64,
    pub(crate) receive_window: u32,
    pub(crate) released: u32,
}

impl Connection {
    /// A connection of a client, whose preface is still to come. What we are is said at once.
    pub fn new(config: Config) -> Self {
        Self::begin(config, None)
    }

    pub(crate) fn begin(config: Config, asking: Option<Asking>) -> Self {
        let mut connection = Connection {
            config,
            decoder: Decoder::new(),
            encoder: Encoder::new(),
            streams: Streams::default(),
            meter: Meter::new(config.allowed),
            head: RequestHead::default(),
            held: Vec::new(),
            preface: if asking.is_some() { PREFACE.len() } else { 0 },
            asking,
            has_settings: false,
            block: None,
            last: 0,
            leaving: Leaving::No,
            is_left: false,
            failure: None,
            out: Vec::new(),
            taken: 0,
            name: Vec::new(),
            send_window: i64::from(WINDOW),
            initial_window: i64::from(WINDOW),
            receive_window: config.connection_window.max(WINDOW),
            released: 0,
        };
        connection.introduce();
        connection
    }

    fn introduce(&mut self) {
        let config = self.config;
        let mut settings = Vec::with_capacity(24);
        // MAX_CONCURRENT_STREAMS and ENABLE_CONNECT_PROTOCOL (RFC 8441) of a server, ENABLE_PUSH of a client.
        let (server, client) = ([(0x3_u16, config.streams_max), (0x8, 1)], [(0x2, 0)]);
        let own = if self.asking.is_some() { &client[..] } else { &server[..] };
        if self.asking.is_some() {
            self.out.extend_from_slice(PREFACE);
        }
        // INITIAL_WINDOW_SIZE, MAX_HEADER_LIST_SIZE.
        for (id, value) in own.iter().chain(&[(0x4, config.stream_window), (0x6, config.head_max)]) {
            settings.extend_from_slice(&id.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        put_frame(&mut self.out, (kind::SETTINGS, 0), 0, &settings);
        if let Some(more) = self.receive_window.checked_sub(WINDOW).filter(|more| *more > 0) {
            put_frame(&mut self.out, (kind::WINDOW_UPDATE, 0), 0, &more.to_be_bytes());
        }
    }

    /// Whether the other end's settings came: it speaks HTTP/2.
    pub const fn has_settings(&self) -> bool {
        self.has_settings
    }

    /// Why nothing more is taken; what is to be said of that stands in [`Connection::out`].
    pub const fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// Whether no stream is open.
    pub fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }

    /// Whether nothing more can come of it: one side leaves, and no stream is left.
    pub fn is_over(&self) -> bool {
        self.failure.is_some() || self.is_idle() && (self.is_left || matches!(self.leaving, Leaving::Last(_)))
    }

    /// Lets go of what is only of use while requests come.
    pub fn rest(&mut self) {
        self.decoder.rest();
        self.head.rest();
        self.name = Vec::new();
        if self.out.is_empty() {
            self.out = Vec::new();
        }
    }

    /// Takes what a client sent, at that time; requests are handed over. After a [`Failure`] nothing is read.
    pub fn receive(&mut self, bytes: &[u8], now_ms: u64, requests: &mut impl TakeRequest) {
        self.meter.tick(now_ms);
        if self.failure.is_none()
            && let Err(failure) = self.read(bytes, requests)
        {
            self.fail(failure);
        }
    }

    /// Ends the connection with a last word.
    pub fn fail(&mut self, failure: Failure) {
        let reason = match failure {
            Failure::Rule(reason) => reason,
            Failure::Flood(_) => Reason::ENHANCE_YOUR_CALM,
        };
        self.failure = Some(failure);
        // The last stream of the other end's.
        let last = if self.asking.is_some() { 0 } else { self.last };
        self.put_goaway(last, reason);
    }

    /// Asks the client to go elsewhere: what it opened before it knew is served.
    pub fn leave(&mut self) {
        if self.leaving != Leaving::No || self.failure.is_some() {
            return;
        }
        self.leaving = Leaving::Told;
        self.put_goaway(WINDOW_MAX as u32, Reason::NO_ERROR);
        put_frame(&mut self.out, (kind::PING, 0), 0, &LEAVING);
    }

    pub(crate) fn put_goaway(&mut self, last: u32, reason: Reason) {
        let [a, b, c, d] = last.to_be_bytes();
        let [e, f, g, h] = reason.0.to_be_bytes();
        put_frame(&mut self.out, (kind::GOAWAY, 0), 0, &[a, b, c, d, e, f, g, h]);
    }

    fn read(&mut self, mut bytes: &[u8], requests: &mut impl TakeRequest) -> Result<(), Failure> {
        while self.preface < PREFACE.len() {
            let Some((first, rest)) = bytes.split_first() else { return Ok(()) };
            if *first != PREFACE[self.preface] {
                return Err(Failure::Rule(Reason::PROTOCOL_ERROR));
            }
            self.preface += 1;
            bytes = rest;
        }
        while !self.held.is_empty() {
            let need = FrameHead::parse(&self.held).map_or(HEADER, FrameHead::whole);
            let (more, rest) = bytes.split_at(bytes.len().min(need - self.held.len()));
            self.held.extend_from_slice(more);
            bytes = rest;
            if self.held.len() < need {
                return Ok(());
            }
            match FrameHead::parse(&self.held) {
                Some(head) if head.whole() == self.held.len() => {
                    let held = std::mem::take(&mut self.held);
                    self.frame(head, &held[HEADER..], requests)?;
                }
                Some(head) => self.announced(head)?,
                None => {}
            }
        }
        while let Some(head) = FrameHead::parse(bytes) {
            let Some((frame, rest)) = bytes.split_at_checked(head.whole()) else {
                self.announced(head)?;
                break;
            };
            self.frame(head, &frame[HEADER..], requests)?;
            bytes = rest;
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    /// Whether that may come at all, before anything of it is kept.
    fn announced(&self, head: FrameHead) -> Result<(), Failure> {
        let is_first = !self.has_settings && (head.kind != kind::SETTINGS || head.has(flag::ACK));
        let is_amid = match &self.block {
            Some(block) => head.kind != kind::CONTINUATION || head.stream != block.stream,
            None => head.kind == kind::CONTINUATION,
        };
        if is_first || is_amid {
            return Err(Failure::Rule(Reason::PROTOCOL_ERROR));
        }
        if head.length > PAYLOAD_MAX {
            return Err(Failure::Rule(Reason::FRAME_SIZE_ERROR));
        }
        Ok(())
    }

    fn frame(&mut self, head: FrameHead, payload: &[u8], requests: &mut impl TakeRequest) -> Result<(), Failure> {
        self.announced(head)?;
        let done = match head.kind {
            kind::DATA => self.on_data(head, payload),
            kind::HEADERS => self.on_headers(head, payload, requests),
            kind::PRIORITY => self.on_priority(head, payload),
            kind::RST_STREAM => self.on_rst_stream(head, payload),
            kind::SETTINGS => self.on_settings(head, payload),
            kind::PUSH_PROMISE => rule(Reason::PROTOCOL_ERROR),
            kind::PING => self.on_ping(head, payload),
            kind::GOAWAY => self.on_goaway(head, payload),
            kind::WINDOW_UPDATE => self.on_window_update(head, payload),
            kind::CONTINUATION => self.on_continuation(head, payload, requests),
            // Section 5.5: unknown ones are ignored.
            _ => self.control(),
        };
        match done {
            Ok(()) => Ok(()),
            Err(Broken::Connection(failure)) => Err(failure),
            Err(Broken::Stream(id, reason)) => self.broken(id, reason),
        }
    }

    /// Resets a stream that broke a rule.
    fn broken(&mut self, id: u32, reason: Reason) -> Result<(), Failure> {
        if let Some(key) = self.streams.find(id)
            && let Some(stream) = self.streams.get_mut(key)
        {
            (stream.remote, stream.asked.cause) = (RemoteEnd::Reset, Cause::Broken);
            stream.wake();
        }
        self.put_reset(id, reason);
        // What makes us reset a stream costs what a reset of the client's own does.
        self.meter.forced_reset().map_or(Ok(()), |flood| Err(Failure::Flood(flood)))
    }

    pub(crate) fn put_reset(&mut self, id: u32, reason: Reason) {
        if self.failure.is_some() {
            return;
        }
        put_frame(&mut self.out, (kind::RST_STREAM, 0), id, &reason.0.to_be_bytes());
        self.streams.is_gone(id, Gone::TakenBack);
    }

    pub(crate) fn control(&mut self) -> Result<(), Broken> {
        self.meter.control().map_or(Ok(()), |flood| Err(flood.into()))
    }

    /// Octets of a stream's body have been read, or never will be.
    pub(crate) fn released_of(&mut self, key: StreamKey, count: u32) {
        self.release(count);
        let half = self.config.stream_window / 2;
        let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.remote == RemoteEnd::Open) else { return };
        stream.released += count;
        if stream.released >= half {
            let more = std::mem::take(&mut stream.released);
            stream.receive_window += more;
            put_frame(&mut self.out, (kind::WINDOW_UPDATE, 0), key.id, &more.to_be_bytes());
        }
    }

    /// The same for the connection's window: the other end hears of it when half of it is used up.
    pub(crate) fn release(&mut self, count: u32) {
        self.released += count;
        if self.released >= self.config.connection_window / 2 {
            let more = std::mem::take(&mut self.released);
            self.receive_window += more;
            put_frame(&mut self.out, (kind::WINDOW_UPDATE, 0), 0, &more.to_be_bytes());
        }
    }
}
