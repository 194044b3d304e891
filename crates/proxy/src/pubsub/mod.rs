//! Publish and subscribe on one worker: its broker, the outlets of its subscribers,
//! the links to the other workers, and the one task that writes.

mod between;
mod checkpoint;
mod delayed;
mod faults;
mod flush;
mod keeper;
mod link;
mod outlet;
mod publish;
mod queue;
mod sink;
mod spread;
mod sys;
mod trace;
mod traced;
mod wills;

pub(crate) use between::{Between, Door, Inbox, Links, door, read_news, serve_links};
pub(crate) use checkpoint::Checkpoints;
pub(crate) use faults::Faults;
pub(crate) use flush::{Flusher, flush};
pub(crate) use keeper::{Keeper, Owed, Store, attend_sync};
pub(crate) use link::{Framing, MqttLink, RelayEnd};
pub(crate) use outlet::{Outlet, Outlets};
pub(crate) use publish::{Charge, Publisher, Publishing, go_on, policies, publish, retains, swallow};
pub(crate) use queue::{Queued, StreamQueue, Undelivered};
pub(crate) use sink::HubSink;
pub(crate) use spread::{Spreader, spread};
pub(crate) use sys::SysTopics;
pub(crate) use trace::{Line, Traces, Watch};

use crate::hooks::Held;
use crate::plan::{Plan, SharedSubscriptions};
use crate::worker::Worker;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use tidegate_broker::{Broker, BrokerLimits, Connected, Leave, Shared, SubscriberId, TakeOver};
use tidegate_mqtt::{Encoded, Settings};

/// A CONNECT whose session comes from another worker.
enum Claim {
    Waiting(Option<Waker>),
    Ready(Connected),
    /// Whether it had found a session.
    Overtaken(bool),
}

/// One worker's side of publish and subscribe.
pub(crate) struct Hub {
    pub(crate) broker: RefCell<Broker>,
    pub(crate) outlets: RefCell<Outlets>,
    pub(crate) flusher: Flusher,
    pub(crate) spreader: Spreader,
    pub(crate) links: Links,
    pub(crate) inbox: Inbox,
    pub(crate) keeper: Keeper,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) sys: SysTopics,
    pub(crate) traces: Traces,
    /// Deliveries that wait for a policy.
    pub(crate) held: Held,
    pub(crate) settings: RefCell<Arc<Settings>>,
    /// A fan-out's packet, encoded once; its buffer is used again.
    pub(crate) encoded: RefCell<Encoded>,
    /// Deliveries that their client does not take: packet ids to give back.
    pub(crate) discards: RefCell<Vec<(SubscriberId, u16)>>,
    pub(crate) undelivered: Rc<Undelivered>,
    /// The broker's call of now brought wills that routes and policies have to see.
    has_wills: Cell<bool>,
    /// What clients left behind, wills and delayed publishes, that routes and policies are seeing.
    left_under_way: Cell<usize>,
    claims: RefCell<HashMap<u64, Claim>>,
    unsettled: RefCell<Vec<Waker>>,
}

impl Hub {
    pub(crate) fn new(
        shared: Arc<Shared>,
        (worker, workers): (u16, u16),
        (links, inbox, keeper): (Links, Inbox, Keeper),
    ) -> Self {
        Hub {
            broker: RefCell::new(Broker::new(shared, (worker, workers), BrokerLimits::default())),
            outlets: RefCell::default(),
            flusher: Flusher::default(),
            spreader: Spreader::default(),
            links,
            inbox,
            keeper,
            checkpoints: Checkpoints::default(),
            sys: SysTopics::default(),
            traces: Traces::default(),
            held: Held::default(),
            settings: RefCell::default(),
            encoded: RefCell::default(),
            discards: RefCell::default(),
            undelivered: Rc::default(),
            has_wills: Cell::default(),
            left_under_way: Cell::default(),
            claims: RefCell::default(),
            unsettled: RefCell::default(),
        }
    }

    /// Takes a plan's bounds up.
    pub(crate) fn adopt(&self, plan: &Plan) {
        self.broker.borrow_mut().set_limits(broker_limits(plan));
        self.held.is_on.set(!plan.hooks.deliver.is_empty());
        *self.settings.borrow_mut() = Arc::new(Settings {
            limits: plan.bounds,
            receive_maximum: plan.mqtt.receive_maximum,
            topic_alias_maximum: plan.mqtt.topic_alias_maximum,
            server_keep_alive: plan.mqtt.server_keep_alive_s,
            ..Settings::default()
        });
    }
}

