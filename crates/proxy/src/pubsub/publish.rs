//! A publish from any protocol: topic routes and their policies first, then the
//! broker, then the routes' targets. Without a matching route it is one call.

use super::Outlet;
use super::read_news;
use super::traced::Traced;
use crate::decide::{Ruling, Sought, seek};
use crate::hooks::{self, Fate};
use crate::plan::{Route, Target};
use crate::worker::{Worker, WorkerPlan};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use tidegate_broker::{Access, Origin, Published, SubscriberId};
use tidegate_message::{FieldId, Message, MessageBuilder, Outcome, Peer, Protocol, Qos, View};
use tidegate_policy::{Context, Edits, Place, Template, TemplateInput, Verdict};
use tidegate_route::{Captures, valid_topic};

/// How often a message may be published again by routes.
const HOPS_MAX: u8 = 8;

/// Who publishes.
#[derive(Clone)]
pub(crate) struct Publisher {
    /// An MQTT session with its packet identifier, or a subscriber of another kind.
    pub(crate) session: Option<(SubscriberId, u16)>,
    pub(crate) access: Access,
    pub(crate) peer: Rc<Peer>,
}

/// What `retain` in the query of a request that publishes says: a value is kept unless it says no. `None`: nothing
/// that can be understood.
pub(crate) fn retains(said: Option<&[u8]>) -> Option<bool> {
    match said {
        None | Some(b"" | b"1" | b"true") => Some(true),
        Some(b"0" | b"false") => Some(false),
        Some(_) => None,
    }
}

/// Whether rate limits count what policies see.
#[derive(Clone, Copy)]
pub(crate) enum Charge {
    Counted,
    /// It may never be published.
    Free,
}

/// What became of a publish.
pub(crate) enum Publishing {
    Done(Published),
    /// A route's policy or target takes its time.
    Later(Pin<Box<dyn Future<Output = Published>>>),
}

/// Publishes.
pub(crate) fn publish(worker: &Rc<Worker>, publisher: &Publisher, mut message: MessageBuilder<'_>) -> Publishing {
    read_news(worker);
    if worker.plan.borrow().plan.tracing.is_none() {
        return take(worker, publisher, message);
    }
    let Some(traced) = Traced::begin(worker, publisher, &mut message) else {
        return take(worker, publisher, message);
    };
    let publishing = take(worker, publisher, message);
    traced.end(worker, &publishing);
    publishing
}

fn take(worker: &Rc<Worker>, publisher: &Publisher, message: MessageBuilder<'_>) -> Publishing {
    let counters = worker.counters.of(message.protocol);
    counters.messages_in[message.qos as usize].add(1);
    counters.message_bytes_in.add(message.payload.len() as u64);
    let plan = worker.plan.borrow();
    if !plan.plan.hooks.on_publish() && !plan.plan.table.has_topics() {
        drop(plan);
        return kept(worker, publisher, message);
    }
    let plan = Rc::clone(&plan);
    if plan.plan.hooks.on_publish()
        && let Some(publishing) = hooks::intercept_publish(worker, &plan, (publisher, &message))
    {
        return publishing;
    }
    go_on(worker, &plan, (publisher, message))
}

/// Publishes what a client left behind: it did not come in now.
pub(super) fn publish_left(worker: &Rc<Worker>, publisher: &Publisher, message: &Message) -> Publishing {
    let plan = worker.plan();
    let message = message.builder();
    if plan.plan.hooks.on_publish()
        && let Some(publishing) = hooks::intercept_publish(worker, &plan, (publisher, &message))
    {
        return publishing;
    }
    go_on(worker, &plan, (publisher, message))
}

