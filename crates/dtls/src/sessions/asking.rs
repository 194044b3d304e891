//! A handshake whose key has to be asked for: the library wants the key at once, so the
//! flight that claims the identity is held until the answer is there. The client may send
//! it again meanwhile; nobody waits for that.

use std::net::SocketAddr;

use super::{Entry, Event, Handled, Sessions};
use crate::key_exchange::{Claim, claimed_identity};
use crate::names::slot;

/// Datagrams of a flight that are held; what comes beyond, the client sends again.
const HELD_MAX: usize = 4;
/// Bytes of one.
const HELD_BYTES_MAX: usize = 2_048;

/// What became of the question.
pub(super) enum Asking {
    /// Nobody knows yet whom it is about: part of the identity has come. The library has it, too.
    Claiming(Claim),
    /// It is on its way.
    Waiting { identity: Box<[u8]>, held: Vec<Box<[u8]>> },
    /// The session has what there was.
    Over,
}

impl Entry {
    /// Holds a datagram of a handshake that waits for its key, or that has to ask for it
    /// now. `None`: it goes to the library.
    pub(super) fn hold(&mut self, datagram: &[u8], deliver: &mut dyn FnMut(Event<'_>)) -> Option<Handled> {
        match self.asking.as_deref_mut() {
            Some(Asking::Over) => None,
            Some(Asking::Waiting { held, .. }) => {
                let fits = held.len() < HELD_MAX && datagram.len() <= HELD_BYTES_MAX;
                fits.then(|| held.push(datagram.into()));
                Some(if fits { Handled::Taken } else { Handled::Dropped("dtls-held-full") })
            }
            None | Some(Asking::Claiming(_)) => {
                let identity = self.claimed(datagram)?;
                if datagram.len() > HELD_BYTES_MAX {
                    return Some(Handled::Dropped("dtls-held-full"));
                }
                deliver(Event::Claimed { name: self.name, identity: &identity });
                let held = vec![datagram.into()];
                self.asking = Some(Box::new(Asking::Waiting { identity, held }));
                Some(Handled::Taken)
            }
        }
    }

    /// The identity whose key has to be asked for; with this datagram all of it has come.
    fn claimed(&mut self, datagram: &[u8]) -> Option<Box<[u8]>> {
        if !self.session.context().asks_for_key() {
            return None;
        }
        let mut claim = match self.asking.take().map(|asking| *asking) {
            Some(Asking::Claiming(claim)) => Some(claim),
            _ => None,
        };
        let identity = claimed_identity(&mut claim, datagram);
        self.asking = claim.map(|claim| Box::new(Asking::Claiming(claim)));
        identity.filter(|own| self.session.context().lacks_key(own))
    }
}

impl Sessions {
    /// The answer to [`Event::Claimed`]: the handshake goes on with that key. `None`:
    /// nobody knows one, and the client is told so.
    pub fn answer(
        &mut self,
        now_ms: u64,
        (name, key): (SocketAddr, Option<&[u8]>),
        deliver: &mut dyn FnMut(Event<'_>),
    ) {
        let Some(place) = slot(&name) else { return };
        // It may have ended meanwhile, and another one have its place.
        let Some(entry) = self.table.get_mut(place).filter(|entry| entry.name == name) else { return };
        let Some(asking) = entry.asking.as_deref_mut().filter(|asking| matches!(asking, Asking::Waiting { .. })) else {
            return;
        };
        let Asking::Waiting { identity, held } = std::mem::replace(asking, Asking::Over) else { return };
        if let (Some(session), Some(key)) = (entry.session.live(), key) {
            session.give_key(identity, key);
        }
        for datagram in held {
            self.feed(now_ms, place, &datagram, deliver);
        }
    }
}
