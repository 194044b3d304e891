//! `serve_stream`: one connection from its first bytes to the driver of its protocol.

use crate::client::{Client, Ended};
use crate::pubsub::Framing;
use crate::{http, http2, mqtt, refusal, tls};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tidegate_broker::Access;
use tidegate_coap::Transport;
use tidegate_detect::{Detection, Opening, detect, parse_proxy_header, resembles_http1};
use tidegate_message::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Serves a connection until it ends: the first bytes say what it speaks.
pub(crate) async fn serve_stream(mut client: Box<Client>) {
    let half_open = client.worker.plan().plan.limits.half_open_ms;
    client.deadline(client.worker.clock.read_millis(), half_open);
    let proxied = client.trust().proxy_protocol_from.iter().any(|network| network.contains(&client.peer.address.ip()));
    if proxied && !Box::pin(believe_proxy(&mut client)).await {
        return client.worker.counters.unknown.add(1);
    }
    let Some(opening) = first_bytes(&mut client).await else { return };
    if opening == Opening::Tls && client.trust().tls.is_some() {
        return Box::pin(serve_tls(client)).await;
    }
    serve_opening(client, opening).await;
}

/// A connection whose opening is known, and carried over: to its protocol's driver. What is not
/// passed on here is not in the connection's task, for as long as it lives.
async fn serve_opening(client: Box<Client>, opening: Opening) {
    let protocol = protocol_of(opening);
    if !client.trust().protocols.contains(&protocol) {
        client.worker.counters.not_accepted.add(1);
        return Box::pin(refusal::not_accepted(client, opening)).await;
    }
    client.becomes(protocol);
    match opening {
        Opening::Http1 => http::serve(client).await,
        Opening::Http2 => Box::pin(http2::serve(client)).await,
        Opening::Tls => Box::pin(refusal::tls(client)).await,
        Opening::CoapTcp => Box::pin(crate::coap::serve_stream(client, (Transport::Tcp, Access::default()))).await,
        // A task of its own, which is smaller than one that may speak anything: many devices are silent.
        Opening::Mqtt | Opening::Proxy => drop(tokio::task::spawn_local(mqtt::Serving::new(*client, Framing::Raw))),
    }
}

/// TLS: the handshake, then what stands inside. All of it within the half-open time.
async fn serve_tls(mut client: Box<Client>) {
    if !client.trust().protocols.contains(&Protocol::Tls) {
        client.worker.counters.not_accepted.add(1);
        return refusal::not_accepted(client, Opening::Tls).await;
    }
    client.becomes(Protocol::Tls);
    let Some(input) = client.carried() else { return };
    let Some(session) = tls::begin(&mut client, input) else { return };
    let inside = first_bytes(&mut client).await;
    if session.is_handshaking() {
        return tls::failed(&client);
    }
    tls::established(&mut client, &session);
    match inside {
        // One layer is enough.
        Some(Opening::Tls) => client.worker.counters.unknown.add(1),
        Some(opening) => serve_opening(client, opening).await,
        None => {}
    }
}

fn protocol_of(opening: Opening) -> Protocol {
    match opening {
        Opening::Http1 => Protocol::Http1,
        Opening::Http2 => Protocol::Http2,
        Opening::Tls => Protocol::Tls,
        Opening::CoapTcp => Protocol::CoapTcp,
        Opening::Mqtt | Opening::Proxy => Protocol::Mqtt,
    }
}

/// What the first bytes say.
enum First {
    Known(Opening),
    /// Nothing that the gateway knows.
    Unknown,
    Silent,
    Gone,
}

/// Reads until the opening is known; the bytes are carried over. `None`: it is not, and the
/// connection is over.
async fn first_bytes(client: &mut Client) -> Option<Opening> {
    match poll_fn(|cx| poll_first(client, cx)).await {
        First::Known(opening) => return Some(opening),
        First::Silent => {
            client.worker.counters.half_open.add(1);
            refusal::silent(client);
        }
        First::Unknown => {
            client.worker.counters.unknown.add(1);
            if let Some(to) = client.trust().unknown_to {
                Box::pin(splice(client, to)).await;
            }
        }
        First::Gone => {}
    }
    None
}

fn poll_first(client: &mut Client, cx: &mut Context<'_>) -> Poll<First> {
    let mut input = match client.carried() {
        Some(input) => Ok(input),
        None => ready!(client.poll_awaited(true, cx)),
    };
    loop {
        let bytes = match input {
            Ok(bytes) => bytes,
            Err(Ended::TimedOut) => return Poll::Ready(First::Silent),
            Err(_) => return Poll::Ready(First::Gone),
        };
        let detection = detect(bytes.bytes());
        let is_http1 = client.trust().unknown_to.is_none() && resembles_http1(bytes.bytes());
        client.stash(bytes);
        match detection {
            Detection::Unknown if is_http1 => return Poll::Ready(First::Known(Opening::Http1)),
            // A PROXY header from somebody who is not trusted opens nothing.
            Detection::Known(Opening::Proxy) | Detection::Unknown => return Poll::Ready(First::Unknown),
            Detection::Known(opening) => return Poll::Ready(First::Known(opening)),
            Detection::NeedMore => {}
        }
        input = ready!(client.poll_awaited(true, cx));
    }
}

/// Reads the header that a trusted balancer must send, and believes it.
async fn believe_proxy(client: &mut Client) -> bool {
    while let Ok(mut input) = client.input(true).await {
        match parse_proxy_header(input.bytes()) {
            Ok(Some(header)) => {
                if let Some((source, destination)) = header.ends {
                    Rc::make_mut(&mut client.peer).address = source;
                    client.local = Some(Box::new(destination));
                    client.connection.know(&client.peer);
                }
                input.start += header.len;
                client.stash(input);
                return true;
            }
            Ok(None) => client.stash(input),
            Err(_) => {
                client.worker.buffers.give(input.buffer);
                return false;
            }
        }
    }
    false
}

/// Hands a connection that nothing knows to the listener's TCP upstream, bytes as they are.
async fn splice(client: &mut Client, to: SocketAddr) {
    const CONNECT: Duration = Duration::from_secs(5);
    client.worker.connections.set_deadline(&client.connection, 0);
    let Ok(mut upstream) = tidegate_upstream::connect(to, CONNECT).await else { return };
    let opening = std::mem::take(&mut client.carry);
    if upstream.write_all(&opening).await.is_err() {
        return;
    }
    let (mut from, mut into) = upstream.split();
    let connection = Rc::clone(&client.connection);
    let up = async {
        while let Ok(input) = client.input(true).await {
            let sent = into.write_all(input.bytes()).await;
            client.worker.buffers.give(input.buffer);
            if sent.is_err() {
                break;
            }
        }
        let _ = into.shutdown().await;
    };
    let down = async {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let mut sent = 0;
            while sent < count {
                match connection.end.try_write(&buffer[sent..count]) {
                    Ok(more) => sent += more,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if connection.end.writable().await.is_err() {
                            return;
                        }
                    }
                    Err(_) => return,
                }
            }
        }
    };
    tokio::select! { () = up => {}, () = down => {} }
}
