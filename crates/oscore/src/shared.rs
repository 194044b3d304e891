//! What the workers of a gateway share: which of them has a context, where the peers of
//! contexts are, and the ledger. Touched where a context or an address is new, and for
//! empty messages, which do not say whose they are.

use crate::streams::StreamState;
use crate::{ContextPlan, Keys, Ledger};
use foldhash::fast::RandomState;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What tells a context, or the key that it seals with, from others, over restarts too.
pub type Fingerprint = [u8; 16];

/// Nobody's yet.
const NOBODY: u8 = u8::MAX;

/// What the workers share.
pub struct Shared {
    owners: Mutex<HashMap<Fingerprint, Arc<AtomicU8>, RandomState>>,
    /// The worker of the context whose peer is at that address.
    addresses: RwLock<HashMap<SocketAddr, u8, RandomState>>,
    /// What is known of contexts over streams: by all workers the same, as long as the process lives.
    streams: Mutex<HashMap<Fingerprint, Arc<Mutex<StreamState>>, RandomState>>,
    pub(crate) ledger: Option<Box<dyn Ledger>>,
    /// Random: what a peer has to answer after a restart of ours.
    pub(crate) echo: [u8; 8],
}

impl fmt::Debug for Shared {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// Nothing shared yet. Without a ledger no context can answer.
    pub fn new(ledger: Option<Box<dyn Ledger>>, echo: [u8; 8]) -> Self {
        Shared { owners: Mutex::default(), addresses: RwLock::default(), streams: Mutex::default(), ledger, echo }
    }

    pub(crate) fn owner(&self, context: Fingerprint) -> Owner {
        let mut owners = self.owners.lock();
        Owner(Arc::clone(owners.entry(context).or_insert_with(|| Arc::new(AtomicU8::new(NOBODY)))))
    }

    pub(crate) fn stream_state(&self, keys: &Keys, replay_window: u8) -> Arc<Mutex<StreamState>> {
        let is_new = || self.ledger.as_ref().is_some_and(|ledger| !ledger.is_known(&keys.fingerprint()));
        let mut streams = self.streams.lock();
        Arc::clone(
            streams
                .entry(keys.identity())
                .or_insert_with(|| Arc::new(Mutex::new(StreamState::new(replay_window, is_new())))),
        )
    }

    /// The worker that an empty message from an address is for; `None`: of no context.
    pub fn worker_at(&self, from: SocketAddr) -> Option<u8> {
        self.addresses.read().get(&from).copied()
    }

    pub(crate) fn moved(&self, (before, now): (Option<SocketAddr>, Option<SocketAddr>), worker: u8) {
        let mut addresses = self.addresses.write();
        before.map(|before| addresses.remove(&before));
        now.map(|now| addresses.insert(now, worker));
    }
}

/// Which worker has a context: the first that is asked, so that a peer which keeps its
/// address is served where its datagrams arrive.
#[derive(Clone, Debug)]
pub(crate) struct Owner(Arc<AtomicU8>);

impl Owner {
    /// The worker that has it; `own` where nobody did.
    pub(crate) fn claim(&self, own: u8) -> u8 {
        match self.0.compare_exchange(NOBODY, own, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => own,
            Err(other) => other,
        }
    }
}

/// The security contexts of a listener.
#[derive(Debug)]
pub struct Terms {
    pub(crate) contexts: Vec<(ContextPlan, Arc<Keys>)>,
}

impl Terms {
    /// Whether there is no context.
    pub const fn is_empty(&self) -> bool {
        self.contexts.is_empty()
    }

    /// Derives all keys; the error names the context that has none.
    ///
    /// # Errors
    /// An id or secret that cannot be.
    pub fn load(plans: &[ContextPlan]) -> Result<Terms, String> {
        let derive = |plan: &ContextPlan| {
            let keys =
                Keys::derive(plan).ok_or_else(|| format!("the OSCORE context {} has no valid keys", plan.name))?;
            Ok((plan.clone(), Arc::new(keys)))
        };
        plans.iter().map(derive).collect::<Result<_, String>>().map(|contexts| Terms { contexts })
    }
}
