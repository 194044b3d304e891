//! What is observed at an endpoint. A registration is an exchange like any other, so it
//! is balanced and counted; what is observed then stands under the number that the
//! exchange was given, for whoever made it.

use super::cache::{self, Key};
use super::clients::{Asker, Client, CoapClients};
use super::to_coap::{Outgoing, translate};
use crate::http::Fetch;
use crate::worker::Worker;
use foldhash::fast::RandomState;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::rc::Rc;
use tidegate_coap::{Answer, Failure};
use tidegate_http::{HEADERS_MAX, parse_request};
use tokio::sync::Notify;

/// What came and nobody has looked at: only the newest state matters.
#[derive(Default)]
pub(super) struct States {
    newest: RefCell<Option<Result<Answer, Failure>>>,
    come: Notify,
}

impl States {
    pub(super) fn put(&self, state: Result<Answer, Failure>) {
        self.newest.replace(Some(state));
        self.come.notify_one();
    }

    async fn next(&self) -> Result<Answer, Failure> {
        loop {
            if let Some(state) = self.newest.take() {
                return state;
            }
            self.come.notified().await;
        }
    }
}

/// What has been begun, by the number of its exchange, as long as somebody waits for it.
#[derive(Default)]
pub(super) struct Begun {
    table: RefCell<HashMap<u64, Option<Observation>, RandomState>>,
    next: Cell<u64>,
}

/// Something that is observed; dropping it tells the endpoint.
pub(crate) struct Observation {
    worker: Rc<Worker>,
    client: Rc<Client>,
    states: Rc<States>,
    id: u64,
    key: Option<Key>,
    /// Where.
    pub(crate) endpoint: SocketAddr,
}

impl Observation {
    /// The next state; without Observe, or an error, it is the last.
    pub(crate) async fn next(&self) -> Result<Answer, Failure> {
        let answer = self.states.next().await?;
        if answer.observes() {
            self.keep(&answer);
        }
        Ok(answer)
    }

    /// A notification is an answer that may be used again (RFC 7641 section 5).
    fn keep(&self, answer: &Answer) {
        let now = self.worker.clock.millis();
        self.worker.coap_clients.keep((now, now), self.key, (answer.clone(), None));
    }

    /// Asks whether the endpoint still knows of it; the answer is a state.
    pub(crate) fn refresh(&self) {
        self.client.requester.borrow_mut().refresh(self.worker.clock.millis(), self.id);
        self.client.wake.notify_one();
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if self.client.waiting.borrow_mut().remove(&self.id).is_some() {
            self.client.requester.borrow_mut().cancel(self.worker.clock.millis(), self.id);
            self.client.wake.notify_one();
        }
    }
}

impl CoapClients {
    /// A number for an exchange that begins an observation.
    pub(crate) fn expect_observation(&self) -> u64 {
        let number = self.begun.next.get() + 1;
        self.begun.next.set(number);
        self.begun.table.borrow_mut().insert(number, None);
        number
    }

    /// What an exchange has begun; it is not waited for any more.
    pub(crate) fn take_observation(&self, number: u64) -> Option<Observation> {
        self.begun.table.borrow_mut().remove(&number).flatten()
    }
}

/// Registers; where the endpoint agrees, what is observed is left under its number.
pub(super) async fn observe(
    worker: &Rc<Worker>,
    (key, endpoint): (Option<Key>, SocketAddr),
    request: &Outgoing,
) -> Result<Answer, Failure> {
    let client = CoapClients::client(worker, endpoint).map_err(|_| Failure::Reset)?;
    let states = Rc::<States>::default();
    let id = client.enter(Asker::Observer(Rc::clone(&states)));
    let asked = (request.method, request.options.clone(), request.body.clone());
    client.requester.borrow_mut().observe(worker.clock.millis(), id, asked);
    client.wake.notify_one();
    let observation = Observation { worker: Rc::clone(worker), client, states, id, key, endpoint };
    let answer = observation.next().await?;
    if answer.observes() {
        let before = match worker.coap_clients.begun.table.borrow_mut().get_mut(&request.observe.unwrap_or(0)) {
            Some(place) => place.replace(observation),
            None => Some(observation),
        };
        drop(before);
    }
    Ok(answer)
}

/// What tells a request's answers from those of others (RFC 7252 section 5.6); `None`: they
/// are nobody else's.
pub(crate) fn key_of(upstream: &str, request: &Fetch) -> Option<Key> {
    let line = [request.method.as_bytes(), b" ", &request.target, b" HTTP/1.1\r\nHost: h\r\n"].concat();
    let head = [&line, &request.fields[..], b"\r\n"].concat();
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let parsed = parse_request(&head, &super::bounds(), &mut headers).ok()??;
    cache::key(upstream, &translate(&parsed, request.body.clone()).ok()?)
}
