//! Resources of upstreams that clients observe through routes: one registration at an
//! endpoint for all clients of a worker whose requests have the same answer (RFC 7641
//! section 5). It is renewed when its state is not fresh any more, moves to another
//! endpoint when its own is lost, and is cancelled when the last observer has left.

use super::kept::Whole;
use super::observations::Place;
use crate::http::{Fetch, Flag, fetch};
use crate::outbound::coap::{OBSERVE_FIELD, Observation};
use crate::worker::Worker;
use foldhash::fast::RandomState;
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;
use tidegate_coap::{Code, Failure};
use tidegate_message::Protocol;
use tokio::sync::{Notify, oneshot};

/// RFC 7252 section 5.10.5: how long a state is fresh that says nothing about it.
const DEFAULT_MAX_AGE_S: u64 = 60;
/// RFC 7641 section 3.3.1: how long after that it is registered again, so that not all
/// clients do it in the same moment.
const AFTER_MS: std::ops::Range<u64> = 5_000..15_000;
/// How often it is looked at whether the endpoint still belongs to its upstream.
const LOOK_MS: u64 = 1_000;
/// How often one that was lost is begun again, with waits of 0, 1, 2 and 4 s.
const TRIES: u32 = 4;
/// What has lasted that long is not the try before.
const STABLE_MS: u64 = 10_000;

/// See the module.
pub(super) struct Relay {
    worker: Rc<Worker>,
    upstream: Box<str>,
    request: Fetch,
    state: RefCell<State>,
    /// Somebody has come or left.
    changed: Notify,
}

#[derive(Default)]
struct State {
    newest: Option<(Rc<Whole>, u64)>,
    observers: HashSet<Place, RandomState>,
    waiting: Vec<oneshot::Sender<Result<Rc<Whole>, Flag>>>,
    /// Who is about to observe.
    joining: usize,
    is_over: bool,
}

/// What observers are told in the end.
enum End {
    /// It was said by the resource, or is the best that can be said.
    Final(Rc<Whole>),
    /// Another endpoint may know better.
    Lost(Rc<Whole>),
    /// Nobody is there.
    Deserted,
}

/// One who is about to observe: the relay does not end meanwhile.
pub(super) struct Joining(pub(super) Rc<Relay>);

impl Drop for Joining {
    fn drop(&mut self) {
        self.0.state.borrow_mut().joining -= 1;
        self.0.changed.notify_one();
    }
}

impl Relay {
    pub(super) fn new(worker: Rc<Worker>, upstream: Box<str>, request: Fetch) -> Rc<Relay> {
        Rc::new(Relay { worker, upstream, request, state: RefCell::default(), changed: Notify::new() })
    }

    pub(super) fn join(self: &Rc<Self>) -> Joining {
        self.state.borrow_mut().joining += 1;
        Joining(Rc::clone(self))
    }

    /// Whether nothing will come any more.
    pub(super) fn is_over(&self) -> bool {
        self.state.borrow().is_over
    }

    /// The state of the resource, with the time that it is still fresh.
    pub(super) fn fresh(&self) -> Option<Rc<Whole>> {
        let state = self.state.borrow();
        let (value, at_ms) = state.newest.as_ref()?;
        let age_s = (self.worker.clock.millis() - at_ms).div_ceil(1_000);
        let max_age = value.max_age.map_or(DEFAULT_MAX_AGE_S, u64::from);
        match max_age.checked_sub(age_s) {
            _ if age_s == 0 => Some(Rc::clone(value)),
            Some(left) => Some(Rc::new(Whole { max_age: Some(left as u32), ..(**value).clone() })),
            None => None,
        }
    }

    /// A fresh state: the one that is there, or the one that is asked for now.
    pub(super) async fn value(&self) -> Result<Rc<Whole>, Flag> {
        if let Some(value) = self.fresh() {
            return Ok(value);
        }
        let (sender, value) = oneshot::channel();
        self.state.borrow_mut().waiting.push(sender);
        self.changed.notify_one();
        let patience = Duration::from_millis(self.request.timeout_ms);
        tokio::time::timeout(patience, value).await.unwrap_or(Ok(Err(Flag::Timeout))).unwrap_or(Err(Flag::Terminated))
    }

    pub(super) fn enter(&self, place: Place) {
        self.state.borrow_mut().observers.insert(place);
    }

    pub(super) fn leave(&self, place: Place) {
        self.state.borrow_mut().observers.remove(&place);
        self.changed.notify_one();
    }

    /// Lives as long as somebody observes.
    pub(super) async fn run(&self) {
        let mut tries = 0;
        loop {
            let began = self.worker.clock.millis();
            let end = match self.register().await {
                Ok((value, Some(observation))) => {
                    self.tell(&Rc::new(value));
                    self.attend(&observation).await
                }
                Ok((value, None)) => self.unobserved(value),
                Err(flag) => {
                    self.settle(&Err(flag));
                    let code = Code::from_status(flag.status(), Code::GET);
                    End::Lost(Rc::new(failed(code, flag.text().as_bytes())))
                }
            };
            tries = if self.worker.clock.millis() > began + STABLE_MS { 0 } else { tries };
            match end {
                End::Lost(_) if tries < TRIES && self.is_observed() => self.pause(tries).await,
                End::Final(last) | End::Lost(last) => break self.dismiss(&last),
                End::Deserted => break,
            }
            tries += 1;
        }
        self.state.borrow_mut().is_over = true;
        self.settle(&Err(Flag::Terminated));
    }

