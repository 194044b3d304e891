//! What the user of a stream does with it: reads the body, sends (RFC 9113 sections 5.2 and 8.1).

use crate::connection::Connection;
use crate::frame::{HEADER, PAYLOAD_MAX, Reason, flag, head_bytes, kind, put_frame};
use crate::head::{is_name, is_value};
use crate::streams::{Gone, RemoteEnd, StreamKey};
use std::task::Waker;

/// Of so many times what data may take.
const CLOGGED: usize = 4;

/// What came.
impl Connection {
    /// How far the other end is. A stream that is gone was reset.
    pub fn remote(&self, key: StreamKey) -> RemoteEnd {
        self.streams.get(key).map_or(RemoteEnd::Reset, |stream| stream.remote)
    }

    /// What came of the body and was not consumed.
    pub fn body(&self, key: StreamKey) -> &[u8] {
        self.streams.get(key).map_or(&[], |stream| &stream.unread[stream.read..])
    }

    /// So much of the body was read: the other end may send as much again.
    pub fn consume(&mut self, key: StreamKey, count: usize) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let count = count.min(stream.unread.len() - stream.read);
        stream.read += count;
        if stream.read == stream.unread.len() {
            (stream.unread, stream.read) = (Vec::new(), 0);
        }
        self.released_of(key, count as u32);
    }

    /// The lines of the trailers; of use when the body is read and [`RemoteEnd::Ended`].
    pub fn take_trailers(&mut self, key: StreamKey) -> Vec<u8> {
        self.streams.get_mut(key).map(|stream| std::mem::take(&mut stream.trailers)).unwrap_or_default()
    }

    /// Who is woken when something happens to the stream.
    pub fn register(&mut self, key: StreamKey, waker: &Waker) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        match &mut stream.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }
}

/// What is said.
impl Connection {
    /// Begins a head: fields follow. `None`: the stream is gone, or has its answer.
    pub fn head(&mut self, key: StreamKey, status: u16) -> Option<HeadWriter<'_>> {
        let head = self.begin_head(key)?;
        let Connection { encoder, out, .. } = &mut *head.connection;
        encoder.status(status, out);
        Some(head)
    }

    /// Ends an answer by its trailers. Fields that HTTP/2 cannot carry are left out.
    pub fn trailers<'l>(&mut self, key: StreamKey, lines: impl Iterator<Item = (&'l [u8], &'l [u8])>) {
        let Some(mut head) = self.begin_head(key) else { return };
        lines.for_each(|(name, value)| _ = head.field(name, value));
        head.finish(true);
    }

    fn begin_head(&mut self, key: StreamKey) -> Option<HeadWriter<'_>> {
        self.streams.get(key).filter(|stream| stream.can_be_sent())?;
        let from = self.out.len();
        self.out.extend_from_slice(&[0; HEADER]);
        self.encoder.begin(&mut self.out);
        Some(HeadWriter { connection: self, key, from, opens: false })
    }

    /// How much data can be sent at once now; 0: the stream is woken when its turn comes.
    fn capacity(&mut self, key: StreamKey) -> usize {
        let (room, has_line, window) = (self.room(), self.streams.has_line(), self.send_window);
        let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.can_be_sent()) else { return 0 };
        if stream.send_window <= 0 {
            stream.wants_window = true;
            return 0;
        }
        let is_next = std::mem::take(&mut stream.has_turn) || !has_line;
        let most = stream.send_window.min(window).max(0) as usize;
        let capacity = if is_next { most.min(room).min(PAYLOAD_MAX) } else { 0 };
        if capacity == 0 {
            self.streams.stand_in_line(key);
        }
        capacity
    }

    /// Whether data waits for the stream's own window, and not for others.
    pub fn waits_for_window(&self, key: StreamKey) -> bool {
        self.streams.get(key).is_some_and(|stream| stream.wants_window)
    }

    /// Begins data. `None`: it waits, for room or for a window, and is woken when it goes on.
    pub fn data(&mut self, key: StreamKey) -> Option<DataWriter<'_>> {
        let room = self.capacity(key);
        if room == 0 {
            return None;
        }
        let from = self.out.len();
        self.out.extend_from_slice(&[0; HEADER]);
        Some(DataWriter { connection: self, key, from, room })
    }

    /// Ends the stream behind its data.
    pub fn end(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.can_be_sent()) else { return };
        stream.is_answered = true;
        put_frame(&mut self.out, (kind::DATA, flag::END_STREAM), key.id, &[]);
        self.meter.sent(1);
    }

    /// Ends the stream with an error.
    pub fn reset(&mut self, key: StreamKey, reason: Reason) {
        let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.remote != RemoteEnd::Reset) else { return };
        stream.remote = RemoteEnd::Reset;
        self.put_reset(key.id, reason);
    }

    /// Nobody uses the stream any more. What is not at its end is taken back.
    pub fn close(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.remove(key) else { return };
        self.release((stream.unread.len() - stream.read) as u32);
        match (stream.remote, stream.is_answered) {
            (RemoteEnd::Reset, _) => {}
            (RemoteEnd::Ended, true) => self.streams.is_gone(key.id, Gone::Ended),
            // Section 8.1: the rest of the request is of no use.
            (RemoteEnd::Open, true) if self.asking.is_none() => self.put_reset(key.id, Reason::NO_ERROR),
            (RemoteEnd::Open, true) | (_, false) => self.put_reset(key.id, Reason::CANCEL),
        }
    }

    /// An answer that is a status alone, for a stream that nobody takes.
    pub(crate) fn put_lone_head(&mut self, id: u32, status: u16) {
        let mut block = Vec::new();
        self.encoder.begin(&mut block);
        self.encoder.status(status, &mut block);
        put_frame(&mut self.out, (kind::HEADERS, flag::END_STREAM | flag::END_HEADERS), id, &block);
        self.meter.sent(1);
    }
}

