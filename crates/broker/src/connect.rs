//! Sessions come and go: connect, resume, takeover on one worker and between workers,
//! disconnect, expiry.

use crate::access::Access;
use crate::backlog::Backlog;
use crate::broker::Broker;
use crate::directory::{Claim, Home};
use crate::publish::Origin;
use crate::record::Record;
use crate::session::{Due, Session, Will};
use crate::sink::{CloseReason, DropReason, Sink, SubscriberId};
use std::sync::Arc;
use tidegate_message::{Outcome, Protocol};

/// A CONNECT that was authenticated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectRequest {
    /// Never empty: the driver assigns one where the client sent none.
    pub client_id: Arc<str>,
    /// Whether an earlier session is to be forgotten.
    pub clean_start: bool,
    /// Session expiry asked for, seconds; `u32::MAX`: never.
    pub expiry: u32,
    /// Publishes the client takes unacknowledged.
    pub receive_maximum: u16,
    /// The will.
    pub will: Option<Will>,
    /// Who it is; the client identifier is filled in from above.
    pub access: Access,
}

/// A session that serves a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connected {
    /// Its id until the connection ends or is taken over.
    pub id: SubscriberId,
    /// Whether the session existed.
    pub present: bool,
    /// The session expiry granted, seconds.
    pub expiry: u32,
}

/// What a CONNECT leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Connect {
    /// Send CONNACK, then call `resume`.
    Ready(Connected),
    /// The session comes from another worker: remember the claim with the connection,
    /// read nothing from it until `poll_takeover` names the claim; `abandon` the claim
    /// where the connection ends before.
    Wait {
        /// Names this CONNECT.
        claim: u64,
    },
    /// Send CONNACK with this, close.
    Refused(Outcome),
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leave {
    /// Whether the will is due: always, unless the client said goodbye without it.
    pub with_will: bool,
    /// The expiry of a DISCONNECT, seconds.
    pub expiry: Option<u32>,
}

impl Leave {
    /// The connection broke.
    pub const LOST: Leave = Leave { with_will: true, expiry: None };
}

impl Broker {
    /// Begins a session or finds an earlier one. Closes the connection that had it.
    pub fn connect<S: Sink>(&mut self, now: u64, request: ConnectRequest, sink: &mut S) -> Connect {
        self.refresh_acl();
        let client_id = request.client_id.clone();
        match self.shared.directory.claim(&client_id, self.worker) {
            Claim::Full => Connect::Refused(Outcome::QuotaExceeded),
            Claim::New(epoch) => Connect::Ready(self.open(request, epoch, sink)),
            Claim::Moved(claim, home) if home.worker != self.worker || self.pending.contains_key(&home.epoch) => {
                self.wait_for(request, claim, home);
                Connect::Wait { claim }
            }
            Claim::Moved(claim, home) => Connect::Ready(self.connect_here(now, (request, claim), home, sink)),
        }
    }

    fn connect_here<S: Sink>(
        &mut self,
        now: u64,
        (request, claim): (ConnectRequest, u64),
        home: Home,
        sink: &mut S,
    ) -> Connected {
        let slot = self.slot_of(&request.client_id);
        let Some(slot) = slot.filter(|&slot| self.epoch(slot) == Some(home.epoch)) else {
            return self.open(request, claim, sink);
        };
        let ends = request.clean_start || self.ends_with_connection(slot);
        self.detach(now, slot, ends, sink);
        if ends {
            self.end(now, slot, sink);
            return self.open(request, claim, sink);
        }
        self.reopen(slot, request, claim, sink)
    }

    /// Whether the session has that connection: not once another one took it over.
    pub fn has_connection(&self, id: SubscriberId) -> bool {
        let session = self.subscribers.get(id).and_then(|slot| slot.session.as_ref());
        session.is_some_and(|session| session.connected)
    }

    /// Whether taking its connection away ends the session in `slot`: one without an expiry is of no later
    /// connection (MQTT5 section 3.1.2.11.2, MQTT3-3.1.2-6).
    pub(crate) fn ends_with_connection(&self, slot: u32) -> bool {
        let session = self.subscribers.slots.get(slot as usize).and_then(|slot| slot.session.as_ref());
        session.is_some_and(|session| session.connected && session.expiry == 0)
    }

    /// Sends again what an earlier connection left in flight, then the queue. Call it
    /// once, behind the CONNACK: until then everything waits.
    pub fn resume<S: Sink>(&mut self, now: u64, id: SubscriberId, sink: &mut S) {
        self.refresh_acl();
        let legacy = self.subscribers.get(id).map(|_| self.forbidden_legacy(id.slot));
        let Broker { subscribers, acl, .. } = self;
        subscribers.with_session((id, now), sink, |session, outlet| {
            // In flight, too: what was not acknowledged is not sent again.
            session.backlog_mut().into_iter().for_each(|backlog| backlog.keep_allowed(acl, outlet));
            session.is_open = session.connected;
            session.pump(acl, outlet);
        });
        self.pass_on(now, legacy.unwrap_or_default(), sink);
        self.replay_on(now, id, sink);
    }

