//! A body framed as HTTP/1.1, onto a stream of HTTP/2, as far as its window reaches.

use crate::http2::trailer_fields;
use bytes::{Bytes, BytesMut};
use h2::{Reason, SendStream};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::task::{Context, Poll, ready};
use tidegate_http::{BodyReader, Piece};

/// Data of one turn.
const TURN_BYTES: usize = 32 << 10;

/// Trailer lines as fields.
fn trailers(lines: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in trailer_fields(lines) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            fields.append(name, value);
        }
    }
    fields
}

/// Fields as trailer lines.
pub(super) fn trailer_lines(fields: &HeaderMap) -> Vec<u8> {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat()
    };
    fields.iter().flat_map(line).collect()
}

/// What one turn came to.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// Something was sent; there may be more.
    Sent,
    /// What was there is used up, the body is not at its end.
    NeedMore,
    /// The window is closed: [`poll_window`] waits for it.
    Blocked,
    /// The end was sent.
    Done,
    /// The stream is broken, or the framing is.
    Broken(Reason),
}

/// Sends what of `bytes` has room, `copied`. With it: how many were used, and how many of them were data.
pub(super) fn send_framed(
    (send, reader): (&mut SendStream<Bytes>, &mut BodyReader),
    bytes: &[u8],
    copied: impl Fn(&[u8]) -> Bytes,
) -> (usize, usize, Turn) {
    if bytes.is_empty() && !reader.is_done() {
        return (0, 0, Turn::NeedMore);
    }
    send.reserve_capacity(bytes.len().min(TURN_BYTES));
    if send.capacity() == 0 && !bytes.is_empty() {
        return (0, 0, Turn::Blocked);
    }
    let room = send.capacity().min(TURN_BYTES);
    let (used, data, end) = collect(reader, (bytes, room), copied);
    let Ok(end) = end else { return (used, 0, Turn::Broken(Reason::INTERNAL_ERROR)) };
    let count = data.len();
    let ends_plainly = end.as_ref().is_some_and(Vec::is_empty);
    let mut sent = Ok(());
    if count > 0 || ends_plainly {
        sent = send.send_data(data, ends_plainly);
    }
    if let (Ok(()), Some(lines), false) = (&sent, &end, ends_plainly) {
        sent = send.send_trailers(trailers(lines));
    }
    let turn = match (sent, end) {
        (Err(_), _) => Turn::Broken(Reason::CANCEL),
        (Ok(()), Some(_)) => Turn::Done,
        (Ok(()), None) if used == 0 => Turn::NeedMore,
        (Ok(()), None) => Turn::Sent,
    };
    (used, count, turn)
}

/// Waits until a window opens that was found closed. `false`: the stream is gone.
pub(super) fn poll_window(send: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Poll<bool> {
    match ready!(send.poll_capacity(cx)) {
        Some(Ok(_)) => Poll::Ready(true),
        _ => Poll::Ready(false),
    }
}

/// The end of a body: its trailer lines; `None`: there is more to come.
type End = Option<Vec<u8>>;

/// At most `room` bytes of data out of `bytes`, and the end where it stands behind them.
fn collect(
    reader: &mut BodyReader,
    (bytes, room): (&[u8], usize),
    copied: impl Fn(&[u8]) -> Bytes,
) -> (usize, Bytes, Result<End, ()>) {
    if let BodyReader::Length(_) | BodyReader::UntilClose = reader {
        return whole(reader, &bytes[..bytes.len().min(room)], copied);
    }
    let mut data = BytesMut::with_capacity(bytes.len().min(room));
    let mut used = 0;
    let end = loop {
        let until = bytes.len().min(used + (room - data.len()));
        match reader.next(&bytes[used..until]) {
            Ok((Piece::Data(piece), count)) => {
                data.extend_from_slice(piece);
                used += count;
            }
            Ok((Piece::NeedMore, count)) => {
                used += count;
                if count == 0 || used == bytes.len() {
                    break Ok(None);
                }
            }
            Ok((Piece::End(trailers), count)) => {
                used += count;
                break Ok(Some(trailers));
            }
            Err(_) => break Err(()),
        }
    };
    (used, data.freeze(), end)
}

/// Without a framing of its own a body is copied at once.
fn whole(reader: &mut BodyReader, bytes: &[u8], copied: impl Fn(&[u8]) -> Bytes) -> (usize, Bytes, Result<End, ()>) {
    let data = match reader.next(bytes) {
        Ok((Piece::Data(piece), _)) => copied(piece),
        Ok(_) => Bytes::new(),
        Err(_) => return (0, Bytes::new(), Err(())),
    };
    (data.len(), data, Ok(reader.is_done().then(Vec::new)))
}
