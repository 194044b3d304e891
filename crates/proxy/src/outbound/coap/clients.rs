//! The client's side of CoAP of one worker: one socket for each endpoint that is asked
//! now, with the message layer's state, and the answers that are kept.

use super::cache::{Cache, Cached, Key};
use super::observing::{Begun, States};
use super::to_coap::Outgoing;
use crate::plan::Plan;
use crate::worker::Worker;
use foldhash::fast::RandomState;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tidegate_coap::{Answer, Failure, Requester, RequesterConfig};
use tokio::net::UdpSocket;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// Bytes of the longest datagram that is read.
const DATAGRAM_MAX: usize = 64 << 10;
/// How long the socket of an endpoint that nobody asks is kept.
const IDLE: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Default)]
pub(crate) struct CoapClients {
    clients: RefCell<HashMap<SocketAddr, Rc<Client>, RandomState>>,
    cache: RefCell<Cache>,
    pub(super) begun: Begun,
}

/// Who waits for answers.
pub(super) enum Asker {
    Once(oneshot::Sender<Result<Answer, Failure>>),
    /// For as long as it is observed.
    Observer(Rc<States>),
}

impl Asker {
    /// Who waits for more gets itself back.
    fn tell(self, result: Result<Answer, Failure>) -> Option<Asker> {
        match self {
            Asker::Once(sender) => {
                let _ = sender.send(result);
                None
            }
            Asker::Observer(states) => {
                let goes_on = result.as_ref().is_ok_and(Answer::observes);
                states.put(result);
                goes_on.then_some(Asker::Observer(states))
            }
        }
    }
}

pub(super) struct Client {
    pub(super) requester: RefCell<Requester>,
    pub(super) waiting: RefCell<HashMap<u64, Asker, RandomState>>,
    next: RefCell<u64>,
    /// There is something to be sent.
    pub(super) wake: Notify,
}

impl Client {
    /// Enters who waits, under a new id.
    pub(super) fn enter(&self, asker: Asker) -> u64 {
        let mut next = self.next.borrow_mut();
        *next += 1;
        self.waiting.borrow_mut().insert(*next, asker);
        *next
    }
}

/// Tells the message layer where nobody waits for an answer any more.
struct Asking<'c> {
    worker: &'c Worker,
    client: &'c Client,
    id: u64,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if self.client.waiting.borrow_mut().remove(&self.id).is_some() {
            self.client.requester.borrow_mut().forget(self.worker.clock.millis(), self.id);
            self.client.wake.notify_one();
        }
    }
}

impl CoapClients {
    /// Asks an endpoint; as long as the future lives.
    pub(crate) async fn ask(worker: &Rc<Worker>, to: SocketAddr, request: Outgoing) -> Result<Answer, Failure> {
        let client = CoapClients::client(worker, to).map_err(|_| Failure::Reset)?;
        let (sender, answer) = oneshot::channel();
        let id = client.enter(Asker::Once(sender));
        let request = (request.method, request.options, request.body);
        client.requester.borrow_mut().request(worker.clock.millis(), id, request);
        client.wake.notify_one();
        let _asking = Asking { worker, client: &client, id };
        answer.await.unwrap_or(Err(Failure::Reset))
    }

    pub(super) fn client(worker: &Rc<Worker>, to: SocketAddr) -> io::Result<Rc<Client>> {
        if let Some(client) = worker.coap_clients.clients.borrow().get(&to) {
            return Ok(Rc::clone(client));
        }
        let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = std::net::UdpSocket::bind(any)?;
        socket.connect(to)?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        let client = Rc::new(Client {
            requester: RefCell::new(Requester::new(config(&worker.plan().plan, worker.random()))),
            waiting: RefCell::default(),
            next: RefCell::default(),
            wake: Notify::new(),
        });
        worker.coap_clients.clients.borrow_mut().insert(to, Rc::clone(&client));
        let (worker, driven) = (Rc::clone(worker), Rc::clone(&client));
        tokio::task::spawn_local(async move {
            drive(&worker, &driven, &socket).await;
            worker.coap_clients.clients.borrow_mut().remove(&to);
            // Whoever still waits sees that its sender is gone.
            driven.waiting.borrow_mut().clear();
        });
        Ok(client)
    }

    pub(super) fn cached(
        &self,
        now_ms: u64,
        (key, changed): (Option<Key>, u64),
    ) -> (Option<Rc<Answer>>, Option<Rc<Answer>>) {
        match key.and_then(|key| self.cache.borrow().find(now_ms, (key, changed))) {
            Some(Cached::Fresh(answer)) => (Some(answer), None),
            Some(Cached::Stale(answer)) => (None, Some(answer)),
            None => (None, None),
        }
    }

    pub(super) fn keep(&self, times: (u64, u64), key: Option<Key>, answer: (Answer, Option<Rc<Answer>>)) -> Rc<Answer> {
        self.cache.borrow_mut().keep(times, key, answer)
    }

    /// Takes the bounds and times of a plan.
    pub(crate) fn adopt(&self, plan: &Plan) {
        self.cache.borrow_mut().limit(plan.coap.cache_entries);
        for client in self.clients.borrow().values() {
            client.requester.borrow_mut().configure(config(plan, 0));
        }
    }
}

fn config(plan: &Plan, seed: u64) -> RequesterConfig {
    RequesterConfig {
        ack_timeout_ms: plan.coap.ack_timeout_ms,
        max_retransmit: plan.coap.max_retransmit,
        nstart: plan.coap.nstart,
        max_body: plan.bounds.body_collected,
        max_options: plan.bounds.coap_options,
        seed,
    }
}

/// Sends, receives and keeps the time until the endpoint was not asked for a while.
async fn drive(worker: &Worker, client: &Client, socket: &UdpSocket) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    let mut refused = false;
    loop {
        while let Some(datagram) = next_output(client) {
            // One that is lost here is sent again, as if it had been lost on the way.
            refused |= socket.send(&datagram).await.is_err_and(is_refused);
        }
        if std::mem::take(&mut refused) {
            // RFC 7252 section 4.2: an error of the network may end it at once.
            fail_all(client);
        }
        finish(client);
        let due = client.requester.borrow().next_timeout();
        let wait = due.map_or(IDLE, |due| Duration::from_millis(due.saturating_sub(worker.clock.millis())));
        tokio::select! {
            received = socket.recv(&mut buffer) => match received {
                Ok(len) => client.requester.borrow_mut().handle_datagram(worker.clock.millis(), &buffer[..len]),
                Err(error) => refused = is_refused(error),
            },
            () = client.wake.notified() => {}
            () = tokio::time::sleep_until(Instant::now() + wait) => match due {
                Some(_) => client.requester.borrow_mut().handle_timeout(worker.clock.millis()),
                None if client.requester.borrow().is_idle() => return,
                None => {}
            },
        }
    }
}

fn next_output(client: &Client) -> Option<Vec<u8>> {
    client.requester.borrow_mut().poll_output()
}

fn is_refused(error: io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

fn fail_all(client: &Client) {
    let waiting = std::mem::take(&mut *client.waiting.borrow_mut());
    for (id, asker) in waiting {
        client.requester.borrow_mut().forget(0, id);
        asker.tell(Err(Failure::Reset));
    }
}

fn finish(client: &Client) {
    while let Some((id, result)) = { client.requester.borrow_mut().poll_done() } {
        let asker = client.waiting.borrow_mut().remove(&id);
        if let Some(asker) = asker.and_then(|asker| asker.tell(result)) {
            client.waiting.borrow_mut().insert(id, asker);
        }
    }
}
