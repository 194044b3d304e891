//! Sessions come and go: connect, resume, takeover on one worker and between workers,
//! disconnect, expiry.

use crate::access::Access;
use crate::broker::Broker;
use crate::directory::{Claim, Home};
use crate::pending::{GiveUp, HandOver, Pending, SessionState, Waiter};
use crate::session::{Backlog, Session, Will};
use crate::sink::{CloseReason, DropReason, Sink, SubscriberId};
use std::sync::Arc;
use tidegate_message::{MessageBuilder, Outcome, Protocol};

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
    /// The session is on its way: remember the claim with the connection, send the
    /// request to its worker where there is one, and wait for `adopt`.
    Wait {
        /// Names this CONNECT in `adopt` and `abandon`.
        claim: u64,
        /// To be sent to `home.worker`; `None`: another claim here is served first.
        ask: Option<GiveUp>,
    },
    /// Send CONNACK with this, close.
    Refused(Outcome),
}

/// What became of a session that arrived.
#[derive(Debug)]
pub enum Adopted {
    /// Send CONNACK to the connection of that claim, then call `resume`.
    Ready(Connected),
    /// The claim was overtaken: close its connection (0x8E) and send this on, to `adopt` of
    /// this worker or of another.
    PassOn(HandOver),
    /// The connection of that claim is gone; there is nothing to do.
    Gone,
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
            Claim::New(epoch) => Connect::Ready(self.open((request, epoch), None, sink)),
            Claim::Moved(claim, home) if home.worker != self.worker => {
                let ask = GiveUp { client_id, home, to: self.worker, claim, clean_start: request.clean_start };
                self.pending.insert(claim, Pending { request, waiter: None, abandoned: false });
                Connect::Wait { claim, ask: Some(ask) }
            }
            Claim::Moved(claim, home) => self.connect_here(now, (request, claim), home, sink),
        }
    }

    fn connect_here<S: Sink>(
        &mut self,
        now: u64,
        (request, claim): (ConnectRequest, u64),
        home: Home,
        sink: &mut S,
    ) -> Connect {
        if let Some(earlier) = self.pending.get_mut(&home.epoch) {
            earlier.waiter = Some(Waiter { worker: self.worker, claim });
            self.pending.insert(claim, Pending { request, waiter: None, abandoned: false });
            return Connect::Wait { claim, ask: None };
        }
        let Some(&slot) = self.by_client.get(&request.client_id) else {
            return Connect::Ready(self.open((request, claim), None, sink));
        };
        self.detach(now, slot, request.clean_start, sink);
        if request.clean_start {
            self.end(slot, sink);
            return Connect::Ready(self.open((request, claim), None, sink));
        }
        Connect::Ready(self.reopen(slot, request, claim, sink))
    }

    /// The worker that asked with `claim` gets the session, or learns that there is none.
    /// `None`: the session is on its way here; `adopt` will pass it on.
    pub fn give_up<S: Sink>(&mut self, now: u64, ask: &GiveUp, sink: &mut S) -> Option<HandOver> {
        if let Some(pending) = self.pending.get_mut(&ask.home.epoch) {
            pending.waiter = Some(Waiter { worker: ask.to, claim: ask.claim });
            return None;
        }
        let slot = self.by_client.get(&ask.client_id).copied().filter(|&slot| self.epoch(slot) == Some(ask.home.epoch));
        let state = slot.and_then(|slot| {
            self.detach(now, slot, ask.clean_start, sink);
            if ask.clean_start {
                self.end(slot, sink);
                return None;
            }
            self.take(slot, sink)
        });
        Some(HandOver { to: ask.to, claim: ask.claim, state })
    }

    /// A session, or the news that there is none, arrives for one of our claims.
    pub fn adopt<S: Sink>(&mut self, now: u64, hand_over: HandOver, sink: &mut S) -> Adopted {
        let HandOver { claim, state, .. } = hand_over;
        let Some(Pending { request, waiter, abandoned }) = self.pending.remove(&claim) else { return Adopted::Gone };
        if let Some(Waiter { worker, claim }) = waiter {
            return Adopted::PassOn(HandOver { to: worker, claim, state });
        }
        let clean = request.clean_start;
        if let (true, Some(state)) = (clean, &state) {
            self.lose_backlog(&state.backlog, sink);
        }
        let connected = self.open((request, claim), state.filter(|_| !clean), sink);
        if abandoned {
            // It was never told that it is connected: its will does not count.
            self.disconnect(now, connected.id, Leave { with_will: false, expiry: None }, sink);
            return Adopted::Gone;
        }
        Adopted::Ready(connected)
    }

    /// The connection of a claim went away before `adopt`.
    pub fn abandon(&mut self, claim: u64) {
        if let Some(pending) = self.pending.get_mut(&claim) {
            pending.abandoned = true;
        }
    }

    /// Sends again what an earlier connection left in flight, then the queue. Call it
    /// once, behind the CONNACK.
    pub fn resume<S: Sink>(&mut self, now: u64, id: SubscriberId, sink: &mut S) {
        let (acl, Some(slot)) = (self.acl.clone(), self.subscribers.get(id)) else { return };
        let access = slot.access.clone();
        self.subscribers.with_session((id, now), sink, |session, outlet| {
            if !acl.is_open() {
                let may = |message: &tidegate_message::Message| acl.may_receive(&access, message.topic());
                let dropped = session.backlog.keep_allowed(outlet.stats, may);
                outlet.drop(DropReason::Forbidden, dropped);
            }
            session.pump(outlet);
        });
    }

    /// The connection ended. A void id (the session was taken over) changes nothing.
    pub fn disconnect<S: Sink>(&mut self, now: u64, id: SubscriberId, leave: Leave, sink: &mut S) {
        let most = self.subscribers.limits.max_session_expiry;
        let Some(session) = self.subscribers.get_mut(id).and_then(|slot| slot.session.as_mut()) else { return };
        if !session.connected {
            return;
        }
        session.connected = false;
        session.backlog.suspend();
        session.expiry = leave.expiry.unwrap_or(session.expiry).min(most);
        if !leave.with_will {
            session.will = None;
        }
        let expiry = session.expiry;
        let after = |seconds: u32| now.saturating_add(u64::from(seconds) * 1_000);
        // MQTT-3.1.3-9: the will goes when its delay or the session is over, whichever is first.
        session.will_at = session.will.as_ref().map(|will| after(will.delay.min(expiry)));
        session.ends_at = (expiry != u32::MAX).then(|| after(expiry));
        self.subscribers.stats.connected -= 1;
        self.subscribers.stats.disconnected += 1;
        self.mark_members(id.slot, false, sink);
        self.run_session(now, id.slot, sink);
    }

    /// Ends a client's session and its connection: whether there was one here.
    pub fn kick<S: Sink>(&mut self, now: u64, client_id: &str, sink: &mut S) -> bool {
        let Some(&slot) = self.by_client.get(client_id) else { return false };
        let Some(id) = self.subscribers.slots.get(slot as usize).map(|slot| slot.id) else { return false };
        if self.subscribers.get(id).is_some_and(|slot| slot.is_connected()) {
            sink.close(id, CloseReason::Administrative);
        }
        self.disconnect(now, id, Leave { with_will: true, expiry: Some(0) }, sink);
        if self.subscribers.get(id).is_some() {
            self.publish_will(now, slot, sink);
            self.end(slot, sink);
        }
        true
    }

    fn open<S: Sink>(
        &mut self,
        (request, epoch): (ConnectRequest, u64),
        state: Option<SessionState>,
        sink: &mut S,
    ) -> Connected {
        let ConnectRequest { client_id, expiry, receive_maximum, will, mut access, .. } = request;
        let expiry = expiry.min(self.subscribers.limits.max_session_expiry);
        access.client_id = Some(client_id.clone());
        let present = state.is_some();
        let (filters, backlog) = state.map(|state| (state.filters, state.backlog)).unwrap_or_default();
        let stats = &mut self.subscribers.stats;
        stats.connected += 1;
        stats.queued += backlog.queued() as u64;
        stats.queued_bytes += backlog.queued_bytes();
        stats.moved -= backlog.queued() as i64;
        let session = Session {
            client_id: client_id.clone(),
            epoch,
            connected: true,
            receive_maximum,
            expiry,
            ends_at: None,
            will: will.map(Box::new),
            will_at: None,
            timer_at: None,
            backlog,
        };
        let id = self.subscribers.add(Protocol::Mqtt, access, Some(Box::new(session)));
        self.by_client.insert(client_id, id.slot);
        filters.iter().for_each(|(filter, options)| self.insert_filter(id.slot, filter, *options, sink));
        Connected { id, present, expiry }
    }

    /// The session in `slot`, which is detached, serves a new connection.
    fn reopen<S: Sink>(&mut self, slot: u32, request: ConnectRequest, epoch: u64, sink: &mut S) -> Connected {
        let expiry = request.expiry.min(self.subscribers.limits.max_session_expiry);
        if let Some(owner) = self.subscribers.slots.get_mut(slot as usize) {
            owner.access = Access { client_id: Some(request.client_id.clone()), ..request.access };
            if let Some(session) = &mut owner.session {
                session.epoch = epoch;
                session.connected = true;
                session.receive_maximum = request.receive_maximum;
                session.expiry = expiry;
                session.will = request.will.map(Box::new);
                (session.ends_at, session.will_at) = (None, None);
            }
        }
        // Routes know the access of the one before.
        self.tree.generation += 1;
        self.subscribers.stats.connected += 1;
        self.subscribers.stats.disconnected -= 1;
        self.mark_members(slot, true, sink);
        let void = SubscriberId { worker: self.worker, slot, generation: 0 };
        Connected { id: self.subscribers.renew(slot).unwrap_or(void), present: true, expiry }
    }

    /// Takes the connection away from the session in `slot`, if it has one. The will of
    /// the old connection goes unless its delay saves it (section 3.1.3.2.2).
    fn detach<S: Sink>(&mut self, now: u64, slot: u32, ends: bool, sink: &mut S) {
        let Some(owner) = self.subscribers.slots.get_mut(slot as usize) else { return };
        let id = owner.id;
        let Some(session) = &mut owner.session else { return };
        let due = session.will.as_ref().is_some_and(|will| ends || (session.connected && will.delay == 0));
        let was_connected = std::mem::replace(&mut session.connected, false);
        session.backlog.suspend();
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
        let Some(will) = owner.session.as_mut().and_then(|session| session.will.take()) else { return };
        let access = owner.access.clone();
        let message = &will.message;
        let builder = MessageBuilder {
            topic: message.topic(),
            payload: message.payload(),
            protocol: message.protocol,
            qos: message.qos,
            retain: message.retain,
            expires_at: will.expiry.map(|seconds| now.saturating_add(u64::from(seconds) * 1_000)),
            properties: message.properties.clone(),
        };
        self.publish(now, crate::broker::Origin { subscriber: None, access: &access }, builder, sink);
    }

    fn epoch(&self, slot: u32) -> Option<u64> {
        self.subscribers.slots.get(slot as usize)?.session.as_ref().map(|session| session.epoch)
    }

    /// Removes a detached session to hand it over.
    fn take<S: Sink>(&mut self, slot: u32, sink: &mut S) -> Option<SessionState> {
        let filters = self.forget_filters(slot, sink);
        let session = self.subscribers.slots.try_remove(slot as usize)?.session?;
        self.by_client.remove(&session.client_id);
        let backlog = session.backlog;
        let stats = &mut self.subscribers.stats;
        stats.disconnected -= 1;
        stats.queued -= backlog.queued() as u64;
        stats.queued_bytes -= backlog.queued_bytes();
        stats.moved += backlog.queued() as i64;
        Some(SessionState { filters, backlog })
    }

    /// Ends a detached session for good.
    pub(crate) fn end<S: Sink>(&mut self, slot: u32, sink: &mut S) {
        let Some(epoch) = self.epoch(slot) else { return };
        let client_id = self.subscribers.slots.get(slot as usize).and_then(|slot| slot.access.client_id.clone());
        if let Some(state) = self.take(slot, sink) {
            self.lose_backlog(&state.backlog, sink);
        }
        if let Some(client_id) = client_id {
            self.shared.directory.release(&client_id, Home { worker: self.worker, epoch });
        }
    }

    /// Counts the queue of a session that ended after it was taken out of the gauges.
    fn lose_backlog<S: Sink>(&mut self, backlog: &Backlog, sink: &mut S) {
        let count = backlog.queued();
        self.subscribers.stats.moved -= count as i64;
        self.subscribers.stats.dropped[DropReason::SessionEnded as usize] += count as u64;
        if count > 0 {
            sink.dropped(Protocol::Mqtt, DropReason::SessionEnded, u32::try_from(count).unwrap_or(u32::MAX));
        }
    }
}
