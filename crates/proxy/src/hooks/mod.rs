//! The broker's hooks: policies that are asked when a client comes, needs a key, publishes,
//! subscribes, is delivered to and goes. Each policy goes down the ladder of every other one:
//! filter, cache, ring, deadline. A hook without a policy is one test of a length.

mod client;
mod deliver;
mod message;
mod payloads;
mod subscribe;
mod view;

pub(crate) use client::{Terms, authenticate, connect, disconnected, psk};
pub(crate) use deliver::{Held, ask_to_deliver, first_to_deliver, intercept};
pub(crate) use message::{Fate, First, ask, changed, first, intercept as intercept_publish, judge};
pub(crate) use payloads::Payloads;
pub(crate) use subscribe::{Subscription, subscribe};
pub(crate) use view::{HookView, flag};

use crate::decide::{Ruling, Sought, seek};
use crate::worker::{Worker, WorkerPlan};
use serde::Deserialize;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_message::Outcome;
use tidegate_policy::{Decision, Edits};

/// Scripts of each hook, by their place in the plan.
#[derive(Deserialize, Debug, Default, Clone)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Hooks {
    pub(crate) connect: Box<[u32]>,
    pub(crate) authenticate: Box<[u32]>,
    /// Asked for keys of DTLS.
    pub(crate) psk: Box<[u32]>,
    /// Asked for publishes and for subscriptions, ahead of their own.
    pub(crate) authorize: Box<[u32]>,
    pub(crate) publish: Box<[u32]>,
    pub(crate) subscribe: Box<[u32]>,
    pub(crate) deliver: Box<[u32]>,
    pub(crate) disconnect: Box<[u32]>,
}

impl Hooks {
    /// Whether a publish has to ask.
    pub(crate) fn on_publish(&self) -> bool {
        !(self.publish.is_empty() && self.authorize.is_empty())
    }

    /// Whether a subscription has to ask.
    pub(crate) fn on_subscribe(&self) -> bool {
        !(self.subscribe.is_empty() && self.authorize.is_empty())
    }
}

/// What a hook refuses with.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// As in MQTT 5.
    pub(crate) code: u8,
    /// For the client.
    pub(crate) text: Box<str>,
}

impl Refusal {
    fn of(decision: &Decision, standard: u8) -> Option<Refusal> {
        let (status, text) = decision.reject.as_ref()?;
        let by_status = if *status == 429 { 0x97 } else { standard };
        let reason = decision.changes().and_then(|changes| changes.reason);
        Some(Refusal { code: reason.unwrap_or(by_status), text: text.clone() })
    }

    /// The outcome that every protocol knows.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.code {
            0x90 | 0x8f => Outcome::InvalidTopic,
            0x97 | 0x93 | 0x96 => Outcome::QuotaExceeded,
            0x89 | 0x88 | 0x9f => Outcome::Busy,
            0x83 => Outcome::BadUpstream,
            0x80 => Outcome::Internal,
            0x99 => Outcome::Malformed,
            _ => Outcome::Forbidden,
        }
    }
}

/// Where somebody who asks stands: at which script, and what was sought there.
pub(crate) struct Standing {
    at: usize,
    sought: Sought,
}

/// What one script decided, with the payload that came along.
struct Decided {
    decision: Arc<Decision>,
    payload: Option<Vec<u8>>,
}

/// Looks through the scripts from `at` on without waiting. `None`: none has anything to say.
fn look(
    worker: &Rc<Worker>,
    plan: &Rc<WorkerPlan>,
    (scripts, at, view): (&[u32], usize, &HookView<'_>),
) -> Option<Standing> {
    let edits = Edits::new();
    for (place, script) in scripts.iter().enumerate().skip(at) {
        match seek(worker, plan, (*script as usize, view, "broker", &edits)) {
            Sought::Skipped | Sought::Ruled(Ruling::Continue) => {}
            sought => return Some(Standing { at: place, sought }),
        }
    }
    None
}

impl Standing {
    /// The decision: `Ok(None)`: nothing was decided; `Err`: the fallback refuses.
    async fn decided(self) -> Result<Option<Decided>, ()> {
        let (ruling, payload) = match self.sought {
            Sought::Skipped => (Ruling::Continue, None),
            Sought::Ruled(ruling) => (ruling, None),
            Sought::Asking(asking) => asking.ruling_and_payload().await,
        };
        match ruling {
            Ruling::Decided(decision) => Ok(Some(Decided { decision, payload })),
            Ruling::Refuse | Ruling::Stranger(_) => Err(()),
            Ruling::Continue | Ruling::Known(..) => Ok(None),
        }
    }
}
