//! Who observes: an entry per peer and token (RFC 7641 section 4.1), addressed by slot
//! and generation, so that a late notification finds nobody rather than somebody else.

use std::collections::HashMap;
use std::net::SocketAddr;

use foldhash::fast::RandomState;

use crate::Token;

/// An observation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ObserverId {
    slot: u32,
    generation: u32,
}

/// Why an observation has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GoneReason {
    /// The peer asked for it, or registered again.
    Deregistered,
    /// The peer rejected a notification with a Reset.
    Reset,
    /// The peer acknowledged nothing.
    Timeout,
    /// It was told an error, which ends it (RFC 7641 section 4.2).
    Error,
}

/// An observation that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gone {
    /// Which.
    pub observer: ObserverId,
    /// Why.
    pub reason: GoneReason,
}

/// What is known of an observation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observer {
    pub(crate) peer: SocketAddr,
    pub(crate) token: Token,
    /// 24 bits go out (RFC 7641 section 4.4).
    pub(crate) sequence: u32,
    /// The number of the answer to its registration, before what waits for it.
    pub(crate) first: u32,
    /// Of the last notification: a Reset names it.
    pub(crate) last_id: u16,
    pub(crate) confirmed_at: u64,
    pub(crate) proven: bool,
    /// Whether only the newest state matters.
    pub(crate) conflate: bool,
    /// The greatest block that it asked for, as an exponent; 7: it named none.
    pub(crate) wish: u8,
    /// The Content-Format of all that it is told: that which it accepts, or the first one.
    pub(crate) format: Option<u16>,
}

impl Observer {
    /// Whether a state in that format may be told. The first one decides about the others,
    /// where the request named none; what says no format fits any.
    pub(crate) fn takes(&mut self, format: Option<u32>) -> bool {
        let Some(format) = format.and_then(|format| u16::try_from(format).ok()) else { return true };
        *self.format.get_or_insert(format) == format
    }
}

#[derive(Debug, Default)]
pub(crate) struct Observers {
    slots: Vec<(u32, Option<Observer>)>,
    free: Vec<u32>,
    by_token: HashMap<(SocketAddr, Token), ObserverId, RandomState>,
}

impl Observers {
    pub(crate) fn len(&self) -> usize {
        self.by_token.len()
    }

    pub(crate) fn insert(&mut self, observer: Observer) -> ObserverId {
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        if slot as usize == self.slots.len() {
            self.slots.push((0, None));
        }
        let entry = &mut self.slots[slot as usize];
        entry.1 = Some(observer);
        let id = ObserverId { slot, generation: entry.0 };
        self.by_token.insert((observer.peer, observer.token), id);
        id
    }

    pub(crate) fn get(&mut self, id: ObserverId) -> Option<&mut Observer> {
        let (generation, observer) = self.slots.get_mut(id.slot as usize)?;
        observer.as_mut().filter(|_| *generation == id.generation)
    }

    pub(crate) fn find(&self, peer: SocketAddr, token: Token) -> Option<ObserverId> {
        self.by_token.get(&(peer, token)).copied()
    }

    pub(crate) fn remove(&mut self, id: ObserverId) -> Option<Observer> {
        let (generation, observer) = self.slots.get_mut(id.slot as usize)?;
        let removed = observer.take_if(|_| *generation == id.generation)?;
        *generation = generation.wrapping_add(1);
        self.free.push(id.slot);
        // The same peer and token may have registered again.
        let key = (removed.peer, removed.token);
        if self.by_token.get(&key) == Some(&id) {
            self.by_token.remove(&key);
        }
        Some(removed)
    }
}