fn broker_limits(plan: &Plan) -> BrokerLimits {
    BrokerLimits {
        max_queued: plan.broker.max_queued,
        max_queued_bytes: plan.broker.max_queued_bytes,
        max_queued_total_bytes: plan.broker.max_queued_total_bytes,
        max_subscriptions: plan.broker.max_subscriptions_per_client,
        max_delayed: plan.broker.max_delayed,
        max_pending_wills: plan.broker.max_pending_wills,
        max_pending_deliveries: plan.broker.max_pending_deliveries,
        sticky_groups: plan.broker.shared_subscriptions == SharedSubscriptions::Sticky,
        max_queued_age_ms: plan.broker.max_queued_age_s * 1_000,
        max_inflight: plan.mqtt.max_inflight,
        // What a client may have under way of QoS 2 has an identifier each.
        max_inbound: usize::from(plan.mqtt.receive_maximum).max(BrokerLimits::default().max_inbound),
        max_session_expiry: plan.mqtt.max_session_expiry_s,
        topic_levels: plan.bounds.topic_levels,
        ..BrokerLimits::default()
    }
}

impl Worker {
    /// Calls the broker with the worker's sink, then does what the call left to do:
    /// packet ids of what could not be sent, steps of sessions that move.
    pub(crate) fn with_broker<T>(self: &Rc<Self>, act: impl FnOnce(&mut Broker, &mut HubSink<'_>) -> T) -> T {
        let hub = &self.hub;
        let (result, is_spreading) = {
            let mut sink = HubSink::new(self);
            let mut broker = hub.broker.borrow_mut();
            let result = act(&mut broker, &mut sink);
            while let Some((id, packet_id)) = { hub.discards.borrow_mut().pop() } {
                broker.discard(self.clock.millis(), (id, packet_id), &mut sink);
            }
            (result, broker.pending_deliveries() > 0)
        };
        if is_spreading {
            hub.spreader.wake();
        }
        if hub.keeper.seal() {
            hub.flusher.wake();
        }
        self.take_over();
        self.publish_wills();
        result
    }

    /// Carries the steps of moving sessions out.
    fn take_over(&self) {
        let hub = &self.hub;
        loop {
            let step = hub.broker.borrow_mut().poll_takeover();
            match step {
                None => return,
                Some(TakeOver::Ask(ask)) => {
                    hub.links.send_after(ask.home.worker, hub.keeper.appended(), Between::GiveUp(ask));
                }
                Some(TakeOver::HandOver(hand_over)) => {
                    let (to, number) = (hand_over.to, hub.keeper.appended());
                    hub.links.send_after(to, number, Between::HandOver(Box::new(hand_over)));
                }
                Some(TakeOver::Ready { claim, connected }) => self.settle_claim(claim, Claim::Ready(connected)),
                Some(TakeOver::Overtaken { claim, present }) => {
                    self.settle_claim(claim, Claim::Overtaken(present));
                }
            }
        }
    }

    fn settle_claim(&self, claim: u64, settled: Claim) {
        if let Some(Claim::Waiting(Some(waker))) = self.hub.claims.borrow_mut().insert(claim, settled) {
            waker.wake();
        }
    }

    /// Waits until a session has come from its worker. `Err`: another connection has it already; whether there was one.
    pub(crate) async fn claimed(&self, claim: u64) -> Result<Connected, bool> {
        let result = poll_fn(|cx| {
            let mut claims = self.hub.claims.borrow_mut();
            let entry = claims.entry(claim).or_insert(Claim::Waiting(None));
            match entry {
                Claim::Waiting(waker) => {
                    *waker = Some(cx.waker().clone());
                    Poll::Pending
                }
                Claim::Ready(connected) => Poll::Ready(Ok(*connected)),
                Claim::Overtaken(present) => Poll::Ready(Err(*present)),
            }
        })
        .await;
        self.hub.claims.borrow_mut().remove(&claim);
        // A later connection may have taken the session before this task had its turn.
        let is_still = |connected: &Connected| self.hub.broker.borrow().has_connection(connected.id);
        result.and_then(|connected| is_still(&connected).then_some(connected).ok_or(connected.present))
    }

    /// Forgets a claim whose connection went away.
    pub(crate) fn abandon(self: &Rc<Self>, claim: u64) {
        let known = self.hub.claims.borrow_mut().remove(&claim);
        let Some(Claim::Ready(connected)) = known else { return self.hub.broker.borrow_mut().abandon(claim) };
        // It was never told that it is connected: its will does not count.
        let leave = Leave { with_will: false, expiry: None };
        self.with_broker(|broker, sink| broker.disconnect(self.clock.millis(), connected.id, leave, sink));
    }

    /// Waits until every worker knows of the interest with that number.
    pub(crate) async fn settled(&self, number: u64) {
        poll_fn(|cx| {
            if self.hub.broker.borrow().settled() >= number {
                return Poll::Ready(());
            }
            self.hub.unsettled.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn wake_unsettled(&self) {
        self.hub.unsettled.borrow_mut().drain(..).for_each(Waker::wake);
    }
}
