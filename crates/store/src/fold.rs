//! From the entries of all logs to what is live: the session of a client with the
//! highest epoch, wherever it stood; messages that had not reached their worker's log.

use crate::entry::{Entry, StoredRule};
use crate::stored::since;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use tidegate_broker::{Options, Rule, StoredDelayed, StoredDelivery, StoredSession, Will, matches, split_share};
use tidegate_message::{Message, Qos};

/// Ids of recovered messages: no worker gives such ones.
const RECOVERED_IDS: u64 = 0xffff << 48;
/// Broken places that are named; all are counted.
const NAMED_MAX: usize = 20;

/// What a store held.
#[derive(Default, Debug)]
pub struct Recovered {
    /// Sessions.
    pub sessions: Vec<StoredSession>,
    /// Retained messages with their numbers.
    pub retained: Vec<(Arc<Message>, u64)>,
    /// Publishes that wait for their time.
    pub delayed: Vec<StoredDelayed>,
    /// Logs whose last frame was not whole: what a crash leaves, and promised to nobody.
    pub torn: usize,
    /// Broken places before others that are whole: something was lost there.
    pub corrupt: usize,
    /// Where, `file: offset`; the first of them.
    pub corrupt_places: Vec<String>,
}

#[derive(Debug)]
struct Delivery {
    /// 0: released.
    id: u64,
    qos: Qos,
    retain: bool,
    ids: Vec<u32>,
    packet_id: u16,
}

#[derive(Default, Debug)]
struct Session {
    /// Where messages for it go.
    worker: u16,
    /// That is another worker than the one whose log this is.
    has_left: bool,
    client_id: Arc<str>,
    user: Option<Arc<str>>,
    is_superuser: bool,
    rules: Option<Arc<[Rule]>>,
    epoch: u64,
    expiry: u32,
    ends_at: Option<u64>,
    will: Option<(Will, Option<u64>)>,
    filters: Vec<(Arc<str>, Options)>,
    deliveries: BTreeMap<u64, Delivery>,
    /// Messages that it has or had.
    ids: HashSet<u64>,
    inbound: HashSet<u16>,
}

#[derive(Debug)]
struct Outgoing {
    id: u64,
    to: u16,
    plain: bool,
    groups: Vec<Box<str>>,
    /// Who published it, for no local.
    client: Option<Box<str>>,
}

/// The state while entries are read.
#[derive(Default)]
pub(crate) struct Fold {
    epoch_ms: u64,
    bodies: HashMap<u64, Arc<Message>>,
    sessions: HashMap<(u16, u64), Session>,
    /// The highest epoch of each client, also of sessions that ended.
    epochs: HashMap<Arc<str>, u64>,
    /// By the worker they left.
    outgoing: HashMap<u16, Vec<Outgoing>>,
    taken: HashSet<(u16, u64)>,
    /// Publishes for many that were not over, oldest first: the worker, the message, the sessions.
    spreads: Vec<(u16, u64, Vec<u64>)>,
    retained: HashMap<Box<str>, (Arc<Message>, u64)>,
    delayed: BTreeMap<(u16, u64), StoredDelayed>,
    pub(crate) torn: usize,
    corrupt: usize,
    places: Vec<String>,
}

impl Fold {
    pub(crate) fn new(epoch_ms: u64) -> Self {
        Fold { epoch_ms, ..Fold::default() }
    }

    pub(crate) fn corrupt(&mut self, path: &Path, at: usize) {
        self.corrupt += 1;
        if self.places.len() < NAMED_MAX {
            self.places.push(format!("{}: {at}", path.display()));
        }
    }

    /// Takes a frame of a worker's log, or of the retained messages': whether it could be read.
    pub(crate) fn frame(&mut self, worker: Option<u16>, mut payload: &[u8]) -> bool {
        while !payload.is_empty() {
            let Ok((entry, rest)) = postcard::take_from_bytes::<Entry<'_>>(payload) else { return false };
            payload = rest;
            if self.entry(worker.unwrap_or(u16::MAX), entry).is_none() {
                return false;
            }
        }
        true
    }

