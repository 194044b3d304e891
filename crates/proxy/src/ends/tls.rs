//! TLS between a socket and who reads and writes it, a client's driver or an exchange with an upstream. Reads decrypt into the worker's
//! scratch buffer; a write that the socket did not take whole keeps its records here
//! and counts as written when they are gone.

use crate::worker::{Buffers, READ_BYTES};
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tidegate_tls::{Names, Session};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

/// A socket that is read raw.
pub(crate) trait Raw {
    fn poll_raw(&mut self, cx: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>>;
    fn socket(&self) -> &TcpStream;
}

impl Raw for TcpStream {
    fn poll_raw(&mut self, cx: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_read(cx, read)
    }

    fn socket(&self) -> &TcpStream {
        self
    }
}

/// Plaintext that one write encrypts at most.
const WRITE_BYTES: usize = 64 << 10;

/// See the module.
pub(crate) struct Tls {
    session: RefCell<Session>,
    /// Plaintext that its reader had no room for.
    plain: RefCell<Vec<u8>>,
    /// Records that the socket did not take.
    pending: RefCell<Vec<u8>>,
    /// Plaintext in `pending` whose writer was told to wait.
    promised: Cell<usize>,
    is_at_end: Cell<bool>,
}

impl Tls {
    pub(crate) fn new(session: Session) -> Self {
        Tls {
            session: RefCell::new(session),
            plain: RefCell::default(),
            pending: RefCell::default(),
            promised: Cell::new(0),
            is_at_end: Cell::new(false),
        }
    }

    /// Sends what a client's session begins with.
    ///
    /// # Errors
    /// The socket is broken.
    pub(crate) fn send_hello(&self, socket: &TcpStream) -> io::Result<()> {
        self.pending.borrow_mut().append(&mut self.session.borrow_mut().out);
        self.flush(socket).map(|_| ())
    }

    /// Takes records that were read before this was in place.
    ///
    /// # Errors
    /// The peer's fault; its alert was sent.
    pub(crate) fn begin(&self, socket: &TcpStream, records: &[u8]) -> io::Result<()> {
        let mut plain = self.plain.borrow_mut();
        self.receive(socket, records, &mut |bytes| plain.extend_from_slice(bytes))
    }

    pub(crate) fn has_plain(&self) -> bool {
        !self.plain.borrow().is_empty()
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.session.borrow().is_handshaking()
    }

    /// What the session agreed on and learnt, once the handshake is over.
    pub(crate) fn with_session<T>(&self, see: impl FnOnce(&Session) -> T) -> T {
        see(&self.session.borrow())
    }

    /// What the shown certificate covers.
    pub(crate) fn names(&self) -> Option<Arc<Names>> {
        self.session.borrow().names.clone()
    }

    pub(crate) fn poll_read(
        &self,
        half: &mut impl Raw,
        (cx, buffers): (&mut Context<'_>, &Buffers),
        read: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.take_plain(read) || self.is_at_end.get() {
                return Poll::Ready(Ok(()));
            }
            let mut records = buffers.take();
            let mut raw = ReadBuf::new(&mut records[..READ_BYTES]);
            let polled = half.poll_raw(cx, &mut raw);
            let count = raw.filled().len();
            let result = match polled {
                Poll::Ready(Ok(())) if count == 0 => {
                    self.is_at_end.set(true);
                    Ok(())
                }
                Poll::Ready(Ok(())) => {
                    let mut plain = self.plain.borrow_mut();
                    let mut sink = |bytes: &[u8]| {
                        let fits = bytes.len().min(read.remaining());
                        read.put_slice(&bytes[..fits]);
                        plain.extend_from_slice(&bytes[fits..]);
                    };
                    self.receive(half.socket(), &records[..count], &mut sink)
                }
                other => {
                    buffers.give(records);
                    ready!(other)?;
                    continue;
                }
            };
            buffers.give(records);
            result?;
            if !read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn take_plain(&self, read: &mut ReadBuf<'_>) -> bool {
        let mut plain = self.plain.borrow_mut();
        if plain.is_empty() {
            return false;
        }
        let fits = plain.len().min(read.remaining());
        read.put_slice(&plain[..fits]);
        if fits == plain.len() {
            *plain = Vec::new();
        } else {
            plain.drain(..fits);
        }
        true
    }

    fn receive(&self, socket: &TcpStream, records: &[u8], sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut session = self.session.borrow_mut();
        let result = session.receive(records, sink);
        self.is_at_end.set(self.is_at_end.get() || session.is_at_end());
        if !session.out.is_empty() {
            self.pending.borrow_mut().append(&mut session.out);
            session.out = Vec::new();
            // What the socket does not take now leaves with the next read or write.
            let _ = self.flush(socket);
        }
        result.map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault.to_string()))
    }

    pub(crate) fn try_write(&self, socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        if !self.flush(socket)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let promised = self.promised.take();
        if promised > 0 {
            return Ok(promised.min(bytes.len()));
        }
        let bytes = &bytes[..bytes.len().min(WRITE_BYTES)];
        let sealed = self.session.borrow_mut().encrypt(bytes, &mut self.pending.borrow_mut());
        sealed.map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault.to_string()))?;
        if self.flush(socket)? {
            return Ok(bytes.len());
        }
        self.promised.set(bytes.len());
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Whether nothing is left to send.
    pub(crate) fn flush(&self, socket: &TcpStream) -> io::Result<bool> {
        let mut pending = self.pending.borrow_mut();
        let mut sent = 0;
        while sent < pending.len() {
            match socket.try_write(&pending[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    pending.drain(..sent);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        // An idle connection owns no buffer.
        *pending = Vec::new();
        Ok(true)
    }

    /// Says close_notify, where the peer still listens.
    pub(crate) fn close(&self, socket: &TcpStream) {
        let mut session = self.session.borrow_mut();
        session.close();
        self.pending.borrow_mut().append(&mut session.out);
        let _ = self.flush(socket);
    }
}
