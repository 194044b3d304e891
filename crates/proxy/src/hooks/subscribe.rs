//! `onAuthorize` and `onSubscribe`: a subscription of any protocol, ahead of the rules. The
//! topic of such a question is the filter, without its share name.

use super::view::{HookView, digit};
use super::{Refusal, look};
use crate::worker::Worker;
use std::rc::Rc;
use tidegate_broker::{Access, split_share};
use tidegate_message::{Peer, Protocol, Qos};

/// What was wanted, and what a policy made of it.
pub(crate) struct Subscription {
    /// With its share name.
    pub(crate) filter: Box<str>,
    pub(crate) qos: Qos,
}

/// Asks. `Err`: the subscription is refused.
pub(crate) async fn subscribe(
    worker: &Rc<Worker>,
    (protocol, peer, access): (Protocol, &Peer, &Access),
    mut wanted: Subscription,
) -> Result<Subscription, Refusal> {
    let plan = worker.plan();
    let hooks = &plan.plan.hooks;
    for (name, scripts) in [("authorize", &hooks.authorize), ("subscribe", &hooks.subscribe)] {
        let mut at = 0;
        while at < scripts.len() {
            let standing = {
                let topic = split_share(&wanted.filter).map_or(&*wanted.filter, |(_, plain)| plain);
                let mut view = HookView::new(protocol, peer, access.client_id.as_deref())
                    .with("hook", name.as_bytes())
                    .with("qos", digit(wanted.qos as u8));
                view.topic = Some(topic);
                look(worker, &plan, (scripts, at, &view))
            };
            let Some(standing) = standing else { break };
            at = standing.at + 1;
            let undecided = |()| Refusal { code: 0x83, text: "undecided".into() };
            let Some(decided) = standing.decided().await.map_err(undecided)? else { continue };
            if let Some(refusal) = Refusal::of(&decided.decision, 0x87) {
                return Err(refusal);
            }
            if let Some(changes) = decided.decision.changes() {
                wanted.filter = changes.topic.clone().unwrap_or(wanted.filter);
                let highest = changes.qos.and_then(Qos::from_bits).unwrap_or(wanted.qos);
                wanted.qos = wanted.qos.min(highest);
            }
        }
    }
    Ok(wanted)
}
