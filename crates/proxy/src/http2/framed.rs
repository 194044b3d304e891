//! A body framed as HTTP/1.1, onto a stream of HTTP/2, as far as its window reaches.

use super::head;
use bytes::{Bytes, BytesMut};
use h2::{Reason, SendStream};
use std::task::{Context, Poll};
use tidegate_http::{BodyReader, Piece};

/// Data of one turn.
const TURN_BYTES: usize = 32 << 10;

/// What one turn came to.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// Something was sent; there may be more.
    Sent,
    /// What was there is used up, the body is not at its end.
    NeedMore,
    /// The window is closed.
    Blocked,
    /// The end was sent.
    Done,
    /// The stream is broken, or the framing is.
    Broken(Reason),
}

/// Sends what of `bytes` has room. With it: how many were used, and how many of them were data.
pub(crate) fn send_framed(
    (send, reader): (&mut SendStream<Bytes>, &mut BodyReader),
    bytes: &[u8],
    cx: &mut Context<'_>,
) -> (usize, usize, Turn) {
    if bytes.is_empty() && !reader.is_done() {
        return (0, 0, Turn::NeedMore);
    }
    send.reserve_capacity(bytes.len().min(TURN_BYTES));
    if send.capacity() == 0 && !bytes.is_empty() {
        match send.poll_capacity(cx) {
            Poll::Ready(Some(Ok(_))) if send.capacity() > 0 => {}
            Poll::Ready(Some(Ok(_))) => return (0, 0, Turn::Sent),
            Poll::Ready(_) => return (0, 0, Turn::Broken(Reason::CANCEL)),
            Poll::Pending => return (0, 0, Turn::Blocked),
        }
    }
    let room = send.capacity().min(TURN_BYTES);
    let (used, data, end) = collect(reader, bytes, room);
    let Ok(end) = end else { return (used, 0, Turn::Broken(Reason::INTERNAL_ERROR)) };
    let count = data.len();
    let ends_plainly = end.as_ref().is_some_and(Vec::is_empty);
    let mut sent = Ok(());
    if count > 0 || ends_plainly {
        sent = send.send_data(data, ends_plainly);
    }
    if let (Ok(()), Some(lines), false) = (&sent, &end, ends_plainly) {
        sent = send.send_trailers(head::trailers(lines));
    }
    let turn = match (sent, end) {
        (Err(_), _) => Turn::Broken(Reason::CANCEL),
        (Ok(()), Some(_)) => Turn::Done,
        (Ok(()), None) if used == 0 => Turn::NeedMore,
        (Ok(()), None) => Turn::Sent,
    };
    (used, count, turn)
}

/// The end of a body: its trailer lines; `None`: there is more to come.
type End = Option<Vec<u8>>;

/// At most `room` bytes of data out of `bytes`, and the end where it stands behind them.
fn collect(reader: &mut BodyReader, bytes: &[u8], room: usize) -> (usize, Bytes, Result<End, ()>) {
    let mut data = BytesMut::new();
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