    async fn pause(&self, tries: u32) {
        let wait_ms = if tries == 0 { 0 } else { 500 << tries };
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }

    /// Tells all observers what ends their observation (RFC 7641 section 4.2).
    fn dismiss(&self, last: &Rc<Whole>) {
        let observers = self.state.borrow().observers.len() as u64;
        self.worker.counters.dropped(Protocol::Coap, "coap-relay-ended", observers);
        self.tell(last);
    }

    /// Registers at an endpoint of the upstream as it is now.
    async fn register(&self) -> Result<(Whole, Option<Observation>), Flag> {
        let plan = self.worker.plan();
        let index = plan.plan.upstreams.iter().position(|upstream| *upstream.name == *self.upstream);
        let index = index.ok_or(Flag::NoHealthy)?;
        let number = self.worker.coap_clients.expect_observation();
        let mut request = self.request.clone();
        request.fields.extend_from_slice(format!("{OBSERVE_FIELD}: {number}\r\n").as_bytes());
        let fetched = fetch(&self.worker, &plan, index, &request).await;
        let observation = self.worker.coap_clients.take_observation(number);
        Ok((Whole::of(&self.worker, fetched?), observation))
    }

    /// An answer that nothing will follow.
    fn unobserved(&self, value: Whole) -> End {
        let value = Rc::new(value);
        self.settle(&Ok(Rc::clone(&value)));
        match value.code(Code::GET).class() {
            2 => End::Lost(Rc::new(failed(Code::SERVICE_UNAVAILABLE, b"it cannot be observed now"))),
            4 => End::Final(value),
            _ => End::Lost(value),
        }
    }

    /// Hands states on, until there are no more or nobody is there.
    async fn attend(&self, observation: &Observation) -> End {
        let mut refresh_at = self.refresh_at();
        loop {
            let now = self.worker.clock.millis();
            let wait = refresh_at.saturating_sub(now).min(LOOK_MS);
            tokio::select! {
                state = observation.next() => match state {
                    Ok(answer) if answer.observes() => {
                        self.tell(&Rc::new(Whole::from(answer)));
                        refresh_at = self.refresh_at();
                    }
                    Ok(answer) => return self.unobserved(Whole::from(answer)),
                    Err(failure) => return End::Lost(Rc::new(lost(failure))),
                },
                () = self.changed.notified() => {
                    if !self.is_observed() && self.state.borrow().joining == 0 {
                        return End::Deserted;
                    }
                    if !self.state.borrow().waiting.is_empty() {
                        observation.refresh();
                    }
                }
                () = tokio::time::sleep(Duration::from_millis(wait)) => {
                    if !self.is_served(observation) {
                        return End::Lost(Rc::new(failed(Code::SERVICE_UNAVAILABLE, b"its endpoint is gone")));
                    }
                    if self.worker.clock.millis() >= refresh_at {
                        observation.refresh();
                        // Its answer says when again; without one the observation ends.
                        refresh_at = u64::MAX;
                    }
                }
            }
        }
    }

    fn refresh_at(&self) -> u64 {
        let state = self.state.borrow();
        let age = state.newest.as_ref().and_then(|(value, _)| value.max_age).map_or(DEFAULT_MAX_AGE_S, u64::from);
        let after = AFTER_MS.start + self.worker.random() % (AFTER_MS.end - AFTER_MS.start);
        self.worker.clock.millis() + age * 1_000 + after
    }

    /// Whether the upstream has that endpoint still, or no better one.
    fn is_served(&self, observation: &Observation) -> bool {
        let plan = self.worker.plan();
        let Some(upstream) = plan.plan.upstreams.iter().find(|upstream| *upstream.name == *self.upstream) else {
            return false;
        };
        let own = upstream.endpoints.iter().find(|own| own.address == observation.endpoint);
        own.is_some_and(|own| own.is_available() || !upstream.endpoints.iter().any(|other| other.is_available()))
    }

    fn is_observed(&self) -> bool {
        !self.state.borrow().observers.is_empty()
    }

    /// Tells everybody a state.
    fn tell(&self, value: &Rc<Whole>) {
        self.state.borrow_mut().newest = Some((Rc::clone(value), self.worker.clock.millis()));
        self.settle(&Ok(Rc::clone(value)));
        self.worker.relays.tell(&self.state.borrow().observers, value);
        self.worker.wake_coap();
    }

    /// Tells those who wait.
    fn settle(&self, result: &Result<Rc<Whole>, Flag>) {
        let waiting = std::mem::take(&mut self.state.borrow_mut().waiting);
        for sender in waiting {
            let _ = sender.send(result.clone());
        }
    }
}

fn failed(code: Code, text: &[u8]) -> Whole {
    Whole { code: Some(code), body: text.to_vec(), ..Whole::default() }
}

fn lost(failure: Failure) -> Whole {
    match failure {
        Failure::Timeout => failed(Code::GATEWAY_TIMEOUT, b"its endpoint is silent"),
        _ => failed(Code::BAD_GATEWAY, b"its endpoint was lost"),
    }
}
