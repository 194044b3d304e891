//! The security contexts of one socket. The name of a context's peer is an address: the
//! one that it was first seen at, with the context's place in the flow label, which no
//! address of a datagram carries. So observations, de-duplication and blocks know nothing
//! of a change of address.

use crate::binding::Bindings;
use crate::context::Context;
use crate::recent::Recent;
use crate::sequence::Sequence;
use crate::{Fingerprint, Shared, Terms, Window};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

/// What tells these names from those of DTLS.
pub(crate) const MARK: u32 = 1 << 31;

/// What became of a datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opened {
    /// It is not protected.
    Plain,
    /// A request, plain in `out`, of the peer of that name.
    Request(SocketAddr),
    /// The first request of a peer under that name, which is known as that user.
    First(SocketAddr, Arc<str>),
    /// What stands in `out` is to be sent back.
    Answer(&'static str),
    /// It is for that worker.
    Strayed(u8),
    /// It is passed over.
    Dropped(&'static str),
}

/// The contexts of one socket.
#[derive(Debug)]
pub struct Contexts {
    pub(crate) worker: u8,
    pub(crate) shared: Arc<Shared>,
    pub(crate) contexts: Vec<Context>,
    pub(crate) by_kid: HashMap<Box<[u8]>, Vec<usize>, RandomState>,
    pub(crate) by_name: HashMap<SocketAddr, usize, RandomState>,
    pub(crate) named: u32,
    pub(crate) max_options: usize,
}

/// Whether an address is the name of a context's peer.
pub fn is_name(address: &SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(v6) if v6.flowinfo() & MARK != 0)
}

/// A name that no other has.
pub(crate) fn name(from: SocketAddr, number: u32) -> SocketAddr {
    let ip = match from.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddrV6::new(ip, from.port(), MARK | number >> 1, number).into()
}

impl Contexts {
    /// The contexts of a listener on a worker.
    pub fn new(terms: &Terms, (worker, shared): (u8, Arc<Shared>), max_options: usize) -> Self {
        let mut own = Contexts {
            worker,
            shared,
            contexts: Vec::new(),
            by_kid: HashMap::default(),
            by_name: HashMap::default(),
            named: 0,
            max_options,
        };
        own.adopt(terms);
        own
    }

    /// Takes other contexts; those that stay keep what they know. The names of the peers
    /// of those that are gone.
    pub fn adopt(&mut self, terms: &Terms) -> Vec<SocketAddr> {
        let mut before: HashMap<Fingerprint, Context, RandomState> =
            self.contexts.drain(..).map(|context| (context.keys.identity(), context)).collect();
        for (plan, keys) in &terms.contexts {
            let fingerprint = keys.fingerprint();
            // Numbers that were reserved say that the peer has used some of its own, before this
            // process or before the context was taken away.
            let is_new = || self.shared.ledger.as_ref().is_some_and(|ledger| !ledger.is_known(&fingerprint));
            let context = before.remove(&keys.identity()).unwrap_or_else(|| Context {
                user: plan.name.as_str().into(),
                keys: Arc::clone(keys),
                owner: self.shared.owner(keys.identity()),
                window: Window::new(plan.replay_window, is_new()),
                sequence: Sequence::default(),
                bindings: Bindings::default(),
                recent: Recent::default(),
                peer: None,
                in_flight: None,
            });
            self.contexts.push(Context { user: plan.name.as_str().into(), ..context });
        }
        self.by_kid.clear();
        for (place, context) in self.contexts.iter().enumerate() {
            self.by_kid.entry(context.keys.recipient_id.clone()).or_default().push(place);
        }
        let names = self.contexts.iter().enumerate().filter_map(|(place, own)| Some((own.peer?.name, place)));
        self.by_name = names.collect();
        let gone: Vec<_> = before.into_values().filter_map(|context| context.peer).collect();
        gone.iter().for_each(|peer| self.shared.moved((Some(peer.address), None), self.worker));
        gone.into_iter().map(|peer| peer.name).collect()
    }

    /// The names of those whose peer is at that address.
    pub fn names_at(&self, from: SocketAddr) -> impl Iterator<Item = SocketAddr> {
        let peers = self.contexts.iter().filter_map(|context| context.peer);
        peers.filter(move |peer| peer.address == from).map(|peer| peer.name)
    }
}