    /// The connection ended. A void id (the session was taken over) changes nothing.
    pub fn disconnect<S: Sink>(&mut self, now: u64, id: SubscriberId, leave: Leave, sink: &mut S) {
        let most = self.subscribers.limits.max_session_expiry;
        self.subscribers.settle(id.slot, sink);
        let Some(session) = self.subscribers.get_mut(id).and_then(|slot| slot.session.as_mut()) else { return };
        if !session.connected {
            return;
        }
        (session.connected, session.is_open) = (false, false);
        session.backlog_mut().into_iter().for_each(Backlog::suspend);
        session.expiry = leave.expiry.unwrap_or(session.expiry).min(most);
        if !leave.with_will {
            session.will = None;
        }
        let expiry = session.expiry;
        let after = |seconds: u32| now.saturating_add(u64::from(seconds) * 1_000);
        // MQTT-3.1.2-8: the will goes when its delay or the session is over, whichever is first.
        session.set_will_at(|will| Some(after(will.delay.min(expiry))).into());
        session.ends_at = (expiry != u32::MAX).then(|| after(expiry)).into();
        self.subscribers.stats.connected -= 1;
        self.subscribers.stats.disconnected += 1;
        self.mark_members(id.slot, false, sink);
        self.tell(id.slot, sink);
        self.run_session(now, id.slot, sink);
    }

    /// Ends a client's session and its connection: whether there was one here.
    pub fn kick<S: Sink>(&mut self, now: u64, client_id: &str, sink: &mut S) -> bool {
        // A session that is still arriving belongs to a CONNECT that is not answered yet.
        let whole = |slot: &u32| self.epoch(*slot).is_some_and(|epoch| !self.pending.contains_key(&epoch));
        let Some(slot) = self.slot_of(client_id).filter(whole) else { return false };
        let Some(id) = self.subscribers.slots.get(slot as usize).map(|slot| slot.id) else { return false };
        self.subscribers.settle(slot, sink);
        if self.subscribers.get(id).is_some_and(|slot| slot.is_connected()) {
            sink.close(id, CloseReason::Administrative);
        }
        self.disconnect(now, id, Leave { with_will: true, expiry: Some(0) }, sink);
        if self.subscribers.get(id).is_some() {
            self.publish_will(now, slot, sink);
            self.end(now, slot, sink);
        }
        true
    }

    pub(crate) fn open<S: Sink>(&mut self, request: ConnectRequest, epoch: u64, sink: &mut S) -> Connected {
        let ConnectRequest { client_id, expiry, receive_maximum, will, access, .. } = request;
        let expiry = expiry.min(self.subscribers.limits.max_session_expiry);
        let mut session = Session::new(epoch);
        session.key = if self.keeps(expiry) { epoch } else { 0 };
        (session.connected, session.expiry) = (true, expiry);
        (session.receive_maximum, session.will) = (receive_maximum, will.map(|will| Box::new((will, Due::NEVER))));
        let access = access.as_client(Some(client_id));
        let id = self.subscribers.add(Protocol::Mqtt, access, Some(Box::new(session)));
        self.enter(id.slot);
        self.subscribers.stats.connected += 1;
        self.tell(id.slot, sink);
        Connected { id, present: false, expiry }
    }

    /// A client has proven itself again: what its identity brings may be another.
    pub fn renew_access<S: Sink>(&mut self, id: SubscriberId, access: Access, sink: &mut S) {
        if let Some(slot) = self.subscribers.get_mut(id) {
            slot.access = access;
            // Routes know the access of before.
            self.tree.generation += 1;
            self.tell(id.slot, sink);
        }
    }

    /// The session in `slot`, which is detached, serves a new connection.
    pub(crate) fn reopen<S: Sink>(
        &mut self,
        slot: u32,
        request: ConnectRequest,
        epoch: u64,
        sink: &mut S,
    ) -> Connected {
        let expiry = request.expiry.min(self.subscribers.limits.max_session_expiry);
        if let Some(owner) = self.subscribers.slots.get_mut(slot as usize) {
            owner.access = request.access.as_client(Some(request.client_id));
            if let Some(session) = &mut owner.session {
                session.epoch = epoch;
                session.connected = true;
                session.receive_maximum = request.receive_maximum;
                session.expiry = expiry;
                session.will = request.will.map(|will| Box::new((will, Due::NEVER)));
                session.ends_at = Due::NEVER;
            }
        }
        self.set_kept(slot, (epoch, expiry), sink);
        // Routes know the access of the one before.
        self.tree.generation += 1;
        self.subscribers.stats.connected += 1;
        self.subscribers.stats.disconnected -= 1;
        self.mark_members(slot, true, sink);
        let void = SubscriberId { worker: self.worker, slot, generation: 0 };
        Connected { id: self.subscribers.renew(slot).unwrap_or(void), present: true, expiry }
    }

