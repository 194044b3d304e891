//! Connections to upstreams as exchanges see them: bytes of HTTP/1.1, whatever stands
//! beneath: a socket, TLS on it, or a stream of a shared HTTP/2 connection.

pub(crate) mod coap;
mod dial;
mod grpc_web;
mod http2;
mod sources;

pub(crate) use dial::{Dialing, Towards, Wire, secure};
pub(crate) use sources::Sources;

use crate::ends::Tls;
use crate::worker::Worker;
use http2::H2Stream;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tidegate_upstream::Reusable;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

/// The upstream says that it did nothing for the request, so that it may be sent again whatever it asks for
/// (RFC 9113 section 8.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unprocessed {
    /// It took the stream and gave it back: REFUSED_STREAM.
    Refused,
    /// Its connection ends before it: a GOAWAY.
    LeftOut,
}

impl Unprocessed {
    /// What an error says of that.
    pub(crate) fn of(error: &io::Error) -> Option<Unprocessed> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl std::fmt::Display for Unprocessed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the upstream did not process the request")
    }
}

impl std::error::Error for Unprocessed {}

/// The client asks for what this upstream cannot be told: no fault of the upstream's, and nothing that helps at
/// another one. No socket fails this way.
pub(crate) const UNSAYABLE: io::ErrorKind = io::ErrorKind::InvalidInput;

/// One way to an upstream.
pub(crate) enum Outbound {
    Plain(TcpStream),
    Tls(Box<TlsSocket>),
    /// Serves one request.
    H2(Box<H2Stream>),
    /// Serves one request, too.
    Coap(DuplexStream),
}

/// A socket with TLS on it.
pub(crate) struct TlsSocket {
    socket: TcpStream,
    tls: Tls,
    worker: Rc<Worker>,
}

impl Drop for TlsSocket {
    fn drop(&mut self) {
        self.tls.close(&self.socket);
    }
}

impl Reusable for Outbound {
    fn is_quiet(&self) -> bool {
        match self {
            Outbound::Plain(socket) => socket.is_quiet(),
            // A ticket that came meanwhile looks like an unasked answer: such a connection
            // is closed, which costs a handshake and no request.
            Outbound::Tls(tls) => tls.socket.is_quiet() && !tls.tls.has_plain(),
            Outbound::H2(_) | Outbound::Coap(_) => false,
        }
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let TlsSocket { socket, tls, worker } = self.get_mut();
        tls.poll_read(socket, (cx, &worker.buffers), read)
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.tls.try_write(&self.socket, bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::task::ready!(self.socket.poll_write_ready(cx))?;
                }
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.tls.close(&this.socket);
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

impl AsyncRead for Outbound {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Outbound::Plain(socket) => Pin::new(socket).poll_read(cx, read),
            Outbound::Tls(socket) => Pin::new(&mut **socket).poll_read(cx, read),
            Outbound::H2(stream) => stream.poll_read(cx, read),
            Outbound::Coap(pipe) => Pin::new(pipe).poll_read(cx, read),
        }
    }
}

impl AsyncWrite for Outbound {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Outbound::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Outbound::Tls(socket) => Pin::new(&mut **socket).poll_write(cx, bytes),
            Outbound::H2(stream) => stream.poll_write(cx, bytes),
            Outbound::Coap(pipe) => Pin::new(pipe).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Outbound::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Outbound::Tls(socket) => Pin::new(&mut **socket).poll_shutdown(cx),
            Outbound::H2(stream) => Poll::Ready(stream.end(cx)),
            // Half a pipe is whole to us: the request says where it ends.
            Outbound::Coap(_) => Poll::Ready(Ok(())),
        }
    }
}
