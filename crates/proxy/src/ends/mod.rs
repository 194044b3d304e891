//! A client's stream: a socket, a socket with TLS on it, or a stream within an HTTP/2
//! connection. The one place that knows the difference; a plain socket pays a comparison
//! for it. Read by its driver, written by the flush task too.

mod tls;

pub(crate) use tls::Tls;

use crate::http2::StreamEnd;
use crate::worker::Buffers;
use socket2::SockRef;
use std::cell::{OnceCell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

/// A client's end of its connection, until `close`.
pub(crate) struct End {
    to: To,
    tls: OnceCell<Rc<Tls>>,
}

enum To {
    /// Borrowed for one call at a time: nothing that runs meanwhile knows the connection.
    Socket(RefCell<Option<TcpStream>>),
    Stream(Rc<StreamEnd>),
    #[cfg(test)]
    Nowhere,
}

impl End {
    pub(crate) const fn socket(socket: TcpStream) -> Self {
        End { to: To::Socket(RefCell::new(Some(socket))), tls: OnceCell::new() }
    }

    pub(crate) const fn stream(stream: Rc<StreamEnd>) -> Self {
        End { to: To::Stream(stream), tls: OnceCell::new() }
    }

    #[cfg(test)]
    pub(crate) const fn nowhere() -> Self {
        End { to: To::Nowhere, tls: OnceCell::new() }
    }

    /// Reads what there is now; else the task is woken when there is something.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        (buffers, read): (&Buffers, &mut ReadBuf<'_>),
    ) -> Poll<io::Result<()>> {
        match &self.to {
            To::Socket(socket) => match (&mut *socket.borrow_mut(), self.tls.get()) {
                (Some(socket), None) => Pin::new(socket).poll_read(cx, read),
                (Some(socket), Some(tls)) => tls.poll_read(socket, (cx, buffers), read),
                (None, _) => Poll::Ready(Ok(())),
            },
            To::Stream(stream) => stream.poll_read(read),
            #[cfg(test)]
            To::Nowhere => Poll::Pending,
        }
    }

    /// Whether a read may bring something.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.to {
            To::Socket(_) if self.tls.get().is_some_and(|tls| tls.has_plain()) => Poll::Ready(Ok(())),
            To::Socket(socket) => match &*socket.borrow() {
                Some(socket) => socket.poll_read_ready(cx),
                None => Poll::Ready(Ok(())),
            },
            To::Stream(stream) => stream.poll_read_ready(),
            #[cfg(test)]
            To::Nowhere => Poll::Pending,
        }
    }

    /// The stream of HTTP/2 that it is.
    pub(crate) fn as_stream(&self) -> Option<&StreamEnd> {
        match &self.to {
            To::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    /// The address that the peer came to.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match &self.to {
            To::Socket(socket) => socket.borrow().as_ref()?.local_addr().ok(),
            _ => None,
        }
    }

    /// From now on what is read and written is encrypted; `records` were read before.
    ///
    /// # Errors
    /// The peer's fault; its alert was sent.
    pub(crate) fn encrypt_by(&self, tls: Rc<Tls>, records: &[u8]) -> io::Result<()> {
        // A connection is upgraded once; a second session would change nothing.
        let tls = self.tls.get_or_init(|| tls);
        match &self.to {
            To::Socket(socket) => socket.borrow().as_ref().map_or(Ok(()), |socket| tls.begin(socket, records)),
            _ => Ok(()),
        }
    }

    /// Writes what fits now. What was refused must be offered again with the same
    /// beginning: a part of it may be encrypted already.
    ///
    /// # Errors
    /// `WouldBlock`, or the peer is gone.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.to {
            To::Socket(socket) => match (&*socket.borrow(), self.tls.get()) {
                (Some(socket), None) => socket.try_write(bytes),
                (Some(socket), Some(tls)) => tls.try_write(socket, bytes),
                (None, _) => Err(io::ErrorKind::NotConnected.into()),
            },
            To::Stream(stream) => stream.try_write(bytes),
            #[cfg(test)]
            To::Nowhere => Ok(bytes.len()),
        }
    }

    /// Whether there is room; else the task is woken when there is.
    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.to {
            To::Socket(socket) => match &*socket.borrow() {
                Some(socket) => socket.poll_write_ready(cx),
                None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            },
            To::Stream(stream) => stream.poll_write_ready(cx),
            #[cfg(test)]
            To::Nowhere => Poll::Ready(Ok(())),
        }
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_write_ready(cx)).await
    }

    /// Bytes that the peer has taken so far. `None`: nobody tells.
    pub(crate) fn taken(&self) -> Option<u64> {
        match &self.to {
            To::Socket(socket) => tidegate_listener::bytes_acked(socket.borrow().as_ref()?),
            _ => None,
        }
    }

    /// What the peer has not taken is thrown away when the connection closes: the kernel would hold
    /// megabytes for minutes for a peer that reads nothing.
    pub(crate) fn abandon(&self) {
        if let To::Socket(socket) = &self.to
            && let Some(socket) = &*socket.borrow()
        {
            let _ = SockRef::from(socket).set_linger(Some(std::time::Duration::ZERO));
        }
    }

    /// Tells the peer that nothing more comes from us.
    pub(crate) fn end(&self) {
        match &self.to {
            To::Socket(socket) => {
                let socket = socket.borrow();
                let Some(socket) = &*socket else { return };
                if let Some(tls) = self.tls.get() {
                    tls.close(socket);
                }
                // A peer that is gone needs no telling.
                let _ = SockRef::from(socket).shutdown(std::net::Shutdown::Write);
            }
            To::Stream(stream) => stream.end(),
            #[cfg(test)]
            To::Nowhere => {}
        }
    }

    /// The connection is over, whoever still knows it. Says nothing to the peer of a plain socket:
    /// it closes, and that is one system call less than a shutdown first.
    pub(crate) fn close(&self) {
        match &self.to {
            To::Socket(socket) => {
                let socket = socket.take();
                if let Some((socket, tls)) = socket.as_ref().zip(self.tls.get()) {
                    tls.close(socket);
                }
            }
            To::Stream(stream) => stream.end(),
            #[cfg(test)]
            To::Nowhere => {}
        }
    }
}
