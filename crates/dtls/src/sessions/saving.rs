//! Sessions over a restart: what those that are idle are, sealed under what the listener
//! proves itself by, so that nothing lies there that its configuration does not give away,
//! and other keys, certificates or revocations than before open nothing. Each is good for
//! one life: whoever keeps the bytes gives them back once and then has none.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use slab::Slab;

use super::{Entry, Event, Sessions, TICK_MS};
use crate::held::Held;
use crate::names::name;
use crate::record::CID_LEN;
use crate::seal::{SALT, Sealer};

/// Of what is sealed.
const VERSION: u8 = 1;
/// Version, flags, connection id, address and port, random, newest record, silence.
const HEAD: usize = 2 + CID_LEN + 18 + 32 + 8 + 8;
/// Length of what follows.
const LEN: usize = 4;

impl Sessions {
    /// Takes out the sessions that can go on after a restart, and says what they are. Those
    /// whose key somebody was asked for stay: whoever gave it may think otherwise by then.
    /// Empty: there is none.
    pub fn save(&mut self, now_ms: u64) -> Vec<u8> {
        let mut salt = [0; SALT];
        let Some(secret) = self.terms.secret().filter(|_| getrandom::fill(&mut salt).is_ok()) else {
            return Vec::new();
        };
        let sealer = Sealer::new(&secret, &salt);
        let mut out = salt.to_vec();
        let slots: Vec<usize> = self.table.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let Some(entry) = self.table.get_mut(slot).filter(|entry| entry.is_open && !entry.was_asked) else {
                continue;
            };
            // Under terms of before it would be believed longer than its keys.
            if !std::rc::Rc::ptr_eq(entry.session.context(), &self.context) {
                continue;
            }
            let Some(plain) = written(now_ms, entry) else { continue };
            let Some(sealed) = sealer.seal(slot as u64, &plain) else { continue };
            out.extend_from_slice(&(slot as u32).to_be_bytes());
            out.extend_from_slice(&(sealed.len() as u32).to_be_bytes());
            out.extend_from_slice(&sealed);
            self.forget(slot);
        }
        if out.len() > SALT { out } else { Vec::new() }
    }

    /// Takes back what `save` has made before, `away_ms` ago; each session is told as one that
    /// was opened. How many there are. Nothing where there are sessions already.
    pub fn restore(
        &mut self,
        (now_ms, away_ms): (u64, u64),
        saved: &[u8],
        deliver: &mut dyn FnMut(Event<'_>),
    ) -> usize {
        let Some((salt, mut rest)) = saved.split_first_chunk::<SALT>().filter(|_| self.table.is_empty()) else {
            return 0;
        };
        let Some(secret) = self.terms.secret() else { return 0 };
        let sealer = Sealer::new(&secret, salt);
        let mut entries = Vec::new();
        while let Some((slot, behind)) = rest.split_first_chunk::<LEN>() {
            let Some((len, behind)) = behind.split_first_chunk::<LEN>() else { break };
            let Some((sealed, next)) = behind.split_at_checked(u32::from_be_bytes(*len) as usize) else { break };
            let slot = u32::from_be_bytes(*slot) as usize;
            let opened = sealer.open(slot as u64, sealed);
            let entry = opened.and_then(|plain| self.read((now_ms, away_ms), slot, &plain));
            entries.extend(entry.map(|entry| (slot, entry)));
            rest = next;
        }
        self.table = entries.into_iter().collect::<Slab<Entry>>();
        for (slot, entry) in &self.table {
            self.by_address.insert(entry.address, slot);
            deliver(Event::Opened { name: entry.name, identity: entry.identity.clone() });
        }
        if !self.table.is_empty() {
            self.tick_at = now_ms + TICK_MS;
        }
        self.table.len()
    }

    /// A file as `save` makes it, of whatever stands for sessions: each of `parts` is a place and
    /// what is sealed there.
    #[cfg(any(test, feature = "testkit"))]
    pub fn sealed(terms: &crate::Terms, parts: &[(u32, &[u8])]) -> Vec<u8> {
        let salt = [7; SALT];
        let Some(secret) = terms.secret() else { return Vec::new() };
        let sealer = Sealer::new(&secret, &salt);
        let mut out = salt.to_vec();
        for (slot, plain) in parts {
            let Some(sealed) = sealer.seal(u64::from(*slot), plain) else { continue };
            out.extend_from_slice(&slot.to_be_bytes());
            out.extend_from_slice(&(sealed.len() as u32).to_be_bytes());
            out.extend_from_slice(&sealed);
        }
        out
    }

    fn read(&mut self, (now_ms, away_ms): (u64, u64), slot: usize, plain: &[u8]) -> Option<Entry> {
        let (head, rest) = plain.split_first_chunk::<HEAD>()?;
        let mut at = 0;
        let mut take = |len: usize| {
            at += len;
            &head[at - len..at]
        };
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let (version, flags) = (take(1)[0], take(1)[0]);
        let cid: [u8; CID_LEN] = take(CID_LEN).try_into().ok()?;
        let ip = Ipv6Addr::from(<[u8; 16]>::try_from(take(16)).ok()?);
        let address = SocketAddr::new(IpAddr::from(ip).to_canonical(), number(take(2)) as u16);
        let random = take(32).try_into().ok()?;
        let (newest, silent) = (number(take(8)), number(take(8)).saturating_add(away_ms));
        let is_own = version == VERSION && cid[0] == self.worker && slot < self.bounds.sessions;
        if !is_own || silent > self.bounds.idle_ms {
            return None;
        }
        let (len, rest) = rest.split_first_chunk::<LEN>()?;
        let (identity, frozen) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        let identity = std::str::from_utf8(identity).ok().filter(|_| flags & 2 != 0).map(Arc::from);
        self.generation = self.generation.wrapping_add(1);
        Some(Entry {
            session: Held::thaw(&self.context, frozen)?,
            name: name(address, slot, self.generation),
            address,
            cid,
            random,
            newest,
            used_at: now_ms.saturating_sub(silent),
            touched_at: now_ms,
            is_open: true,
            has_connection_id: flags & 1 != 0,
            asking: None,
            was_asked: false,
            identity,
        })
    }

    /// Forgets a session without a word.
    fn forget(&mut self, slot: usize) {
        let Some(entry) = self.table.try_remove(slot) else { return };
        if self.by_address.get(&entry.address) == Some(&slot) {
            self.by_address.remove(&entry.address);
        }
        self.closed.push_back((entry.name, "dtls-closed"));
    }
}

/// `None`: it may still have to repeat the end of its handshake.
fn written(now_ms: u64, entry: &mut Entry) -> Option<Vec<u8>> {
    let frozen = entry.session.frozen()?;
    let ip = match entry.address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let identity = entry.identity.as_deref().unwrap_or_default();
    let flags = u8::from(entry.has_connection_id) | u8::from(entry.identity.is_some()) << 1;
    let mut out = vec![VERSION, flags];
    out.extend_from_slice(&entry.cid);
    out.extend_from_slice(&ip.octets());
    out.extend_from_slice(&entry.address.port().to_be_bytes());
    out.extend_from_slice(&entry.random);
    out.extend_from_slice(&entry.newest.to_be_bytes());
    out.extend_from_slice(&now_ms.saturating_sub(entry.used_at).to_be_bytes());
    out.extend_from_slice(&(identity.len() as u32).to_be_bytes());
    out.extend_from_slice(identity.as_bytes());
    out.extend_from_slice(frozen);
    Some(out)
}
