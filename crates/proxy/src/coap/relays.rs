//! Observing through routes (RFC 7641 section 5): which resources of upstreams are
//! observed, by what tells their answers apart, and how their states reach the observers.

use super::inbox::Finished;
use super::kept::Whole;
use super::observations::{Observation, Place, Relaying};
use super::observe::Told;
use super::relay::{Joining, Relay};
use super::server::Server;
use super::waiting::Ticket;
use crate::http::{Fetch, Flag, fetch};
use crate::outbound::coap::key_of;
use crate::plan::Upstream;
use crate::worker::Worker;
use foldhash::fast::{FixedState, RandomState};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::rc::Rc;
use tidegate_balance::BalancePlan;
use tidegate_coap::Code;
use tidegate_message::Protocol;

/// The upstream and the request, and where the balancer would send it.
type Key = (u128, u64);

/// What a worker observes.
#[derive(Default)]
pub(crate) struct Relays {
    table: RefCell<HashMap<Key, Rc<Relay>, RandomState>>,
    count: Cell<usize>,
    /// States for observers, until their sockets take them.
    told: RefCell<VecDeque<(Place, Rc<Whole>)>>,
}

/// What a request to observe has come to.
pub(super) struct Joined {
    value: Rc<Whole>,
    /// `None`: there are too many, and it was only asked.
    joining: Option<Joining>,
}

impl Relays {
    /// Hands a state to observers; their sockets are woken by the caller.
    pub(super) fn tell(&self, observers: &HashSet<Place, RandomState>, value: &Rc<Whole>) {
        self.told.borrow_mut().extend(observers.iter().map(|place| (*place, Rc::clone(value))));
    }

    /// Forgets states for observers whose socket is gone.
    pub(super) fn forget(&self, is_gone: impl Fn(Place) -> bool) {
        self.told.borrow_mut().retain(|(place, _)| !is_gone(*place));
    }

    /// The relay of a request, begun where there is none; `None`: there are too many.
    fn join(worker: &Rc<Worker>, upstream: &Upstream, request: &Fetch) -> Option<Joining> {
        let relays = &worker.relays;
        let is_by_source = matches!(upstream.balance, BalancePlan::IpHash { .. });
        let way = FixedState::default().hash_one((&request.key, request.source.filter(|_| is_by_source)));
        let key = key_of(&upstream.name, request).map(|key| (key, way));
        let known = key.and_then(|key| relays.table.borrow().get(&key).filter(|relay| !relay.is_over()).cloned());
        if let Some(relay) = known {
            return Some(relay.join());
        }
        if relays.count.get() >= worker.plan.borrow().plan.coap.max_upstream_observations {
            worker.dropped(Protocol::Coap, "coap-relays-full");
            return None;
        }
        let relay = Relay::new(Rc::clone(worker), upstream.name.as_ref().into(), request.clone());
        let joining = relay.join();
        if let Some(key) = key {
            relays.table.borrow_mut().insert(key, Rc::clone(&relay));
        }
        relays.counted(worker, 1);
        let worker = Rc::clone(worker);
        tokio::task::spawn_local(async move {
            relay.run().await;
            let relays = &worker.relays;
            if let Some(key) = key {
                // A new one may have taken its place.
                let is_own = relays.table.borrow().get(&key).is_some_and(|own| Rc::ptr_eq(own, &relay));
                is_own.then(|| relays.table.borrow_mut().remove(&key));
            }
            relays.counted(&worker, -1);
        });
        Some(joining)
    }

    fn counted(&self, worker: &Worker, change: isize) {
        self.count.set(self.count.get().saturating_add_signed(change));
        worker.counters.relays.set(self.count.get() as u64);
    }
}

impl Server {
    /// A request to observe what an upstream has.
    pub(super) fn observe_upstream(&mut self, ticket: Ticket, upstream: usize, request: Fetch) {
        let (worker, plan) = (Rc::clone(&self.worker), Rc::clone(&ticket.plan));
        let joining = Relays::join(&worker, &plan.plan.upstreams[upstream], &request);
        self.wait(ticket, async move {
            Finished::Joined(match joining {
                Some(joining) => joining.0.value().await.map(|value| Joined { value, joining: Some(joining) }),
                // RFC 7641 section 4.1: an answer without Observe says that there is none.
                None => fetch(&worker, &plan, upstream, &request)
                    .await
                    .map(|fetched| Joined { value: Rc::new(Whole::of(&worker, fetched)), joining: None }),
            })
        });
    }

    pub(super) fn answer_joined(&mut self, ticket: &Ticket, result: Result<Joined, Flag>) {
        let Joined { value, joining } = match result {
            Ok(joined) => joined,
            Err(flag) => return self.fail(ticket, (flag, 0)),
        };
        let relay = joining.as_ref().map(|joining| &joining.0).filter(|relay| !relay.is_over());
        // What came since the value was handed over is what the answer has to say.
        let value = relay.and_then(|relay| relay.fresh()).unwrap_or(value);
        let observer = relay.filter(|_| value.code(Code::GET).class() == 2).and_then(|relay| {
            let id = self.endpoint.observe(self.now_ms, &ticket.exchange, true)?;
            let observation = Observation {
                id,
                subscriber: None,
                relaying: None,
                about: 0,
                is_wildcard: false,
                looking: None,
                pending: None,
            };
            let Some(place) = self.observations.insert(observation) else {
                self.endpoint.forget(id);
                return None;
            };
            relay.enter(place);
            let relaying = Relaying { relay: Rc::clone(relay), place, continuation: ticket.continuation };
            if let Some(own) = self.observations.get(place) {
                own.relaying = Some(relaying);
            }
            Some(id)
        });
        if let Some(continuation) = ticket.continuation {
            self.kept.keep(self.now_ms, continuation, &value);
        }
        self.answer_whole(ticket, &value, observer);
    }

    /// Delivers states that are for this socket; what is for others stays.
    pub(super) fn deliver_relayed(&mut self) {
        if self.worker.relays.told.borrow().is_empty() {
            return;
        }
        let told = std::mem::take(&mut *self.worker.relays.told.borrow_mut());
        let (own, others) = told.into_iter().partition::<VecDeque<_>, _>(|(place, _)| self.observations.owns(*place));
        self.worker.relays.told.borrow_mut().extend(others);
        for (place, value) in own {
            let Some(observation) = self.observations.get(place) else { continue };
            let (id, relaying) = (observation.id, observation.relaying.as_ref());
            if let Some(continuation) = relaying.and_then(|relaying| relaying.continuation) {
                self.kept.keep(self.now_ms, continuation, &value);
            }
            let code = value.code(Code::GET);
            self.put_whole_options(code, &value);
            self.notify(id, Told::state(code, value.confirmable), &value.body);
        }
    }
}
