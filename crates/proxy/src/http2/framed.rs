//! A body framed as HTTP/1.1, onto a stream of HTTP/2, as far as its window reaches.

use super::head::trailer_fields;
use tidegate_http::{BodyReader, Piece};
use tidegate_http2::{Connection, StreamKey};

/// What one step came to.
pub(crate) struct Sent {
    /// Bytes that were used, and how many of them were data.
    pub(crate) used: usize,
    pub(crate) data: usize,
    /// The body is at its end, and so is the stream.
    pub(crate) is_end: bool,
}

/// Why nothing was sent.
pub(crate) enum Unsent {
    /// More must be written first.
    NeedMore,
    /// The window is closed, or there is no room: the stream is woken when it goes on.
    Blocked,
    /// The framing is wrong.
    Broken,
}

/// Sends a frame of data, or the end.
pub(crate) fn send_framed(
    h2: &mut Connection,
    key: StreamKey,
    (reader, bytes): (&mut BodyReader, &[u8]),
) -> Result<Sent, Unsent> {
    if bytes.is_empty() && !reader.is_done() {
        return Err(Unsent::NeedMore);
    }
    let Some(mut data) = h2.data(key) else {
        let Some((used, lines)) = lone_end(reader, bytes) else { return Err(Unsent::Blocked) };
        finish(h2, key, &lines);
        return Ok(Sent { used, data: 0, is_end: true });
    };
    let mut used = 0;
    let end = loop {
        let until = bytes.len().min(used + data.room());
        match reader.next(&bytes[used..until]) {
            Ok((Piece::Data(piece), count)) => {
                data.put(piece);
                used += count;
                if reader.is_done() && !matches!(reader, BodyReader::UntilClose) {
                    break Some(Vec::new());
                }
            }
            Ok((Piece::NeedMore, count)) => {
                used += count;
                if count == 0 || used == bytes.len() {
                    break None;
                }
            }
            Ok((Piece::End(trailers), count)) => {
                used += count;
                break Some(trailers);
            }
            Err(_) => return Err(Unsent::Broken),
        }
    };
    let ends_plainly = end.as_ref().is_some_and(Vec::is_empty);
    let count = data.finish(ends_plainly);
    let is_end = end.is_some();
    if let Some(lines) = end.filter(|_| !ends_plainly) {
        finish(h2, key, &lines);
    }
    if used == 0 && !is_end { Err(Unsent::NeedMore) } else { Ok(Sent { used, data: count, is_end }) }
}

/// The end of a body where no data stands in front of it: it needs no window (RFC 9113 section 6.9.1). With it:
/// how many bytes it was.
fn lone_end(reader: &BodyReader, bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let mut reader = reader.clone();
    let mut used = 0;
    loop {
        match reader.next(&bytes[used..]) {
            Ok((Piece::End(lines), count)) => return Some((used + count, lines)),
            Ok((Piece::NeedMore, count)) if count > 0 => used += count,
            _ => return None,
        }
    }
}

/// Ends a stream behind its data.
fn finish(h2: &mut Connection, key: StreamKey, lines: &[u8]) {
    if lines.is_empty() {
        h2.end(key);
    } else {
        h2.trailers(key, trailer_fields(lines));
    }
}
