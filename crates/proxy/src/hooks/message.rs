//! `onAuthorize` and `onPublish`: a publish of any protocol, ahead of routes and rules.
//! What no policy has to be asked about stays on the path that waits for nothing; who is asked
//! about waits, and what comes behind it on that connection too.

use super::view::HookView;
use super::{Refusal, Standing, look};
use crate::pubsub::{Publisher, Publishing, go_on, swallow};
use crate::worker::{Worker, WorkerPlan};
use std::rc::Rc;
use tidegate_broker::Published;
use tidegate_message::{Message, MessageBuilder, Outcome, Properties};
use tidegate_policy::Decision;
use tidegate_route::valid_topic;

/// What became of a message.
pub(crate) enum Fate {
    GoesOn,
    Dropped,
    Refused(Outcome),
}

/// Looks for whoever has to be asked about a publish. `None`: it goes on as it is.
pub(crate) fn intercept(
    worker: &Rc<Worker>,
    plan: &Rc<WorkerPlan>,
    (publisher, message): (&Publisher, &MessageBuilder<'_>),
) -> Option<Publishing> {
    let first = first(worker, plan, (publisher, message))?;
    let Some(message) = message.clone().build() else {
        return Some(Publishing::Done(Published::New(Outcome::InvalidTopic)));
    };
    let (worker, plan, publisher) = (Rc::clone(worker), Rc::clone(plan), publisher.clone());
    Some(Publishing::Later(Box::pin(asked(worker, plan, (publisher, message, first)))))
}

/// Where somebody who has to be asked about a publish stands: its hook, and the place there.
pub(crate) type First = (usize, Standing);

/// The first who has to be asked about a publish.
pub(crate) fn first(
    worker: &Rc<Worker>,
    plan: &Rc<WorkerPlan>,
    (publisher, message): (&Publisher, &MessageBuilder<'_>),
) -> Option<First> {
    seek(worker, plan, (publisher, message, (0, 0)))
}

/// The next script that has something to say.
fn seek(
    worker: &Rc<Worker>,
    plan: &Rc<WorkerPlan>,
    (publisher, message, (hook, at)): (&Publisher, &MessageBuilder<'_>, (usize, usize)),
) -> Option<First> {
    let hooks = &plan.plan.hooks;
    let both = [("authorize", &hooks.authorize), ("publish", &hooks.publish)];
    for (place, (name, scripts)) in both.into_iter().enumerate().skip(hook) {
        if scripts.is_empty() {
            continue;
        }
        let client_id = publisher.access.client_id.as_deref();
        let view = HookView::new(message.protocol, &publisher.peer, client_id)
            .with_message(message)
            .with("hook", name.as_bytes());
        let from = if place == hook { at } else { 0 };
        if let Some(standing) = look(worker, plan, (scripts, from, &view)) {
            return Some((place, standing));
        }
    }
    None
}

async fn asked(
    worker: Rc<Worker>,
    plan: Rc<WorkerPlan>,
    (publisher, mut message, first): (Publisher, Message, First),
) -> Published {
    match ask(&worker, &plan, (&publisher, &mut message, first)).await {
        Fate::GoesOn => {}
        Fate::Dropped => return swallow(&worker, &publisher, &message),
        Fate::Refused(outcome) => {
            worker.counters.of(message.protocol).refused.add(1);
            return Published::New(outcome);
        }
    }
    match go_on(&worker, &plan, (&publisher, message.builder())) {
        Publishing::Done(published) => published,
        Publishing::Later(later) => later.await,
    }
}

/// Asks one after the other, from the first on.
pub(crate) async fn ask(
    worker: &Rc<Worker>,
    plan: &Rc<WorkerPlan>,
    (publisher, message, first): (&Publisher, &mut Message, First),
) -> Fate {
    let mut next = Some(first);
    while let Some((hook, standing)) = next {
        let at = standing.at + 1;
        let fate = match standing.decided().await {
            Ok(Some(decided)) => judge((&decided.decision, decided.payload.as_deref()), message),
            Ok(None) => Fate::GoesOn,
            Err(()) => Fate::Refused(Outcome::Busy),
        };
        match fate {
            Fate::GoesOn => next = seek(worker, plan, (publisher, &message.builder(), (hook, at))),
            Fate::Refused(Outcome::Forbidden) => {
                worker.counters.auth(message.protocol, "publish-forbidden");
                return fate;
            }
            Fate::Refused(_) | Fate::Dropped => return fate,
        }
    }
    Fate::GoesOn
}

/// What a decision means for a publish, which it may change.
pub(crate) fn judge((decision, payload): (&Decision, Option<&[u8]>), message: &mut Message) -> Fate {
    if let Some(refusal) = Refusal::of(decision, 0x87) {
        return Fate::Refused(refusal.outcome());
    }
    if decision.changes().is_some_and(|changes| changes.drop) {
        return Fate::Dropped;
    }
    match changed(decision, message, payload).filter(|changed| valid_topic(changed.topic())) {
        Some(changed) => {
            *message = changed;
            Fate::GoesOn
        }
        None => Fate::Refused(Outcome::InvalidTopic),
    }
}

/// The message as a decision changes it: topic, payload, retain, user properties and
/// content type. `None`: it is none any more.
pub(crate) fn changed(decision: &Decision, message: &Message, payload: Option<&[u8]>) -> Option<Message> {
    let mut changed = message.builder();
    let changes = decision.changes();
    if let Some(topic) = changes.and_then(|changes| changes.topic.as_deref()) {
        changed.topic = topic;
    }
    changed.payload = payload.unwrap_or(changed.payload);
    changed.retain = changes.and_then(|changes| changes.retain).unwrap_or(changed.retain);
    decision.remove_headers().for_each(|name| remove(&mut changed.properties, name));
    decision.set_headers().for_each(|(name, value)| set(&mut changed.properties, name, value));
    let mut built = changed.build()?;
    (built.hops, built.kind) = (message.hops, message.kind);
    Some(built)
}

fn remove(properties: &mut Option<Box<Properties>>, name: &str) {
    let Some(properties) = properties else { return };
    if name.eq_ignore_ascii_case("content-type") {
        properties.content_type = None;
    }
    properties.user.retain(|(known, _)| **known != *name);
}

fn set(properties: &mut Option<Box<Properties>>, name: &str, value: &str) {
    let properties = properties.get_or_insert_default();
    if name.eq_ignore_ascii_case("content-type") {
        properties.content_type = Some(value.into());
    } else {
        properties.user.retain(|(known, _)| **known != *name);
        properties.user.push((name.into(), value.into()));
    }
}