    /// A session that comes back is kept from now on, or not any more, or still.
    fn set_kept<S: Sink>(&mut self, slot: u32, (epoch, expiry): (u64, u32), sink: &mut S) {
        let keeps = self.keeps(expiry);
        let Some(owner) = self.subscribers.slots.get_mut(slot as usize) else { return };
        let filters = owner.filters.to_vec();
        let Some(session) = owner.session.as_mut() else { return };
        match (session.key, keeps) {
            (0, true) => session.key = epoch,
            (0, false) => return,
            (_, true) => return self.tell(slot, sink),
            (key, false) => {
                session.key = 0;
                sink.append(&Record::End { key });
            }
        }
        filters.iter().for_each(|(filter, options)| self.insert_filter(slot, filter, *options, sink));
        self.tell_all(slot, sink);
    }

    /// Takes the connection away from the session in `slot`, if it has one. The will of
    /// the old connection goes unless its delay saves it (section 3.1.3.2.2).
    pub(crate) fn detach<S: Sink>(&mut self, now: u64, slot: u32, ends: bool, sink: &mut S) {
        self.subscribers.settle(slot, sink);
        let Some(owner) = self.subscribers.slots.get_mut(slot as usize) else { return };
        let id = owner.id;
        let Some(session) = &mut owner.session else { return };
        let due = session.will().is_some_and(|will| ends || (session.connected && will.delay == 0));
        let was_connected = std::mem::replace(&mut session.connected, false);
        session.is_open = false;
        session.backlog_mut().into_iter().for_each(Backlog::suspend);
        if was_connected {
            self.subscribers.stats.connected -= 1;
            self.subscribers.stats.disconnected += 1;
            self.mark_members(slot, false, sink);
            sink.close(id, CloseReason::TakenOver);
        }
        if due {
            self.publish_will(now, slot, sink);
        }
    }

    /// Publishes the will of the session in `slot`, with the access of its client.
    pub(crate) fn publish_will<S: Sink>(&mut self, now: u64, slot: u32, sink: &mut S) {
        let Some(owner) = self.subscribers.slots.get_mut(slot as usize) else { return };
        let Some((will, _)) = owner.session.as_mut().and_then(|session| session.will.take()).map(|will| *will) else {
            return;
        };
        let (id, access, key) = (owner.id, owner.access.clone(), owner.key());
        if key != 0 {
            sink.append(&Record::Will { key, will: None, due_at: None });
        }
        // MQTT-3.8.3-3: it is a message of that client.
        self.publish_left(now, Origin { subscriber: Some(id), access: &access }, &will, sink);
    }

    /// Publishes a will, or has it published.
    pub(crate) fn publish_left<S: Sink>(&mut self, now: u64, origin: Origin<'_>, will: &Will, sink: &mut S) {
        let message = will.builder(now);
        if sink.sees_wills() {
            self.hold_will(now, origin.access, message, sink);
        } else {
            self.publish(now, origin, message, sink);
        }
    }

    pub(crate) fn epoch(&self, slot: u32) -> Option<u64> {
        self.subscribers.slots.get(slot as usize)?.session.as_ref().map(|session| session.epoch)
    }

    /// Removes a detached session to hand it over.
    pub(crate) fn take<S: Sink>(&mut self, slot: u32, sink: &mut S) -> Option<Backlog> {
        self.subscribers.settle(slot, sink);
        self.forget_filters(slot, sink);
        self.moves.forget_slot(slot);
        self.replays.take(slot);
        self.leave(slot);
        let backlog = self.subscribers.slots.try_remove(slot as usize)?.session?.take_backlog();
        let stats = &mut self.subscribers.stats;
        stats.disconnected -= 1;
        stats.queued -= backlog.queued() as u64;
        stats.queued_bytes -= backlog.queued_bytes();
        stats.moved += backlog.queued() as i64;
        Some(backlog)
    }

    /// Ends a detached session for good.
    pub(crate) fn end<S: Sink>(&mut self, now: u64, slot: u32, sink: &mut S) {
        let Some(epoch) = self.epoch(slot) else { return };
        let client_id = self.subscribers.slots.get(slot as usize).and_then(|slot| slot.access.client_id.clone());
        let key = self.subscribers.slots.get(slot as usize).map_or(0, |slot| slot.key());
        if key != 0 {
            sink.append(&Record::End { key });
        }
        let legacy = self.legacy(slot);
        if let Some(backlog) = self.take(slot, sink) {
            let passed = self.pass_on(now, legacy, sink);
            self.lose_backlog(&backlog, passed, sink);
        }
        if let Some(client_id) = client_id {
            self.shared.directory.release(&client_id, Home { worker: self.worker, epoch });
        }
    }

    /// Counts the queue of a session that ended after it was taken out of the gauges; other members of its
    /// groups got `passed` of it.
    fn lose_backlog<S: Sink>(&mut self, backlog: &Backlog, passed: usize, sink: &mut S) {
        self.subscribers.stats.moved -= backlog.queued() as i64;
        let lost = backlog.queued().saturating_sub(passed);
        for (reason, count) in [(DropReason::SessionEnded, lost), (DropReason::Reassigned, passed)] {
            self.subscribers.stats.dropped[reason as usize] += count as u64;
            if count > 0 {
                sink.dropped(None, Protocol::Mqtt, reason, u32::try_from(count).unwrap_or(u32::MAX));
            }
        }
    }
}