    /// `None`: the entry makes no sense. One for a session that is gone changes nothing.
    fn entry(&mut self, worker: u16, entry: Entry<'_>) -> Option<()> {
        let epoch_ms = self.epoch_ms;
        match entry {
            Entry::Body { id, message } => {
                self.bodies.insert(id, Arc::new(message.message(epoch_ms)?));
            }
            Entry::Session { key, client_id, user, epoch, expiry, ends_at, connected } => {
                let session = self.sessions.entry((worker, key)).or_default();
                session.worker = worker;
                session.client_id = client_id.into();
                session.user = user.map(Into::into);
                // What it brought stands behind it, where it brought something.
                (session.is_superuser, session.rules) = (false, None);
                (session.epoch, session.expiry) = (epoch, expiry);
                session.ends_at = ends_at.filter(|_| !connected).map(|at| since(at, epoch_ms));
                let known = self.epochs.entry(client_id.into()).or_default();
                *known = epoch.max(*known);
            }
            Entry::Identity { key, is_superuser, rules } => {
                let rules = own_rules(rules).ok()?;
                if let Some(session) = self.sessions.get_mut(&(worker, key)) {
                    (session.is_superuser, session.rules) = (is_superuser, rules);
                }
            }
            Entry::Retain { sequence, message } => {
                let message = Arc::new(message.message(epoch_ms)?);
                let known = self.retained.get(message.topic()).map_or(0, |(_, known)| *known);
                if sequence >= known {
                    self.retained.insert(message.topic().into(), (message, sequence));
                }
            }
            Entry::Outgoing { id, worker: to, plain, groups } => {
                let groups = groups.into_iter().map(Into::into).collect();
                self.outgoing.entry(worker).or_default().push(Outgoing { id, to, plain, groups, client: None });
            }
            Entry::OutgoingOf { id, worker: to, client_id } => {
                let known = self.outgoing.get_mut(&worker).into_iter().flatten();
                for outgoing in known.filter(|outgoing| outgoing.id == id && outgoing.to == to) {
                    outgoing.client = Some(client_id.into());
                }
            }
            Entry::Arrived { worker: to, id } => {
                let outgoing = self.outgoing.entry(worker).or_default();
                outgoing.retain(|outgoing| outgoing.to != to || outgoing.id > id);
            }
            Entry::Taken { id } => {
                self.taken.insert((worker, id));
            }
            Entry::Delay { id, user, client_id, due_at, message } => {
                let (user, client_id) = (user.map(Into::into), client_id.map(Into::into));
                let (message, due_at) = (Arc::new(message.message(epoch_ms)?), since(due_at, epoch_ms));
                let (is_superuser, rules) = (false, None);
                let is_will = false;
                let delayed = StoredDelayed { user, client_id, is_superuser, rules, message, due_at, is_will };
                self.delayed.insert((worker, id), delayed);
            }
            Entry::DelayIdentity { id, is_superuser, rules } => {
                let rules = own_rules(rules).ok()?;
                if let Some(delayed) = self.delayed.get_mut(&(worker, id)) {
                    (delayed.is_superuser, delayed.rules) = (is_superuser, rules);
                }
            }
            Entry::DelayWill { id } => {
                if let Some(delayed) = self.delayed.get_mut(&(worker, id)) {
                    delayed.is_will = true;
                }
            }
            Entry::Undelay { id } => {
                self.delayed.remove(&(worker, id));
            }
            Entry::End { key } => {
                self.sessions.remove(&(worker, key));
            }
            Entry::Spread { id, keys } => {
                // A checkpoint says what is left of it.
                self.spreads.retain(|(of, known, _)| (*of, *known) != (worker, id));
                self.spreads.push((worker, id, keys));
            }
            Entry::SpreadOver { id } => self.spreads.retain(|(of, known, _)| (*of, *known) != (worker, id)),
            Entry::Left { key, .. }
            | Entry::Will { key, .. }
            | Entry::Filter { key, .. }
            | Entry::Unfilter { key, .. }
            | Entry::Queue { key, .. }
            | Entry::Sent { key, .. }
            | Entry::Released { key, .. }
            | Entry::Done { key, .. }
            | Entry::Missed { key, .. }
            | Entry::Inbound { key, .. } => {
                if let Some(session) = self.sessions.get_mut(&(worker, key)) {
                    session.apply(entry, epoch_ms)?;
                }
            }
        }
        Some(())
    }

