//! What of a session is kept on disk: telling it, telling all of it for a log that
//! begins anew, and making a session of what was kept.

use crate::access::{Access, Own};
use crate::backlog::Backlog;
use crate::broker::Broker;
use crate::record::{Record, StoredSession};
use crate::session::Session;
use crate::sink::Sink;
use crate::subscribers::Slot;
use tidegate_message::Protocol;

/// From here on the places of a checkpoint are names of delayed publishes.
const DELAYED: u64 = 1 << 63;

impl Broker {
    /// Whether a session with this expiry is kept on disk.
    pub(crate) fn keeps(&self, expiry: u32) -> bool {
        expiry > 0 && self.shared.is_keeping()
    }

    /// Says what the session in `slot` is, without what it holds.
    pub(crate) fn tell<S: Sink>(&self, slot: u32, sink: &mut S) {
        let kept = self.subscribers.slots.get(slot as usize).filter(|slot| slot.key() != 0);
        if let Some((owner, session)) = kept.and_then(|owner| Some((owner, owner.session.as_ref()?))) {
            self.tell_head((owner, session), sink);
        }
    }

    fn tell_head<S: Sink>(&self, (owner, session): (&Slot, &Session), sink: &mut S) {
        let Session { key, connected, expiry, ends_at, .. } = *session;
        let ends_at = ends_at.time();
        let is_arriving = self.pending.contains_key(&session.epoch);
        let epoch = if is_arriving { 0 } else { session.epoch };
        let (client_id, user) = (owner.client_id(), owner.access.user.as_deref());
        sink.append(&Record::Session { key, client_id, user, epoch, expiry, ends_at, connected });
        let (is_superuser, rules) = (owner.access.is_superuser(), owner.access.rules());
        if is_superuser || rules.is_some() {
            sink.append(&Record::Identity { key, is_superuser, rules });
        }
        sink.append(&Record::Will { key, will: session.will(), due_at: session.will_at().time() });
    }

    /// Says all of the session in `slot`: whether it is one that is kept.
    pub(crate) fn tell_all<S: Sink>(&self, slot: u32, sink: &mut S) -> bool {
        let kept = self.subscribers.slots.get(slot as usize).filter(|slot| slot.key() != 0);
        let Some((owner, session)) = kept.and_then(|owner| Some((owner, owner.session.as_ref()?))) else {
            return false;
        };
        self.tell_head((owner, session), sink);
        let key = session.key;
        for (filter, options) in owner.filters.iter() {
            sink.append(&Record::Filter { key, filter, options: *options });
        }
        session.backlog().tell(key, &mut |record| sink.append(&record));
        true
    }

    /// Says what is due of publishes for many, then all of the sessions from slot `from` on, then
    /// of what is delayed, `enough` of them: where to go on, `None` at the end. For a log that begins
    /// anew while the gateway runs: what changes meanwhile is appended as ever.
    pub fn checkpoint<S: Sink>(&self, from: u64, enough: usize, sink: &mut S) -> Option<u64> {
        if from == 0 {
            self.subscribers.tell_spreads(sink);
        }
        let mut told = 0;
        for slot in from..self.subscribers.slots.capacity() as u64 {
            if told >= enough {
                return Some(slot);
            }
            told += usize::from(self.tell_all(slot as u32, sink));
        }
        let next = self.tell_delayed(from.saturating_sub(DELAYED), enough, sink).map(|id| DELAYED + id);
        if next.is_none() {
            // Again, behind all sessions: what one of them took before it was told counts from here on.
            self.subscribers.tell_spreads(sink);
        }
        next
    }

    /// The session with that name lives on another worker now, which keeps it.
    pub fn forget<S: Sink>(&mut self, key: u64, sink: &mut S) {
        self.moves.parted(key);
        sink.append(&Record::End { key });
    }

    /// Makes a session of what was kept. Its messages go out when its client comes back, its will with the next
    /// `handle_timeout` if it is due: others may have to be restored to get it.
    pub fn restore<S: Sink>(&mut self, now: u64, stored: StoredSession, sink: &mut S) {
        let StoredSession { client_id, user, is_superuser, rules, expiry, ends_at, will, filters, deliveries, inbound } =
            stored;
        let epoch = self.shared.directory.restore(&client_id, self.worker);
        let after = |seconds: u32| now.saturating_add(u64::from(seconds) * 1_000);
        let mut session = Session::new(epoch);
        session.key = if self.keeps(expiry) { epoch } else { 0 };
        session.expiry = expiry;
        session.ends_at = ends_at.or((expiry != u32::MAX).then(|| after(expiry))).into();
        if let Some((will, due_at)) = will {
            let due = due_at.or(Some(after(will.delay.min(expiry)))).into();
            session.will = Some(Box::new((will, due)));
        }
        let backlog = Backlog::restored(deliveries, inbound, now);
        let stats = &mut self.subscribers.stats;
        stats.disconnected += 1;
        stats.queued += backlog.queued() as u64;
        stats.queued_bytes += backlog.queued_bytes();
        // Due anew: what this process counts begins here.
        stats.matched += backlog.queued() as u64;
        session.put_backlog(backlog);
        let own = Own { is_superuser, rules, until: None };
        let access = Access::of(user, Some(client_id)).with_own(own);
        let id = self.subscribers.add(Protocol::Mqtt, access, Some(Box::new(session)));
        self.enter(id.slot);
        self.tell(id.slot, sink);
        filters.iter().for_each(|(filter, options)| self.insert_filter(id.slot, filter, *options, sink));
        if let Some(session) = self.subscribers.get(id).and_then(|slot| slot.session.as_ref()) {
            session.backlog().tell(session.key, &mut |record| sink.append(&record));
        }
        self.schedule(id.slot);
    }
}
