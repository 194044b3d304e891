//! Who may publish and subscribe where: one list of rules, checked here for every
//! protocol alike. The first rule that matches decides; without rules all is allowed.

use crate::filter::{covers, matches_levels};
use std::sync::Arc;

/// Who somebody is, as far as the rules care.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// The user that authenticated; `None`: anonymous.
    pub user: Option<Arc<str>>,
    /// MQTT client identifier; `None` for protocols that have none.
    pub client_id: Option<Arc<str>>,
    /// What its identity brings; `None`: nothing, which is what most have.
    own: Option<Arc<Own>>,
}

/// What an identity brings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Own {
    /// Whether everything is allowed to it.
    pub is_superuser: bool,
    /// Rules of its own; they are asked before those of all.
    pub rules: Option<Arc<[Rule]>>,
    /// When the identity ends, seconds since 1970; `None`: it does not.
    pub until: Option<u64>,
}

impl Access {
    /// Somebody whose identity brings nothing.
    pub const fn of(user: Option<Arc<str>>, client_id: Option<Arc<str>>) -> Self {
        Access { user, client_id, own: None }
    }

    /// That somebody with what the identity brings.
    pub fn with_own(self, own: Own) -> Self {
        Access { own: (own != Own::default()).then(|| Arc::new(own)), ..self }
    }

    /// That somebody under another client identifier.
    pub fn as_client(self, client_id: Option<Arc<str>>) -> Self {
        Access { client_id, ..self }
    }

    /// Somebody to whom everything is allowed.
    pub fn superuser(user: Option<Arc<str>>) -> Self {
        let own = Own { is_superuser: true, ..Own::default() };
        Access::of(user, None).with_own(own)
    }

    /// Whether everything is allowed to it.
    pub fn is_superuser(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.is_superuser)
    }

    /// Rules that came with its identity.
    pub fn rules(&self) -> Option<&[Rule]> {
        self.own.as_ref()?.rules.as_deref()
    }

    /// When the identity ends, seconds since 1970.
    pub fn until(&self) -> Option<u64> {
        self.own.as_ref()?.until
    }
}

/// What a rule is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Publishing.
    Publish,
    /// Subscribing, and each delivery.
    Subscribe,
    /// Both.
    All,
}

/// One rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The user it is for; `None`: everybody, anonymous too.
    pub user: Option<Box<str>>,
    /// The client identifier it is for; `None`: any.
    pub client_id: Option<Box<str>>,
    /// What it is about.
    pub action: Action,
    /// Topic filter. A level may hold `%u` and `%c`, which stand for user and client
    /// identifier; who has none matches no such rule.
    pub topic: Box<str>,
    /// Whether it allows or forbids.
    pub allow: bool,
}

/// All rules in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Acl {
    rules: Vec<Rule>,
    /// Identities may bring rules of their own.
    has_own: bool,
}

impl Acl {
    /// The list; empty: everything is allowed to whoever came in.
    pub const fn new(rules: Vec<Rule>) -> Self {
        Acl { rules, has_own: false }
    }

    /// The same list where identities may bring rules of their own.
    pub fn with_own(self, has_own: bool) -> Self {
        Acl { has_own, ..self }
    }

    /// Whether there are no rules for anybody.
    pub fn is_open(&self) -> bool {
        self.rules.is_empty() && !self.has_own
    }

    /// Whether no rule holds for `access`: it may do everything.
    pub fn spares(&self, access: &Access) -> bool {
        access.is_superuser() || (self.rules.is_empty() && access.rules().is_none())
    }

    /// Whether `access` may publish to `topic`.
    pub fn may_publish(&self, access: &Access, topic: &str) -> bool {
        self.decide(access, Action::Publish, |rule| rule.matches(access, topic))
    }

    /// Whether a message of `topic` may be delivered to `access`.
    pub fn may_receive(&self, access: &Access, topic: &str) -> bool {
        self.decide(access, Action::Subscribe, |rule| rule.matches(access, topic))
    }

    /// Whether `access` may subscribe to `filter`: decided by the first rule that covers
    /// all of it. What a narrower rule forbids is then left out of the deliveries.
    pub fn may_subscribe(&self, access: &Access, filter: &str) -> bool {
        self.decide(access, Action::Subscribe, |rule| rule.covers(access, filter))
    }

    fn decide(&self, access: &Access, action: Action, applies: impl Fn(&Rule) -> bool) -> bool {
        if self.spares(access) {
            return true;
        }
        let own = access.rules().unwrap_or_default();
        let concerns = |rule: &&Rule| rule.is_for(access) && (rule.action == action || rule.action == Action::All);
        let mut rules = own.iter().chain(&self.rules).filter(concerns);
        rules.find(|rule| applies(rule)).is_some_and(|rule| rule.allow)
    }
}

