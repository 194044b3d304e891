//! A worker's accept loop for one listener.

use crate::client::{Client, Trust};
use crate::plan::ListenerDto;
use crate::stream::serve_stream;
use crate::worker::{Level, Worker};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tidegate_listener::Refusal;
use tidegate_message::{Peer, Protocol};
use tokio::net::{TcpListener, TcpStream};

/// How long accepting rests when the process is out of descriptors.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// Accepts connections until the task is aborted.
pub(crate) async fn accept(worker: Rc<Worker>, listener: Arc<ListenerDto>, socket: std::net::TcpListener) {
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return worker.log(Level::Error, &format!("{} cannot be served: {error}", listener.name)),
    };
    let name: Rc<str> = Rc::from(&*listener.name);
    let trust = Rc::new(trust(&listener));
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => admit(&worker, (&name, &trust), (stream, peer)),
            Err(error) if is_transient(&error) => {}
            Err(error) => {
                worker.log(Level::Error, &format!("{name} accepts nothing for a moment: {error}"));
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
}

fn admit(worker: &Rc<Worker>, (name, trust): (&Rc<str>, &Rc<Trust>), (stream, peer): (TcpStream, SocketAddr)) {
    let permit = match worker.shared.admission.admit(peer.ip()) {
        Ok(permit) => permit,
        Err(Refusal::Total) => return worker.counters.refused_total.add(1),
        Err(Refusal::Source) => return worker.counters.refused_source.add(1),
    };
    let (read, write) = stream.into_split();
    let connection = worker.connections.open(name, peer, worker.clock.millis());
    let client = Client {
        worker: Rc::clone(worker),
        connection,
        trust: Rc::clone(trust),
        read,
        write: Rc::new(write),
        peer: Peer::new(peer),
        carry: Vec::new(),
        is_at_end: false,
        permit,
    };
    tokio::task::spawn_local(serve_stream(client));
}

/// Receives datagrams until the task is aborted.
pub(crate) async fn receive(worker: Rc<Worker>, listener: Arc<ListenerDto>, socket: std::net::UdpSocket) {
    let _ = (worker, listener, socket);
}

fn trust(listener: &ListenerDto) -> Trust {
    let networks = |list: &[String]| list.iter().filter_map(|text| text.parse().ok()).collect();
    let known = |name: &String| Protocol::ALL.into_iter().find(|protocol| protocol.label() == name);
    Trust {
        trusted_proxies: networks(&listener.trusted_proxies),
        proxy_protocol_from: networks(&listener.proxy_protocol_from),
        protocols: listener.protocols.iter().filter_map(known).collect(),
        anonymous: listener.anonymous,
        unknown_to: listener.unknown_to.as_ref().and_then(|address| address.parse().ok()),
    }
}

/// Errors that concern one connection only, not the listener.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
