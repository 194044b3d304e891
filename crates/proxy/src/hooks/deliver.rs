//! `onDeliver`: each message on its way to a subscriber of any protocol. While a verdict is due, what
//! comes behind it for the same subscriber waits too, so that order stays: QoS 1 and 2
//! within their window, QoS 0 up to `broker.maxQueued`. What waits for a proxied client is not
//! read from its broker.

use super::view::HookView;
use super::{Decided, Refusal, Standing, changed, look};
use crate::pubsub::{HubSink, MqttLink, Outlet};
use crate::worker::{Worker, WorkerPlan};
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use tidegate_broker::{Delivery, SubscriberId};
use tidegate_message::{Message, MessageBuilder, Peer, Protocol, Qos};
use tidegate_route::valid_topic;

/// A delivery that waits.
struct Waiting {
    message: Arc<Message>,
    qos: Qos,
    packet_id: u16,
    dup: bool,
    retain: bool,
    ids: SmallVec<[u32; 2]>,
}

impl Waiting {
    fn new(message: &Arc<Message>, delivery: &Delivery<'_>) -> Self {
        let Delivery { qos, packet_id, dup, retain, subscription_ids } = *delivery;
        Waiting { message: Arc::clone(message), qos, packet_id, dup, retain, ids: subscription_ids.into() }
    }

    fn delivery(&self) -> Delivery<'_> {
        let Waiting { qos, packet_id, dup, retain, .. } = *self;
        Delivery { qos, packet_id, dup, retain, subscription_ids: &self.ids }
    }
}

/// What waits on one worker, by subscriber.
#[derive(Default)]
pub(crate) struct Held {
    /// Whether the plan has policies for deliveries.
    pub(crate) is_on: Cell<bool>,
    queues: RefCell<HashMap<SubscriberId, VecDeque<Waiting>>>,
}