impl Rule {
    fn is_for(&self, access: &Access) -> bool {
        let same = |wanted: &Option<Box<str>>, found: &Option<Arc<str>>| {
            wanted.as_deref().is_none_or(|wanted| found.as_deref() == Some(wanted))
        };
        same(&self.user, &access.user) && same(&self.client_id, &access.client_id)
    }

    /// The levels with `%u` and `%c` filled in; `None` where a name is missing, or would
    /// widen the rule: a user called `#` must not get every topic.
    fn levels<'a>(&'a self, access: &'a Access) -> Option<impl Iterator<Item = &'a str>> {
        let safe = |name: &'a Option<Arc<str>>| name.as_deref().filter(|name| !name.contains(['+', '#', '/']));
        let (user, client_id) = (safe(&access.user), safe(&access.client_id));
        let missing = (user.is_none() && self.names("%u")) || (client_id.is_none() && self.names("%c"));
        let fill = move |level: &'a str| match level {
            "%u" => user.unwrap_or_default(),
            "%c" => client_id.unwrap_or_default(),
            level => level,
        };
        (!missing).then(|| self.topic.split('/').map(fill))
    }

    fn names(&self, placeholder: &str) -> bool {
        self.topic.split('/').any(|level| level == placeholder)
    }

    fn matches(&self, access: &Access, topic: &str) -> bool {
        self.levels(access).is_some_and(|levels| matches_levels(levels, topic))
    }

    fn covers(&self, access: &Access, filter: &str) -> bool {
        self.levels(access).is_some_and(|levels| covers(levels, filter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(user: Option<&str>, action: Action, topic: &str, allow: bool) -> Rule {
        Rule { user: user.map(Into::into), client_id: None, action, topic: topic.into(), allow }
    }

    fn access(user: Option<&str>) -> Access {
        Access { user: user.map(Into::into), client_id: Some("pump".into()), ..Access::default() }
    }

    #[test]
    fn the_first_matching_rule_decides_and_the_rest_is_forbidden() {
        let acl = Acl::new(vec![
            rule(Some("ann"), Action::All, "secret/#", false),
            rule(Some("ann"), Action::All, "#", true),
            rule(None, Action::Publish, "in/%c", true),
            rule(None, Action::Subscribe, "out/%u/#", true),
        ]);
        let (ann, bob, nobody) = (access(Some("ann")), access(Some("bob")), access(None));
        assert!(acl.may_publish(&ann, "a") && !acl.may_publish(&ann, "secret/a"));
        assert!(acl.may_subscribe(&ann, "#") && !acl.may_receive(&ann, "secret/a"));
        assert!(acl.may_publish(&bob, "in/pump") && !acl.may_publish(&bob, "in/other"));
        assert!(acl.may_subscribe(&bob, "out/bob/+") && !acl.may_subscribe(&bob, "out/+/x"));
        assert!(!acl.may_subscribe(&nobody, "out/#") && acl.may_publish(&nobody, "in/pump"));
    }

    #[test]
    fn a_name_that_is_a_wildcard_widens_no_rule() {
        let acl = Acl::new(vec![rule(None, Action::All, "home/%u", true)]);
        assert!(!acl.may_subscribe(&access(Some("#")), "home/#"));
        assert!(!acl.may_receive(&access(Some("+")), "home/x"));
    }

    #[test]
    fn a_superuser_may_everything_and_own_rules_come_first() {
        let acl = Acl::new(vec![rule(None, Action::All, "all/#", true)]).with_own(true);
        let own: Arc<[Rule]> =
            [rule(None, Action::Publish, "all/secret", false), rule(None, Action::All, "%u/#", true)].into();
        let ann = access(Some("ann")).with_own(Own { rules: Some(own), ..Own::default() });
        assert!(acl.may_publish(&ann, "ann/a") && acl.may_publish(&ann, "all/a"));
        assert!(!acl.may_publish(&ann, "all/secret") && !acl.may_publish(&ann, "bob/a"));
        let root = access(Some("root")).with_own(Own { is_superuser: true, ..Own::default() });
        assert!(acl.may_publish(&root, "all/secret") && acl.may_subscribe(&root, "#"));
        let strict = Acl::default().with_own(true);
        assert!(!strict.may_publish(&ann, "bob/a") && strict.may_publish(&access(None), "bob/a"));
    }

    #[test]
    fn without_rules_all_is_allowed() {
        assert!(Acl::default().may_publish(&Access::default(), "a"));
    }
}
