//! Frames about streams and the connection (RFC 9113 sections 6.3 to 6.9).

use crate::client::Cause;
use crate::connection::{Broken, Connection, LEAVING, Leaving, WINDOW_MAX, rule};
use crate::frame::{FrameHead, PAYLOAD_MAX, Reason, flag, kind, put_frame};
use crate::message::dependency;
use crate::streams::{Gone, RemoteEnd};

impl Connection {
    /// Section 6.3: nobody heeds it, but its form.
    pub(crate) fn on_priority(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Broken> {
        self.control()?;
        if head.stream == 0 {
            return rule(Reason::PROTOCOL_ERROR);
        }
        let Some(priority) = payload.first_chunk::<5>().filter(|_| payload.len() == 5) else {
            return self.stream_or_connection(head.stream, Reason::FRAME_SIZE_ERROR);
        };
        if dependency(priority) == head.stream {
            return self.stream_or_connection(head.stream, Reason::PROTOCOL_ERROR);
        }
        Ok(())
    }

    /// A stream that nobody opened cannot be reset (section 6.4).
    fn stream_or_connection(&self, id: u32, reason: Reason) -> Result<(), Broken> {
        if self.is_unopened(id) { rule(reason) } else { Err(Broken::Stream(id, reason)) }
    }

    /// Section 6.4.
    pub(crate) fn on_rst_stream(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Broken> {
        if let Some(flood) = self.meter.reset() {
            return Err(flood.into());
        }
        let &[a, b, c, d] = payload else { return rule(Reason::FRAME_SIZE_ERROR) };
        if head.stream == 0 || self.is_unopened(head.stream) {
            return rule(Reason::PROTOCOL_ERROR);
        }
        if let Some(key) = self.streams.find(head.stream)
            && let Some(stream) = self.streams.get_mut(key)
        {
            match (&self.asking, stream.remote) {
                // Section 8.1: an answer that is whole counts; the rest of the request is of no use.
                (Some(_), RemoteEnd::Ended) => stream.is_answered = true,
                _ => stream.remote = RemoteEnd::Reset,
            }
            stream.asked.cause = Cause::Reset(Reason(u32::from_be_bytes([a, b, c, d])));
            stream.wake();
            self.streams.is_gone(head.stream, Gone::Reset);
        }
        Ok(())
    }

    /// Section 6.5.
    pub(crate) fn on_settings(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Broken> {
        self.control()?;
        if head.stream != 0 {
            return rule(Reason::PROTOCOL_ERROR);
        }
        if head.has(flag::ACK) {
            return if payload.is_empty() { Ok(()) } else { rule(Reason::FRAME_SIZE_ERROR) };
        }
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return rule(Reason::FRAME_SIZE_ERROR);
        }
        for &[id_high, id_low, a, b, c, d] in settings {
            self.setting(u16::from_be_bytes([id_high, id_low]), u32::from_be_bytes([a, b, c, d]))?;
        }
        self.has_settings = true;
        put_frame(&mut self.out, (kind::SETTINGS, flag::ACK), 0, &[]);
        Ok(())
    }

    fn setting(&mut self, id: u16, value: u32) -> Result<(), Broken> {
        match (id, value) {
            (0x1, size) => self.encoder.allow(size as usize),
            // Section 6.5.2: a server pushes, and does not ask for it.
            (0x2, 1) if self.asking.is_some() => return rule(Reason::PROTOCOL_ERROR),
            (0x2 | 0x8, 2..) => return rule(Reason::PROTOCOL_ERROR),
            (0x3, most) => self.asking.iter_mut().for_each(|asking| asking.streams_allowed = most),
            (0x8, 1) => self.asking.iter_mut().for_each(|asking| asking.takes_tunnels = true),
            (0x4, size) => return self.initial_window(i64::from(size)),
            // Longer frames than those that everybody takes are not sent.
            (0x5, size) if !(PAYLOAD_MAX as u32..1 << 24).contains(&size) => {
                return rule(Reason::PROTOCOL_ERROR);
            }
            _ => {}
        }
        Ok(())
    }

    /// Section 6.9.2: it changes those that are open, too.
    fn initial_window(&mut self, size: i64) -> Result<(), Broken> {
        if size > WINDOW_MAX {
            return rule(Reason::FLOW_CONTROL_ERROR);
        }
        let more = size - std::mem::replace(&mut self.initial_window, size);
        for stream in self.streams.each() {
            stream.send_window += more;
            if stream.send_window > WINDOW_MAX {
                return rule(Reason::FLOW_CONTROL_ERROR);
            }
            if stream.send_window > 0 && std::mem::take(&mut stream.wants_window) {
                stream.wake();
            }
        }
        Ok(())
    }

    /// Section 6.7.
    pub(crate) fn on_ping(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Broken> {
        self.control()?;
        if head.stream != 0 {
            return rule(Reason::PROTOCOL_ERROR);
        }
        if payload.len() != 8 {
            return rule(Reason::FRAME_SIZE_ERROR);
        }
        if !head.has(flag::ACK) {
            put_frame(&mut self.out, (kind::PING, flag::ACK), 0, payload);
        } else if payload == LEAVING && self.leaving == Leaving::Told {
            // Whatever it opened before it knew is here by now.
            self.leaving = Leaving::Last(self.last);
            self.put_goaway(self.last, Reason::NO_ERROR);
        }
        Ok(())
    }

    /// Section 6.8: it opens no more streams, and takes none.
    pub(crate) fn on_goaway(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Broken> {
        self.control()?;
        if head.stream != 0 {
            return rule(Reason::PROTOCOL_ERROR);
        }
        let Some((last, _)) = payload.split_first_chunk::<4>().filter(|(_, rest)| rest.len() >= 4) else {
            return rule(Reason::FRAME_SIZE_ERROR);
        };
        self.is_left = true;
        if self.asking.is_some() {
            self.left_out(u32::from_be_bytes(*last) & WINDOW_MAX as u32);
        }
        Ok(())
    }

    /// Section 6.9.
    pub(crate) fn on_window_update(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Broken> {
        self.control()?;
        let Some(bytes) = payload.first_chunk::<4>().filter(|_| payload.len() == 4) else {
            return rule(Reason::FRAME_SIZE_ERROR);
        };
        let more = i64::from(u32::from_be_bytes(*bytes) & WINDOW_MAX as u32);
        if head.stream == 0 {
            self.send_window += more;
            return match (more, self.send_window) {
                (0, _) => rule(Reason::PROTOCOL_ERROR),
                (_, ..=WINDOW_MAX) => Ok(()),
                _ => rule(Reason::FLOW_CONTROL_ERROR),
            };
        }
        if self.is_unopened(head.stream) {
            return rule(Reason::PROTOCOL_ERROR);
        }
        let Some(key) = self.streams.find(head.stream) else { return Ok(()) };
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        if more == 0 {
            return Err(Broken::Stream(head.stream, Reason::PROTOCOL_ERROR));
        }
        stream.send_window += more;
        if stream.send_window > WINDOW_MAX {
            return Err(Broken::Stream(head.stream, Reason::FLOW_CONTROL_ERROR));
        }
        if stream.send_window > 0 && std::mem::take(&mut stream.wants_window) {
            stream.wake();
        }
        Ok(())
    }
}
