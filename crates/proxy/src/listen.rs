//! A worker's accept loop for one listener.

use crate::client::Client;
use crate::ends::End;
use crate::plan::{ListenerDto, Trust};
use crate::stream::serve_stream;
use crate::worker::{Level, Worker};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tidegate_message::{Peer, Protocol};
use tidegate_ring::EventKind;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// How long accepting rests when the process is out of descriptors.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// Accepts connections until `stop`, and then what already waits: a client that the
/// kernel has answered must not be reset by a change of the configuration.
pub(crate) async fn accept(
    worker: Rc<Worker>,
    listener: Arc<ListenerDto>,
    (socket, stop): (std::net::TcpListener, Rc<Notify>),
) {
    let trust = worker.plan().plan.listeners.get(&listener.name).cloned();
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return worker.log(Level::Error, &format!("{} cannot be served: {error}", listener.name)),
    };
    let name: Rc<str> = Rc::from(&*listener.name);
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = socket.accept() => accepted,
            () = stop.notified() => break,
        };
        match accepted {
            Ok((stream, peer)) => admit(&worker, (&name, &trust), (stream, peer)),
            Err(error) if is_transient(&error) => {}
            Err(error) => {
                worker.log(Level::Error, &format!("{name} accepts nothing for a moment: {error}"));
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
    while let Ok(Ok((stream, peer))) = tokio::time::timeout(Duration::ZERO, socket.accept()).await {
        admit(&worker, (&name, &trust), (stream, peer));
    }
}

fn admit(worker: &Rc<Worker>, (name, first): (&Rc<str>, &Option<Arc<Trust>>), (stream, peer): (TcpStream, SocketAddr)) {
    // A listener that is not in the plan any more has the terms that it began with.
    let Some(trust) = worker.plan().plan.listeners.get(&**name).or(first.as_ref()).cloned() else { return };
    let permit = match worker.shared.admission.admit(peer.ip(), worker.clock.micros()) {
        Ok(permit) => permit,
        Err(refusal) => return trust.counters[usize::from(worker.id)].refuse(refusal),
    };
    let who = Rc::new(Peer::new(peer));
    let connection = worker.connections.open((trust, &who), End::socket(stream), worker.clock.read_millis());
    worker.connection_event(EventKind::Opened, (name, peer));
    // Boxed, so that passing it on costs a pointer in every state of its task.
    let client = Box::new(Client {
        worker: Rc::clone(worker),
        connection,
        peer: who,
        protocol: Protocol::Http1,
        names: None,
        carry: Vec::new(),
        local: None,
        is_at_end: false,
        _permit: Some(permit),
    });
    tokio::task::spawn_local(serve_stream(client));
}

/// Receives datagrams until the task is aborted.
pub(crate) async fn receive(worker: Rc<Worker>, listener: Arc<ListenerDto>, socket: std::net::UdpSocket) {
    crate::coap::serve(worker, listener, socket).await;
}

/// Errors that concern one connection only, not the listener.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