/// Takes a delivery that a policy has to be asked about, or that stands behind one.
/// `false`: it goes out now.
pub(crate) fn intercept(
    sink: &mut HubSink<'_>,
    worker: &Rc<Worker>,
    (to, message, delivery): (SubscriberId, &Arc<Message>, &Delivery<'_>),
) -> bool {
    let held = &worker.hub.held;
    let waiting = Waiting::new(message, delivery);
    if let Some(queue) = held.queues.borrow_mut().get_mut(&to) {
        // What waits for an acknowledgement has its window.
        if waiting.qos == Qos::AtMostOnce && queue.len() >= worker.plan.borrow().plan.broker.max_queued {
            worker.undelivered(message.protocol, "slow-consumer");
        } else {
            queue.push_back(waiting);
        }
        return true;
    }
    let plan = worker.plan();
    let Some(standing) = seek(worker, &plan, (sink.outlet(to), &waiting, 0)) else { return false };
    held.queues.borrow_mut().insert(to, VecDeque::new());
    tokio::task::spawn_local(drain(Rc::clone(worker), (to, waiting, standing)));
    true
}

fn unknown() -> Rc<Peer> {
    Rc::new(Peer::new(std::net::SocketAddr::from(([0, 0, 0, 0], 0))))
}

fn seek(
    worker: &Rc<Worker>,
    plan: &Rc<WorkerPlan>,
    (outlet, waiting, at): (Option<Outlet>, &Waiting, usize),
) -> Option<Standing> {
    let (protocol, client_id, peer) = match &outlet {
        Some(Outlet::Mqtt(link)) => (Protocol::Mqtt, link.client_id(), link.connection.peer()),
        Some(Outlet::Stream(queue)) => (queue.protocol, None, unknown()),
        Some(Outlet::Coap(_)) => (Protocol::Coap, None, unknown()),
        Some(Outlet::Api(_)) => (Protocol::Internal, None, unknown()),
        None => return None,
    };
    let view = HookView::new(protocol, &peer, client_id)
        .with_delivery(&waiting.message, (waiting.qos as u8, waiting.retain))
        .with("hook", &b"deliver"[..]);
    look(worker, plan, (&plan.plan.hooks.deliver, at, &view))
}

/// Asks about one delivery after the other until none waits.
async fn drain(worker: Rc<Worker>, (to, first, standing): (SubscriberId, Waiting, Standing)) {
    let (mut waiting, mut standing) = (first, Some(standing));
    loop {
        let plan = worker.plan();
        let mut passes = true;
        while let Some(here) = standing.take() {
            let at = here.at + 1;
            passes = match here.decided().await {
                Ok(Some(decided)) => {
                    judge(&decided, &waiting.message).map(|made| waiting.message = made.into()).is_some()
                }
                Ok(None) => true,
                Err(()) => false,
            };
            if passes {
                let outlet = worker.hub.outlets.borrow().get(to);
                standing = seek(&worker, &plan, (outlet, &waiting, at));
            }
        }
        worker.with_broker(|_, sink| match passes {
            true => sink.send_now(to, &waiting.message, waiting.delivery()),
            false => sink.withhold(to, &waiting.message, &waiting.delivery()),
        });
        let mut queues = worker.hub.held.queues.borrow_mut();
        match queues.get_mut(&to).and_then(VecDeque::pop_front) {
            Some(next) => waiting = next,
            None => {
                queues.remove(&to);
                return;
            }
        }
        drop(queues);
        let (plan, outlet) = (worker.plan(), worker.hub.outlets.borrow().get(to));
        standing = seek(&worker, &plan, (outlet, &waiting, 0));
    }
}

/// The message as a decision wants it delivered. `None`: not to this subscriber.
fn judge(decided: &Decided, message: &Message) -> Option<Message> {
    let drops = decided.decision.changes().is_some_and(|changes| changes.drop);
    if drops || Refusal::of(&decided.decision, 0x87).is_some() {
        return None;
    }
    changed(&decided.decision, message, decided.payload.as_deref()).filter(|changed| valid_topic(changed.topic()))
}

/// A delivery to a proxied client: as it came from its broker, or as a policy made it.
enum Shown<'m> {
    Came(&'m MessageBuilder<'m>),
    Made(&'m Message, (u8, bool)),
}

fn look_at(
    worker: &Rc<Worker>,
    plan: &Rc<WorkerPlan>,
    (link, shown, at): (&MqttLink, Shown<'_>, usize),
) -> Option<Standing> {
    let peer = link.connection.peer();
    let view = HookView::new(Protocol::Mqtt, &peer, link.client_id());
    let view = match shown {
        Shown::Came(message) => view.with_message(message),
        Shown::Made(message, promise) => view.with_delivery(message, promise),
    };
    look(worker, plan, (&plan.plan.hooks.deliver, at, &view.with("hook", &b"deliver"[..])))
}

/// The first who has to be asked about what a broker sends to a proxied client.
pub(crate) fn first_to_deliver(
    worker: &Rc<Worker>,
    plan: &Rc<WorkerPlan>,
    (link, message): (&MqttLink, &MessageBuilder<'_>),
) -> Option<Standing> {
    if plan.plan.hooks.deliver.is_empty() {
        return None;
    }
    look_at(worker, plan, (link, Shown::Came(message), 0))
}

/// Asks one after the other, from the first on: the message as they want it delivered. `None`: not to this client.
pub(crate) async fn ask_to_deliver(
    worker: &Rc<Worker>,
    plan: &Rc<WorkerPlan>,
    (link, mut message, first): (&MqttLink, Message, Standing),
) -> Option<Message> {
    let promise = (message.qos as u8, message.retain);
    let mut standing = Some(first);
    while let Some(here) = standing {
        let at = here.at + 1;
        if let Some(decided) = here.decided().await.ok()? {
            message = judge(&decided, &message)?;
        }
        standing = look_at(worker, plan, (link, Shown::Made(&message, promise), at));
    }
    Some(message)
}
