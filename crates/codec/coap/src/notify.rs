//! Observations (RFC 7641): made for a request, told each new state, confirmable where
//! that is asked or due.

use std::net::SocketAddr;

use crate::exchange::UNPROVEN_BYTES;
use crate::observers::Observer;
use crate::peers::{Confirmable, Pushed};
use crate::reply::wish;
use crate::{
    Block, Code, Endpoint, Exchange, GoneReason, Head, ObserverId, OptionList, OptionNumber, Transport, Type, encode,
    encode_frame,
};

/// An observer that is silent for that long is asked to confirm: more often than the
/// 24 hours of RFC 7641 section 4.5, so that those who left are noticed.
const CONFIRM_EVERY_MS: u64 = 300_000;
/// A new state for an observer.
#[derive(Clone, Copy, Debug)]
pub struct Notification<'a> {
    /// 2.05, or the error that ends the observation.
    pub code: Code,
    /// Its options, without those of the message layer.
    pub options: &'a OptionList,
    /// The whole body.
    pub payload: &'a [u8],
    /// Whether it is to be acknowledged: at least once.
    pub confirmable: bool,
    /// Whether it is not to be missed although newer ones follow, as a command is.
    pub counts: bool,
}

/// What became of a notification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notified {
    /// It is in the outbox.
    Sent,
    /// It waits for an acknowledgement of an earlier one.
    Queued,
    /// The same, and an older one that waited was dropped: count it.
    Replaced,
    /// It was dropped: too much waits for the peer already.
    Refused,
    /// There is no such observation any more.
    Gone,
}

impl Endpoint {
    /// Makes an observation for a request that asked for one. `conflate`: only the
    /// newest state matters, as it does for a single topic. `None`: there are too many;
    /// answer without it, which tells the peer so (RFC 7641 section 4.1).
    pub fn observe(&mut self, now_ms: u64, exchange: &Exchange, conflate: bool) -> Option<ObserverId> {
        // RFC 7641 section 4.1: a second registration of a token takes the place of the first.
        let before = self.observers.find(exchange.peer, exchange.token);
        let replaced = usize::from(before.is_some());
        let of_peer = self.observers_of(exchange.peer).len() - replaced;
        if self.observers.len() - replaced >= self.config.max_observers || of_peer >= self.config.max_observers_per_peer
        {
            before.into_iter().for_each(|before| self.end(before, GoneReason::Deregistered));
            return None;
        }
        let observer = Observer {
            peer: exchange.peer,
            token: exchange.token,
            sequence: 1,
            first: 1,
            last_id: 0,
            confirmed_at: now_ms,
            proven: exchange.proven,
            conflate,
            wish: wish(exchange.block2),
            format: exchange.accept,
        };
        let id = self.observers.insert(observer);
        let peer = self.peers.entry(exchange.peer);
        peer.observers.push(id);
        peer.proven |= exchange.proven;
        before.into_iter().for_each(|before| self.take_over(now_ms, before, id));
        Some(id)
    }

    /// The observations of a peer.
    pub fn observers_of(&self, peer: SocketAddr) -> &[ObserverId] {
        self.peers.get(peer).map_or(&[], |peer| &peer.observers)
    }

    /// Ends an observation from our side, in silence.
    pub fn forget(&mut self, observer: ObserverId) {
        if let Some(ended) = self.observers.remove(observer) {
            self.peers.detach(ended.peer, observer);
        }
    }

