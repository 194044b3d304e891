//! Opening a connection to an endpoint: TCP, then TLS where the upstream has it, then
//! HTTP/2 where it was agreed on or configured.

use super::http2::{self, SharedH2};
use super::{Outbound, TlsSocket, coap};
use crate::ends::Tls;
use crate::worker::Worker;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tidegate_tls::{ClientTerms, Session};
use tidegate_upstream::{ConnectError, ProxyVersion, connect};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// What is spoken with an upstream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wire {
    /// HTTP/1.1, or what TLS agrees on where both are offered.
    Http1,
    /// CoAP over UDP (RFC 7252).
    Coap,
    /// HTTP/2: agreed on in TLS, known beforehand without.
    Http2,
}

/// How an upstream is reached.
#[derive(Clone, Debug)]
pub(crate) struct Dialing {
    pub(crate) wire: Wire,
    pub(crate) tls: Option<Arc<ClientTerms>>,
    pub(crate) timeout: Duration,
    pub(crate) max_streams: usize,
    /// Whose answers those that are kept are.
    pub(crate) upstream: Arc<str>,
    /// Each connection begins with whose it is, and serves nobody else.
    pub(crate) proxy: Option<ProxyVersion>,
}

/// Where a connection goes.
pub(crate) struct Towards {
    pub(crate) address: SocketAddr,
    /// What it proves in TLS.
    pub(crate) host: Box<str>,
    /// What stands in front of everything else; mostly nothing.
    pub(crate) preamble: Vec<u8>,
}

/// Opens one; all of it within the connect timeout.
///
/// # Errors
/// It was refused, took too long, or did not prove who it is.
pub(super) async fn dial(
    worker: &Rc<Worker>,
    to: &Towards,
    (dialing, shared): (&Dialing, &RefCell<Vec<SharedH2>>),
) -> Result<Outbound, ConnectError> {
    if dialing.wire == Wire::Coap {
        return Ok(Outbound::Coap(coap::open(worker, (&dialing.upstream, to.address))));
    }
    if dialing.wire == Wire::Http1 && dialing.tls.is_none() && to.preamble.is_empty() {
        return Ok(Outbound::Plain(connect(to.address, dialing.timeout).await?));
    }
    let opening = open(worker, to, (dialing, shared));
    match tokio::time::timeout(dialing.timeout, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(ConnectError::TimedOut),
    }
}

async fn open(
    worker: &Rc<Worker>,
    to: &Towards,
    (dialing, shared): (&Dialing, &RefCell<Vec<SharedH2>>),
) -> Result<Outbound, ConnectError> {
    let mut socket = connect(to.address, dialing.timeout).await?;
    socket.write_all(&to.preamble).await.map_err(ConnectError::Refused)?;
    let max = dialing.max_streams;
    let Some(terms) = &dialing.tls else {
        if dialing.wire == Wire::Http1 {
            return Ok(Outbound::Plain(socket));
        }
        return http2::open(worker, socket, (shared, max), ("http", &to.host)).await.map_err(ConnectError::Refused);
    };
    let secured = secure(Rc::clone(worker), (socket, &to.host), terms).await.map_err(ConnectError::Refused)?;
    let agreed = secured.tls.with_session(|session| session.alpn() == Some(b"h2"));
    match (agreed, dialing.wire) {
        (true, _) => {
            http2::open(worker, secured, (shared, max), ("https", &to.host)).await.map_err(ConnectError::Refused)
        }
        (false, Wire::Http1 | Wire::Coap) => Ok(Outbound::Tls(Box::new(secured))),
        (false, Wire::Http2) => {
            Err(ConnectError::Refused(io::Error::new(io::ErrorKind::Unsupported, "the upstream speaks no HTTP/2")))
        }
    }
}

/// The handshake. An upstream that does not prove its name is not spoken to.
pub(crate) async fn secure(
    worker: Rc<Worker>,
    (socket, host): (TcpStream, &str),
    terms: &ClientTerms,
) -> io::Result<TlsSocket> {
    let broken = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let session = Session::client(terms, host).map_err(|fault| broken(fault.to_string()))?;
    let mut secured = TlsSocket { socket, tls: Tls::new(session), worker };
    secured.tls.send_hello(&secured.socket)?;
    poll_fn(|cx| {
        let mut nothing = [];
        while secured.tls.is_handshaking() {
            if !secured.tls.flush(&secured.socket)? {
                std::task::ready!(secured.socket.poll_write_ready(cx))?;
                continue;
            }
            let mut read = ReadBuf::new(&mut nothing);
            let before = secured.tls.is_handshaking();
            match std::pin::Pin::new(&mut secured).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if before && secured.tls.is_handshaking() => {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof)));
                }
                Poll::Ready(result) => result?,
                Poll::Pending if secured.tls.is_handshaking() => return Poll::Pending,
                Poll::Pending => {}
            }
        }
        Poll::Ready(Ok(()))
    })
    .await?;
    Ok(secured)
}
