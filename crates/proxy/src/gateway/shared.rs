//! What all workers and the control side share, and how JavaScript is woken.

use super::Wake;
use crate::handle::HandlerCalls;
use crate::metrics::Registry;
use crate::plan::Plan;
use crate::worker::Clock;
use arc_swap::ArcSwap;
use parking_lot::RwLock;
use std::sync::Arc;
use tidegate_listener::Admission;
use tokio::sync::Notify;

/// See the module.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) registry: Registry,
    pub(crate) admission: Arc<Admission>,
    /// One per worker: JavaScript has answered.
    pub(crate) kicks: Vec<Notify>,
    pub(crate) plan: ArcSwap<Plan>,
    pub(crate) broker: Arc<tidegate_broker::Shared>,
    /// Where there is a data directory.
    pub(crate) store: Option<Arc<crate::pubsub::Store>>,
    pub(crate) handlers: HandlerCalls,
    /// Answers of upstreams that are kept.
    pub(crate) cache: Arc<tidegate_cache::Store>,
    pub(crate) payloads: crate::hooks::Payloads,
    /// Of this process alone: what keyed hashes of names are made with.
    pub(crate) secret: [u8; 32],
    /// How fast CONNECTs are answered.
    pub(crate) pace: crate::mqtt::Pace,
    /// Which connection a proxied MQTT client has now.
    pub(crate) holders: Arc<crate::mqtt::Holders>,
    pub(crate) faults: crate::pubsub::Faults,
    /// DTLS records on their way to the worker that has their session.
    pub(crate) strays: crate::coap::Strays,
    /// Where DTLS sessions wait for the next start; `None`: nowhere.
    pub(crate) saved_sessions: Option<std::path::PathBuf>,
    /// Security contexts of CoAP, and their sequence numbers.
    pub(crate) oscore: Arc<tidegate_oscore::Shared>,
    /// What was changed at upstreams of CoAP.
    pub(crate) coap_changes: crate::outbound::coap::Changes,
    /// The resource directory of CoAP.
    pub(crate) directory: crate::coap::Registrations,
    pub(super) wake: RwLock<Option<Wake>>,
    /// Who is woken for each worker's questions.
    pub(super) wake_policies: RwLock<Vec<Option<Wake>>>,
}

impl Shared {
    pub(crate) fn wake(&self) {
        if let Some(wake) = &*self.wake.read() {
            wake();
        }
    }

    pub(crate) fn wake_policies(&self, worker: u16) {
        if let Some(Some(wake)) = self.wake_policies.read().get(usize::from(worker)) {
            wake();
        }
    }

    pub(crate) fn has_policy_thread(&self, worker: u16) -> bool {
        self.wake_policies.read().get(usize::from(worker)).is_some_and(Option::is_some)
    }

    /// Who was woken before.
    pub(super) fn set_wake(&self, worker: u16, wake: Option<Wake>) -> Option<Wake> {
        let mut wakes = self.wake_policies.write();
        let place = usize::from(worker);
        if wakes.len() <= place {
            wakes.resize(place + 1, None);
        }
        std::mem::replace(&mut wakes[place], wake)
    }
}

/// 32 random bytes; without any from the system, from the clock and the allocator.
pub(super) fn secret() -> [u8; 32] {
    let mut bytes = [0; 32];
    if getrandom::fill(&mut bytes).is_err() {
        bytes.iter_mut().for_each(|byte| *byte = fastrand::u8(..));
    }
    bytes
}