    /// Tells an observer a new state.
    pub fn notify(&mut self, now_ms: u64, id: ObserverId, notification: &Notification<'_>) -> Notified {
        let Some(observer) = self.observers.get(id) else { return Notified::Gone };
        let none = OptionList::new();
        let (mut notification, format) = (*notification, notification.options.uint(OptionNumber::CONTENT_FORMAT));
        if observer.conflate && notification.code.class() == 2 && !observer.takes(format) {
            // RFC 7641 section 4.2: told in another format than it began with, it would misread it.
            let payload = b"the state has another Content-Format now";
            notification = Notification { code: Code::NOT_ACCEPTABLE, options: &none, payload, ..notification };
        }
        let notification = &notification;
        observer.sequence = observer.sequence.wrapping_add(1) & 0x00ff_ffff;
        let observer = *observer;
        if let Some(transport) = self.streams.get(&observer.peer).map(|stream| stream.transport) {
            return self.notify_stream(transport, (id, &observer), notification);
        }
        // An address that is not proven gets one message until it acknowledges.
        let silent = now_ms.saturating_sub(observer.confirmed_at) >= CONFIRM_EVERY_MS;
        let waiting = self.peers.is_waiting(observer.peer, id);
        let confirmable = notification.confirmable || !observer.proven || silent || waiting;
        let message = self.encode_notification((id, &observer), notification, confirmable);
        let notified = if confirmable {
            self.push(now_ms, observer.peer, Confirmable { at_ms: now_ms, ..message })
        } else {
            self.outbox.queue(observer.peer, |out| out.extend_from_slice(&message.bytes));
            Notified::Sent
        };
        if notification.code.class() != 2 {
            self.end(id, GoneReason::Error);
        }
        notified
    }

    /// On a stream nothing is confirmed; what its peer does not read waits, the newest of
    /// each observation.
    fn notify_stream(
        &mut self,
        transport: Transport,
        (id, observer): (ObserverId, &Observer),
        notification: &Notification<'_>,
    ) -> Notified {
        let payload = self.cut_notification(observer, notification);
        let mut frame = Vec::with_capacity(payload.len() + 64);
        let head = (transport, notification.code, observer.token);
        encode_frame(&mut frame, head, [notification.options, &self.added], payload);
        let notified = match self.streams.get_mut(&observer.peer) {
            Some(stream) if stream.is_congested => stream.hold((id, frame), observer.conflate),
            _ => {
                self.outbox.queue(observer.peer, |out| out.extend_from_slice(&frame));
                Notified::Sent
            }
        };
        if notification.code.class() != 2 {
            self.end(id, GoneReason::Error);
        }
        notified
    }

    /// The first block of a body that is too long, and the options that say so.
    fn cut_notification<'n>(&mut self, observer: &Observer, notification: &Notification<'n>) -> &'n [u8] {
        self.added.clear();
        let payload = notification.payload;
        if notification.code.class() != 2 {
            return payload;
        }
        self.added.push_uint(OptionNumber::OBSERVE, observer.sequence);
        let bound = if observer.proven { usize::MAX } else { UNPROVEN_BYTES };
        let room = self.room_for(observer.peer, bound, notification.options);
        let cut = self.cut(observer.peer, observer.wish, room);
        if payload.len() <= cut.whole {
            return payload;
        }
        self.add_etag(notification.options, payload);
        self.added.push_uint(OptionNumber::BLOCK2, Block { num: 0, more: true, szx: cut.szx }.to_uint());
        self.added.push_uint(OptionNumber::SIZE2, payload.len() as u32);
        &payload[..cut.bytes]
    }

    fn push(&mut self, now_ms: u64, to: SocketAddr, message: Confirmable) -> Notified {
        let bytes = message.bytes.clone();
        match self.peers.push(now_ms, (to, message)) {
            Pushed::Queued => Notified::Queued,
            Pushed::Replaced => Notified::Replaced,
            Pushed::Refused => Notified::Refused,
            Pushed::Send => {
                self.outbox.queue(to, |out| out.extend_from_slice(&bytes));
                Notified::Sent
            }
        }
    }

    fn encode_notification(
        &mut self,
        (id, observer): (ObserverId, &Observer),
        notification: &Notification<'_>,
        confirmable: bool,
    ) -> Confirmable {
        let payload = self.cut_notification(observer, notification);
        let message_id = self.peers.ids.take(observer.peer);
        if let Some(observer) = self.observers.get(id) {
            observer.last_id = message_id;
        }
        let kind = if confirmable { Type::Confirmable } else { Type::NonConfirmable };
        let head = Head { kind, code: notification.code, message_id, token: observer.token };
        let mut bytes = Vec::with_capacity(payload.len() + 64);
        encode(&mut bytes, &head, [notification.options, &self.added], payload);
        // A state is followed by the next one; what is about many topics is none.
        let counts = notification.counts || !observer.conflate;
        Confirmable { message_id, owner: Some(id), bytes, counts, at_ms: 0 }
    }
}
