//! What crosses between workers: one bounded link per pair, in order. A message of
//! QoS 0 that finds its link full is dropped and counted; for QoS 1 and 2 publishers
//! pause until the link has room again.

use super::Owed;
use crate::worker::Worker;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::task::{Poll, Waker};
use tidegate_broker::{Forward, GiveUp, HandOver, InterestChange};
use tidegate_message::{Message, Qos};
use tokio::sync::mpsc;

/// One thing on its way from one worker to another.
pub(crate) enum Between {
    Forward(Forward),
    Interest(InterestChange),
    InterestAck(u64),
    GiveUp(GiveUp),
    HandOver(Box<HandOver>),
    /// The messages up to this one's name are in that worker's log.
    Arrived(u64),
    /// The session of that key is in that worker's log.
    Parted(u64),
}

impl Between {
    const fn is_news(&self) -> bool {
        matches!(self, Between::Interest(_))
    }
}

/// Things taken from a link before the worker looks at its sockets again.
const BATCH: usize = 256;

/// The way into a worker.
#[derive(Clone)]
pub(crate) struct Door {
    sender: mpsc::Sender<(u16, Between)>,
    /// Changes of interest that went in.
    news: Arc<AtomicU32>,
}

/// What comes into a worker.
pub(crate) struct Inbox {
    receiver: RefCell<mpsc::Receiver<(u16, Between)>>,
    news: Arc<AtomicU32>,
    /// How many of the news were read.
    read: Cell<u32>,
}

/// A worker's door and its inbox, with room for so many things.
pub(crate) fn door(room: usize) -> (Door, Inbox) {
    let (sender, receiver) = mpsc::channel(room);
    let news = Arc::<AtomicU32>::default();
    let inbox = Inbox { receiver: RefCell::new(receiver), news: Arc::clone(&news), read: Cell::new(0) };
    (Door { sender, news }, inbox)
}

impl Door {
    /// After a change of interest went in.
    fn ring(&self, is_news: bool) {
        if is_news {
            self.news.fetch_add(1, Release);
        }
    }
}

/// The way to one other worker.
struct Link {
    door: Door,
    /// What the link had no room for, or what must be kept first, in order.
    waiting: RefCell<VecDeque<(u64, Between)>>,
    waker: Cell<Option<Waker>>,
}

/// The ways to all other workers.
pub(crate) struct Links {
    worker: u16,
    links: Vec<Option<Link>>,
    max_waiting: Cell<usize>,
    paused: RefCell<Vec<Waker>>,
    /// How far this worker's log is kept.
    kept: Rc<Cell<u64>>,
}

impl Links {
    /// `doors` by worker; the one of this worker itself is not used.
    pub(crate) fn new(worker: u16, doors: &[Door], kept: Rc<Cell<u64>>) -> Self {
        let link = |(to, door): (usize, &Door)| {
            let link = Link { door: door.clone(), waiting: RefCell::default(), waker: Cell::default() };
            (to != usize::from(worker)).then_some(link)
        };
        let links = doors.iter().enumerate().map(link).collect();
        Links { worker, links, max_waiting: Cell::new(4_096), paused: RefCell::default(), kept }
    }

    /// Bounds what waits for one link.
    pub(crate) fn limit(&self, max_waiting: usize) {
        self.max_waiting.set(max_waiting);
    }

    /// Sends what must not be lost: it is rare, and bounded by sessions and subscriptions.
    pub(crate) fn send(&self, to: u16, between: Between) {
        self.send_after(to, 0, between);
    }