/// What no hook is in the way of any more: routes, then the broker.
pub(crate) fn go_on(
    worker: &Rc<Worker>,
    plan: &Rc<WorkerPlan>,
    (publisher, message): (&Publisher, MessageBuilder<'_>),
) -> Publishing {
    if plan.plan.table.has_topics() {
        let view = TopicView::of(&message, publisher);
        let mut found = Vec::new();
        plan.plan.table.topics(message.topic, &view, &mut found);
        if !found.is_empty() {
            let (worker, plan) = (Rc::clone(worker), Rc::clone(plan));
            return match message.build() {
                Some(message) => Publishing::Later(Box::pin(routed(worker, plan, (publisher.clone(), message, found)))),
                None => Publishing::Done(Published::New(Outcome::InvalidTopic)),
            };
        }
    }
    kept(worker, publisher, message)
}

fn kept(worker: &Rc<Worker>, publisher: &Publisher, message: MessageBuilder<'_>) -> Publishing {
    if worker.hub.broker.borrow().is_congested() {
        // Publishes for many are due: whoever publishes waits for its turn.
        return match message.build() {
            Some(message) => Publishing::Later(Box::pin(when_roomy(Rc::clone(worker), publisher.clone(), message))),
            None => Publishing::Done(Published::New(Outcome::InvalidTopic)),
        };
    }
    let before = worker.hub.keeper.appended();
    let published = to_broker(worker, publisher, message);
    let after = worker.hub.keeper.appended();
    if after == before || publisher.session.is_some() {
        return Publishing::Done(published);
    }
    Publishing::Later(Box::pin(when_kept(Rc::clone(worker), after, published)))
}

async fn when_roomy(worker: Rc<Worker>, publisher: Publisher, message: Message) -> Published {
    worker.room_to_spread().await;
    let published = to_broker(&worker, &publisher, message.builder());
    if publisher.session.is_none() {
        worker.kept(worker.hub.keeper.appended()).await;
    }
    published
}

/// Who has no MQTT session hears of a publish when it is kept.
async fn when_kept(worker: Rc<Worker>, number: u64, published: Published) -> Published {
    worker.kept(number).await;
    published
}

fn to_broker(worker: &Rc<Worker>, publisher: &Publisher, message: MessageBuilder<'_>) -> Published {
    let now = worker.clock.millis();
    let protocol = message.protocol;
    let published = worker.with_broker(|broker, sink| match publisher.session {
        Some(session) => broker.publish_from(now, session, message, sink),
        None => {
            let origin = Origin { subscriber: None, access: &publisher.access };
            Published::New(broker.publish(now, origin, message, sink))
        }
    });
    if let Some((id, _)) = publisher.session
        && let Some(Outlet::Mqtt(link)) = worker.hub.outlets.borrow().get(id)
    {
        // Also where this call appended nothing: a publish that came again is answered when the first one is kept.
        link.need(worker.hub.keeper.appended());
    }
    if matches!(published, Published::New(outcome) if !outcome.is_accepted()) {
        worker.counters.of(protocol).refused.add(1);
        if published == Published::New(Outcome::Forbidden) {
            worker.counters.auth(protocol, "publish-forbidden");
        }
    }
    published
}

/// A policy took a message away: its sender is told that it was taken.
pub(crate) fn swallow(worker: &Rc<Worker>, publisher: &Publisher, message: &Message) -> Published {
    worker.dropped(message.protocol, "policy");
    let once = publisher.session.filter(|_| message.qos == Qos::ExactlyOnce);
    worker.with_broker(|broker, sink| broker.swallow(once, sink))
}

/// A publish that routes match: policies of all of them, the broker, then the targets.
async fn routed(
    worker: Rc<Worker>,
    plan: Rc<WorkerPlan>,
    (publisher, mut message, found): (Publisher, Message, Vec<usize>),
) -> Published {
    for index in &found {
        let route = &plan.plan.routes[*index];
        let fate = policies(&worker, &plan, (route, &publisher, &mut message, Charge::Counted)).await;
        let outcome = if let Fate::Refused(refused) = fate { refused } else { Outcome::Success };
        count(&worker, route, (message.protocol, outcome));
        match fate {
            Fate::GoesOn => {}
            Fate::Dropped => return swallow(&worker, &publisher, &message),
            Fate::Refused(refused) => {
                worker.counters.of(message.protocol).refused.add(1);
                return Published::New(refused);
            }
        }
    }
    let published = to_broker(&worker, &publisher, message.builder());
    if publisher.session.is_none() {
        worker.kept(worker.hub.keeper.appended()).await;
    }
    let Published::New(mut outcome) = published else { return published };
    if !outcome.is_accepted() {
        return published;
    }
    for index in found {
        let result = to_target(&worker, &plan, (&publisher, &message, index)).await;
        if outcome.is_accepted() && !matches!(result, Outcome::NoSubscribers) {
            outcome = result;
        }
    }
    Published::New(outcome)
}

/// Runs a route's policies.
pub(crate) async fn policies(
    worker: &Rc<Worker>,
    plan: &Rc<WorkerPlan>,
    (route, publisher, message, charge): (&Route, &Publisher, &mut Message, Charge),
) -> Fate {
    let refused = Fate::Refused;
    if route.problem.is_some() {
        return refused(Outcome::Internal);
    }
    let (mut edits, mut scratch, mut step) = (Edits::new(), Vec::new(), 0);
    while !route.steps.is_empty() {
        let owned = message.builder();
        let view = TopicView::of(&owned, publisher);
        let captures = Captures::new();
        let mut context = Context {
            route: &route.name,
            captures: &captures,
            edits: &mut edits,
            scratch: &mut scratch,
            now_ns: worker.clock.micros() * 1_000,
            ran: step,
        };
        let verdict = match charge {
            Charge::Counted => route.steps.run_from(step, &view, &mut context),
            Charge::Free => route.steps.run_uncounted(step, &view, &mut context),
        };
        let (ruling, payload) = match verdict {
            Verdict::Continue => break,
            Verdict::Respond(answer) if answer.status < 400 => break,
            // A login is HTTP's; over other protocols nobody can have passed it.
            Verdict::Respond(_) | Verdict::Login { .. } => return refused(Outcome::Forbidden),
            Verdict::Limited { .. } => return refused(Outcome::QuotaExceeded),
            Verdict::Unfit => return refused(Outcome::InvalidTopic),
            Verdict::Script { script, next } => {
                step = next;
                match seek(worker, plan, (script as usize, &view, &route.name, &edits)) {
                    Sought::Skipped => continue,
                    Sought::Ruled(ruling) => (ruling, None),
                    Sought::Asking(asking) => asking.ruling_and_payload().await,
                }
            }
        };
        match ruling {
            Ruling::Continue | Ruling::Known(..) => {}
            Ruling::Refuse | Ruling::Stranger(_) => return refused(Outcome::Busy),
            Ruling::Decided(decision) => {
                decision.apply(&mut edits);
                match hooks::judge((&decision, payload.as_deref()), message) {
                    Fate::GoesOn => {}
                    other => return other,
                }
            }
        }
    }
    rewrite(&edits, message).map_or(Fate::GoesOn, Fate::Refused)
}

/// A rewritten topic. `Some`: it is none.
fn rewrite(edits: &Edits, message: &mut Message) -> Option<Outcome> {
    let topic = std::str::from_utf8(edits.topic()?).ok().filter(|topic| valid_topic(topic));
    let moved = topic.and_then(|topic| MessageBuilder { topic, ..message.builder() }.build());
    match moved {
        Some(mut moved) => {
            moved.hops = message.hops;
            *message = moved;
            None
        }
        None => Some(Outcome::InvalidTopic),
    }
}

async fn to_target(
    worker: &Rc<Worker>,
    plan: &Rc<WorkerPlan>,
    (publisher, message, index): (&Publisher, &Message, usize),
) -> Outcome {
    match &plan.plan.routes[index].target {
        Target::Respond(_) | Target::Template(_) | Target::Directory(_) => Outcome::NoSubscribers,
        Target::Topic(template) => republish(worker, plan, (publisher, message, index), template).await,
        Target::Handler(Some(handler)) => {
            crate::handle::publish(worker, &plan.plan, (*handler, publisher, message)).await
        }
        Target::Handler(None) => Outcome::Internal,
        Target::Upstreams { .. } => crate::http::publish_to_upstream(worker, plan, (index, message)).await,
    }
}

/// Publishes again under another topic; a message never takes the same route twice.
async fn republish(
    worker: &Rc<Worker>,
    plan: &Rc<WorkerPlan>,
    (publisher, message, index): (&Publisher, &Message, usize),
    template: &str,
) -> Outcome {
    if message.hops >= HOPS_MAX {
        worker.dropped(message.protocol, "hops");
        return Outcome::Internal;
    }
    let mut topic = Vec::new();
    let captures = Captures::new();
    let original = message.topic_bytes();
    let input = TemplateInput { path: b"", captures: &captures, topic: original, host: b"", query: b"" };
    let rendered =
        Template::compile(template, &[], Place::Topic).is_ok_and(|template| template.render(&input, &mut topic));
    let topic = std::str::from_utf8(&topic).ok().filter(|topic| rendered && valid_topic(topic));
    let Some(mut again) = topic.and_then(|topic| MessageBuilder { topic, ..message.builder() }.build()) else {
        return Outcome::InvalidTopic;
    };
    again.hops = message.hops + 1;
    let publisher = Publisher { session: None, ..publisher.clone() };
    let mut found = Vec::new();
    {
        let owned = again.builder();
        plan.plan.table.topics(again.topic(), &TopicView::of(&owned, &publisher), &mut found);
    }
    found.retain(|route| *route != index);
    match Box::pin(routed(Rc::clone(worker), Rc::clone(plan), (publisher, again, found))).await {
        Published::New(outcome) => outcome,
        Published::Again => Outcome::Success,
    }
}

fn count(worker: &Worker, route: &Route, (protocol, outcome): (Protocol, Outcome)) {
    let status = match outcome {
        Outcome::Success => 204,
        Outcome::NoSubscribers => 202,
        Outcome::Forbidden => 403,
        Outcome::QuotaExceeded => 429,
        Outcome::InvalidTopic | Outcome::Malformed => 400,
        Outcome::Busy => 503,
        _ => 500,
    };
    route.counters[usize::from(worker.id)].of(protocol).codes.add(status);
}

/// A publish as routes and policies see it.
pub(crate) struct TopicView<'v> {
    topic: &'v str,
    payload: &'v [u8],
    protocol: Protocol,
    properties: Option<&'v tidegate_message::Properties>,
    publisher: &'v Publisher,
}

impl<'v> TopicView<'v> {
    pub(crate) fn of(message: &'v MessageBuilder<'_>, publisher: &'v Publisher) -> Self {
        TopicView {
            topic: message.topic,
            payload: message.payload,
            protocol: message.protocol,
            properties: message.properties.as_deref(),
            publisher,
        }
    }
}

impl View for TopicView<'_> {
    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn peer(&self) -> &Peer {
        &self.publisher.peer
    }

    fn field(&self, id: FieldId<'_>) -> Option<&[u8]> {
        match id {
            FieldId::Topic => Some(self.topic.as_bytes()),
            FieldId::ClientId => self.publisher.access.client_id.as_deref().map(str::as_bytes),
            FieldId::ContentType => self.properties?.content_type.as_deref().map(str::as_bytes),
            FieldId::Header(name) => self.properties?.user(name).map(str::as_bytes),
            _ => None,
        }
    }

    fn payload(&self) -> &[u8] {
        self.payload
    }
}
