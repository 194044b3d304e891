//! User names and passwords of the plan. Hashing is slow on purpose, so it runs beside
//! the worker, in turns, and a password that was right is known again by a keyed hash for as long
//! as the plan is the same.

use super::Claimed;
use super::hash::verify_password;
use super::turns::turn;
use crate::worker::Worker;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

/// Those that were verified and are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// A keyed hash of who came and with what.
pub(crate) type Digest = (u64, u64);

/// Passwords that were right lately, and what services said.
#[derive(Default)]
pub(crate) struct Verified {
    keys: [foldhash::quality::RandomState; 2],
    known: RefCell<HashMap<Digest, (Claimed, u64)>>,
}

impl Verified {
    /// A new plan may have new passwords.
    pub(crate) fn forget(&self) {
        self.known.borrow_mut().clear();
    }

    /// By user and hash, or whatever else decides, since the same name may have another
    /// password elsewhere.
    pub(crate) fn digest(&self, (user, by): (&str, &str), password: &[u8]) -> Digest {
        let whole = (user, by, password);
        (self.keys[0].hash_one(whole), self.keys[1].hash_one(whole))
    }

    /// Whether this password was right for that hash already.
    pub(crate) fn knows(&self, who: (&str, &str), password: &[u8]) -> bool {
        self.known.borrow().contains_key(&self.digest(who, password))
    }

    /// Somebody who came with the same before `now` reached the end of it.
    pub(crate) fn remembered(&self, digest: Digest, now: u64) -> Option<Claimed> {
        let known = self.known.borrow();
        known.get(&digest).filter(|(_, until)| now < *until).map(|(claimed, _)| claimed.clone())
    }

    pub(crate) fn remember(&self, digest: Digest, claimed: Claimed, until: u64) {
        let mut known = self.known.borrow_mut();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(digest, (claimed, until));
    }
}

/// Whether a password is right for a user's hash; remembered if so. `None`: its turn had not come when the client
/// `left`.
pub(crate) async fn verify(
    worker: &Worker,
    (who, password): ((&str, &str), &[u8]),
    (source, left): (IpAddr, impl Future<Output = ()>),
) -> Option<bool> {
    if worker.verified.knows(who, password) {
        return Some(true);
    }
    let mut turn = turn(source, left).await?;
    if worker.verified.knows(who, password) {
        return Some(true);
    }
    let (hash, copy) = (who.1.to_owned(), password.to_vec());
    let compare = move || {
        // Its turn lasts as long as it takes, whether or not anybody still waits for it.
        verify_password(&hash, &copy, &mut turn.memory)
    };
    let right = tokio::task::spawn_blocking(compare).await.unwrap_or(false);
    if right {
        let digest = worker.verified.digest(who, password);
        worker.verified.remember(digest, Claimed { user: who.0.into(), ..Claimed::default() }, u64::MAX);
    }
    Some(right)
}

/// The user of the plan, if name and password are right.
pub(super) async fn user(
    worker: &Worker,
    (user, password): (&str, &[u8]),
    from: (IpAddr, impl Future<Output = ()>),
) -> Option<Arc<str>> {
    let plan = worker.plan();
    let hash = plan.plan.users.get(user).and_then(|user| user.hash.clone());
    // An unknown user takes as long as a wrong password.
    let who = (user, hash.as_deref().unwrap_or(&plan.plan.no_user));
    let right = verify(worker, (who, password), from).await?;
    (right && hash.is_some()).then(|| user.into())
}

/// The token of an `Authorization: Bearer` header (RFC 6750), as a password without a name.
pub(crate) fn bearer(value: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| (String::new(), rest.trim_ascii().to_vec()))
}

/// User and password of an `Authorization: Basic` header (RFC 7617).
pub(crate) fn basic(value: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = STANDARD.decode(rest.trim_ascii()).ok()?;
    let colon = memchr::memchr(b':', &decoded)?;
    Some((String::from_utf8(decoded[..colon].to_vec()).ok()?, decoded[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_basic_credentials() {
        assert_eq!(basic(b"Basic dTpwOnE="), Some(("u".to_owned(), b"p:q".to_vec())));
        assert_eq!(bearer(b"Bearer a.b.c"), Some((String::new(), b"a.b.c".to_vec())));
        assert_eq!((basic(b"Bearer dTpw"), basic(b"Basic !!"), basic(b"")), (None, None, None));
    }
}