    /// What is live.
    pub(crate) fn finish(mut self) -> Recovered {
        self.go_on_spreading();
        let mut live: HashMap<Arc<str>, Session> = HashMap::new();
        let mut arriving = BTreeMap::new();
        for ((worker, key), session) in std::mem::take(&mut self.sessions) {
            let highest = self.epochs.get(&session.client_id).copied().unwrap_or(0);
            if session.epoch == 0 {
                // Keys grow from claim to claim, over all workers.
                arriving.insert((key, worker), session);
            } else if session.epoch == highest {
                live.insert(session.client_id.clone(), session);
            }
        }
        // Until a session leaves its old place, all of its messages come there: what was on its way to it is older
        // than what came to the new one alone, and stands before it.
        let outgoing = self.outgoing();
        self.deliver_plain(&outgoing, live.values_mut().filter(|session| !session.has_left));
        for session in arriving.into_values() {
            let ended = self.epochs.get(&session.client_id).is_some_and(|epoch| *epoch > 0);
            match live.get_mut(&session.client_id) {
                Some(known) => known.join(session),
                None if ended => {}
                None => drop(live.insert(session.client_id.clone(), session)),
            }
        }
        self.deliver_plain(&outgoing, live.values_mut());
        self.deliver_to_groups(&outgoing, &mut live);
        let mut ids = HashMap::new();
        let mut sessions: Vec<StoredSession> =
            live.into_values().map(|session| session.stored(&self.bodies, &mut ids)).collect();
        sessions.sort_by(|a, b| a.client_id.cmp(&b.client_id));
        let retained = self.retained.into_values().filter(|(message, _)| !message.payload().is_empty()).collect();
        let (torn, corrupt, corrupt_places) = (self.torn, self.corrupt, self.places);
        let delayed = self.delayed.into_values().collect();
        Recovered { sessions, retained, delayed, torn, corrupt, corrupt_places }
    }

    /// Publishes for many that had not come to all of their sessions. Filters are those of the publish: before one
    /// changes, what is due to its session stands in the log.
    fn go_on_spreading(&mut self) {
        for (worker, id, keys) in std::mem::take(&mut self.spreads) {
            let Some(message) = self.bodies.get(&id) else { continue };
            for key in keys {
                if let Some(session) = self.sessions.get_mut(&(worker, key)) {
                    session.match_message(id, message, None);
                }
            }
        }
    }

    /// Messages that were acknowledged on one worker and had not reached another's log, the oldest first.
    fn outgoing(&mut self) -> Vec<(Outgoing, Arc<Message>)> {
        let outgoing = std::mem::take(&mut self.outgoing).into_values().flatten();
        let untaken = outgoing.filter(|outgoing| !self.taken.contains(&(outgoing.to, outgoing.id)));
        let mut untaken = Vec::from_iter(untaken.filter_map(|outgoing| {
            let message = Arc::clone(self.bodies.get(&outgoing.id)?);
            Some((outgoing, message))
        }));
        untaken.sort_by_key(|(outgoing, _)| outgoing.id);
        untaken
    }

    /// To the subscriptions of sessions where they went.
    fn deliver_plain<'s>(
        &self,
        outgoing: &[(Outgoing, Arc<Message>)],
        sessions: impl Iterator<Item = &'s mut Session>,
    ) {
        for session in sessions {
            let worker = session.worker;
            let due = outgoing.iter().filter(|(outgoing, _)| outgoing.plain && outgoing.to == worker);
            due.for_each(|(outgoing, message)| session.match_message(outgoing.id, message, outgoing.client.as_deref()));
        }
    }

    /// To one member of each group.
    fn deliver_to_groups(&self, outgoing: &[(Outgoing, Arc<Message>)], live: &mut HashMap<Arc<str>, Session>) {
        for (Outgoing { id, to, groups, .. }, message) in outgoing {
            for group in groups {
                let is_member = |session: &&mut Session| session.filters.iter().any(|(filter, _)| **filter == **group);
                let there = |session: &&mut Session| session.worker == *to;
                let place = live.values_mut().filter(there).find(is_member).map(|session| session.client_id.clone());
                // Its members there went elsewhere.
                let client_id =
                    place.or_else(|| live.values_mut().find(is_member).map(|session| session.client_id.clone()));
                if let Some(session) = client_id.and_then(|client_id| live.get_mut(&client_id)) {
                    session.deliver(*id, message, |filter, _| *filter == **group);
                }
            }
        }
    }
}

/// Rules of an identity as they were kept. `Err`: one of them makes no sense.
fn own_rules(rules: Option<Vec<StoredRule<'_>>>) -> Result<Option<Arc<[Rule]>>, ()> {
    rules.map(|rules| rules.iter().map(|rule| rule.rule().ok_or(())).collect()).transpose()
}

