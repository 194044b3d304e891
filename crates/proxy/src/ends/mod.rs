//! The two ends of a client's stream: a socket, a socket with TLS on it, or a stream
//! within an HTTP/2 connection. The one place that knows the difference; a plain
//! socket pays a comparison for it.

mod tls;

pub(crate) use tls::Tls;

use crate::http2::StreamEnd;
use crate::worker::Buffers;
use socket2::SockRef;
use std::cell::OnceCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Where a client's bytes come from.
pub(crate) enum ReadEnd {
    Socket(OwnedReadHalf),
    Tls(OwnedReadHalf, Rc<Tls>),
    Stream(Rc<StreamEnd>),
    /// Between two of the others.
    Gone,
}

impl ReadEnd {
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        (buffers, read): (&Buffers, &mut ReadBuf<'_>),
    ) -> Poll<io::Result<()>> {
        match self {
            ReadEnd::Socket(half) => Pin::new(half).poll_read(cx, read),
            ReadEnd::Tls(half, tls) => tls.poll_read(half, (cx, buffers), read),
            ReadEnd::Stream(stream) => stream.poll_read(cx, read),
            ReadEnd::Gone => Poll::Ready(Ok(())),
        }
    }

    /// Whether a read may bring something.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            ReadEnd::Socket(half) => half.as_ref().poll_read_ready(cx),
            ReadEnd::Tls(_, tls) if tls.has_plain() => Poll::Ready(Ok(())),
            ReadEnd::Tls(half, _) => half.as_ref().poll_read_ready(cx),
            ReadEnd::Stream(stream) => stream.poll_read_ready(cx),
            ReadEnd::Gone => Poll::Ready(Ok(())),
        }
    }
}

/// The writing end. Dropping it says nothing to the peer of a plain socket: when both
/// ends are gone the socket closes, and that is one system call less than a shutdown first.
pub(crate) struct WriteEnd {
    to: To,
    tls: OnceCell<Rc<Tls>>,
}

enum To {
    /// Taken by drop alone.
    Socket(Option<OwnedWriteHalf>),
    Stream(Rc<StreamEnd>),
}

impl WriteEnd {
    pub(crate) const fn socket(half: OwnedWriteHalf) -> Self {
        WriteEnd { to: To::Socket(Some(half)), tls: OnceCell::new() }
    }

    pub(crate) const fn stream(stream: Rc<StreamEnd>) -> Self {
        WriteEnd { to: To::Stream(stream), tls: OnceCell::new() }
    }

    /// The stream of HTTP/2 that it is.
    pub(crate) fn as_stream(&self) -> Option<&StreamEnd> {
        match &self.to {
            To::Stream(stream) => Some(stream),
            To::Socket(_) => None,
        }
    }

    /// The address that the peer came to.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match &self.to {
            To::Socket(half) => half.as_ref()?.local_addr().ok(),
            To::Stream(_) => None,
        }
    }

    /// From now on what is written is encrypted.
    pub(crate) fn encrypt_by(&self, tls: Rc<Tls>) {
        // A connection is upgraded once; a second session would change nothing.
        let _ = self.tls.set(tls);
    }

    /// Writes what fits now. What was refused must be offered again with the same
    /// beginning: a part of it may be encrypted already.
    ///
    /// # Errors
    /// `WouldBlock`, or the peer is gone.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match (&self.to, self.tls.get()) {
            (To::Socket(Some(half)), None) => half.try_write(bytes),
            (To::Socket(Some(half)), Some(tls)) => tls.try_write(half.as_ref(), bytes),
            (To::Stream(stream), _) => stream.try_write(bytes),
            (To::Socket(None), _) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Whether there is room; else the task is woken when there is.
    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.to {
            To::Socket(Some(half)) => half.as_ref().poll_write_ready(cx),
            To::Socket(None) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            To::Stream(stream) => stream.poll_write_ready(cx),
        }
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_write_ready(cx)).await
    }

    /// Tells the peer that nothing more comes from us.
    pub(crate) fn end(&self) {
        match &self.to {
            To::Socket(Some(half)) => {
                if let Some(tls) = self.tls.get() {
                    tls.close(half.as_ref());
                }
                // A peer that is gone needs no telling.
                let _ = SockRef::from(half.as_ref()).shutdown(std::net::Shutdown::Write);
            }
            To::Socket(None) => {}
            To::Stream(stream) => stream.end(),
        }
    }
}

impl Drop for WriteEnd {
    fn drop(&mut self) {
        match &mut self.to {
            To::Socket(half) => {
                let Some(half) = half.take() else { return };
                if let Some(tls) = self.tls.get() {
                    tls.close(half.as_ref());
                }
                half.forget();
            }
            To::Stream(stream) => stream.end(),
        }
    }
}
