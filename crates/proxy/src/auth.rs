//! Who a client is: user names and passwords of the plan. Hashing is slow on
//! purpose, so it runs beside the worker, and a password that was right is known
//! again by a keyed hash for as long as the plan is the same.

use crate::password::verify_password;
use crate::worker::Worker;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Users that were verified and are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// Passwords that were right lately.
#[derive(Default)]
pub(crate) struct Verified {
    keys: [foldhash::quality::RandomState; 2],
    /// By user and hash, since the same name may have another password elsewhere.
    known: RefCell<HashMap<u64, (u64, u64)>>,
}

impl Verified {
    /// A new plan may have new passwords.
    pub(crate) fn forget(&self) {
        self.known.borrow_mut().clear();
    }

    fn digests(&self, (user, hash): (&str, &str), password: &[u8]) -> (u64, (u64, u64)) {
        let whole = (user, hash, password);
        (self.keys[0].hash_one((user, hash)), (self.keys[0].hash_one(whole), self.keys[1].hash_one(whole)))
    }

    /// Whether this password was right for that hash already.
    pub(crate) fn knows(&self, who: (&str, &str), password: &[u8]) -> bool {
        let (key, digest) = self.digests(who, password);
        self.known.borrow().get(&key) == Some(&digest)
    }

    fn remember(&self, who: (&str, &str), password: &[u8]) {
        let (key, digest) = self.digests(who, password);
        let mut known = self.known.borrow_mut();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(key, digest);
    }
}

/// Whether a password is right for a user's hash; remembered if so.
pub(crate) async fn verify(worker: &Worker, who: (&str, &str), password: &[u8]) -> bool {
    if worker.verified.knows(who, password) {
        return true;
    }
    let (hash, copy) = (who.1.to_owned(), password.to_vec());
    let right = tokio::task::spawn_blocking(move || verify_password(&hash, &copy)).await.unwrap_or(false);
    if right {
        worker.verified.remember(who, password);
    }
    right
}

/// The user, if name and password are right.
pub(crate) async fn authenticate(worker: &Worker, user: &str, password: &[u8]) -> Option<Arc<str>> {
    let plan = worker.plan();
    let hash = plan.plan.users.get(user).and_then(|user| user.hash.clone());
    // An unknown user takes as long as a wrong password.
    let right = verify(worker, (user, hash.as_deref().unwrap_or(&plan.plan.no_user)), password).await;
    (right && hash.is_some()).then(|| user.into())
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
        assert_eq!((basic(b"Bearer dTpw"), basic(b"Basic !!"), basic(b"")), (None, None, None));
    }
}
