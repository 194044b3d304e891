//! OSCORE of one socket: what it opens goes to the server under the name of the context's
//! peer, and what is for a name is sealed. A context has one worker, that which saw its
//! peer first; what the kernel deals to another one is handed over.

use super::secure::Strays;
use super::server::Server;
use crate::plan::ListenerDto;
use crate::worker::Worker;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_coap::Type;
use tidegate_listener::Datagrams;
use tidegate_message::Protocol;
use tidegate_oscore::{Contexts, Opened, is_name};

/// OSCORE of one socket.
pub(super) struct Protected {
    worker: Rc<Worker>,
    listener: String,
    /// `None`: the listener has no contexts.
    contexts: Option<Contexts>,
    /// The plan that they are from.
    version: u64,
    /// What was opened or sealed last; memory that is used again.
    out: Vec<u8>,
    /// Errors and repeated answers.
    answers: Vec<(SocketAddr, Vec<u8>)>,
}

impl Protected {
    pub(super) fn new(worker: &Rc<Worker>, listener: &ListenerDto) -> Self {
        Protected {
            worker: Rc::clone(worker),
            listener: listener.name.clone(),
            contexts: None,
            version: u64::MAX,
            out: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Takes the contexts of the plan that is in force.
    pub(super) fn adopt(&mut self, server: &mut Server) {
        let plan = self.worker.plan();
        if plan.plan.version == self.version {
            return;
        }
        self.version = plan.plan.version;
        let terms = plan.plan.listeners.get(&self.listener).and_then(|trust| trust.oscore.as_ref());
        let Some(terms) = terms.filter(|terms| !terms.is_empty() || self.contexts.is_some()) else { return };
        let shared = Arc::clone(&self.worker.shared.oscore);
        match &mut self.contexts {
            Some(contexts) => contexts.adopt(terms).into_iter().for_each(|name| server.close_secured(name)),
            None => {
                let options = plan.plan.bounds.coap_options;
                self.contexts = Some(Contexts::new(terms, (self.worker.id as u8, shared), options));
            }
        }
    }

    /// Takes a datagram. `false`: it is not protected, and none of a context's peer.
    pub(super) fn handle(&mut self, server: &mut Server, (from, datagram): (SocketAddr, &[u8])) -> bool {
        let Some(contexts) = &mut self.contexts else { return false };
        if let Some(message_id) = settles(datagram) {
            return self.handle_empty(server, (from, datagram), message_id);
        }
        match contexts.open(from, datagram, &mut self.out) {
            Opened::Plain => return false,
            Opened::Request(name) => server.handle_renewed(name, &self.out),
            Opened::First(name, user) => {
                server.admit(name, user);
                server.handle_renewed(name, &self.out);
            }
            Opened::Answer(reason) => {
                if reason != "oscore-repeated" {
                    self.worker.dropped(Protocol::Coap, reason);
                }
                self.answers.push((from, self.out.clone()));
            }
            Opened::Strayed(worker) => self.pass_on(worker, (from, datagram)),
            Opened::Dropped("oscore-repeated") => {}
            Opened::Dropped(reason) => self.worker.dropped(Protocol::Coap, reason),
        }
        true
    }

    /// An acknowledgement or reset says neither context nor token: it is for the peer at
    /// its address that waits for it.
    fn handle_empty(&mut self, server: &mut Server, (from, datagram): (SocketAddr, &[u8]), message_id: u16) -> bool {
        let Some(contexts) = &self.contexts else { return false };
        if server.endpoint.awaits(from, message_id) {
            return false;
        }
        let Some(worker) = self.worker.shared.oscore.worker_at(from) else { return false };
        if u16::from(worker) != self.worker.id {
            self.pass_on(worker, (from, datagram));
            return true;
        }
        let name = contexts.names_at(from).find(|name| server.endpoint.awaits(*name, message_id));
        if let Some(name) = name {
            server.handle_secured(name, datagram);
        }
        name.is_some()
    }

    fn pass_on(&self, worker: u8, (from, datagram): (SocketAddr, &[u8])) {
        let strays: &Strays = &self.worker.shared.strays;
        if !strays.pass_on((&self.listener, worker), (from, datagram.into())) {
            self.worker.dropped(Protocol::Coap, "oscore-strayed");
        }
    }

    /// Seals what is for a name into `datagrams`. `false`: it is for an address.
    pub(super) fn seal(&mut self, datagrams: &mut Datagrams, (to, plain): (SocketAddr, &[u8])) -> bool {
        let Some(contexts) = self.contexts.as_mut().filter(|_| is_name(&to)) else { return false };
        match contexts.seal(to, plain, &mut self.out) {
            Ok(address) => datagrams.queue(address, |out| out.extend_from_slice(&self.out)),
            Err(reason) => self.worker.dropped(Protocol::Coap, reason),
        }
        true
    }

    /// Queues what was answered without the server.
    pub(super) fn flush(&mut self, datagrams: &mut Datagrams) {
        for (to, answer) in self.answers.drain(..) {
            datagrams.queue(to, |out| out.extend_from_slice(&answer));
        }
    }
}

/// The message id of an empty acknowledgement or reset.
fn settles(datagram: &[u8]) -> Option<u16> {
    let [first, 0, high, low] = *datagram else { return None };
    let is_settling = [Type::Acknowledgement, Type::Reset].iter().any(|kind| first == 0x40 | (*kind as u8) << 4);
    is_settling.then(|| u16::from_be_bytes([high, low]))
}

impl Server {
    /// Who the peer of a context is counts for topics.
    fn admit(&mut self, name: SocketAddr, user: Arc<str>) {
        self.log_in(name, tidegate_broker::Access::of(Some(user), None));
    }

    /// Takes a request that is known to be new, whatever its message id was used for.
    fn handle_renewed(&mut self, name: SocketAddr, plain: &[u8]) {
        if let [_, _, high, low, ..] = *plain {
            self.endpoint.renew(name, u16::from_be_bytes([high, low]));
        }
        self.handle_secured(name, plain);
    }
}