impl Session {
    fn apply(&mut self, entry: Entry<'_>, epoch_ms: u64) -> Option<()> {
        match entry {
            Entry::Will { will, due_at, .. } => {
                let due_at = due_at.map(|at| since(at, epoch_ms));
                self.will = match will {
                    Some(will) => Some((will.will()?, due_at)),
                    None => None,
                };
            }
            Entry::Filter { filter, options, .. } => {
                let options = options.options()?;
                match self.filters.iter_mut().find(|(known, _)| **known == *filter) {
                    Some((_, known)) => *known = options,
                    None => self.filters.push((filter.into(), options)),
                }
            }
            Entry::Left { to, .. } => (self.worker, self.has_left) = (to, true),
            Entry::Unfilter { filter, .. } => self.filters.retain(|(known, _)| **known != *filter),
            Entry::Queue { number, id, qos, retain, ids, packet_id, .. } => {
                let qos = crate::stored::qos(qos)?;
                self.ids.insert(id);
                self.deliveries.insert(number, Delivery { id, qos, retain, ids, packet_id });
            }
            Entry::Sent { number, packet_id, .. } => {
                if let Some(delivery) = self.deliveries.get_mut(&number) {
                    delivery.packet_id = packet_id;
                }
            }
            Entry::Released { number, packet_id, .. } => {
                let (qos, ids) = (Qos::ExactlyOnce, Vec::new());
                self.deliveries.insert(number, Delivery { id: 0, qos, retain: false, ids, packet_id });
            }
            Entry::Done { number, .. } => drop(self.deliveries.remove(&number)),
            Entry::Missed { id, .. } => drop(self.ids.insert(id)),
            Entry::Inbound { packet_id, held: true, .. } => drop(self.inbound.insert(packet_id)),
            Entry::Inbound { packet_id, held: false, .. } => drop(self.inbound.remove(&packet_id)),
            _ => {}
        }
        Some(())
    }

    /// Takes what came for the session on the worker it was moving to.
    fn join(&mut self, arriving: Session) {
        for (filter, options) in arriving.filters {
            if !self.filters.iter().any(|(known, _)| *known == filter) {
                self.filters.push((filter, options));
            }
        }
        for delivery in arriving.deliveries.into_values() {
            self.add(delivery);
        }
        self.ids.extend(arriving.ids);
    }

    fn add(&mut self, delivery: Delivery) {
        if !self.ids.insert(delivery.id) {
            return;
        }
        let number = self.deliveries.keys().next_back().map_or(1, |last| last + 1);
        self.deliveries.insert(number, delivery);
    }

    /// `client`: who published it, where that is known.
    fn match_message(&mut self, id: u64, message: &Message, client: Option<&str>) {
        let is_own = client.is_some_and(|client| *client == *self.client_id);
        self.deliver(id, message, |filter, options| {
            // MQTT-3.8.3-3
            let is_due = !(is_own && options.no_local);
            is_due && split_share(filter).is_none() && matches(filter, message.topic())
        });
    }

    /// As the broker delivers: once, with the highest promise of the filters that apply.
    fn deliver(&mut self, id: u64, message: &Message, applies: impl Fn(&str, Options) -> bool) {
        let due = self.filters.iter().filter(|(filter, options)| applies(filter, *options));
        let due: Vec<Options> = due.map(|(_, options)| *options).collect();
        let Some(qos) = due.iter().map(|options| options.qos).max().map(|qos| qos.min(message.qos)) else { return };
        if qos == Qos::AtMostOnce {
            return;
        }
        let retain = message.retain && due.iter().any(|options| options.retain_as_published);
        let ids = due.iter().map(|options| options.id).filter(|id| *id != 0).collect();
        self.add(Delivery { id, qos, retain, ids, packet_id: 0 });
    }

    fn stored(self, bodies: &HashMap<u64, Arc<Message>>, ids: &mut HashMap<u64, u64>) -> StoredSession {
        let mut deliveries = Vec::with_capacity(self.deliveries.len());
        for delivery in self.deliveries.into_values() {
            let message = bodies.get(&delivery.id).cloned();
            // A delivery without a body stood in a frame that is broken, and was named there.
            if message.is_none() && delivery.id != 0 {
                continue;
            }
            let next = RECOVERED_IDS | (ids.len() as u64 + 1);
            let id = *ids.entry(delivery.id).or_insert(next);
            let Delivery { qos, retain, ids, packet_id, .. } = delivery;
            deliveries.push(StoredDelivery { message, qos, retain, ids, packet_id, id });
        }
        let mut inbound: Vec<u16> = self.inbound.into_iter().collect();
        inbound.sort_unstable();
        StoredSession {
            client_id: self.client_id,
            user: self.user,
            is_superuser: self.is_superuser,
            rules: self.rules,
            expiry: self.expiry,
            ends_at: self.ends_at,
            will: self.will,
            filters: self.filters,
            deliveries,
            inbound,
        }
    }
}