    /// Sends when this worker's log is kept up to that number; what comes later waits behind it.
    pub(crate) fn send_after(&self, to: u16, number: u64, between: Between) {
        let Some(Some(link)) = self.links.get(usize::from(to)) else { return };
        let mut waiting = link.waiting.borrow_mut();
        if waiting.is_empty() && number <= self.kept.get() {
            let is_news = between.is_news();
            match link.door.sender.try_send((self.worker, between)) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return link.door.ring(is_news),
                Err(mpsc::error::TrySendError::Full((_, between))) => waiting.push_back((0, between)),
            }
        } else {
            waiting.push_back((number, between));
        }
        if let Some(waker) = link.waker.take() {
            waker.wake();
        }
    }

    /// More is kept: what waited for that may go.
    pub(crate) fn wake(&self) {
        for link in self.links.iter().flatten().filter(|link| !link.waiting.borrow().is_empty()) {
            if let Some(waker) = link.waker.take() {
                waker.wake();
            }
        }
    }

    /// Sends a message. `false`: the link is full and it was QoS 0.
    pub(crate) fn forward(&self, to: u16, forward: Forward) -> bool {
        let Some(Some(link)) = self.links.get(usize::from(to)) else { return true };
        let is_full = link.waiting.borrow().len() >= self.max_waiting.get();
        if is_full && droppable(&forward.message) {
            return false;
        }
        self.send(to, Between::Forward(forward));
        true
    }

    /// To all other workers, when this worker's log is kept up to that number.
    pub(crate) fn broadcast(&self, change: &InterestChange, number: u64) {
        for to in 0..self.links.len() as u16 {
            self.send_after(to, number, Between::Interest(change.clone()));
        }
    }

    /// Whether publishers of QoS 1 and 2 have to pause.
    pub(crate) fn is_congested(&self) -> bool {
        self.links.iter().flatten().any(|link| link.waiting.borrow().len() >= self.max_waiting.get())
    }

    /// Waits until no link is full.
    pub(crate) async fn uncongested(&self) {
        poll_fn(|cx| {
            if !self.is_congested() {
                return Poll::Ready(());
            }
            self.paused.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Moves what waits for the worker `to`, as long as both live.
    async fn pump(&self, to: usize) {
        let Some(Some(link)) = self.links.get(to) else { return };
        loop {
            poll_fn(|cx| {
                if link.waiting.borrow().front().is_some_and(|(number, _)| *number <= self.kept.get()) {
                    return Poll::Ready(());
                }
                link.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            })
            .await;
            let Ok(permit) = link.door.sender.reserve().await else { return };
            if let Some((_, between)) = link.waiting.borrow_mut().pop_front() {
                let is_news = between.is_news();
                permit.send((self.worker, between));
                link.door.ring(is_news);
            }
            if link.waiting.borrow().len() * 2 < self.max_waiting.get() {
                self.paused.borrow_mut().drain(..).for_each(Waker::wake);
            }
        }
    }
}

fn droppable(message: &Message) -> bool {
    message.qos == Qos::AtMostOnce
}

/// Runs the links of a worker: what waits goes out, what comes in reaches the broker.
pub(crate) async fn serve_links(worker: Rc<Worker>) {
    for to in 0..worker.hub.links.links.len() {
        let worker = Rc::clone(&worker);
        tokio::task::spawn_local(async move { worker.hub.links.pump(to).await });
    }
    let mut batch = Vec::with_capacity(BATCH);
    let inbox = &worker.hub.inbox.receiver;
    while poll_fn(|cx| inbox.borrow_mut().poll_recv_many(cx, &mut batch, BATCH)).await > 0 {
        for (from, between) in batch.drain(..) {
            if matches!(between, Between::Forward(_)) {
                worker.room_to_spread().await;
            }
            receive(&worker, from, between);
        }
        // Ready connections have their turn before the next batch.
        tokio::task::yield_now().await;
    }
}

/// Before a publish: who has subscribed at another worker by now gets it, although no SUBACK says
/// so yet. Whoever subscribes with one connection and publishes with another expects that, and
/// without this the socket's task would go before the inbox's. Costs a load where there is no news.
pub(crate) fn read_news(worker: &Rc<Worker>) {
    let Inbox { receiver, news, read } = &worker.hub.inbox;
    let there = news.load(Acquire);
    if there == read.replace(there) {
        return;
    }
    loop {
        let Ok((from, between)) = receiver.borrow_mut().try_recv() else { return };
        receive(worker, from, between);
    }
}

fn receive(worker: &Rc<Worker>, from: u16, between: Between) {
    let now = worker.clock.millis();
    match between {
        Between::Forward(forward) => {
            worker.with_broker(|broker, sink| {
                broker.handle_forward(now, from, &forward, sink);
                if forward.name != 0 {
                    worker.hub.keeper.taken(forward.name);
                }
            });
            if forward.name != 0 {
                worker.hub.keeper.owe(from, Owed::Arrived(forward.name));
            }
        }
        Between::Interest(change) => {
            worker.hub.broker.borrow_mut().handle_interest(from, &change);
            worker.hub.links.send(from, Between::InterestAck(change.number));
        }
        Between::InterestAck(number) => {
            worker.with_broker(|broker, sink| broker.handle_interest_ack(from, number, sink));
            worker.wake_unsettled();
        }
        Between::GiveUp(ask) => worker.with_broker(|broker, sink| broker.give_up(now, ask, sink)),
        Between::Arrived(id) => worker.hub.keeper.arrived(from, id),
        Between::Parted(key) => worker.with_broker(|broker, sink| broker.forget(key, sink)),
        Between::HandOver(hand_over) => worker.with_broker(|broker, sink| broker.adopt(now, *hand_over, sink)),
    }
}
