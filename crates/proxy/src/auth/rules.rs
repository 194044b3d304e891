//! What a token's claims or a service's answer say about somebody.

use crate::plan::Plan;
use serde_json::Value;
use std::sync::Arc;
use tidegate_broker::{Access, Action, Own, Rule};

/// Rules that one identity brings at most.
const RULES_MAX: usize = 256;

/// Somebody, and what they may do beside the rules of the plan.
#[derive(Default, Clone, Debug)]
pub(crate) struct Claimed {
    pub(crate) user: Arc<str>,
    pub(crate) is_superuser: bool,
    pub(crate) rules: Option<Arc<[Rule]>>,
    /// Seconds since 1970.
    pub(crate) until: Option<u64>,
}

impl Claimed {
    pub(crate) fn access(self, plan: &Plan) -> Access {
        let is_superuser = self.is_superuser || plan.superusers.contains(&*self.user);
        let own = Own { is_superuser, rules: self.rules, until: self.until };
        Access::of(Some(self.user), None).with_own(own)
    }

    /// Rules as `auth.acl` has them: `[{ "allow": "publish", "topic": "a/#" }, { "deny": "all", ... }]`.
    /// `None`: this is no list of rules, and whoever brought it must not come in.
    pub(crate) fn rules(value: &Value) -> Option<Arc<[Rule]>> {
        let list = value.as_array().filter(|list| list.len() <= RULES_MAX)?;
        list.iter().map(rule).collect()
    }
}

fn rule(value: &Value) -> Option<Rule> {
    let named = |key: &str| value.get(key).and_then(Value::as_str);
    let (action, allow) = match (named("allow"), named("deny")) {
        (Some(action), None) => (action, true),
        (None, Some(action)) => (action, false),
        _ => return None,
    };
    let action = match action {
        "publish" => Action::Publish,
        "subscribe" => Action::Subscribe,
        "all" => Action::All,
        _ => return None,
    };
    Some(Rule { user: None, client_id: None, action, topic: named("topic")?.into(), allow })
}