/// What leaves.
impl Connection {
    /// Frames for the socket. What of it was not taken comes again with the same beginning.
    pub fn out(&self) -> &[u8] {
        &self.out[self.taken..]
    }

    /// The socket took so much.
    pub fn took(&mut self, count: usize) {
        self.taken += count;
        if self.taken >= self.out.len() {
            self.out.clear();
            self.taken = 0;
        } else if self.taken > self.config.out_max / 2 {
            self.out.drain(..std::mem::take(&mut self.taken));
        }
    }

    /// Whether more may be taken from the client: it reads what that leads to.
    pub fn has_room(&self) -> bool {
        self.room() > 0
    }

    /// Whether the other end takes nothing of what its own frames led to. Data leaves room for that.
    pub fn is_clogged(&self) -> bool {
        self.out.len() - self.taken > CLOGGED * self.config.out_max
    }

    /// Wakes those that waited for room or the connection's window, in their order. Whether there were any.
    pub fn give_turns(&mut self) -> bool {
        let room = self.room();
        if !self.streams.has_line() || self.send_window <= 0 || room < self.config.out_max / 2 {
            return false;
        }
        self.streams.give_turns((room / PAYLOAD_MAX).max(1))
    }

    fn room(&self) -> usize {
        self.config.out_max.saturating_sub(self.out.len() - self.taken)
    }
}

/// A head that is being written. It is given up unless it is finished.
pub struct HeadWriter<'c> {
    connection: &'c mut Connection,
    key: StreamKey,
    from: usize,
    /// The stream is not there without it.
    opens: bool,
}

impl<'c> HeadWriter<'c> {
    pub(crate) const fn opening(connection: &'c mut Connection, key: StreamKey, from: usize) -> Self {
        HeadWriter { connection, key, from, opens: true }
    }

    /// The stream.
    pub const fn key(&self) -> StreamKey {
        self.key
    }

    /// Adds a field; its name may have capitals. `false`: HTTP/2 cannot carry it, and it is left out.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> bool {
        let Connection { encoder, out, name: lower, .. } = &mut *self.connection;
        let name = if name.iter().any(u8::is_ascii_uppercase) {
            lower.clear();
            lower.extend(name.iter().map(u8::to_ascii_lowercase));
            lower
        } else {
            name
        };
        let is_fine = is_name(name) && is_value(value);
        if is_fine {
            encoder.field(name, value, out);
        }
        is_fine
    }

    /// Sends it; `ends`: the stream ends with it.
    pub fn finish(self, ends: bool) {
        let (key, from) = (self.key, self.from);
        let connection = &mut *self.connection;
        if let Some(stream) = connection.streams.get_mut(key) {
            stream.is_answered = ends;
        }
        let ends = if ends { flag::END_STREAM } else { 0 };
        let length = connection.out.len() - from - HEADER;
        if length <= PAYLOAD_MAX {
            let head = head_bytes(length, (kind::HEADERS, ends | flag::END_HEADERS), key.id);
            connection.out[from..from + HEADER].copy_from_slice(&head);
        } else {
            let block = connection.out.split_off(from + HEADER);
            connection.out.truncate(from);
            put_long_head(&mut connection.out, (key.id, ends), &block);
        }
        connection.meter.sent(1);
        std::mem::forget(self);
    }
}

impl Drop for HeadWriter<'_> {
    fn drop(&mut self) {
        self.connection.out.truncate(self.from);
        self.connection.encoder.give_up();
        if self.opens {
            // Its number was not used yet.
            self.connection.streams.remove(self.key);
            self.connection.last = self.key.id.saturating_sub(2);
        }
    }
}

/// A DATA frame that is being written.
pub struct DataWriter<'c> {
    connection: &'c mut Connection,
    key: StreamKey,
    from: usize,
    room: usize,
}

impl DataWriter<'_> {
    /// How much more fits.
    pub const fn room(&self) -> usize {
        self.room
    }

    /// Adds what fits; how much that was.
    pub fn put(&mut self, data: &[u8]) -> usize {
        let fits = data.len().min(self.room);
        self.connection.out.extend_from_slice(&data[..fits]);
        self.room -= fits;
        fits
    }

    /// Sends what there is; `ends`: the stream ends with it. How much it was.
    pub fn finish(self, ends: bool) -> usize {
        let (key, from) = (self.key, self.from);
        let connection = &mut *self.connection;
        let count = connection.out.len() - from - HEADER;
        if count == 0 && !ends {
            return 0;
        }
        let flags = if ends { flag::END_STREAM } else { 0 };
        connection.out[from..from + HEADER].copy_from_slice(&head_bytes(count, (kind::DATA, flags), key.id));
        if let Some(stream) = connection.streams.get_mut(key) {
            stream.send_window -= count as i64;
            stream.is_answered = ends;
        }
        connection.send_window -= count as i64;
        connection.meter.sent(1);
        std::mem::forget(self);
        count
    }
}

impl Drop for DataWriter<'_> {
    fn drop(&mut self) {
        self.connection.out.truncate(self.from);
    }
}

/// A head in several frames (section 6.10).
fn put_long_head(out: &mut Vec<u8>, (id, ends): (u32, u8), block: &[u8]) {
    let mut what = (kind::HEADERS, ends);
    let mut rest = block;
    loop {
        let (part, behind) = rest.split_at(rest.len().min(PAYLOAD_MAX));
        let is_last = if behind.is_empty() { flag::END_HEADERS } else { 0 };
        put_frame(out, (what.0, what.1 | is_last), id, part);
        if behind.is_empty() {
            return;
        }
        (what, rest) = ((kind::CONTINUATION, 0), behind);
    }
}
