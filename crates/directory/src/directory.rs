//! All registrations: entered, renewed, ended, and forgotten when their time is up. What
//! has changed is kept for whoever follows, who asks by the number it has seen last.

use crate::{Link, Params, Registration};
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Lifetime where none is said: 25 hours (RFC 9176 section 5).
const LIFETIME_S: u32 = 90_000;
/// Changes that are told one by one; who is further behind is told everything.
const CHANGES_MAX: usize = 4_096;

/// Name and sector.
type Key = (Box<str>, Option<Box<str>>);

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It is wrong, in words.
    Invalid(&'static str),
    /// There is no such registration.
    Unknown,
    /// Somebody else registered it.
    NotOwner,
    /// There are as many as may be.
    Full,
}

/// A request to register.
#[derive(Clone, Debug)]
pub struct Registering<'r> {
    /// What it says.
    pub params: Params,
    /// Its links.
    pub links: Vec<Link>,
    /// Where it came from, as a base.
    pub source: &'r str,
    /// Who it came from.
    pub owner: Option<Arc<str>>,
    /// For the address of a new registration.
    pub random: u32,
}

/// What is different since a number.
#[derive(Debug)]
pub struct Changes<'d> {
    /// The number to ask with the next time.
    pub revision: u64,
    /// It is everything there is: what is not in it is gone.
    pub is_whole: bool,
    /// New or different.
    pub put: Vec<&'d Registration>,
    /// Gone.
    pub removed: Vec<Key>,
}

/// The registrations of a gateway.
#[derive(Debug, Default)]
pub struct Directory {
    by_id: BTreeMap<u32, Registration>,
    by_name: HashMap<Key, u32, RandomState>,
    changes: VecDeque<Key>,
    revision: u64,
    /// Nothing expires before that time.
    next_expiry: u64,
}

impl Directory {
    /// How many are registered.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Goes up with every change.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Enters an endpoint, or replaces what was known of it: its address stays.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn register(&mut self, now_ms: u64, asked: Registering<'_>, max: usize) -> Result<u32, Refusal> {
        self.expire(now_ms);
        let Registering { params, links, source, owner, random } = asked;
        let endpoint = params.endpoint.ok_or(Refusal::Invalid("ep is missing"))?;
        let key = (endpoint.clone(), params.sector.clone());
        let id = match self.by_name.get(&key) {
            Some(id) if self.by_id.get(id).is_some_and(|before| before.owner != owner) => {
                return Err(Refusal::NotOwner);
            }
            Some(id) => *id,
            None if self.by_id.len() >= max => return Err(Refusal::Full),
            None => self.free_id(random),
        };
        let lifetime_s = params.lifetime_s.unwrap_or(LIFETIME_S);
        let expires_at = self.expiry(now_ms, lifetime_s);
        let registration = Registration {
            id,
            endpoint,
            sector: params.sector,
            has_own_base: params.base.is_some(),
            base: params.base.unwrap_or_else(|| source.into()),
            lifetime_s,
            expires_at,
            owner,
            extra: params.extra,
            links,
        };
        self.by_id.insert(id, registration);
        self.by_name.insert(key.clone(), id);
        self.changed(key);
        Ok(id)
    }

    /// Renews a registration and changes what is said (RFC 9176 section 5.3.1).
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn update(
        &mut self,
        now_ms: u64,
        id: u32,
        (params, source, owner): (Params, &str, Option<&str>),
    ) -> Result<(), Refusal> {
        self.expire(now_ms);
        if params.endpoint.is_some() || params.sector.is_some() {
            return Err(Refusal::Invalid("ep and d stay as they were registered"));
        }
        let lifetime = params.lifetime_s;
        let own = self.find(id, owner)?;
        own.lifetime_s = lifetime.unwrap_or(own.lifetime_s);
        match params.base {
            Some(base) => (own.base, own.has_own_base) = (base, true),
            None if !own.has_own_base => own.base = source.into(),
            None => {}
        }
        for (name, value) in params.extra {
            match own.extra.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => own.extra.push((name, value)),
            }
        }
        let (lifetime_s, key) = (own.lifetime_s, (own.endpoint.clone(), own.sector.clone()));
        let expires_at = self.expiry(now_ms, lifetime_s);
        self.find(id, owner)?.expires_at = expires_at;
        self.changed(key);
        Ok(())
    }

    /// Ends a registration.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn remove(&mut self, now_ms: u64, id: u32, owner: Option<&str>) -> Result<(), Refusal> {
        self.expire(now_ms);
        self.find(id, owner)?;
        self.forget(id);
        Ok(())
    }

    /// Forgets those whose time is up; cheap where nobody's is.
    pub fn expire(&mut self, now_ms: u64) {
        if now_ms < self.next_expiry {
            return;
        }
        let over: Vec<u32> = self.by_id.values().filter(|own| own.expires_at <= now_ms).map(|own| own.id).collect();
        over.into_iter().for_each(|id| self.forget(id));
        self.next_expiry = self.by_id.values().map(|own| own.expires_at).min().unwrap_or(u64::MAX);
    }

    /// What is different since the number `since`.
    pub fn changes(&self, since: u64) -> Changes<'_> {
        let behind = self.revision.saturating_sub(since) as usize;
        let (revision, is_whole) = (self.revision, behind > self.changes.len() || since > self.revision);
        if is_whole {
            return Changes { revision, is_whole, put: self.by_id.values().collect(), removed: Vec::new() };
        }
        let mut keys: Vec<&Key> = self.changes.iter().skip(self.changes.len() - behind).collect();
        keys.sort_unstable();
        keys.dedup();
        let (mut put, mut removed) = (Vec::new(), Vec::new());
        for key in keys {
            match self.by_name.get(key).and_then(|id| self.by_id.get(id)) {
                Some(own) => put.push(own),
                None => removed.push(key.clone()),
            }
        }
        Changes { revision, is_whole, put, removed }
    }

    pub(crate) fn living(&self, now_ms: u64) -> impl Iterator<Item = &Registration> {
        self.by_id.values().filter(move |own| now_ms < own.expires_at)
    }

    /// A registration that its owner may change; one that nobody owns anybody may.
    fn find(&mut self, id: u32, owner: Option<&str>) -> Result<&mut Registration, Refusal> {
        let own = self.by_id.get_mut(&id).ok_or(Refusal::Unknown)?;
        if own.owner.as_deref() == owner { Ok(own) } else { Err(Refusal::NotOwner) }
    }

    fn forget(&mut self, id: u32) {
        if let Some(own) = self.by_id.remove(&id) {
            let key = (own.endpoint, own.sector);
            self.by_name.remove(&key);
            self.changed(key);
        }
    }

    fn expiry(&mut self, now_ms: u64, lifetime_s: u32) -> u64 {
        let at = now_ms + u64::from(lifetime_s) * 1_000;
        self.next_expiry = self.next_expiry.min(at);
        at
    }

    fn free_id(&self, random: u32) -> u32 {
        let mut id = random;
        while self.by_id.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        id
    }

    fn changed(&mut self, key: Key) {
        self.revision += 1;
        self.changes.push_back(key);
        if self.changes.len() > CHANGES_MAX {
            self.changes.pop_front();
        }
    }
}
