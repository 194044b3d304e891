//! A client comes and goes: `onConnect`, `onAuthenticate`, `onPsk`, `onDisconnect`. Policies of one
//! hook are asked one after the other and see the CONNECT as it came.

use super::{Decided, HookView, Refusal, look};
use crate::auth::Claimed;
use crate::decide::Sought;
use crate::worker::{Worker, WorkerPlan};
use std::rc::Rc;
use tidegate_broker::Access;
use tidegate_policy::Changes;

const NOT_AUTHORIZED: u8 = 0x87;
const UNAVAILABLE: u8 = 0x88;

/// What `onConnect` changed of a CONNECT, and what goes into the CONNACK.
#[derive(Default)]
pub(crate) struct Terms {
    pub(crate) client_id: Option<Box<str>>,
    pub(crate) tenant: Option<Box<str>>,
    /// The broker of a client that is proxied.
    pub(crate) upstream: Option<Box<str>>,
    pub(crate) keep_alive_s: Option<u16>,
    pub(crate) session_expiry_s: Option<u32>,
    pub(crate) user_properties: Vec<(Box<str>, Box<str>)>,
}

impl Terms {
    fn take(&mut self, decided: &Decided) {
        let properties = decided.decision.set_headers();
        self.user_properties.extend(properties.map(|(name, value)| (name.into(), value.into())));
        self.upstream = decided.decision.upstream().map(Box::from).or(self.upstream.take());
        let Some(changes) = decided.decision.changes() else { return };
        let Changes { client_id, tenant, keep_alive_s, session_expiry_s, .. } = changes;
        self.client_id = client_id.clone().or(self.client_id.take());
        self.tenant = tenant.clone().or(self.tenant.take());
        self.keep_alive_s = keep_alive_s.or(self.keep_alive_s);
        self.session_expiry_s = session_expiry_s.or(self.session_expiry_s);
    }
}

/// Asks `onConnect`.
pub(crate) async fn connect(worker: &Rc<Worker>, plan: &Rc<WorkerPlan>, view: &HookView<'_>) -> Result<Terms, Refusal> {
    let (mut terms, mut at) = (Terms::default(), 0);
    while let Some(standing) = look(worker, plan, (&plan.plan.hooks.connect, at, view)) {
        at = standing.at + 1;
        let Some(decided) = standing.decided().await.map_err(|()| late())? else { continue };
        match Refusal::of(&decided.decision, NOT_AUTHORIZED) {
            Some(refusal) => return Err(refusal),
            None => terms.take(&decided),
        }
    }
    Ok(terms)
}

/// Who `onAuthenticate` says it is, and whose. The first policy that knows decides.
/// `None`: none knows, and the other ways of `auth` are asked.
pub(crate) async fn authenticate(
    worker: &Rc<Worker>,
    plan: &Rc<WorkerPlan>,
    view: &HookView<'_>,
) -> Result<Option<(Access, Option<Box<str>>)>, Refusal> {
    let mut at = 0;
    while let Some(standing) = look(worker, plan, (&plan.plan.hooks.authenticate, at, view)) {
        at = standing.at + 1;
        let Some(decided) = standing.decided().await.map_err(|()| late())? else { continue };
        if let Some(refusal) = Refusal::of(&decided.decision, NOT_AUTHORIZED) {
            worker.counters.auth(view.protocol, "policy-denied");
            return Err(refusal);
        }
        let Some(changes) = decided.decision.changes() else { continue };
        let Some(user) = &changes.user else { continue };
        let rules = changes.acl.as_ref().map(Claimed::rules);
        if rules == Some(None) {
            worker.counters.auth(view.protocol, "policy-denied");
            return Err(Refusal { code: NOT_AUTHORIZED, text: "the policy's rules are none".into() });
        }
        worker.counters.auth(view.protocol, "policy");
        let claimed =
            Claimed { user: (&**user).into(), is_superuser: changes.superuser, rules: rules.flatten(), until: None };
        return Ok(Some((claimed.access(&plan.plan), changes.tenant.clone())));
    }
    Ok(None)
}

/// The pre-shared key of a client of DTLS. The first policy that knows one decides; without
/// a verdict nobody gets in, whatever the fallback says.
pub(crate) async fn psk(worker: &Rc<Worker>, plan: &Rc<WorkerPlan>, view: &HookView<'_>) -> Option<Box<[u8]>> {
    let mut at = 0;
    while let Some(standing) = look(worker, plan, (&plan.plan.hooks.psk, at, view)) {
        at = standing.at + 1;
        let Some(decided) = standing.decided().await.ok()? else { continue };
        if Refusal::of(&decided.decision, NOT_AUTHORIZED).is_some() {
            worker.counters.auth(view.protocol, "policy-denied");
            return None;
        }
        if let Some(key) = decided.decision.changes().and_then(|changes| changes.psk.clone()) {
            worker.counters.auth(view.protocol, "policy");
            return Some(key.0);
        }
    }
    None
}

/// Tells `onDisconnect`; nobody waits for it.
pub(crate) fn disconnected(worker: &Rc<Worker>, plan: &Rc<WorkerPlan>, view: &HookView<'_>) {
    let mut at = 0;
    while let Some(standing) = look(worker, plan, (&plan.plan.hooks.disconnect, at, view)) {
        at = standing.at + 1;
        if let Sought::Asking(asking) = standing.sought {
            // Waited for only so that it is counted and its slot becomes free.
            tokio::task::spawn_local(asking.ruling());
        }
    }
}

/// No verdict came, and the fallback refuses.
fn late() -> Refusal {
    Refusal { code: UNAVAILABLE, text: "undecided".into() }
}
