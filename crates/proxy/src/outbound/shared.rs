//! One HTTP/2 connection to an endpoint, shared by the requests of a worker.

use super::http2::{H2Stream, Heard};
use super::{Outbound, noop};
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::uri::Authority;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use tidegate_upstream::Place;
use tokio::io::{AsyncRead, AsyncWrite};

const STREAM_WINDOW: u32 = 256 << 10;
/// The largest that RFC 9113 section 6.9.1 knows.
const CONNECTION_WINDOW_MAX: usize = (1 << 31) - 1;
/// What `h2` may keep of DATA frames that bring next to nothing, by its own reckoning. An exchange
/// takes its own as they come, whether its client reads or not; a tunnel leaves as many as its window has.
const SMALL_DATA: usize = 64 << 20;
const SEND_BYTES: usize = 64 << 10;
/// Bytes of fields in an answer's head.
const HEAD_BYTES: u32 = 32 << 10;

/// See the module.
pub(super) struct SharedH2 {
    send: SendRequest<Bytes>,
    active: Rc<Cell<usize>>,
    is_closed: Rc<Cell<bool>>,
    max: usize,
    scheme: &'static str,
    /// Who it is, for requests that do not say.
    authority: Authority,
    /// Its place among the upstream's connections.
    place: Option<Place>,
    /// Since when nobody uses it, milliseconds; 0: somebody does, or nobody has looked.
    idle_since: u64,
}

impl SharedH2 {
    pub(super) fn keep(&mut self, place: Place) {
        self.place = Some(place);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.active.get() == 0
    }

    /// Whether it is to be kept at `now`: it is open, and was in use lately.
    pub(super) fn is_kept(&mut self, now: u64, idle_ms: u64) -> bool {
        if !self.is_idle() || self.idle_since == 0 {
            self.idle_since = if self.is_idle() { now } else { 0 };
        }
        self.is_open() && (self.idle_since == 0 || now < self.idle_since + idle_ms)
    }

    pub(super) fn is_open(&self) -> bool {
        !self.is_closed.get()
    }

    /// A stream, where there is room for one.
    pub(super) fn stream(&mut self) -> Option<H2Stream> {
        if self.is_closed.get() || self.active.get() >= self.max.min(self.send.current_max_send_streams()) {
            return None;
        }
        match self.send.poll_ready(&mut noop()) {
            Poll::Ready(Ok(())) => {
                self.idle_since = 0;
                Some(H2Stream::new(self.send.clone(), (Rc::clone(&self.active), self.scheme, self.authority.clone())))
            }
            Poll::Ready(Err(_)) => {
                // It said GOAWAY or broke: what is under way ends by itself.
                self.is_closed.set(true);
                None
            }
            Poll::Pending => None,
        }
    }
}

/// Begins HTTP/2 on a connection and takes its first stream.
pub(super) async fn open(
    io: impl AsyncRead + AsyncWrite + Unpin + 'static,
    (shared, max): (&RefCell<Vec<SharedH2>>, usize),
    (scheme, host): (&'static str, &str),
) -> io::Result<Outbound> {
    let broken = |error: h2::Error| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    // Room for every stream's window: a client that does not read holds up its own answer alone.
    let window = max.saturating_mul(STREAM_WINDOW as usize).min(CONNECTION_WINDOW_MAX) as u32;
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(window)
        .data_frame_budget(SMALL_DATA)
        .max_header_list_size(HEAD_BYTES)
        .max_send_buffer_size(SEND_BYTES);
    let (io, is_heard) = Heard::new(io);
    let (send, mut connection) = builder.handshake::<_, Bytes>(io).await.map_err(broken)?;
    // It counts as open when its settings are there: how many streams it takes, whether
    // WebSockets too, and that it speaks HTTP/2 at all.
    poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(Err(broken(error))),
        Poll::Ready(Ok(())) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        Poll::Pending if is_heard.get() => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await?;
    let is_closed = Rc::new(Cell::new(false));
    let closed = Rc::clone(&is_closed);
    tokio::task::spawn_local(async move {
        // How it ended is told by its streams.
        let _ = connection.await;
        closed.set(true);
    });
    let send = send.ready().await.map_err(broken)?;
    let authority = Authority::try_from(host).unwrap_or_else(|_| Authority::from_static("localhost"));
    let (active, place, idle_since) = (Rc::default(), None, 0);
    let mut connection = SharedH2 { send, active, is_closed, max, scheme, authority, place, idle_since };
    let first = connection.stream().ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionReset))?;
    shared.borrow_mut().push(connection);
    Ok(Outbound::H2(Box::new(first)))
}
