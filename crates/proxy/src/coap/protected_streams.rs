//! OSCORE of the streams of one listener on one worker: what it opens goes to the server under
//! the name of the context's peer on that connection, and what is for such a name is sealed.

use super::server::Server;
use crate::plan::Trust;
use crate::worker::Worker;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_broker::Access;
use tidegate_coap::{Code, Message, OptionList, Transport, encode_frame};
use tidegate_message::Protocol;
use tidegate_oscore::{StreamContexts, StreamOpened, Terms, is_name};

/// Bytes that sealing adds at most: length, option and number, tag, inner code and marker.
const WRAPPED: usize = 48;

/// What becomes of a frame.
pub(super) enum Taken {
    /// It is not protected.
    Plain,
    /// It is done with.
    Done,
    /// This is to be sent back.
    Answer(Vec<u8>),
}

pub(super) struct ProtectedStreams {
    worker: Rc<Worker>,
    listener: Box<str>,
    /// `None`: the listener has no contexts.
    contexts: Option<StreamContexts>,
    /// Whether it takes requests without them, too.
    is_plain: bool,
    /// The plan that they are from.
    version: u64,
    /// What was opened or sealed last; memory that is used again.
    out: Vec<u8>,
}

impl ProtectedStreams {
    pub(super) fn new(worker: &Rc<Worker>, trust: &Trust) -> Self {
        let mut own = ProtectedStreams {
            worker: Rc::clone(worker),
            listener: trust.name.clone(),
            contexts: None,
            is_plain: trust.takes_plain_coap,
            version: worker.plan().plan.version,
            out: Vec::new(),
        };
        own.take(trust.oscore.as_deref());
        own
    }

    /// Takes the contexts of the plan that is in force.
    pub(super) fn adopt(&mut self, server: &mut Server) {
        let plan = self.worker.plan();
        if std::mem::replace(&mut self.version, plan.plan.version) == plan.plan.version {
            return;
        }
        let Some(trust) = plan.plan.listeners.get(&*self.listener) else { return };
        self.is_plain = trust.takes_plain_coap;
        self.take(trust.oscore.as_deref()).into_iter().for_each(|name| server.close_stream(name));
    }

    fn take(&mut self, terms: Option<&Terms>) -> Vec<SocketAddr> {
        let Some(terms) = terms.filter(|terms| !terms.is_empty() || self.contexts.is_some()) else { return Vec::new() };
        match &mut self.contexts {
            Some(contexts) => contexts.adopt(terms),
            None => {
                let options = self.worker.plan().plan.bounds.coap_options;
                self.contexts = Some(StreamContexts::new(terms, Arc::clone(&self.worker.shared.oscore), options));
                Vec::new()
            }
        }
    }

    /// Takes a frame of a connection.
    pub(super) fn handle(
        &mut self,
        server: &mut Server,
        (connection, transport): (SocketAddr, Transport),
        frame: &[u8],
    ) -> Taken {
        let Some(contexts) = &mut self.contexts else { return Taken::Plain };
        match contexts.open((connection, transport), frame, &mut self.out) {
            StreamOpened::Plain if self.is_plain => Taken::Plain,
            StreamOpened::Plain => unprotected(transport, frame),
            StreamOpened::Request(name, user) => {
                server.log_in(name, Access::of(Some(user), None));
                server.endpoint.open_within(name, connection, WRAPPED);
                server.handle_frame(name, &self.out);
                Taken::Done
            }
            StreamOpened::Answer(reason) => {
                self.worker.dropped(Protocol::CoapTcp, reason);
                Taken::Answer(self.out.clone())
            }
            StreamOpened::Dropped(reason) => {
                self.worker.dropped(Protocol::CoapTcp, reason);
                Taken::Done
            }
        }
    }

    /// Seals what is for a name: the connection that it goes to, and the frame. What is for a
    /// connection stays as it is. `None`: it is for nobody any more.
    pub(super) fn seal<'f>(
        &'f mut self,
        (to, transport): (SocketAddr, impl FnOnce(SocketAddr) -> Option<Transport>),
        frame: &'f [u8],
    ) -> Option<(SocketAddr, &'f [u8])> {
        if !is_name(&to) {
            return Some((to, frame));
        }
        let contexts = self.contexts.as_ref()?;
        let sealed = contexts.seal((to, transport(StreamContexts::connection_of(to))?), frame, &mut self.out);
        match sealed {
            Ok(connection) => Some((connection, &self.out)),
            Err(reason) => {
                self.worker.dropped(Protocol::CoapTcp, reason);
                None
            }
        }
    }

    /// A connection and the names that its peers have on it.
    pub(super) fn peers_on(&self, connection: SocketAddr) -> Vec<SocketAddr> {
        let names = self.contexts.as_ref().map(|contexts| contexts.names_on(connection));
        std::iter::once(connection).chain(names.into_iter().flatten()).collect()
    }

    /// A connection is gone.
    pub(super) fn close(&mut self, connection: SocketAddr) {
        if let Some(contexts) = &mut self.contexts {
            contexts.close(connection);
        }
    }
}

/// Where only what is protected is taken, other requests are told so; all else is no request.
fn unprotected(transport: Transport, frame: &[u8]) -> Taken {
    match Message::decode_as(transport, frame, usize::MAX - 1) {
        Ok(message) if message.code.is_request() => {
            let (mut out, none) = (Vec::new(), OptionList::new());
            let head = (transport, Code::UNAUTHORIZED, message.token);
            encode_frame(&mut out, head, [&none, &none], b"OSCORE is wanted here");
            Taken::Answer(out)
        }
        _ => Taken::Plain,
    }
}
