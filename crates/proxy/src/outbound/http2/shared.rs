//! One HTTP/2 connection to an endpoint, shared by the requests of a worker.

use super::link::Link;
use super::stream::H2Stream;
use crate::outbound::Outbound;
use crate::worker::Worker;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use tidegate_http2::{Allowed, Config, Connection};
use tidegate_upstream::Place;
use tokio::io::{AsyncRead, AsyncWrite};

const STREAM_WINDOW: u32 = 256 << 10;
/// The largest that RFC 9113 section 6.9.1 knows.
const CONNECTION_WINDOW_MAX: usize = (1 << 31) - 1;
/// Bytes of requests that wait for the socket.
const SEND_BYTES: usize = 64 << 10;
/// Bytes of fields in an answer's head.
const HEAD_BYTES: u32 = 32 << 10;
/// Servers may take back every stream; frames that bring nothing are bounded.
const ALLOWED: Allowed = Allowed { resets_per_second: u32::MAX, control_per_second: 10_000 };

/// See the module. Nobody asks any more when it is dropped, and its streams come to their end.
pub(in crate::outbound) struct SharedH2 {
    link: Rc<Link>,
    max: usize,
    /// Its place among the upstream's connections.
    place: Option<Place>,
    /// Since when nobody uses it, milliseconds; 0: somebody does, or nobody has looked.
    idle_since: u64,
}

impl Drop for SharedH2 {
    fn drop(&mut self) {
        self.link.retire();
    }
}

impl SharedH2 {
    pub(in crate::outbound) fn keep(&mut self, place: Place) {
        self.place = Some(place);
    }

    pub(in crate::outbound) fn is_idle(&self) -> bool {
        self.link.active.get() == 0
    }

    /// Whether it is to be kept at `now`: it is open, and was in use lately.
    pub(in crate::outbound) fn is_kept(&mut self, now: u64, idle_ms: u64) -> bool {
        if !self.is_idle() || self.idle_since == 0 {
            self.idle_since = if self.is_idle() { now } else { 0 };
        }
        self.is_open() && (self.idle_since == 0 || now < self.idle_since + idle_ms)
    }

    pub(in crate::outbound) fn is_open(&self) -> bool {
        self.link.is_open()
    }

    /// A stream, where there is room for one.
    pub(in crate::outbound) fn stream(&mut self) -> Option<H2Stream> {
        let allowed = self.link.h2.borrow().streams_allowed() as usize;
        if !self.is_open() || self.link.active.get() >= self.max.min(allowed) {
            return None;
        }
        self.idle_since = 0;
        Some(H2Stream::new(Rc::clone(&self.link)))
    }
}

/// Begins HTTP/2 on a connection and takes its first stream.
pub(in crate::outbound) async fn open(
    worker: &Rc<Worker>,
    io: impl AsyncRead + AsyncWrite + Unpin + 'static,
    (shared, max): (&RefCell<Vec<SharedH2>>, usize),
    (scheme, host): (&'static str, &str),
) -> io::Result<Outbound> {
    let config = Config {
        streams_max: 0,
        head_max: HEAD_BYTES,
        stream_window: STREAM_WINDOW,
        // Room for every stream's window: a client that does not read holds up its own answer alone.
        connection_window: max.saturating_mul(STREAM_WINDOW as usize).min(CONNECTION_WINDOW_MAX) as u32,
        out_max: SEND_BYTES,
        allowed: ALLOWED,
    };
    let authority = if host.contains(':') { format!("[{host}]").into() } else { host.into() };
    let link = Link::new(Connection::client(config), (scheme, authority));
    let mut connection = SharedH2 { link: Rc::clone(&link), max, place: None, idle_since: 0 };
    tokio::task::spawn_local(Rc::clone(&link).drive(io, Rc::clone(worker)));
    poll_fn(|cx| link.poll_open(cx)).await?;
    let first = connection.stream().ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionReset))?;
    shared.borrow_mut().push(connection);
    Ok(Outbound::H2(Box::new(first)))
}
