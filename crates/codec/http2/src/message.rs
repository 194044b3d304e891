//! Messages as they come: heads, bodies, trailers (RFC 9113 sections 6.1, 6.2, 6.10 and 8.1).

use crate::connection::{Broken, Connection, Leaving, TakeRequest, rule};
use crate::frame::{FrameHead, Reason, flag, unpadded};
use crate::head::Refusal;
use crate::hpack::TakeField;
use crate::meter::Flood;
use crate::streams::{Gone, RemoteEnd, StreamKey, opened};

/// CONTINUATION frames of one head.
const CONTINUATIONS: usize = 20;

/// A head whose end has not come.
pub(crate) struct Block {
    pub(crate) stream: u32,
    ends: bool,
    depends_on_itself: bool,
    frames: usize,
    bytes: Vec<u8>,
}

impl Connection {
    /// Section 6.1.
    pub(crate) fn on_data(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Broken> {
        if head.stream == 0 || self.is_unopened(head.stream) {
            return rule(Reason::PROTOCOL_ERROR);
        }
        let Some(data) = unpadded(head, payload) else { return rule(Reason::PROTOCOL_ERROR) };
        let (count, ends) = (payload.len() as u32, head.has(flag::END_STREAM));
        let Some(window) = self.receive_window.checked_sub(count) else {
            return rule(Reason::FLOW_CONTROL_ERROR);
        };
        self.receive_window = window;
        if data.is_empty() && !ends {
            self.control()?;
        }
        let key = self.streams.find(head.stream);
        let Some(stream) = key.and_then(|key| self.streams.get_mut(key)) else {
            self.release(count);
            return self.on_closed(head.stream, false);
        };
        if stream.remote != RemoteEnd::Open {
            self.release(count);
            return self.on_closed(head.stream, false);
        }
        let is_early = self.asking.is_some() && !stream.asked.is_answered;
        let fault = match (stream.receive_window.checked_sub(count), stream.expected) {
            (None, _) => Some(Reason::FLOW_CONTROL_ERROR),
            // Section 8.1: a head comes first.
            _ if is_early => Some(Reason::PROTOCOL_ERROR),
            // Section 8.1.1.
            (_, Some(left)) if data.len() as u64 > left || ends && data.len() as u64 != left => {
                Some(Reason::PROTOCOL_ERROR)
            }
            _ => None,
        };
        if let Some(reason) = fault {
            self.release(count);
            return Err(Broken::Stream(head.stream, reason));
        }
        stream.receive_window -= count;
        stream.expected = stream.expected.map(|left| left - data.len() as u64);
        stream.unread.extend_from_slice(data);
        if ends {
            stream.remote = RemoteEnd::Ended;
        }
        stream.wake();
        let padding = count - data.len() as u32;
        if let Some(key) = key.filter(|_| padding > 0) {
            self.released_of(key, padding);
        }
        Ok(())
    }

    /// A frame came for a stream that is over (section 5.1).
    pub(crate) fn on_closed(&self, id: u32, is_head: bool) -> Result<(), Broken> {
        match self.streams.end_of(id) {
            _ if matches!(self.leaving, Leaving::Last(last) if id > last) => Ok(()),
            // The other end did not know yet.
            Gone::TakenBack => Ok(()),
            Gone::Ended if is_head => rule(Reason::STREAM_CLOSED),
            // Section 5.1.1: numbers rise.
            Gone::Skipped if is_head => rule(Reason::PROTOCOL_ERROR),
            _ => Err(Broken::Stream(id, Reason::STREAM_CLOSED)),
        }
    }

    /// Whether nobody opened it yet: an even number would be a server's, and none opens any.
    pub(crate) const fn is_unopened(&self, id: u32) -> bool {
        id > self.last || id.is_multiple_of(2)
    }

    /// Section 6.2.
    pub(crate) fn on_headers(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        requests: &mut impl TakeRequest,
    ) -> Result<(), Broken> {
        if head.stream.is_multiple_of(2) {
            return rule(Reason::PROTOCOL_ERROR);
        }
        let Some(mut fragment) = unpadded(head, payload) else { return rule(Reason::PROTOCOL_ERROR) };
        let mut depends_on_itself = false;
        if head.has(flag::PRIORITY) {
            let Some((priority, rest)) = fragment.split_first_chunk::<5>() else {
                return rule(Reason::FRAME_SIZE_ERROR);
            };
            depends_on_itself = dependency(priority) == head.stream;
            fragment = rest;
        }
        let (stream, ends) = (head.stream, head.has(flag::END_STREAM));
        if head.has(flag::END_HEADERS) {
            return self.fields((stream, ends, depends_on_itself), fragment, requests);
        }
        self.block = Some(Block { stream, ends, depends_on_itself, frames: 0, bytes: fragment.to_vec() });
        Ok(())
    }

    /// Section 6.10.
    pub(crate) fn on_continuation(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        requests: &mut impl TakeRequest,
    ) -> Result<(), Broken> {
        let Some(mut block) = self.block.take() else { return rule(Reason::PROTOCOL_ERROR) };
        block.frames += 1;
        if block.frames > CONTINUATIONS {
            return Err(Flood::Continuations.into());
        }
        block.bytes.extend_from_slice(payload);
        if head.has(flag::END_HEADERS) {
            return self.fields((block.stream, block.ends, block.depends_on_itself), &block.bytes, requests);
        }
        self.block = Some(block);
        Ok(())
    }

    /// A whole head came, or trailers.
    fn fields(
        &mut self,
        (id, ends, depends_on_itself): (u32, bool, bool),
        block: &[u8],
        requests: &mut impl TakeRequest,
    ) -> Result<(), Broken> {
        if self.asking.is_some() {
            let ends_itself = ends && !depends_on_itself;
            return self.answer((id, ends_itself), block);
        }
        let is_new = id > self.last && !matches!(self.leaving, Leaving::Last(_));
        let key = self.streams.find(id);
        if is_new {
            self.last = id;
            self.head.begin(self.config.head_max as usize);
            self.decode(block)?;
            return self.request((id, ends, depends_on_itself), requests);
        }
        let remote = key.and_then(|key| self.streams.get(key)).map(|stream| stream.remote);
        let (Some(key), Some(RemoteEnd::Open)) = (key, remote) else {
            // The table is the connection's, whatever becomes of the stream.
            self.decoder.decode(block, &mut Nobody).map_or(rule(Reason::COMPRESSION_ERROR), Ok)?;
            return match remote {
                Some(RemoteEnd::Ended) => Err(Broken::Stream(id, Reason::STREAM_CLOSED)),
                _ => self.on_closed(id, true),
            };
        };
        self.head.begin_trailers(self.config.head_max as usize);
        self.decode(block)?;
        self.on_trailers(key, ends && !depends_on_itself)
    }

    fn decode(&mut self, block: &[u8]) -> Result<(), Broken> {
        match self.decoder.decode(block, &mut self.head) {
            Some(()) => Ok(()),
            None => rule(Reason::COMPRESSION_ERROR),
        }
    }

    fn request(
        &mut self,
        (id, ends, depends_on_itself): (u32, bool, bool),
        requests: &mut impl TakeRequest,
    ) -> Result<(), Broken> {
        let is_full = self.streams.len() >= self.config.streams_max as usize
            && self.streams.open() >= self.config.streams_max as usize;
        let finished = self.head.finish(ends);
        if finished == Err(Refusal::Malformed) || depends_on_itself {
            return Err(Broken::Stream(id, Reason::PROTOCOL_ERROR));
        }
        if is_full {
            self.put_reset(id, Reason::REFUSED_STREAM);
            return Ok(());
        }
        if finished == Err(Refusal::TooLarge) {
            return self.too_large(id, ends);
        }
        let windows = (self.initial_window, self.config.stream_window);
        let key = self.streams.insert(opened(id, windows, (ends, self.head.content_length())));
        if let Err(reason) = requests.take(key, &mut self.head, ends) {
            self.streams.remove(key);
            return Err(Broken::Stream(id, reason));
        }
        Ok(())
    }

    /// RFC 6585 section 5. It costs what a reset does.
    fn too_large(&mut self, id: u32, ends: bool) -> Result<(), Broken> {
        self.put_lone_head(id, 431);
        if !ends {
            return Err(Broken::Stream(id, Reason::NO_ERROR));
        }
        self.meter.forced_reset().map_or(Ok(()), |flood| Err(flood.into()))
    }

    /// Section 8.1: they are the end of the stream.
    pub(crate) fn on_trailers(&mut self, key: StreamKey, ends: bool) -> Result<(), Broken> {
        let is_fine = self.head.finish(ends).is_ok() && ends;
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        if !is_fine || stream.expected.is_some_and(|left| left > 0) {
            return Err(Broken::Stream(key.id, Reason::PROTOCOL_ERROR));
        }
        stream.trailers.clone_from(&self.head.text);
        stream.remote = RemoteEnd::Ended;
        stream.wake();
        Ok(())
    }
}

/// What a stream depends on (section 6.3).
pub(crate) const fn dependency(priority: &[u8; 5]) -> u32 {
    u32::from_be_bytes([priority[0] & 0x7f, priority[1], priority[2], priority[3]])
}

/// Fields that nobody wants.
pub(crate) struct Nobody;

impl TakeField for Nobody {
    fn take(&mut self, _: &[u8], _: &[u8]) {}
}
